//! Does the disk hold what the database says?

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::{Layout, LocalStore};
use crate::model::{Hash, HashAlgorithm, StorePath};
use crate::nar::hashing::HashPipe;
use crate::nar::{NarError, dump};
use crate::progress::Progress;
use crate::progress::Unit;
use crate::store::error::Result;
use crate::store::transfer::Store;
use crate::sys::lock::{self, LockKind};
use crate::sys::{PathError, interrupt};

/// What is wrong with the contents of a path.
#[derive(Debug)]
pub enum Damage {
    /// Something else is there.
    Modified {
        /// The registered hash.
        expected: Hash,
        /// The real one.
        found: Hash,
    },
    /// It cannot be read.
    Unreadable(NarError),
}

/// Whether the system had no descriptor left.
fn is_exhaustion(error: &PathError) -> bool {
    matches!(error.source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

impl LocalStore {
    /// Checks that every valid path exists, and with `contents` that it holds
    /// what was registered; paths that vanished are taken out of the database
    /// unless others refer to them. With `repair`, what is damaged or gone is
    /// first sought in these stores. True if all is well by now.
    ///
    /// No collection begins while it is looked for what vanished, nor while
    /// something is repaired. Findings are told as notices.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub fn verify(&self, contents: bool, repair: Option<&[&dyn Store]>) -> Result<bool> {
        let progress = self.progress();
        progress.notice("reading the Nix store...");
        // Who may not write can check all the same; a collection meanwhile may
        // then show as paths that vanished.
        let gc_lock = if self.is_read_only() { None } else { Some(self.lock_out_collections()?) };
        progress.notice("checking path existence...");
        let mut sound = self.verify_existence(repair)?;
        if contents {
            // Reading everything takes long, and a collection need not wait for it:
            // what it deletes meanwhile is not told of.
            let _gc_lock = gc_lock.filter(|_| repair.is_some());
            progress.notice("checking link hashes...");
            sound &= self.verify_links(repair.is_some())?;
            progress.notice("checking store hashes...");
            sound &= self.verify_all_contents(repair)?;
            sound &= self.verify_derivations()?;
        }
        Ok(sound)
    }

    fn lock_out_collections(&self) -> Result<std::fs::File> {
        let path = self.layout().gc_lock();
        let gc_lock = lock::open_lock_file(&path)?;
        lock::lock(&gc_lock, &path, LockKind::Shared, || {
            self.progress().notice("waiting for the big garbage collector lock...");
        })?;
        Ok(gc_lock)
    }

    fn verify_existence(&self, repair: Option<&[&dyn Store]>) -> Result<bool> {
        // The database first: what is registered after it was read is no
        // concern of ours, and what is put into the directory meanwhile is
        // there before its row.
        let mut valid: Vec<Box<str>> = Vec::new();
        self.db().each_id(|_, path, _| valid.push(path.rsplit('/').next().unwrap_or(path).into()))?;
        let mut present = vec![false; valid.len()];
        let dir = &self.layout().real_store_dir;
        let error = |error| PathError::new("cannot read directory", dir, error);
        for entry in std::fs::read_dir(dir).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            let found = name.to_str().map(|name| valid.binary_search_by(|valid| (**valid).cmp(name)));
            if let Some(Ok(at)) = found {
                present[at] = true;
            }
        }
        let missing: std::result::Result<Vec<StorePath>, _> = valid
            .iter()
            .zip(present)
            .filter(|(_, present)| !present)
            .map(|(name, _)| StorePath::from_base_name(name))
            .collect();
        let mut missing = missing?;
        if let Some(sources) = repair {
            let mut still = Vec::new();
            for path in missing {
                interrupt::check()?;
                if !self.db().is_valid(&path)? || !self.repair_path(&path, sources)? {
                    still.push(path);
                }
            }
            missing = still;
        }
        // For each vanished path whether all is well now.
        let mut done: HashMap<StorePath, bool> = HashMap::new();
        let gone: HashSet<&StorePath> = missing.iter().collect();
        for path in &missing {
            interrupt::check()?;
            self.remove_vanished(path, &gone, &mut done)?;
        }
        Ok(done.values().all(|well| *well))
    }

    /// Takes the row of a vanished path away, unless it is there after all;
    /// others may have put it back since the directory was read.
    fn invalidate_vanished(&self, path: &StorePath) -> Result<()> {
        let real = self.real_path(path);
        self.write(|writer| match std::fs::symlink_metadata(&real) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let shown = self.dir().print(path);
                self.progress().notice(&format!("path '{shown}' disappeared, removing from database..."));
                writer.invalidate(path)
            }
            Err(error) => Err(PathError::new("getting status of", &real, error).into()),
            Ok(_) => Ok(()),
        })
    }

    /// Takes a vanished path out of the database after those that refer to it,
    /// if these have vanished as well.
    fn remove_vanished(
        &self,
        start: &StorePath,
        gone: &HashSet<&StorePath>,
        done: &mut HashMap<StorePath, bool>,
    ) -> Result<()> {
        // A walk along referrers without recursion, each path twice: before and
        // after those that refer to it.
        let mut begun: HashSet<StorePath> = HashSet::new();
        let mut stack = vec![(start.clone(), false)];
        while let Some((path, referrers_done)) = stack.pop() {
            if done.contains_key(&path) {
                continue;
            }
            let mut referrers = self.db().referrers(&path)?;
            referrers.remove(&path);
            if !referrers_done {
                if begun.insert(path.clone()) {
                    stack.push((path, true));
                    stack.extend(referrers.into_iter().filter(|r| gone.contains(r)).map(|r| (r, false)));
                }
                continue;
            }
            let shown = self.dir().print(&path);
            let well = if !referrers.is_empty() {
                self.progress()
                    .problem(&format!("path '{shown}' disappeared, but it still has valid referrers!"));
                false
            } else if self.is_read_only() {
                self.progress().problem(&format!(
                    "path '{shown}' disappeared; it stays registered, because the store cannot be written to"
                ));
                false
            } else {
                self.invalidate_vanished(&path)?;
                true
            };
            done.insert(path, well);
        }
        Ok(())
    }

    /// Every file of `.links` is named by the hash of its archive.
    fn verify_links(&self, repair: bool) -> Result<bool> {
        let dir = self.layout().links_dir();
        let mut sound = true;
        let error = |error| PathError::new("cannot read directory", &dir, error);
        for entry in std::fs::read_dir(&dir).map_err(error)? {
            interrupt::check()?;
            let path = entry.map_err(error)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(expected) = Hash::parse_digits(&name, HashAlgorithm::Sha256) else { continue };
            match dump::hash(&path, HashAlgorithm::Sha256) {
                Ok((found, _)) if found == expected => {}
                Ok((found, _)) => {
                    self.progress().problem(&format!(
                        "link \"{}\" was modified! expected hash '{expected}', got '{found}'",
                        path.display()
                    ));
                    if repair {
                        std::fs::remove_file(&path).map_err(PathError::at("removing", &path))?;
                        self.progress().notice(&format!("removed link \"{}\"", path.display()));
                    } else {
                        sound = false;
                    }
                }
                // Removed by a collection that ended just before.
                Err(NarError::Missing(_)) => {}
                Err(NarError::Interrupted(signal)) => return Err(signal.into()),
                Err(error) => {
                    self.progress().problem(&format!("cannot check link: {error}"));
                    sound = false;
                }
            }
        }
        Ok(sound)
    }

    fn verify_all_contents(&self, repair: Option<&[&dyn Store]>) -> Result<bool> {
        let mut work = Vec::new();
        let mut total = 0u64;
        self.db().each_path(|row| {
            total = total.saturating_add(row.nar_size);
            work.push((self.dir().parse(&row.path)?, row.nar_hash()?));
            Ok(())
        })?;
        self.progress().begin("checking store hashes", Some(total), Unit::Bytes);
        let mut sound = true;
        let result = self.verify_contents(&work, |path, damage| {
            let Some(damage) = damage else { return Ok(()) };
            if !self.db().is_valid(path)? {
                // Collected since it was listed.
                return Ok(());
            }
            let shown = self.dir().print(path);
            match damage {
                Damage::Modified { expected, found } => self.progress().problem(&format!(
                    "path '{shown}' was modified! expected hash '{expected}', got '{found}'"
                )),
                Damage::Unreadable(error) => {
                    self.progress().problem(&format!("cannot check path '{shown}': {error}"));
                }
            }
            match repair {
                Some(sources) if self.repair_path(path, sources)? => {}
                Some(_) => {
                    self.progress().problem(&format!("error: cannot repair path '{shown}'"));
                    sound = false;
                }
                None => sound = false,
            }
            Ok(())
        });
        self.progress().end();
        result?;
        Ok(sound)
    }

    /// See [`Layout::verify_contents`].
    ///
    /// # Errors
    /// Those of `found`, and interruption.
    pub fn verify_contents(
        &self,
        work: &[(StorePath, Hash)],
        found: impl FnMut(&StorePath, Option<Damage>) -> Result<()>,
    ) -> Result<()> {
        self.layout().verify_contents(work, &self.progress, found)
    }
}

