//! What an evaluation asks for, answered from files and by the thread that has the store.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::eval::error::Error;
use crate::eval::io::{Addition, ClosureFetch, Dependency, Fetch, FetchedTree, FileKind, Filter, World};
use crate::fetch::FetchError;
use crate::fetch::unpack::Top;
use crate::model::derivation::DerivationFile;
use crate::model::derived_path::Outputs;
use crate::model::input::Input;
use crate::model::{DerivedPath, Hash, HashAlgorithm, HashFormat, StorePath};
use crate::ops::prefetch::{Means, Prefetch, Prefetched};
use crate::progress::Progress;
use crate::store::api::Store;
use crate::sys::interrupt;

use super::access::Access;
use super::add::{self, of_store};
use super::desk::Mail;
use super::seen::Said;
use super::seen::notes::Notes;
use super::sources::Opened;
use super::{Options, files, search_path};

/// What is said about flakes where they are not enabled.
const NO_FLAKES: &str =
    "experimental Nix feature 'flakes' is disabled; add '--extra-experimental-features flakes' to enable it";

/// Answers what an evaluation asks for.
pub struct Asked {
    pub(super) options: Options,
    pub(super) access: Access,
    pub(super) mail: Mail,
    pub(super) progress: Arc<dyn Progress>,
    /// What the evaluation saw, if that is noted.
    pub(super) notes: Option<Arc<Notes>>,
    /// What was told, where somebody will ask for it.
    pub(super) said: Mutex<Vec<Said>>,
    /// What is not told again.
    pub(super) told_before: Mutex<Vec<Said>>,
    /// Whether something was done that another evaluation would find different.
    pub(super) is_single: AtomicBool,
    /// Paths that were added, or are known to be valid.
    pub(super) known: Mutex<HashSet<StorePath>>,
    /// Trees that were read before; nothing before it is needed first, or where it cannot be used.
    pub(super) sources: Mutex<Opened>,
    /// Outputs that were made valid.
    realised: Mutex<HashSet<Dependency>>,
    /// What entries of search paths turned out to be.
    resolved: Mutex<HashMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Trees that were fetched, by their inputs: all of an evaluation sees one state of them.
    pub(super) fetched: Mutex<HashMap<String, FetchedTree>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Asked {
    /// Answers with `options`; `mail` goes to the thread that has the store.
    pub(super) fn new(mut options: Options, mail: Mail, progress: Arc<dyn Progress>) -> Asked {
        let access = Access::new(options.freedom, options.allowed_uris.clone());
        let notes = options.notes.clone().filter(|_| access.is_free());
        let told_before = Mutex::new(std::mem::take(&mut options.told_before));
        let asked = Asked {
            options,
            access,
            mail,
            progress,
            notes,
            said: Mutex::default(),
            told_before,
            is_single: AtomicBool::new(false),
            known: Mutex::default(),
            sources: Mutex::default(),
            realised: Mutex::default(),
            resolved: Mutex::default(),
            fetched: Mutex::default(),
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

    /// Has everything in the store that was added so far.
    ///
    /// # Errors
    /// The store does not take it.
    pub fn settle(&self) -> Result<(), Error> {
        self.mail.settle()
    }

    /// Does something with the store, which has everything that was added.
    ///
    /// # Errors
    /// The store cannot be opened or does not take what was added; those of `work`.
    pub fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.mail.settle()?;
        self.mail.ask(move |desk| work(desk.backing.store()?))
    }

    /// Makes everything valid that is asked for, as a user asks for it.
    ///
    /// # Errors
    /// Something cannot be made valid.
    pub fn make_valid(&self, requests: Vec<DerivedPath>) -> Result<(), Error> {
        self.mail.settle()?;
        self.mail.ask(move |desk| desk.backing.realise(&requests))
    }

    /// The options of the evaluation.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where the file at a path lies, once it is there if it is one of the store.
    pub(super) fn real(&self, path: &[u8]) -> Result<PathBuf, Error> {
        let below = path.strip_prefix(self.options.store_dir.as_str().as_bytes());
        let Some([b'/', below @ ..]) = below else { return Ok(path_of(path).to_owned()) };
        self.mail.settle()?;
        Ok(match &self.options.real_store_dir {
            Some(dir) => dir.join(path_of(below)),
            None => path_of(path).to_owned(),
        })
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
        search_path::absolute(&self.options.current_dir, path)
    }

    /// Whether an entry of the search path is the path of a file.
    pub(super) fn is_path(&self, entry: &[u8]) -> bool {
        let text = String::from_utf8_lossy(entry);
        !text.starts_with("flake:") && search_path::archive_url(&text).is_none()
    }

    /// The text of a store path, which may be read from now on.
    pub(super) fn allowed(&self, path: &StorePath) -> Vec<u8> {
        let text = self.options.store_dir.print(path);
        self.access.allow(Path::new(&text));
        text.into_bytes()
    }

    /// Gets the archive or file of an address, and gives the store path.
    fn prefetch(&self, wanted: Prefetch) -> Result<Vec<u8>, Error> {
        self.do_once();
        self.access.check_uri(&wanted.url)?;
        Ok(self.allowed(&self.prefetched(wanted)?.map_err(of_fetch)?.path))
    }

    /// Gets what is behind an address that may be asked.
    pub(super) fn prefetched(&self, wanted: Prefetch) -> Result<crate::fetch::Result<Prefetched>, Error> {
        self.mail.settle()?;
        self.mail.ask(move |desk| {
            let backing = desk.backing;
            let store = backing.store()?;
            let means = Means {
                http: backing.http(),
                progress: backing.progress(),
                memory: backing.memory(store.dir()),
            };
            Ok(wanted.run(store, &means))
        })
    }

    /// The archive behind an address that stands where a directory is wanted.
    fn unpacked(&self, url: String) -> Result<Vec<u8>, Error> {
        self.prefetch(Prefetch {
            name: Some("source".to_owned()),
            unpack: Some(Top::Directory),
            ..Prefetch::file(url)
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
            self.say(Said::Warning(format!("Nix search path entry '{text}' does not exist, ignoring")));
        }
        Ok(exists.then_some(path))
    }

    /// The hash that contents must have.
    pub(super) fn expected(text: Option<&[u8]>) -> Result<Option<Hash>, Error> {
        let parse = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            Hash::parse(&text, Some(HashAlgorithm::Sha256)).map_err(|error| Error::new(error.to_string()))
        };
        text.map(parse).transpose()
    }

    /// Whether what a text depends on was added, or made valid before.
    fn is_there(&self, dependency: &Dependency) -> Result<bool, Error> {
        if lock(&self.realised).contains(dependency) {
            return Ok(true);
        }
        match dependency {
            Dependency::Plain(path) | Dependency::All(path) => {
                Ok(lock(&self.known).contains(&add::store_path(&self.options.store_dir, path)?))
            }
            Dependency::Output { .. } => Ok(false),
        }
    }

    /// The requests for what texts depend on.
    fn requests(&self, dependencies: &[Dependency]) -> Result<Vec<DerivedPath>, Error> {
        let dir = &self.options.store_dir;
        let request = |dependency: &Dependency| {
            Ok(match dependency {
                // Who has the path of a derivation asks for the file, and not for what it makes.
                Dependency::Plain(path) | Dependency::All(path) => {
                    DerivedPath::opaque(add::store_path(dir, path)?)
                }
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

/// A hash as in `sha256:…`.
fn prefixed(hash: &Hash) -> String {
    format!("{}:{}", hash.algorithm(), hash.digits(HashFormat::Nix32))
}

pub(super) fn of_fetch(error: FetchError) -> Error {
    match error {
        _ if interrupt::requested() => files::interrupted(),
        FetchError::Mismatch(mismatch) => add::other_hash(format!(
            "hash mismatch in file downloaded from '{}':\n  specified: {}\n  got:       {}",
            mismatch.url,
            prefixed(&mismatch.expected),
            prefixed(&mismatch.found)
        )),
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
        files::read(&self.real(path)?)
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, Error> {
        let dir = path_of(path);
        self.access.check_followed(dir, true)?;
        let is_allowed = |entry: &std::fs::DirEntry| self.access.allows(&dir.join(entry.file_name()));
        let entries = files::entries(&self.real(path)?)?.into_iter().filter(is_allowed);
        let entry = |entry: std::fs::DirEntry| {
            let kind = entry.file_type().map_or(FileKind::Unknown, files::kind_of);
            (entry.file_name().into_encoded_bytes(), kind)
        };
        Ok(entries.map(entry).collect())
    }

    fn kind(&self, path: &[u8]) -> Result<Option<FileKind>, Error> {
        self.access.check_followed(path_of(path), false)?;
        files::kind(&self.real(path)?)
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.access.check_followed(path_of(path), false)?;
        let failed = |error| files::failure(path_of(path), "reading symbolic link", &error);
        Ok(add::bytes(&std::fs::read_link(self.real(path)?).map_err(failed)?))
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = self.access.is_free().then(|| std::str::from_utf8(name).ok()).flatten()?;
        self.options.environment.get(name).map(|value| value.as_bytes().to_vec())
    }

    fn now(&self) -> Option<i64> {
        self.do_once();
        let passed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
        (!self.access.is_pure()).then(|| i64::try_from(passed).unwrap_or(i64::MAX))
    }

    fn watches_time(&self) -> bool {
        self.options.in_parts
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
        Ok(self.allowed(&self.add_files(addition, filter)?))
    }

    fn add_text(&self, name: &[u8], text: &[u8], references: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        Ok(self.allowed(&self.add_file(name, text, references)?))
    }

    fn add_derivation(&self, file: DerivationFile) -> Result<(), Error> {
        if !self.access.is_free() {
            self.allowed(&file.path);
        }
        self.add_new_derivation(file)
    }

    fn read_derivation(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.mail.settle()?;
        let path = add::store_path(&self.options.store_dir, path)?;
        self.mail.ask(move |desk| {
            let store = desk.backing.store()?;
            Ok(store.queries().read_derivation(&path).map_err(of_store)?.print(store.dir()))
        })
    }

    fn references(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.mail.settle()?;
        let path = add::store_path(&self.options.store_dir, path)?;
        let info = self.mail.ask(move |desk| desk.backing.store()?.path_info(&path).map_err(of_store))?;
        let dir = &self.options.store_dir;
        Ok(info.references.iter().map(|path| dir.print(path).into_bytes()).collect())
    }

    fn realise(&self, dependencies: &[Dependency]) -> Result<(), Error> {
        let mut missing = Vec::new();
        for dependency in dependencies {
            if !self.is_there(dependency)? {
                missing.push(dependency.clone());
            }
        }
        self.mail.settle()?;
        if missing.is_empty() {
            return Ok(());
        }
        self.do_once();
        let requests = self.requests(&missing)?;
        self.check_builds(&requests)?;
        let read_only = self.options.read_only;
        let asked = requests.clone();
        let outputs = self.mail.ask(move |desk| {
            let store = desk.backing.store()?;
            match read_only {
                true => check_there(store, &asked)?,
                false => desk.backing.realise(&asked)?,
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
                self.say(Said::Warning(format!("built '{shown}' {why}")));
            }
        } else {
            // Once is enough, unless each time is told.
            lock(&self.realised).extend(missing);
        }
        Ok(())
    }

    fn ensure(&self, path: &[u8]) -> Result<(), Error> {
        match self.options.read_only {
            true => Ok(()),
            false => self.realise(&[Dependency::Plain(path.to_vec())]),
        }
    }

    fn fetch(&self, fetch: &Fetch) -> Result<Vec<u8>, Error> {
        self.prefetch(Prefetch {
            name: Some(add::name_text(&fetch.name)?.to_owned()),
            expected: Self::expected(fetch.hash.as_deref())?,
            unpack: fetch.unpack.then_some(Top::Directory),
            ..Prefetch::file(String::from_utf8_lossy(&fetch.url).into_owned())
        })
    }

    fn fetch_tree(&self, input: &Input) -> Result<FetchedTree, Error> {
        self.do_once();
        self.fetch_input(input)
    }

    fn fetch_closure(&self, fetch: &ClosureFetch) -> Result<Vec<u8>, Error> {
        self.fetch_of_cache(fetch)
    }

    fn tell(&self, text: &str) {
        self.say(Said::Line(text.to_owned()));
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
