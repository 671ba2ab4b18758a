//! Adding what is behind a URL to a store.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::HeaderMap;
use tempfile::TempDir;

use crate::fetch::memory::{Form, Memory, Question};
use crate::fetch::unpack::{self, Top};
use crate::fetch::url::{self, Version};
use crate::fetch::{FetchError, Mismatch, Result, private_dir};
use crate::http::settings::HttpSettings;
use crate::model::content_address::ContentReferences;
use crate::model::{ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, Hasher, StorePath};
use crate::nar::dump;
use crate::progress::Progress;
use crate::store::StoreError;
use crate::store::api::Store;
use crate::sys::PathError;

/// What is wanted of a URL.
#[derive(Debug, Clone)]
pub struct Prefetch {
    /// Where it is.
    pub url: String,
    /// The name of the store path; by default the last part of the URL.
    pub name: Option<String>,
    /// What it is hashed with.
    pub algorithm: HashAlgorithm,
    /// The hash that it must have.
    pub expected: Option<Hash>,
    /// It is an archive, of which this is added.
    pub unpack: Option<Top>,
    /// It is a program.
    pub executable: bool,
    /// It is a file that is hashed as an archive with it is.
    pub archived: bool,
    /// The time of the newest entry has to be known, also of what is there already.
    pub timed: bool,
    /// What is behind the URL never changes.
    pub fixed: bool,
    /// Headers that let us in at the server of the URL.
    pub letting_in: HeaderMap,
}

/// What fetching works with.
pub struct Means<'m> {
    /// How requests are made.
    pub http: HttpSettings,
    /// Hears of the work.
    pub progress: Arc<dyn Progress>,
    /// What was fetched before, if that is to be looked at. It knows SHA-256 only.
    pub memory: Option<&'m Memory>,
}

/// What was fetched.
#[derive(Debug, Clone)]
pub struct Prefetched {
    /// The hash of the contents: of the archive of a tree or program, or of the file.
    pub hash: Hash,
    /// The path, which is valid and kept until the store is closed.
    pub path: StorePath,
    /// What the server told of it; not known of what was there already.
    pub version: Option<Version>,
}

/// What was fetched before.
struct Known {
    hash: Hash,
    path: StorePath,
    version: Version,
    /// Whether the server need not be asked.
    is_fresh: bool,
}

impl Known {
    fn found(self) -> Prefetched {
        Prefetched { hash: self.hash, path: self.path, version: Some(self.version) }
    }
}

impl Prefetch {
    /// A file whose hash nobody knows yet.
    pub fn file(url: String) -> Self {
        let algorithm = HashAlgorithm::Sha256;
        Self {
            url,
            name: None,
            algorithm,
            expected: None,
            unpack: None,
            executable: false,
            archived: false,
            timed: false,
            fixed: false,
            letting_in: HeaderMap::new(),
        }
    }

    fn method(&self) -> ContentAddressMethod {
        match self.unpack.is_some() || self.executable || self.archived {
            true => ContentAddressMethod::NixArchive,
            false => ContentAddressMethod::Flat,
        }
    }

    fn form(&self) -> Form {
        match (self.unpack, self.archived) {
            (Some(_), _) => Form::Tree,
            (None, true) => Form::Node,
            (None, false) => Form::File,
        }
    }

    /// The URL as messages show it.
    pub fn shown(&self) -> String {
        crate::http::url::shown(&self.url)
    }

