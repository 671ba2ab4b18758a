//! Adding what is behind a URL to a store.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use crate::fetch::{FetchError, Result, unpack, url};
use crate::http::settings::HttpSettings;
use crate::model::content_address::ContentReferences;
use crate::model::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, HashFormat, Hasher, StorePath,
};
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
    /// It is an archive, of which the contents are added.
    pub unpack: bool,
    /// It is a program.
    pub executable: bool,
}

impl Prefetch {
    fn method(&self) -> ContentAddressMethod {
        match self.unpack || self.executable {
            true => ContentAddressMethod::NixArchive,
            false => ContentAddressMethod::Flat,
        }
    }

    /// The URL as messages show it.
    pub fn shown(&self) -> String {
        crate::http::url::shown(&self.url)
    }

    /// Gets it, unless something with the expected hash is valid already, and
    /// gives its hash and path.
    ///
    /// # Errors
    /// [`FetchError`]; nothing is added then.
    pub fn run(
        &self,
        store: &dyn Store,
        settings: HttpSettings,
        progress: Arc<dyn Progress>,
    ) -> Result<(Hash, StorePath)> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => url::file_name(&self.url)?,
        };
        crate::model::store_path::check_name(&name)
            .map_err(|reason| StoreError::Name { path: name.clone(), reason })?;
        if let Some(hash) = self.expected {
            let ca = ContentAddress { method: self.method(), hash };
            let path = store.dir().content_path(&name, &ca, &ContentReferences::default());
            let path = path.map_err(StoreError::from)?;
            store.add_temp_roots(&[&path])?;
            if store.is_valid(&path)? {
                return Ok((hash, path));
            }
        }
        // Nobody else may look into it, or change it.
        let dir = tempfile::Builder::new()
            .prefix("nival-fetch-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| PathError::new("creating directory in", std::env::temp_dir(), error))?;
        let path = dir.path().join("file");
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(PathError::at("creating file", &path))?;
        url::download(&self.url, settings, progress, &mut file, &path)?;
        let source = if self.unpack {
            let tree = dir.path().join("tree");
            std::fs::create_dir(&tree).map_err(PathError::at("creating directory", &tree))?;
            std::io::Seek::rewind(&mut file).map_err(PathError::at("reading file", &path))?;
            unpack::unpack(&mut file, &tree)?
        } else {
            let mode = if self.executable { 0o755 } else { 0o644 };
            file.set_permissions(Permissions::from_mode(mode))
                .map_err(PathError::at("changing mode of", &path))?;
            path
        };
        let hash = match self.method() {
            ContentAddressMethod::NixArchive => {
                dump::hash(&source, self.algorithm).map_err(StoreError::from)?.0
            }
            _ => {
                let mut hasher = Hasher::new(self.algorithm);
                std::io::Seek::rewind(&mut file)
                    .and_then(|()| std::io::copy(&mut file, &mut hasher))
                    .map_err(PathError::at("reading file", &source))?;
                hasher.finish()
            }
        };
        if let Some(expected) = self.expected
            && expected != hash
        {
            return Err(FetchError::Mismatch {
                url: self.shown(),
                expected: expected.digits(HashFormat::Sri),
                found: hash.digits(HashFormat::Sri),
            });
        }
        let path = store.add_source(&source, &name, (self.method(), self.algorithm))?;
        Ok((hash, path))
    }
}
