//! What an evaluation asks for, answered from files and by the thread that has the store.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::eval::error::{Error, Kind};
use crate::eval::io::{Addition, Dependency, Fetch, FileKind, Filter, NewDerivation, World};
use crate::eval::text::path::canonical;
use crate::fetch::FetchError;
use crate::model::derived_path::Outputs;
use crate::model::{ContentAddressMethod, DerivedPath, Hash, HashAlgorithm, StorePath};
use crate::ops::prefetch::Prefetch;
use crate::progress::Progress;
use crate::store::api::Store;
use crate::sys::interrupt;

use super::access::Access;
use super::add::{self, Source, of_store};
use super::tree::Tree;
use super::{Backing, Job, Options, files, search_path};

/// Derivations that wait to be written; they are written together.
const MOST_PENDING: usize = 512;

/// What is said about flakes where they are not enabled.
const NO_FLAKES: &str =
    "experimental Nix feature 'flakes' is disabled; add '--extra-experimental-features flakes' to enable it";

/// Answers what an evaluation asks for.
pub struct Asked {
    options: Options,
    access: Access,
    jobs: Sender<Job>,
    progress: Arc<dyn Progress>,
    /// The texts of derivations that are not in the store, by path.
    texts: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    /// Derivations to be written.
    pending: Mutex<Vec<NewDerivation>>,
    /// What entries of search paths turned out to be.
    resolved: Mutex<HashMap<Vec<u8>, Option<Vec<u8>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Asked {
    /// Answers with `options`; `jobs` go to the thread that has the store.
    pub(super) fn new(options: Options, jobs: Sender<Job>, progress: Arc<dyn Progress>) -> Asked {
        let access = Access::new(options.freedom, options.allowed_uris.clone());
        let asked = Asked {
            options,
            access,
            jobs,
            progress,
            texts: Mutex::default(),
            pending: Mutex::default(),
            resolved: Mutex::default(),
        };
        if !asked.access.is_pure() {
            for (_, path) in &asked.options.search_path {
                if search_path::archive_url(&String::from_utf8_lossy(path)).is_none() {
                    asked.access.allow(path_of(&asked.absolute(path)));
                }
            }
        }
        asked
    }

    /// Has the thread with the store do something.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Backing) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answering, answer) = mpsc::channel();
        let job: Job = Box::new(move |backing| {
            // The evaluation is over if nobody waits for the answer.
            let _ = answering.send(work(backing));
        });
        let gone = || Error::new("the store is not there any more");
        self.jobs.send(job).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    /// Does something with the store, which has all derivations that were made.
    ///
    /// # Errors
    /// The store cannot be opened or does not take the derivations; those of `work`.
    pub fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.settle()?;
        self.ask(move |backing| work(backing.store()?))
    }

    /// Makes everything valid that is asked for, as a user asks for it.
    ///
    /// # Errors
    /// Something cannot be made valid.
    pub fn make_valid(&self, requests: Vec<DerivedPath>) -> Result<(), Error> {
        self.settle()?;
        self.ask(move |backing| backing.realise(&requests))
    }

    /// The options of the evaluation.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Writes the derivations that wait for it.
    ///
    /// # Errors
    /// The store does not take them.
    pub fn settle(&self) -> Result<(), Error> {
        let pending = std::mem::take(&mut *lock(&self.pending));
        if pending.is_empty() {
            return Ok(());
        }
        let paths: Vec<Vec<u8>> = pending.iter().map(|made| made.path.clone()).collect();
        self.ask(move |backing| write_derivations(backing.store()?, &pending))?;
        // The store has these now; others may have been made meanwhile.
        let mut texts = lock(&self.texts);
        for path in &paths {
            texts.remove(path);
        }
        Ok(())
    }

    /// Looks at all entries of the search path where only those may be read.
    ///
    /// # Errors
    /// One of them cannot be fetched.
    pub(super) fn look_ahead(&self) -> Result<(), Error> {
        if !self.access.is_free() && !self.access.is_pure() {
            for (_, path) in &self.options.search_path {
                self.resolve_entry(path)?;
            }
        }
        Ok(())
    }

    fn absolute(&self, path: &[u8]) -> Vec<u8> {
        canonical(&add::bytes(&self.options.current_dir.join(path_of(path))))
    }

    /// The text of a store path, which may be read from now on.
    fn allowed(&self, path: &StorePath) -> Vec<u8> {
        let text = self.options.store_dir.print(path);
        self.access.allow(Path::new(&text));
        text.into_bytes()
    }

