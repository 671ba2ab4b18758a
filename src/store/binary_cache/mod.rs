//! Binary caches: archives and what is known of them, as files.
//!
//! | file | what |
//! |---|---|
//! | `nix-cache-info` | `StoreDir: DIR`, `WantMassQuery: 0|1`, `Priority: N`, a line each |
//! | `HASHPART.narinfo` | what is known of a path, see [`crate::model::nar_info`]; stored last |
//! | `nar/FILEHASH.nar[.SUFFIX]` | its archive, by the hash of the stored bytes |
//! | `HASHPART.ls` | what is in it (`write-nar-listing`) |
//! | `debuginfo/BUILDID.debug` | where debug information is (`index-debug-info`) |
//! | `log/NAME.drv` | the log of a build |
//! | `realisations/ID.doi` | the path of an output of a derivation, see [`crate::model::realisation`] |
//!
//! What is common to all caches stands here; where the files lie is a
//! [`Transport`].

pub mod cache_info;
pub mod disk_cache;
mod download;
mod error;
mod file;
pub mod http;
pub mod listing;
mod looked_into;
mod narinfos;
mod options;
mod partial;
pub mod s3;
pub mod stage;
mod store;
pub mod transport;
mod upload;

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::http::staged::Staged;
use cache_info::CacheInfo;
use disk_cache::DiskCache;
pub use error::CacheError;
use listing::StoredListing;
pub use options::CacheOptions;
use stage::Stage;
pub use transport::CACHE_INFO;
use transport::{CACHE_INFO_TYPE, Presence, Transport};

use super::compression::{Compression, Effort};
use super::error::{Result, StoreError};
use crate::model::StoreDir;
use crate::nar::NarError;
use crate::progress::Progress;
use crate::store::api::Item;
use crate::sys::interrupt;
use crate::sys::threads::{self, Permits};

/// A binary cache.
pub struct BinaryCache {
    transport: Box<dyn Transport>,
    dir: StoreDir,
    options: CacheOptions,
    info: CacheInfo,
    progress: Arc<dyn Progress>,
    /// There is no description, and what is stored first makes one.
    unmade: AtomicBool,
    /// The user was told that it does not let us in.
    refused: AtomicBool,
    /// What it answered before.
    memory: Option<DiskCache>,
    /// For what keeps a core busy.
    cores: Permits,
    /// For archives that are not small.
    large: Permits,
}

