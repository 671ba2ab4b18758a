//! Giving complete trees their place and their row, several at a time: one
//! sync and one transaction serve them all, and small trees are written by all
//! cores at once.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::LocalStore;
use super::db::write::Existing;
use super::ingest::{HELD, Hashes, Ingest, Ingested, Make, Pending};
use super::place::{Place, Scratch};
use crate::model::{Realisation, StorePath, ValidPathInfo};
use crate::nar::{NarError, Sink};
use crate::store::error::{Result, StoreError};
use crate::sys::clock::now;
use crate::sys::lock::PathLock;
use crate::sys::{interrupt, remove, threads};

/// Paths registered together at most; each needs an open lock file.
const MAX_PATHS: usize = 500;
/// As many paths as leave descriptors for everything else.
fn max_paths() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let share = limit.map_or(MAX_PATHS, |limit| usize::try_from(limit / 4).unwrap_or(MAX_PATHS));
    share.clamp(1, MAX_PATHS)
}

/// Bytes of archives registered together at most, roughly.
const MAX_BYTES: u64 = 64 << 20;

/// A complete tree without a place; what of it is on disk is removed with it.
pub struct Incoming {
    scratch: Arc<Scratch>,
    entry: CString,
    tree: Option<Pending<'static>>,
    /// What there is instead of a tree where it is one plain file.
    text: Option<Vec<u8>>,
    moved: bool,
}

impl Incoming {
    /// A plain file with a text.
    pub(super) fn of_text(scratch: Arc<Scratch>, entry: CString, text: Vec<u8>) -> Self {
        Self { scratch, entry, tree: None, text: Some(text), moved: false }
    }

    /// Writes it, if need be, and moves it to its place.
    fn put(mut self, place: &Place, path: &StorePath) -> Result<()> {
        self.settle()?;
        place.put(&self.scratch, &self.entry, path)?;
        // Nothing of it is left to be removed.
        self.moved = true;
        Ok(())
    }

    /// Writes it, if need be, and puts it in the place of `path` in one step,
    /// with `sync` once it is on disk; what was there is removed.
    pub(super) fn exchange(mut self, place: &Place, path: &StorePath, sync: bool) -> Result<()> {
        self.settle()?;
        if sync {
            place.sync()?;
        }
        place.exchange(&self.scratch, &self.entry, path)?;
        if sync { place.sync() } else { Ok(()) }
    }

    /// Writes it to disk, where it then waits for its place.
    ///
    /// # Errors
    /// [`NarError`].
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(tree) = self.tree.take() {
            tree.write()?;
        }
        match self.text.take() {
            Some(text) => self.scratch.write_text(&self.entry, &text),
            None => Ok(()),
        }
    }

    /// Bytes in memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.tree.as_ref().map_or(0, Pending::held_bytes) + self.text.as_ref().map_or(0, Vec::len)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.moved {
            // At worst it goes with the scratch directory.
            let _ = self.scratch.discard(&self.entry);
        }
    }
}

/// Takes trees in, on any thread.
pub struct Intake {
    scratch: Arc<Scratch>,
    /// For names in the scratch directory.
    taken_in: Arc<AtomicU64>,
    held: usize,
    writeback: bool,
}

impl Intake {
    /// A name in the scratch directory that nothing else has.
    fn entry(&self) -> CString {
        let number = self.taken_in.fetch_add(1, Ordering::Relaxed);
        CString::new(number.to_string()).unwrap_or_default()
    }

    /// Takes a plain file with a text in.
    pub(super) fn take_text(&self, text: Vec<u8>) -> Incoming {
        Incoming::of_text(Arc::clone(&self.scratch), self.entry(), text)
    }