    /// Gets the archive or file of an address, and gives the store path.
    fn prefetch(&self, wanted: Prefetch) -> Result<Vec<u8>, Error> {
        self.access.check_uri(&wanted.url)?;
        self.settle()?;
        let path = self.ask(move |backing| {
            let fetched = wanted.run(backing.store()?, backing.http(), backing.progress());
            fetched.map(|(_, path)| path).map_err(of_fetch)
        })?;
        Ok(self.allowed(&path))
    }

    /// The archive behind an address that stands where a directory is wanted.
    fn unpacked(&self, url: String) -> Result<Vec<u8>, Error> {
        self.prefetch(Prefetch {
            url,
            name: Some("source".to_owned()),
            algorithm: HashAlgorithm::Sha256,
            expected: None,
            unpack: true,
            executable: false,
        })
    }

    fn resolve(&self, entry: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let text = String::from_utf8_lossy(entry);
        if text.starts_with("flake:") {
            return Err(Error::new(match self.options.settings.has("flakes") {
                true => format!("'{text}' is a flake, and flakes are not available in this version of Nival"),
                false => NO_FLAKES.to_owned(),
            }));
        }
        if let Some(url) = search_path::archive_url(&text) {
            return self.unpacked(url).map(Some);
        }
        let path = self.absolute(entry);
        let exists = self.access.check_followed(path_of(&path), true).is_ok() && path_of(&path).exists();
        if !exists {
            self.progress.warn(&format!("Nix search path entry '{text}' does not exist, ignoring"));
        }
        Ok(exists.then_some(path))
    }

    /// The hash that contents must have.
    fn expected(text: Option<&[u8]>) -> Result<Option<Hash>, Error> {
        let parse = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            Hash::parse(&text, Some(HashAlgorithm::Sha256)).map_err(|error| Error::new(error.to_string()))
        };
        text.map(parse).transpose()
    }

    fn is_valid(&self, path: &StorePath) -> Result<bool, Error> {
        let path = path.clone();
        self.ask(move |backing| {
            let store = backing.store()?;
            store.add_temp_roots(&[&path]).map_err(of_store)?;
            store.is_valid(&path).map_err(of_store)
        })
    }

    /// The requests for what texts depend on.
    fn requests(&self, dependencies: &[Dependency]) -> Result<Vec<DerivedPath>, Error> {
        let dir = &self.options.store_dir;
        let request = |dependency: &Dependency| {
            Ok(match dependency {
                Dependency::Plain(path) => DerivedPath::opaque(add::store_path(dir, path)?),
                Dependency::All(path) => DerivedPath::built(add::store_path(dir, path)?, Outputs::All),
                Dependency::Output { derivation, output } => {
                    let name = String::from_utf8_lossy(output).into_owned();
                    let outputs = Outputs::Named(BTreeSet::from([name]));
                    DerivedPath::built(add::store_path(dir, derivation)?, outputs)
                }
            })
        };
        dependencies.iter().map(request).collect()
    }

    /// Refuses builds that the settings do not allow.
    fn check_builds(&self, requests: &[DerivedPath]) -> Result<(), Error> {
        let Some(request) = requests.iter().find(|request| request.outputs.is_some()) else { return Ok(()) };
        if self.options.import_from_derivation {
            return Ok(());
        }
        let shown = shown(&self.options, request);
        Err(Error::new(format!(
            "cannot build '{shown}' during evaluation because the option 'allow-import-from-derivation' is disabled"
        )))
    }
}

/// A request as the newer programs write it.
fn shown(options: &Options, request: &DerivedPath) -> String {
    let path = options.store_dir.print(&request.path);
    match &request.outputs {
        Some(outputs) => format!("{path}^{outputs}"),
        None => path,
    }
}

fn write_derivations(store: &dyn Store, derivations: &[NewDerivation]) -> Result<(), Error> {
    let dir = store.dir();
    let mut paths = Vec::with_capacity(derivations.len());
    for derivation in derivations {
        paths.push(add::store_path(dir, &derivation.path)?);
    }
    let valid = store.valid(&paths).map_err(of_store)?;
    let mut adder = store.adder();
    for (derivation, path) in derivations.iter().zip(&paths) {
        if valid.contains(path) {
            continue;
        }
        let references = derivation.references.iter().map(|path| add::store_path(dir, path));
        let references = references.collect::<Result<BTreeSet<_>, Error>>()?;
        let kind = (ContentAddressMethod::Text, HashAlgorithm::Sha256);
        let mut tell = |sink: &mut dyn crate::nar::Sink| sink.regular(false, &mut &derivation.text[..]);
        adder.add_content(path.name(), kind, references, &mut tell).map_err(of_store)?;
    }
    adder.finish().map_err(of_store)
}