impl BinaryCache {
    /// Opens the cache in a directory, which need not be there: what is stored
    /// first makes it, and reading from it is an error until then.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn open_directory(
        root: PathBuf,
        uri: String,
        dir: StoreDir,
        options: CacheOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let transport = file::FileTransport::open(root, uri, options.sync);
        Self::open(Box::new(transport), dir, options, progress)
    }

    /// Opens the cache at a URL.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn open_http(
        uri: &str,
        settings: crate::http::settings::HttpSettings,
        dir: StoreDir,
        options: CacheOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let transport = http::HttpTransport::open(uri, settings, Arc::clone(&progress))?;
        Self::open(Box::new(transport), dir, options, progress)
    }

    /// Opens the cache in a bucket.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn open_bucket(
        bucket: s3::S3Options,
        settings: crate::http::settings::HttpSettings,
        around: s3::credentials::Surroundings,
        dir: StoreDir,
        options: CacheOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let transport = s3::S3Transport::open(bucket, settings, around, Arc::clone(&progress))?;
        Self::open(Box::new(transport), dir, options, progress)
    }

    fn open(
        transport: Box<dyn Transport>,
        dir: StoreDir,
        options: CacheOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let info = CacheInfo::default();
        let cores = threads::cores();
        let (cores, large) = (Permits::new(cores), Permits::new(cores.max(4)));
        let mut memory = None;
        if transport.is_remote()
            && let Some((cache_dir, lifetimes)) = &options.memory
        {
            match DiskCache::open(cache_dir, transport.key(), &dir, *lifetimes) {
                Ok(opened) => memory = Some(opened),
                Err(reason) => progress.warn(&reason),
            }
        }
        let (unmade, refused) = Default::default();
        let mut cache =
            Self { transport, dir, options, info, progress, unmade, refused, memory, cores, large };
        if let Some(known) = cache.memory.as_ref().and_then(DiskCache::info) {
            cache.info = known;
            return Ok(cache);
        }
        match cache.read_cache_info()? {
            None => cache.unmade = AtomicBool::new(true),
            Some(info) => {
                cache.info = info;
                if let Some(memory) = &cache.memory {
                    memory.set_info(&cache.info);
                    memory.purge();
                }
            }
        }
        Ok(cache)
    }

    /// What it says of itself, or what its URI says of it.
    pub fn info(&self) -> CacheInfo {
        CacheInfo {
            store_dir: None,
            want_mass_query: self.options.want_mass_query.unwrap_or(self.info.want_mass_query),
            priority: self.options.priority.unwrap_or(self.info.priority),
        }
    }

    /// The options it was opened with.
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    fn read_cache_info(&self) -> std::result::Result<Option<CacheInfo>, CacheError> {
        let uri = self.transport.uri();
        let Some(text) = self.read_file(CACHE_INFO, cache_info::MAX_LEN)? else { return Ok(None) };
        let info = CacheInfo::parse(&text).map_err(|(key, value)| CacheError::CacheInfo {
            uri: uri.to_owned(),
            key,
            value,
        })?;
        match &info.store_dir {
            Some(found) if found != self.dir.as_str() => Err(CacheError::StoreDir {
                uri: uri.to_owned(),
                found: found.clone(),
                wanted: self.dir.as_str().to_owned(),
            }),
            _ => Ok(Some(info)),
        }
    }

    /// Refuses to read from what is not there.
    fn expect_made(&self) -> std::result::Result<(), CacheError> {
        let missing = self.unmade.load(Ordering::Relaxed).then(|| self.transport.missing()).flatten();
        missing.map_or(Ok(()), |reason| {
            Err(CacheError::NoCache { uri: self.transport.uri().to_owned(), reason: reason.to_owned() })
        })
    }

    /// Makes the cache, where it is not there yet, because something is about to
    /// be stored.
    fn make(&self) -> std::result::Result<(), CacheError> {
        self.transport.make()?;
        if !self.unmade.load(Ordering::Relaxed) {
            return Ok(());
        }
        let text = format!("StoreDir: {}\n", self.dir.as_str());
        let made = self.transport.put(CACHE_INFO, CACHE_INFO_TYPE, Staged::Memory(text.into_bytes()));
        made.map_err(|error| match error {
            // A server that knows nothing of caches.
            error @ (CacheError::Transfer { .. } | CacheError::Refused { .. }) => CacheError::NotMade {
                uri: self.transport.uri().to_owned(),
                reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
            },
            error => error,
        })?;
        self.unmade.store(false, Ordering::Relaxed);
        if let Some(memory) = &self.memory {
            memory.set_info(&self.info);
        }
        Ok(())
    }

    /// Tells once that the cache does not let us in: what it has then counts as
    /// not there, but only for now.
    fn tell_refusal(&self, error: &CacheError) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            let text = error.to_string();
            let uri = self.transport.uri();
            let first = text.lines().next().unwrap_or_default();
            self.progress.warn(&format!("{first}; what '{uri}' refuses counts as not there"));
        }
    }

    /// As [`Transport::find`]; what we are not let in to is not there.
    fn presence(&self, name: &str) -> std::result::Result<Presence, CacheError> {
        match self.transport.find(name) {
            Err(error @ CacheError::Refused { .. }) => {
                self.tell_refusal(&error);
                Ok(Presence::Absent)
            }
            found => found,
        }
    }

    /// A small file, whole.
    fn read_file(&self, name: &str, most: u64) -> std::result::Result<Option<Vec<u8>>, CacheError> {
        let Some(body) = self.transport.get(name, 0)? else { return Ok(None) };
        match file::read_small(body, most) {
            Ok(data) => Ok(Some(data)),
            Err(source) => {
                interrupt::check()?;
                Err(CacheError::Read { url: self.url(name), reason: source })
            }
        }
    }

    fn url(&self, name: &str) -> String {
        match http::is_absolute(name) {
            true => crate::http::url::shown(name),
            false => format!("{}/{name}", self.transport.uri()),
        }
    }

    /// Asks about many things at once; the answers come in their order.
    fn ask<I: Sync, A: Send>(
        &self,
        about: &[I],
        ask: impl Fn(&I) -> std::result::Result<A, CacheError> + Sync,
    ) -> Result<Vec<A>> {
        let next = AtomicUsize::new(0);
        let answers: Mutex<Vec<(usize, A)>> = Mutex::new(Vec::with_capacity(about.len()));
        threads::on_threads(self.transport.parallel().min(about.len()), || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(one) = about.get(number) else { return Ok(()) };
                let answer = ask(one).inspect_err(|_| next.store(about.len(), Ordering::Relaxed))?;
                threads::locked(&answers).push((number, answer));
            }
        })
        .map_err(|error: CacheError| StoreError::from(error))?;
        let mut answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        answers.sort_unstable_by_key(|(number, _)| *number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// What is in the archive of a path, without the contents of its files, where
    /// the cache has a listing that can be of this archive. It is not signed.
    /// Nothing where archives are kept (`local-nar-cache`), because the listing then
    /// comes from there.
    fn stored_listing(&self, item: &Item) -> Option<StoredListing> {
        if self.options.nar_cache.is_some() {
            return None;
        }
        let name = upload::listing_name(&item.info.path);
        // Whatever is wrong with it: the archive tells the same.
        let body = self.transport.get(&name, 0).ok()??;
        let text = file::read_small(body, listing::MAX_LEN).map_err(NarError::Read);
        let listing = text.and_then(|text| StoredListing::parse(text, item.info.nar_size));
        let unused = |error: &NarError| {
            self.progress.detail(&format!("'{}' is not used: {error}", self.url(&name)));
        };
        listing.inspect_err(unused).ok()
    }

    /// What is read, compressed and ready to be stored.
    fn encoded(
        &self,
        name: &str,
        coding: Compression,
        input: &mut dyn Read,
    ) -> std::result::Result<Staged, CacheError> {
        let failed = |reason| CacheError::Read { url: self.url(name), reason };
        let stage = Stage::new(self.transport.staging(), false);
        let mut encoder = coding.encoder(Effort::small(), stage).map_err(encoding)?;
        std::io::copy(input, &mut encoder).map_err(failed)?;
        encoder.finish().and_then(Stage::finish).map_err(failed)
    }
}

fn encoding(error: std::io::Error) -> CacheError {
    CacheError::Option(error.to_string())
}