    /// Takes a tree in, as `fill` tells of it.
    ///
    /// # Errors
    /// The errors of `fill`; nothing is then left of the tree.
    pub fn take_in<T>(
        &self,
        hashes: Hashes,
        fill: impl FnOnce(&mut dyn Sink) -> Result<T>,
    ) -> Result<(Ingested, Incoming, T)> {
        let scratch = Arc::clone(&self.scratch);
        let entry = self.entry();
        let mut incoming = Incoming {
            scratch: Arc::clone(&scratch),
            entry: entry.clone(),
            tree: None,
            text: None,
            moved: false,
        };
        let writeback = self.writeback;
        let make: Make<'static> = Box::new(move || {
            let mut restorer = scratch.restorer(entry).map_err(|e| NarError::Sink(Box::new(e)))?;
            restorer.writeback = writeback;
            Ok(restorer)
        });
        let mut ingest = Ingest::new(hashes, self.held, make)?;
        let filled = fill(&mut ingest)?;
        let (ingested, tree) = ingest.finish();
        incoming.tree = Some(tree);
        Ok((ingested, incoming, filled))
    }
}

impl LocalStore {
    /// Takes a tree in, as `fill` tells of it.
    ///
    /// # Errors
    /// The errors of `fill`; nothing is then left of the tree.
    pub fn take_in<T>(
        &self,
        hashes: Hashes,
        fill: impl FnOnce(&mut dyn Sink) -> Result<T>,
    ) -> Result<(Ingested, Incoming, T)> {
        self.intake(HELD)?.take_in(hashes, fill)
    }

    /// What takes trees in, on any thread; each holds so many bytes in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn intake(&self, held: usize) -> Result<Intake> {
        let (scratch, taken_in) = (self.scratch()?, Arc::clone(&self.taken_in));
        Ok(Intake { scratch, taken_in, held, writeback: self.options.sync })
    }

    /// Says that other programs will not take a path.
    pub(super) fn warn_of_depth(&self, path: &StorePath, depth: usize) {
        /// Directories within directories that the reference takes.
        const REFERENCE_DEPTH: usize = 64;
        if depth > REFERENCE_DEPTH {
            self.progress().warn(&format!(
                "path '{}' has {depth} directories within each other; Nix reads {REFERENCE_DEPTH} at most",
                self.dir().display(path)
            ));
        }
    }

    /// Begins a batch.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch {
            store: self,
            items: Vec::new(),
            paths: HashSet::new(),
            outputs: HashMap::new(),
            bytes: 0,
            held: 0,
        }
    }
}

/// The outputs of derivations.
type Outputs = HashMap<StorePath, Vec<(String, StorePath)>>;

/// Complete trees that wait for their place and their row.
pub(super) struct Batch<'s> {
    pub(super) store: &'s LocalStore,
    /// In the order they came, which is that of their references.
    items: Vec<(Incoming, ValidPathInfo)>,
    pub(super) paths: HashSet<StorePath>,
    /// The outputs of the derivations among them, where they are known.
    outputs: Outputs,
    bytes: u64,
    held: usize,
}

