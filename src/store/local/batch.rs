//! Giving complete trees their place and their row, several at a time: one
//! sync and one transaction serve them all.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::time::{SystemTime, UNIX_EPOCH};

use super::LocalStore;
use super::db::write::Existing;
use super::ingest::{Hashes, Ingest, Ingested, Make, Pending};
use crate::model::derivation::modulo::{self, Modulo};
use crate::model::{StorePath, ValidPathInfo};
use crate::nar::restore::{Metadata, Restorer};
use crate::nar::{NarError, Sink};
use crate::store::error::{Result, StoreError};
use crate::sys::lock::PathLock;
use crate::sys::{PathError, remove};

/// Paths registered together at most.
const MAX_PATHS: usize = 64;
/// Bytes of archives registered together at most, roughly.
const MAX_BYTES: u64 = 64 << 20;

/// A complete tree without a place; what of it is on disk is removed with it.
pub struct Incoming<'s> {
    store: &'s LocalStore,
    entry: CString,
    tree: Option<Pending<'s>>,
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        // At worst it goes with the scratch directory.
        let _ = self.store.discard(&self.entry);
    }
}

impl LocalStore {
    /// Takes a tree in, as `fill` tells of it.
    ///
    /// # Errors
    /// Those of `fill`; nothing is then left of it.
    pub(super) fn take_in<T>(
        &self,
        hashes: Hashes,
        fill: impl FnOnce(&mut dyn Sink) -> Result<T>,
    ) -> Result<(Ingested, Incoming<'_>, T)> {
        self.require_writable()?;
        let number = self.taken_in.get();
        self.taken_in.set(number + 1);
        let entry = CString::new(number.to_string()).unwrap_or_default();
        let mut incoming = Incoming { store: self, entry: entry.clone(), tree: None };
        let make: Make<'_> =
            Box::new(move || self.make_restorer(entry).map_err(|e| NarError::Sink(Box::new(e))));
        let mut ingest = Ingest::new(hashes, make)?;
        let filled = fill(&mut ingest)?;
        let (ingested, tree) = ingest.finish();
        incoming.tree = Some(tree);
        Ok((ingested, incoming, filled))
    }

    fn make_restorer(&self, entry: CString) -> Result<Restorer> {
        let scratch = self.scratch()?;
        let shown = scratch.shown(&entry);
        let handle =
            scratch.handle().try_clone_to_owned().map_err(PathError::at("opening directory", &shown))?;
        Ok(Restorer::new(handle, entry, &shown, Metadata::Canonical))
    }

    /// Begins a batch.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { store: self, items: BTreeMap::new(), order: Vec::new(), bytes: 0 }
    }

    /// Gives one tree its place and its row, unless the path is valid already.
    ///
    /// # Errors
    /// [`StoreError`]; the store is then as before.
    pub(super) fn settle(&self, incoming: Incoming<'_>, info: ValidPathInfo) -> Result<()> {
        let mut batch = self.batch();
        batch.add(incoming, info)?;
        batch.flush()
    }

    /// Checks the outputs of a derivation that lies in its place.
    fn check_derivation(&self, path: &StorePath) -> Result<()> {
        let drv = self.read_derivation(path)?;
        let name = path.name().strip_suffix(".drv").unwrap_or(path.name());
        let mut known = HashMap::new();
        modulo::check_outputs(&drv, self.dir(), name, |input| self.input_hash(input, &mut known, 0))?
            .map_err(|source| StoreError::DerivationOutput { path: self.dir().print(path), source })
    }

    fn input_hash(
        &self,
        path: &StorePath,
        known: &mut HashMap<StorePath, Modulo>,
        depth: usize,
    ) -> Result<Modulo> {
        /// Chains of derivations are a few hundred long at most.
        const MAX_CHAIN: usize = 4000;
        if let Some(hash) = known.get(path) {
            return Ok(*hash);
        }
        if depth > MAX_CHAIN {
            return Err(StoreError::Row {
                path: self.dir().print(path),
                message: "derivations refer to each other in a circle".to_owned(),
            });
        }
        let drv = self.read_derivation(path)?;
        let hash = modulo::hash_as_input(&drv, self.dir(), |input| self.input_hash(input, known, depth + 1))?;
        known.insert(path.clone(), hash);
        Ok(hash)
    }
}

/// Paths that are in their place and wait for their rows. Dropped without
/// [`Batch::flush`], they are removed again.
pub(super) struct Batch<'s> {
    store: &'s LocalStore,
    items: BTreeMap<StorePath, PathLock>,
    order: Vec<ValidPathInfo>,
    bytes: u64,
}

impl Batch<'_> {
    /// Puts a tree in its place, unless the path is valid already.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a reference to a path that is not valid.
    pub(super) fn add(&mut self, mut incoming: Incoming<'_>, info: ValidPathInfo) -> Result<()> {
        let store = self.store;
        store.add_temp_roots(&[&info.path])?;
        if self.items.contains_key(&info.path) || store.db().is_valid(&info.path)? {
            return Ok(());
        }
        for reference in &info.references {
            let known = *reference == info.path
                || self.items.contains_key(reference)
                || store.db().is_valid(reference)?;
            if !known {
                return Err(store.invalid(reference));
            }
        }
        let lock_path = store.layout().lock_path(&info.path);
        let lock = match PathLock::try_acquire(&lock_path)? {
            Some(lock) => lock,
            None => {
                // Whoever holds it may be waiting for one of ours.
                self.flush()?;
                PathLock::acquire(&lock_path, || ())?
            }
        };
        if store.db().is_valid(&info.path)? {
            return Ok(());
        }
        // From here on the path is removed again should anything fail.
        self.items.insert(info.path.clone(), lock);
        self.order.push(info);
        let Some(info) = self.order.last() else { return Ok(()) };
        if let Some(tree) = incoming.tree.take() {
            tree.write()?;
        }
        store.put_in_place(&incoming.entry, &info.path)?;
        if info.path.is_derivation() {
            store.check_derivation(&info.path)?;
        }
        self.bytes = self.bytes.saturating_add(info.nar_size);
        if self.items.len() >= MAX_PATHS || self.bytes >= MAX_BYTES { self.flush() } else { Ok(()) }
    }

    /// Makes everything durable, registers it, and lets the locks go.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batch is then registered, and it is
    /// removed.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.order.is_empty() {
            return Ok(());
        }
        let store = self.store;
        let paths: Vec<&StorePath> = self.items.keys().collect();
        store.sync_paths(&paths)?;
        store.write(|writer| {
            writer.register(&self.order, Existing::Update, now(), |path| store.read_derivation(path))
        })?;
        self.order.clear();
        self.items.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for info in &self.order {
            // Without a row it is rubbish, which the next to add the path, or
            // a collection, would remove as well.
            let _ = remove::remove(&self.store.real_path(&info.path));
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
