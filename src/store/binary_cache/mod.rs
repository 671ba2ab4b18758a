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
mod options;
mod partial;
pub mod s3;
pub mod stage;
pub mod transport;
mod upload;

use std::collections::BTreeSet;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::http::staged::Staged;
use crate::store::api::query::QueryStore;
use cache_info::CacheInfo;
use disk_cache::{DiskCache, Remembered};
pub use error::CacheError;
use listing::StoredListing;
pub use options::CacheOptions;
use stage::Stage;
pub use transport::CACHE_INFO;
use transport::{CACHE_INFO_TYPE, JSON_TYPE, LOG_TYPE, Presence, Transport};

use super::compression::{Compression, Effort};
use super::error::{Result, StoreError};
use crate::model::{DrvOutput, NarInfo, Realisation, StoreDir, StorePath, nar_info, realisation};
use crate::nar::NarError;
use crate::progress::{Activity, ActivityId, ActivityKind, Progress};
use crate::store::api::{About, Item, NarSource, Receiver, Registrar, Store, Taken, usual_parts};
use crate::sys::interrupt;
use crate::sys::threads::{self, Permits};

/// Narinfos that are stored together.
const GATHERED: usize = 500;
/// Bytes of archives after which those that are complete are stored anyway.
const GATHERED_BYTES: u64 = 256 << 20;
/// And the time after which they are.
const GATHERED_FOR: Duration = Duration::from_secs(5);

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
        settings: crate::http::client::HttpSettings,
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
        settings: crate::http::client::HttpSettings,
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

    /// What is known of the path with a hash part.
    fn narinfo(&self, hash_part: &str) -> std::result::Result<Option<NarInfo>, CacheError> {
        interrupt::check()?;
        if let Some(memory) = &self.memory {
            match memory.lookup(hash_part) {
                Remembered::Nothing => {}
                Remembered::Absent => return Ok(None),
                Remembered::Present(info) => return Ok(Some(*info)),
            }
        }
        let info = match self.fetch_narinfo(hash_part) {
            Err(error @ CacheError::Refused { .. }) => {
                self.tell_refusal(&error);
                return Ok(None);
            }
            fetched => fetched?,
        };
        if let Some(memory) = &self.memory {
            memory.set(hash_part, info.as_ref());
        }
        Ok(info)
    }

    /// The path with a hash part.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn path_from_hash_part(&self, hash_part: &str) -> Result<Option<StorePath>> {
        Ok(self.narinfo(hash_part)?.map(|found| found.info.path))
    }

    fn fetch_narinfo(&self, hash_part: &str) -> std::result::Result<Option<NarInfo>, CacheError> {
        let file = format!("{hash_part}.narinfo");
        let Some(text) = self.read_file(&file, nar_info::MAX_LEN)? else { return Ok(None) };
        let uri = || self.transport.uri().to_owned();
        let info = NarInfo::parse(&self.dir, &text).map_err(|reason| CacheError::NarInfo {
            file: file.clone(),
            uri: uri(),
            reason,
        })?;
        if info.info.path.hash_part() != hash_part {
            let (found, wanted) = (self.dir.print(&info.info.path), format!("{hash_part}-…"));
            return Err(CacheError::OtherPath { file, uri: uri(), found, wanted });
        }
        Ok(Some(info))
    }

    fn item(&self, path: &StorePath) -> std::result::Result<Option<Item>, CacheError> {
        let (shown, uri) = (self.dir.print(path), self.transport.uri());
        let activity = self.progress.start(&Activity {
            kind: ActivityKind::QueryPathInfo,
            text: &format!("querying info about '{shown}' on '{uri}'"),
            fields: &[&shown, uri],
            parent: ActivityId::NONE,
        });
        let found = self.narinfo(path.hash_part());
        self.progress.stop(activity);
        let Some(NarInfo { info, file }) = found? else { return Ok(None) };
        if info.path != *path {
            return Err(CacheError::OtherPath {
                file: format!("{}.narinfo", path.hash_part()),
                uri: self.transport.uri().to_owned(),
                found: self.dir.print(&info.path),
                wanted: self.dir.print(path),
            });
        }
        Ok(Some(Item { info, file: Some(file) }))
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
    pub fn listing(&self, item: &Item) -> Option<StoredListing> {
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

    /// Whether a path is there. What is remembered may have been removed from the
    /// cache, and then it would not be stored again.
    fn is_stored(&self, path: &StorePath) -> std::result::Result<bool, CacheError> {
        interrupt::check()?;
        if self.transport.is_remote() {
            let found = self.presence(&format!("{}.narinfo", path.hash_part()))?;
            // An empty one is what is left of something.
            return Ok(!matches!(found, Presence::Absent | Presence::Present(Some(0))));
        }
        // Here it costs next to nothing to look closer.
        let info = match self.fetch_narinfo(path.hash_part()) {
            Ok(Some(info)) => info,
            Ok(None) => return Ok(false),
            Err(error @ (CacheError::NarInfo { .. } | CacheError::OtherPath { .. })) => {
                self.progress.warn(&format!("{error}; it is stored again"));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if self.check_file(&Item { info: info.info, file: None }, &info.file).is_err() {
            return Ok(true);
        }
        match self.transport.find(&info.file.url)? {
            Presence::Present(len) => Ok(len.is_none() || info.file.size.is_none() || len == info.file.size),
            Presence::Absent => Ok(false),
        }
    }

    /// A narinfo that is ready to be stored, and its name.
    fn prepare(&self, info: &NarInfo) -> std::result::Result<(String, Staged), CacheError> {
        let name = format!("{}.narinfo", info.info.path.hash_part());
        let text = info.print(&self.dir).into_bytes();
        let text = match self.options.narinfo_coding {
            Compression::None => text,
            coding => {
                let mut encoder = coding.encoder(Effort::small(), Vec::new()).map_err(encoding)?;
                encoder.write_all(&text).and_then(|()| encoder.finish()).map_err(encoding)?
            }
        };
        let staged = self.transport.prepare(&name, text)?;
        Ok((name, staged))
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

    fn store_narinfos(&self, infos: &[NarInfo]) -> std::result::Result<(), CacheError> {
        let files = infos.iter().map(|info| self.prepare(info)).collect::<std::result::Result<_, _>>()?;
        self.transport.put_all(files, self.options.narinfo_coding)?;
        if let Some(memory) = &self.memory {
            infos.iter().for_each(|info| memory.set(info.info.path.hash_part(), Some(info)));
        }
        Ok(())
    }
}

fn realisation_name(id: &DrvOutput) -> String {
    format!("realisations/{id}.doi")
}

fn encoding(error: std::io::Error) -> CacheError {
    CacheError::Option(error.to_string())
}

impl Store for BinaryCache {
    fn uri(&self) -> String {
        self.transport.uri().to_owned()
    }

    fn dir(&self) -> &StoreDir {
        &self.dir
    }

    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>> {
        if !paths.is_empty() {
            self.expect_made()?;
        }
        self.ask(paths, |path| self.item(path))
    }

    fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        if self.expect_made().is_err() {
            return Ok(BTreeSet::new());
        }
        let found = self.ask(paths, |path| Ok(self.is_stored(path)?.then(|| path.clone())))?;
        Ok(found.into_iter().flatten().collect())
    }

    fn is_there(&self, path: &StorePath) -> Result<bool> {
        // What is read from a cache is what is remembered of it.
        Ok(self.expect_made().is_ok()
            && self.narinfo(path.hash_part())?.is_some_and(|found| found.info.path == *path))
    }

    fn all(&self) -> Result<Vec<StorePath>> {
        self.expect_made()?;
        let parts = self.transport.hash_parts()?;
        let parts = parts.ok_or_else(|| CacheError::Unlisted(self.transport.uri().to_owned()))?;
        let infos = self.ask(&parts, |part| Ok(self.narinfo(part)?.map(|info| info.info.path)))?;
        Ok(infos.into_iter().flatten().collect())
    }

    fn source(&self, _items: &[Item]) -> Result<Box<dyn NarSource + '_>> {
        self.expect_made()?;
        Ok(Box::new(download::Reader::new(self)))
    }

    fn parallel(&self) -> usize {
        self.transport.parallel()
    }

    fn receiver(&self, _items: &[Item], _check_signatures: bool) -> Result<Receiver<'_>> {
        self.make()?;
        Ok(Receiver {
            taker: Box::new(upload::Uploader(self)),
            registrar: Box::new(Gatherer { cache: self, files: Vec::new(), bytes: 0, since: Instant::now() }),
            parallel: self.transport.parallel(),
            publishes: !self.transport.gathers(),
        })
    }

    fn add_signatures(&self, signed: &[Item]) -> Result<()> {
        // As they are now: what is remembered may be of last month.
        let fresh = self.ask(signed, |item| {
            let Some(mut there) = self.fetch_narinfo(item.info.path.hash_part())? else { return Ok(None) };
            let same = there.info.path == item.info.path
                && there.info.nar_hash == item.info.nar_hash
                && there.info.nar_size == item.info.nar_size
                && there.info.references == item.info.references;
            let before = there.info.signatures.len();
            there.info.signatures.extend(item.info.signatures.iter().cloned());
            Ok((same && there.info.signatures.len() > before).then_some(there))
        })?;
        let fresh: Vec<NarInfo> = fresh.into_iter().flatten().collect();
        if fresh.is_empty() { Ok(()) } else { Ok(self.store_narinfos(&fresh)?) }
    }

    fn log(&self, path: &StorePath) -> Result<Option<Box<dyn Read + '_>>> {
        let drv = match path.is_derivation() {
            true => Some(path.clone()),
            false => self.item(path)?.and_then(|item| item.info.deriver),
        };
        let Some(drv) = drv else { return Ok(None) };
        self.expect_made()?;
        let body = match self.transport.get(&format!("log/{}", drv.base_name()), 0) {
            Err(error @ CacheError::Refused { .. }) => {
                self.tell_refusal(&error);
                None
            }
            body => body?,
        };
        Ok(body.map(|body| body.reader as Box<dyn Read>))
    }

    fn add_log(&self, drv: &StorePath, log: &mut dyn Read) -> Result<()> {
        self.make()?;
        let name = format!("log/{}", drv.base_name());
        let log = self.encoded(&name, self.options.log_coding, log)?;
        Ok(self.transport.put_encoded(&name, LOG_TYPE, self.options.log_coding, log)?)
    }

    fn uses_realisations(&self) -> bool {
        self.options.realisations
    }

    fn realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        if self.expect_made().is_err() {
            return Ok(None);
        }
        let name = realisation_name(id);
        let text = match self.read_file(&name, realisation::MAX_LEN) {
            Err(error @ CacheError::Refused { .. }) => {
                self.tell_refusal(&error);
                None
            }
            text => text?,
        };
        let Some(text) = text else { return Ok(None) };
        let wrong = |reason| CacheError::Realisation { url: self.url(&name), reason };
        match Realisation::parse(&text) {
            Ok(found) if found.id == *id => Ok(Some(found)),
            Ok(found) => Err(wrong(format!("it is about '{}'", found.id)).into()),
            Err(error) => Err(wrong(error.to_string()).into()),
        }
    }

    fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        self.make()?;
        let mut signed = realisation.clone();
        let stored = match self.realisation(&realisation.id) {
            Err(StoreError::Cache(error @ CacheError::Realisation { .. })) => {
                self.progress.warn(&format!("{error}; it is stored again"));
                None
            }
            stored => stored?,
        };
        // Signatures of the same statement stay.
        if let Some(stored) = &stored
            && stored.out_path == signed.out_path
            && stored.dependents == signed.dependents
        {
            signed.signatures.extend(stored.signatures.iter().cloned());
        }
        self.options.secret_keys.iter().for_each(|key| signed.sign(key));
        if stored.as_ref() == Some(&signed) {
            return Ok(());
        }
        let data = Staged::Memory(signed.print().into_bytes());
        Ok(self.transport.put(&realisation_name(&realisation.id), JSON_TYPE, data)?)
    }

    fn about(&self) -> Result<About> {
        // A server does not say.
        Ok(About { version: None, trusted: (!self.transport.is_remote()).then_some(true) })
    }

    usual_parts!();
}

impl QueryStore for BinaryCache {
    fn path_from_hash_part(&self, part: &str) -> Result<Option<StorePath>> {
        BinaryCache::path_from_hash_part(self, part)
    }
}

/// Stores narinfos in a directory, many at a time, whose answers need not be
/// remembered.
struct Gatherer<'c> {
    cache: &'c BinaryCache,
    files: Vec<(String, Staged)>,
    bytes: u64,
    since: Instant,
}

impl Registrar for Gatherer<'_> {
    fn register(&mut self, taken: Taken) -> Result<()> {
        let Some(info) = taken.redeem::<NarInfo>() else { return Ok(()) };
        self.bytes = self.bytes.saturating_add(info.file.size.unwrap_or(0));
        self.files.push(self.cache.prepare(&info)?);
        let full = self.files.len() >= GATHERED
            || self.bytes >= GATHERED_BYTES
            || self.since.elapsed() >= GATHERED_FOR;
        if full { self.finish() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<()> {
        (self.bytes, self.since) = (0, Instant::now());
        let files = std::mem::take(&mut self.files);
        if files.is_empty() {
            Ok(())
        } else {
            Ok(self.cache.transport.put_all(files, self.cache.options.narinfo_coding)?)
        }
    }
}