    /// Gets it, unless something with the expected hash is valid already or what was
    /// fetched before is still the same.
    ///
    /// # Errors
    /// [`FetchError`]; nothing is added then.
    pub fn run(&self, store: &dyn Store, means: &Means<'_>) -> Result<Prefetched> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => url::file_name(&self.url)?,
        };
        crate::model::store_path::check_name(&name)
            .map_err(|reason| StoreError::Name { path: name.clone(), reason })?;
        if let Some(hash) = self.expected.filter(|_| !self.timed)
            && let Some(path) = self.valid(store, &name, hash)?
        {
            return Ok(Prefetched { hash, path, version: None });
        }
        let question = Question { url: &self.url, form: self.form(), name: &name };
        let memory = means.memory.filter(|_| self.algorithm == HashAlgorithm::Sha256 && !self.executable);
        let known = self.remembered(store, memory, question)?;
        let known = match known {
            Some(known) if known.is_fresh => return Ok(known.found()),
            known => known,
        };
        let etag = known.as_ref().and_then(|known| known.version.etag.as_deref());
        let dir = private_dir()?;
        let (mut file, mut version) = match (self.download(&dir, etag, means), known) {
            (Ok((file, Some(version))), _) => (file, version),
            (Ok(_), Some(known)) => {
                memory.inspect(|memory| memory.remember(question, known.hash, &known.version));
                return Ok(known.found());
            }
            // A server says so only to who has it.
            (Ok(_), None) => return Err(FetchError::Unasked(self.shown())),
            (Err(error), Some(known)) if self.unpack.is_none() && !error.is_interruption() => {
                means.progress.warn(&format!("{error}; using cached version"));
                return Ok(known.found());
            }
            (Err(error), _) => return Err(error),
        };
        let (hash, path) = self.add(store, &name, &dir, &mut file, &mut version)?;
        memory.inspect(|memory| memory.remember(question, hash, &version));
        Ok(Prefetched { hash, path, version: Some(version) })
    }

    /// The path that contents with a hash have, if it is valid.
    fn valid(&self, store: &dyn Store, name: &str, hash: Hash) -> Result<Option<StorePath>> {
        let ca = ContentAddress { method: self.method(), hash };
        let path = store.dir().content_path(name, &ca, &ContentReferences::default());
        let path = path.map_err(StoreError::from)?;
        store.add_temp_roots(&[&path])?;
        Ok(store.is_there(&path)?.then_some(path))
    }

    /// What was fetched before and is still in the store; nothing where another hash is expected, or
    /// a time that was not told.
    fn remembered(
        &self,
        store: &dyn Store,
        memory: Option<&Memory>,
        question: Question<'_>,
    ) -> Result<Option<Known>> {
        let Some(known) = memory.and_then(|memory| memory.lookup(question)) else { return Ok(None) };
        if self.expected.is_some_and(|expected| expected != known.hash)
            || self.timed && known.version.newest.is_none()
        {
            return Ok(None);
        }
        // Looking at a file of this machine costs nothing.
        let is_fresh = (known.is_fresh || self.fixed) && !self.url.starts_with("file:");
        let Some(path) = self.valid(store, question.name, known.hash)? else { return Ok(None) };
        Ok(Some(Known { hash: known.hash, path, version: known.version, is_fresh }))
    }

    /// Downloads to a file in `dir`, unless it is still the version `known`.
    fn download(
        &self,
        dir: &TempDir,
        known: Option<&str>,
        means: &Means<'_>,
    ) -> Result<(File, Option<Version>)> {
        let path = file_in(dir);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(PathError::at("creating file", &path))?;
        let (http, progress) = (means.http.clone(), Arc::clone(&means.progress));
        let request = url::Request { url: &self.url, known, letting_in: self.letting_in.clone() };
        let version = url::download(request, http, progress, &mut file, &path)?;
        if self.unpack == Some(Top::Directory) && version.is_some() {
            means.progress.notice(&format!("unpacking '{}'...", self.shown()));
        }
        Ok((file, version))
    }

    /// Adds what was downloaded, if it is what was expected, and notes the time of an archive.
    fn add(
        &self,
        store: &dyn Store,
        name: &str,
        dir: &TempDir,
        file: &mut File,
        version: &mut Version,
    ) -> Result<(Hash, StorePath)> {
        let path = file_in(dir);
        std::io::Seek::rewind(file).map_err(PathError::at("reading file", &path))?;
        let source = match self.unpack {
            Some(top) => {
                let tree = dir.path().join("tree");
                std::fs::create_dir(&tree).map_err(PathError::at("creating directory", &tree))?;
                let unpacked = unpack::unpack(file, &tree, top)?;
                version.newest = Some(unpacked.newest);
                unpacked.top
            }
            None => {
                let mode = if self.executable { 0o755 } else { 0o644 };
                file.set_permissions(Permissions::from_mode(mode))
                    .map_err(PathError::at("changing mode of", &path))?;
                path
            }
        };
        let kind = (self.method(), self.algorithm);
        // The store hashes it, too, and nobody wants to know before whether it is the right one.
        if self.expected.is_none() && kind == (ContentAddressMethod::NixArchive, HashAlgorithm::Sha256) {
            let path = store.add_source(&source, name, kind)?;
            return Ok((store.path_info(&path)?.nar_hash, path));
        }
        let hash = self.hash(&source, file)?;
        if let Some(expected) = self.expected
            && expected != hash
        {
            let mismatch = Mismatch { url: self.shown(), expected, found: hash };
            return Err(FetchError::Mismatch(Box::new(mismatch)));
        }
        Ok((hash, store.add_source(&source, name, kind)?))
    }

    fn hash(&self, source: &Path, file: &mut File) -> Result<Hash> {
        if self.method() == ContentAddressMethod::NixArchive {
            return Ok(dump::hash(source, self.algorithm).map_err(StoreError::from)?.0);
        }
        let mut hasher = Hasher::new(self.algorithm);
        std::io::copy(file, &mut hasher).map_err(PathError::at("reading file", source))?;
        Ok(hasher.finish())
    }
}

fn file_in(dir: &TempDir) -> PathBuf {
    dir.path().join("file")
}
