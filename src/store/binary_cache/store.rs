//! A binary cache as a store among others.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

use super::transport::{JSON_TYPE, LOG_TYPE};
use super::{BinaryCache, CacheError, download, upload};
use crate::http::staged::Staged;
use crate::model::{DrvOutput, NarInfo, Realisation, StoreDir, StorePath, realisation};
use crate::nar::Sink;
use crate::store::api::query::QueryStore;
use crate::store::api::{About, Item, NarSource, Receiver, Registrar, Standing, Store, Taken, usual_parts};
use crate::store::error::{Result, StoreError};

/// Narinfos that are stored together.
const GATHERED: usize = 500;
/// Bytes of archives after which those that are complete are stored anyway.
const GATHERED_BYTES: u64 = 256 << 20;
/// And the time after which they are.
const GATHERED_FOR: Duration = Duration::from_secs(5);

fn realisation_name(id: &DrvOutput) -> String {
    format!("realisations/{id}.doi")
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

    fn look_into(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        self.look_into_kept(item, sink)
    }

    fn list_archive(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        match self.stored_listing(item) {
            Some(stored) => Ok(stored.tell(sink)?),
            None => self.look_into(item, sink),
        }
    }

    fn standing(&self) -> Standing {
        let info = self.info();
        Standing { trusted: self.options.trusted, priority: info.priority, mass_query: info.want_mass_query }
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