impl Batch<'_> {
    /// Adds a tree; it is in the store after the next [`Batch::flush`], which
    /// this calls when enough has come together.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a reference to a path that is neither valid
    /// nor in the batch, and those of a flush.
    pub(super) fn add(&mut self, incoming: Incoming, info: ValidPathInfo) -> Result<()> {
        if self.paths.contains(&info.path) {
            return Ok(());
        }
        self.keep_apart_from_locks(&info.path)?;
        // First a root, then the question whether it is valid: no collection
        // comes in between.
        let others: Vec<&StorePath> =
            info.references.iter().filter(|path| !self.paths.contains(*path)).collect();
        self.store.add_temp_roots(&others)?;
        let db = self.store.db();
        db.snapshot(|| {
            for reference in &info.references {
                let known =
                    *reference == info.path || self.paths.contains(reference) || db.is_valid(reference)?;
                if !known {
                    return Err(self.store.invalid(reference));
                }
            }
            Ok(())
        })?;
        drop(db);
        self.push(incoming, info, None)
    }

    /// Adds a tree whose references are known to be valid or in the batch, and that is kept apart from
    /// locks; with the outputs that it has as a derivation, where they are known.
    ///
    /// # Errors
    /// Those of a flush.
    pub(super) fn push(
        &mut self,
        incoming: Incoming,
        info: ValidPathInfo,
        outputs: Option<Vec<(String, StorePath)>>,
    ) -> Result<()> {
        if let Some(outputs) = outputs {
            self.outputs.insert(info.path.clone(), outputs);
        }
        self.bytes = self.bytes.saturating_add(info.nar_size);
        self.held += incoming.held_bytes();
        self.paths.insert(info.path.clone());
        self.items.push((incoming, info));
        let full = self.items.len() >= max_paths() || self.bytes >= MAX_BYTES || self.held >= HELD;
        if full { self.flush() } else { Ok(()) }
    }

    /// The lock file of `H-x` has the name of the path `H-x.lock`: both cannot
    /// be on their way at once, nor the first once the second is valid.
    pub(super) fn keep_apart_from_locks(&mut self, path: &StorePath) -> Result<()> {
        let lock_name = format!("{}.lock", path.base_name());
        let locked = path.base_name().strip_suffix(".lock");
        let other = |name: &str| StorePath::from_base_name(name).ok();
        for name in locked.into_iter().chain([lock_name.as_str()]) {
            if other(name).is_some_and(|other| self.paths.contains(&other)) {
                self.flush()?;
            }
        }
        match other(&lock_name) {
            Some(occupied) if self.store.db().is_valid(&occupied)? && !self.store.db().is_valid(path)? => {
                Err(StoreError::LockOccupied {
                    path: self.store.dir().print(path),
                    occupied: self.store.dir().print(&occupied),
                })
            }
            _ => Ok(()),
        }
    }

    /// Puts everything in its place, makes it durable and registers it.
    ///
    /// # Errors
    /// [`StoreError`]; what is not registered is removed.
    pub(super) fn flush(&mut self) -> Result<()> {
        let items = std::mem::take(&mut self.items);
        let paths = std::mem::take(&mut self.paths);
        let outputs = std::mem::take(&mut self.outputs);
        (self.bytes, self.held) = (0, 0);
        if items.is_empty() {
            return Ok(());
        }
        let store = self.store;
        store.add_temp_roots(&paths.iter().collect::<Vec<_>>())?;
        store.collect_if_short()?;
        match try_lock_all(store, &items)? {
            Some(locks) => {
                let mut all = Placing::new(store);
                store.db().snapshot(|| {
                    let mut items = locks.into_iter().zip(items);
                    items.try_for_each(|(lock, (incoming, info))| all.push(lock, incoming, info))
                })?;
                all.finish(&outputs)
            }
            // The holder of one of these locks may be waiting for another of
            // them: one at a time nobody waits for us.
            None => items.into_iter().try_for_each(|(incoming, info)| {
                let mut one = Placing::new(store);
                let lock = PathLock::acquire(&store.layout().lock_path(&info.path), || ())?;
                one.push(lock, incoming, info)?;
                one.finish(&outputs)
            }),
        }
    }
}

/// The locks of all paths; `None` if somebody else holds one of them.
fn try_lock_all(store: &LocalStore, items: &[(Incoming, ValidPathInfo)]) -> Result<Option<Vec<PathLock>>> {
    let mut locks = Vec::with_capacity(items.len());
    for (_, info) in items {
        match PathLock::try_acquire(&store.layout().lock_path(&info.path))? {
            Some(lock) => locks.push(lock),
            None => return Ok(None),
        }
    }
    Ok(Some(locks))
}

/// Paths whose locks are held, on their way to being valid. Dropped without
/// [`Placing::finish`], what was put in its place is removed again.
pub(super) struct Placing<'s> {
    store: &'s LocalStore,
    waiting: Vec<(Incoming, StorePath)>,
    infos: Vec<ValidPathInfo>,
    /// What is valid, but was gone, and has come back as it was registered.
    again: Vec<StorePath>,
    /// What is valid, but was gone, and has come back with other contents.
    replaced: HashSet<StorePath>,
    locks: Vec<PathLock>,
}