impl Layout {
    /// Compares contents with hashes on all cores; `found` is called in the
    /// order of `work`, with `None` for what is as it should be.
    ///
    /// # Errors
    /// Those of `found`, and interruption.
    pub fn verify_contents(
        &self,
        work: &[(StorePath, Hash)],
        progress: &Arc<dyn Progress>,
        mut found: impl FnMut(&StorePath, Option<Damage>) -> Result<()>,
    ) -> Result<()> {
        let cores = crate::sys::threads::cores().min(work.len().max(1));
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (sender, results) = mpsc::sync_channel(cores * 64);
            for _ in 0..cores {
                let (next, stop, sender, progress) = (&next, &stop, sender.clone(), progress);
                let work = move || {
                    while !stop.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some((path, expected)) = work.get(index) else { break };
                        let pipe = if cores > 1 { HashPipe::without_thread } else { HashPipe::new };
                        let pipe = pipe(HashAlgorithm::Sha256).watched(Arc::clone(progress));
                        let damage = match dump::hash_with(&self.real_path(path), pipe) {
                            Ok((hash, _)) if hash == *expected => None,
                            Ok((hash, _)) => Some(Damage::Modified { expected: *expected, found: hash }),
                            Err(error) => Some(Damage::Unreadable(error)),
                        };
                        if sender.send((index, damage)).is_err() {
                            break;
                        }
                    }
                };
                std::thread::Builder::new()
                    .spawn_scoped(scope, work)
                    .map_err(PathError::at("starting a thread for", &self.real_store_dir))?;
            }
            drop(sender);
            let outcome = in_order(work, results, &mut found);
            stop.store(true, Ordering::Relaxed);
            outcome
        })
    }
}

fn in_order(
    work: &[(StorePath, Hash)],
    results: mpsc::Receiver<(usize, Option<Damage>)>,
    found: &mut impl FnMut(&StorePath, Option<Damage>) -> Result<()>,
) -> Result<()> {
    let mut waiting: HashMap<usize, Option<Damage>> = HashMap::new();
    let mut next = 0;
    for (index, damage) in results {
        if let Some(Damage::Unreadable(NarError::Interrupted(signal))) = damage {
            return Err(signal.into());
        }
        if let Some(Damage::Unreadable(NarError::Path(error))) = damage {
            if is_exhaustion(&error) {
                // It says nothing of the path.
                return Err(error.into());
            }
            waiting.insert(index, Some(Damage::Unreadable(NarError::Path(error))));
        } else {
            waiting.insert(index, damage);
        }
        while let Some(damage) = waiting.remove(&next) {
            found(&work[next].0, damage)?;
            next += 1;
        }
    }
    Ok(())
}