/// Looks whether everything is there that was asked for, in a store to which nothing may be written.
fn check_there(store: &dyn Store, requests: &[DerivedPath]) -> Result<(), Error> {
    for request in requests {
        if !store.is_valid(&request.path).map_err(of_store)? {
            return Err(Error::new(format!("path '{}' is not valid", request.path.base_name())));
        }
        let Some(outputs) = &request.outputs else { continue };
        let derivation = store.queries().read_derivation(&request.path).map_err(of_store)?;
        let paths = crate::ops::realise::output_paths(store, &request.path, &derivation, outputs);
        for (_, path) in paths.map_err(of_store)? {
            let Some(path) = path else { continue };
            if !store.is_valid(&path).map_err(of_store)? {
                let path = store.dir().print(&path);
                return Err(Error::new(format!(
                    "cannot substitute path '{path}' - no write access to the Nix store"
                )));
            }
        }
    }
    Ok(())
}

fn of_fetch(error: FetchError) -> Error {
    match error {
        _ if interrupt::requested() => files::interrupted(),
        FetchError::Mismatch { .. } => add::other_hash(error.to_string()),
        other => Error::new(other.to_string()),
    }
}

impl World for Asked {
    fn store_dir(&self) -> &[u8] {
        self.options.store_dir.as_str().as_bytes()
    }

    fn current_dir(&self) -> Vec<u8> {
        add::bytes(&self.options.current_dir)
    }

    fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.access.check_followed(path_of(path), true)?;
        files::read(path_of(path))
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, Error> {
        let dir = path_of(path);
        self.access.check_followed(dir, true)?;
        let entries = files::entries(dir)?.into_iter().filter(|entry| self.access.allows(&entry.path()));
        let entry = |entry: std::fs::DirEntry| {
            let kind = entry.file_type().map_or(FileKind::Unknown, files::kind_of);
            (entry.file_name().into_encoded_bytes(), kind)
        };
        Ok(entries.map(entry).collect())
    }

    fn kind(&self, path: &[u8]) -> Result<Option<FileKind>, Error> {
        self.access.check_followed(path_of(path), false)?;
        files::kind(path_of(path))
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.access.check_followed(path_of(path), false)?;
        let failed = |error| files::failure(path_of(path), "reading symbolic link", &error);
        Ok(add::bytes(&std::fs::read_link(path_of(path)).map_err(failed)?))
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = self.access.is_free().then(|| std::str::from_utf8(name).ok()).flatten()?;
        self.options.environment.get(name).map(|value| value.as_bytes().to_vec())
    }

    fn now(&self) -> Option<i64> {
        let passed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
        (!self.access.is_pure()).then(|| i64::try_from(passed).unwrap_or(i64::MAX))
    }

    fn system(&self) -> Option<Vec<u8>> {
        (!self.access.is_pure()).then(|| self.options.system.clone().into_bytes())
    }

    fn search_path(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.access.is_pure() { Vec::new() } else { self.options.search_path.clone() }
    }

    fn resolve_entry(&self, entry: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let known = lock(&self.resolved).get(entry).cloned();
        if let Some(resolved) = known {
            return Ok(resolved);
        }
        let resolved = self.resolve(entry)?;
        lock(&self.resolved).insert(entry.to_vec(), resolved.clone());
        Ok(resolved)
    }

    fn add(&self, addition: &Addition<'_>, filter: Option<Filter<'_>>) -> Result<Vec<u8>, Error> {
        let path = path_of(addition.path);
        self.access.check_followed(path, false)?;
        let name = add::name_text(addition.name)?.to_owned();
        let dir = &self.options.store_dir;
        let method = match addition.recursive {
            true => ContentAddressMethod::NixArchive,
            false => ContentAddressMethod::Flat,
        };
        let expected = Self::expected(addition.expected)?;
        if let Some(hash) = expected {
            let wanted = add::content_path(dir, &name, method, hash, BTreeSet::new())?;
            if self.is_valid(&wanted)? {
                return Ok(self.allowed(&wanted));
            }
        }
        let source = match filter {
            Some(filter) if addition.recursive => Source::Filtered(Tree::new(path, filter)?),
            _ => Source::Whole(path.to_owned()),
        };
        let hash = match addition.recursive {
            true => source.archive_hash()?,
            false => add::flat_hash(path)?,
        };
        if expected.is_some_and(|expected| expected != hash) {
            let path = path.display();
            let message = format!("store path mismatch in (possibly filtered) path added from '{path}'");
            return Err(Error::of(Kind::Other, message));
        }
        let result = add::content_path(dir, &name, method, hash, BTreeSet::new())?;
        if !self.options.read_only && !self.is_valid(&result)? {
            self.ask(move |backing| {
                let kind = (method, HashAlgorithm::Sha256);
                let tell = &mut |sink: &mut dyn crate::nar::Sink| source.tell(sink);
                backing.store()?.add_content(&name, kind, BTreeSet::new(), tell).map_err(of_store)
            })?;
        }
        Ok(self.allowed(&result))
    }