impl<'s> Placing<'s> {
    pub(super) fn new(store: &'s LocalStore) -> Self {
        let replaced = HashSet::new();
        Self { store, waiting: Vec::new(), infos: Vec::new(), again: Vec::new(), replaced, locks: Vec::new() }
    }

    /// Takes a path over, unless it has become valid before its lock was had.
    pub(super) fn push(&mut self, lock: PathLock, incoming: Incoming, info: ValidPathInfo) -> Result<()> {
        let known = self.store.db().raw_path(&info.path)?;
        if let Some(known) = known {
            if !self.store.is_gone(&info.path) {
                return Ok(());
            }
            let shown = self.store.dir().print(&info.path);
            self.store.progress().warn(&format!("path '{shown}' was gone, and is put there again"));
            if known.nar_hash()? == info.nar_hash {
                // Its row says more than what adds it knows.
                self.again.push(info.path.clone());
                self.waiting.push((incoming, info.path));
                self.locks.push(lock);
                return Ok(());
            }
            self.replaced.insert(info.path.clone());
        }
        self.waiting.push((incoming, info.path.clone()));
        self.infos.push(info);
        self.locks.push(lock);
        Ok(())
    }

    fn finish(self, outputs: &Outputs) -> Result<()> {
        if self.waiting.is_empty() { Ok(()) } else { self.finish_with(outputs, &[]) }
    }

    /// Puts everything in its place, makes it durable and registers it, and which outputs it is.
    ///
    /// # Errors
    /// [`StoreError`]; what is not registered is removed.
    pub(super) fn finish_with(mut self, outputs: &Outputs, realisations: &[Realisation]) -> Result<()> {
        let store = self.store;
        put_all(&store.place()?, std::mem::take(&mut self.waiting))?;
        let is_unknown = |path: &StorePath| path.is_derivation() && !outputs.contains_key(path);
        for info in self.infos.iter().filter(|info| is_unknown(&info.path)) {
            store.check_derivation(&info.path)?;
        }
        let paths: Vec<&StorePath> = self.infos.iter().map(|info| &info.path).chain(&self.again).collect();
        interrupt::check()?;
        if store.options.auto_optimise {
            store.optimise_new(&paths)?;
        }
        store.sync_paths(&paths)?;
        interrupt::check()?;
        store.write(|writer| {
            writer.register(&self.infos, Existing::Update, now(), |path| match outputs.get(path) {
                Some(outputs) => Ok(outputs.clone()),
                None => Ok(store.read_derivation(path)?.known_outputs()),
            })?;
            realisations.iter().try_for_each(|realisation| writer.register_realisation(realisation))
        })?;
        self.infos.clear();
        Ok(())
    }
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        for info in &self.infos {
            // Without a row it is rubbish, which the next to add the path, or
            // a collection, would remove as well. Where that is not certain it
            // stays, unless its row is that of other contents, which are gone.
            if self.replaced.contains(&info.path) || matches!(self.store.db().is_valid(&info.path), Ok(false))
            {
                let _ = remove::remove(&self.store.real_path(&info.path));
            }
        }
    }
}

/// Puts trees in their places, on all cores where there are several.
fn put_all(place: &Place, items: Vec<(Incoming, StorePath)>) -> Result<()> {
    let next = AtomicUsize::new(0);
    let slots: Vec<std::sync::Mutex<Option<(Incoming, StorePath)>>> =
        items.into_iter().map(|item| std::sync::Mutex::new(Some(item))).collect();
    threads::on_all_cores(slots.len(), || {
        loop {
            let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
            let item = slot.lock().ok().and_then(|mut slot| slot.take());
            if let Some((incoming, path)) = item {
                incoming.put(place, &path)?;
            }
        }
    })
}