    fn add_text(&self, name: &[u8], text: &[u8], references: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        let dir = &self.options.store_dir;
        let name = add::name_text(name)?.to_owned();
        let references = references.iter().map(|path| add::store_path(dir, path));
        let references = references.collect::<Result<BTreeSet<_>, Error>>()?;
        let method = ContentAddressMethod::Text;
        let path = add::content_path(dir, &name, method, Hash::sha256(text), references.clone())?;
        if !self.options.read_only {
            self.settle()?;
            let text = text.to_vec();
            self.ask(move |backing| backing.store()?.add_text(&name, &text, references).map_err(of_store))?;
        }
        Ok(self.allowed(&path))
    }

    fn add_derivation(&self, derivation: NewDerivation) -> Result<(), Error> {
        self.access.allow(path_of(&derivation.path));
        lock(&self.texts).insert(derivation.path.clone(), derivation.text.clone());
        if self.options.read_only {
            return Ok(());
        }
        let count = {
            let mut pending = lock(&self.pending);
            pending.push(derivation);
            pending.len()
        };
        if count >= MOST_PENDING { self.settle() } else { Ok(()) }
    }

    fn read_derivation(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let known = lock(&self.texts).get(path).cloned();
        if let Some(text) = known {
            return Ok(text);
        }
        let path = add::store_path(&self.options.store_dir, path)?;
        self.ask(move |backing| {
            let store = backing.store()?;
            Ok(store.queries().read_derivation(&path).map_err(of_store)?.print(store.dir()))
        })
    }

    fn references(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.settle()?;
        let path = add::store_path(&self.options.store_dir, path)?;
        let info = self.ask(move |backing| backing.store()?.path_info(&path).map_err(of_store))?;
        let dir = &self.options.store_dir;
        Ok(info.references.iter().map(|path| dir.print(path).into_bytes()).collect())
    }

    fn realise(&self, dependencies: &[Dependency]) -> Result<(), Error> {
        if dependencies.is_empty() {
            return Ok(());
        }
        let requests = self.requests(dependencies)?;
        self.check_builds(&requests)?;
        self.settle()?;
        let read_only = self.options.read_only;
        let asked = requests.clone();
        let outputs = self.ask(move |backing| {
            let store = backing.store()?;
            match read_only {
                true => check_there(store, &asked)?,
                false => backing.realise(&asked)?,
            }
            paths_of(store, &asked)
        })?;
        for path in &outputs {
            self.allowed(path);
        }
        if self.options.trace_import_from_derivation {
            for request in requests.iter().filter(|request| request.outputs.is_some()) {
                let shown = shown(&self.options, request);
                let why = "during evaluation due to an import from derivation";
                self.progress.warn(&format!("built '{shown}' {why}"));
            }
        }
        Ok(())
    }

    fn fetch(&self, fetch: &Fetch) -> Result<Vec<u8>, Error> {
        self.prefetch(Prefetch {
            url: String::from_utf8_lossy(&fetch.url).into_owned(),
            name: Some(add::name_text(&fetch.name)?.to_owned()),
            algorithm: HashAlgorithm::Sha256,
            expected: Self::expected(fetch.hash.as_deref())?,
            unpack: fetch.unpack,
            executable: false,
        })
    }

    fn tell(&self, text: &str) {
        self.progress.problem(text);
    }

    fn go_on(&self) -> Result<(), Error> {
        interrupt::check().map_err(|_| files::interrupted())
    }
}

/// What was asked for, as paths that are there.
fn paths_of(store: &dyn Store, requests: &[DerivedPath]) -> Result<Vec<StorePath>, Error> {
    let mut found = Vec::new();
    for request in requests {
        let Some(outputs) = &request.outputs else {
            found.push(request.path.clone());
            continue;
        };
        let derivation = store.queries().read_derivation(&request.path).map_err(of_store)?;
        let paths = crate::ops::realise::output_paths(store, &request.path, &derivation, outputs);
        found.extend(paths.map_err(of_store)?.into_iter().filter_map(|(_, path)| path));
    }
    Ok(found)
}
