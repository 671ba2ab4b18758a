//! Does the disk hold what the database says?

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::db::check::{Checked, Names};
use super::{Layout, LocalStore};
use crate::model::{Hash, HashAlgorithm, HashFormat, StorePath, ValidPathInfo};
use crate::nar::hashing::HashPipe;
use crate::nar::{NarError, dump};
use crate::progress::{Advice, Progress, Unit};
use crate::store::api::Store;
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;
use crate::sys::lock::{self, LockKind};
use crate::sys::{PathError, interrupt, threads};

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
    /// The contents are the registered ones, but the size is not.
    Size {
        /// The registered size; 0 where nobody recorded it.
        expected: u64,
        /// The real one.
        found: u64,
    },
    /// It cannot be read.
    Unreadable(NarError),
}

/// A path whose contents are to be looked at.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The path.
    pub path: StorePath,
    /// The hash of its archive.
    pub hash: Hash,
    /// The size of its archive.
    pub size: u64,
}

impl Expected {
    /// What is registered for a path.
    pub fn of(info: &ValidPathInfo) -> Self {
        Self { path: info.path.clone(), hash: info.nar_hash, size: info.nar_size }
    }
}

/// What a check counts.
#[derive(Default)]
struct Tally {
    damaged: u64,
    /// The first path whose contents are damaged and were not repaired.
    example: Option<StorePath>,
}

impl Tally {
    fn add(&mut self, path: &StorePath) {
        self.damaged += 1;
        self.example.get_or_insert_with(|| path.clone());
    }
}

/// Whether two hashes differ in one hexadecimal digit.
fn is_one_digit_off(a: Hash, b: Hash) -> bool {
    let different = a.as_bytes().iter().zip(b.as_bytes()).map(|(a, b)| a ^ b).filter(|bits| *bits != 0);
    let different: Vec<u8> = different.take(2).collect();
    matches!(different[..], [bits] if bits & 0xf0 == 0 || bits & 0x0f == 0)
}

/// Whether the system had no descriptor left.
fn is_exhaustion(error: &PathError) -> bool {
    matches!(error.reason.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
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
    /// [`StoreError`].
    pub fn verify(&self, contents: bool, repair: Option<&[&dyn Store]>) -> Result<bool> {
        let progress = self.progress();
        progress.notice("reading the Nix store...");
        // Who may not write can check all the same; a collection meanwhile may
        // then show as paths that vanished.
        let gc_lock = if self.is_read_only() { None } else { Some(self.lock_out_collections()?) };
        let mends = repair.is_some() && !self.is_read_only();
        let (findings, damaged_rows) = self.verify_rows(mends)?;
        progress.notice("checking path existence...");
        let mut sound = self.verify_existence(&findings.rows, repair)?;
        let mut tally = Tally::default();
        if contents {
            // Reading everything takes long, and a collection need not wait for it:
            // what it deletes meanwhile is not told of.
            let _gc_lock = gc_lock.filter(|_| repair.is_some());
            progress.notice("checking link hashes...");
            sound &= self.verify_links(repair.is_some())?;
            progress.notice("checking store hashes...");
            self.verify_all_contents(&findings.rows, repair, &mut tally)?;
            sound &= self.verify_outputs(&findings.rows, mends)?;
            sound &= self.verify_derivations(&findings.rows)?;
        }
        self.tell_of_all(&findings.rows, damaged_rows, &tally, sound);
        Ok(sound && tally.damaged == 0 && damaged_rows == 0)
    }

    /// The last line: how many paths there are, what is wrong, and what helps; for
    /// a person also where nothing is wrong.
    fn tell_of_all(&self, rows: &[Checked], damaged_rows: usize, tally: &Tally, sound: bool) {
        let mut line = format!("{} paths checked", rows.len());
        if damaged_rows == 0 && tally.damaged == 0 && sound {
            return self.progress().summary(&format!("{line}, none damaged"));
        }
        if tally.damaged > 0 {
            line += &format!(", {} damaged", tally.damaged);
        }
        if damaged_rows > 0 {
            line += &format!(", {damaged_rows} damaged rows of the database");
        }
        if let Some(path) = &tally.example {
            line += &self.progress().advice(Advice::RepairPath(&self.dir().print(path)));
        } else if damaged_rows > 0 {
            line += &self.progress().advice(Advice::Repair);
        }
        self.progress().problem(&line);
    }

    fn lock_out_collections(&self) -> Result<std::fs::File> {
        let path = self.layout().gc_lock();
        let gc_lock = lock::open_lock_file(&path)?;
        lock::lock(&gc_lock, &path, LockKind::Shared, || {
            self.progress().notice("waiting for the big garbage collector lock...");
        })?;
        Ok(gc_lock)
    }

    fn verify_existence(&self, rows: &[Checked], repair: Option<&[&dyn Store]>) -> Result<bool> {
        // The rows were read first: what is registered since then is no concern
        // of ours, and what is put into the directory meanwhile is there before
        // its row.
        let mut present = vec![false; rows.len()];
        let names = Names::new(rows);
        let dir = &self.layout().real_store_dir;
        let error = |error| PathError::new("cannot read directory", dir, error);
        for entry in std::fs::read_dir(dir).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            if let Some(at) = names.find(name.as_bytes()) {
                present[at] = true;
            }
        }
        let vanished: Vec<&Checked> =
            rows.iter().zip(present).filter(|(_, present)| !present).map(|(row, _)| row).collect();
        let mut misnamed_sound = true;
        let mut missing = Vec::new();
        if !vanished.is_empty() {
            let registered: Vec<&StorePath> = rows.iter().map(|row| &row.path).collect();
            let strays = self.unregistered(&registered)?;
            for row in vanished {
                match self.verify_misnamed(row, &strays, repair.is_some() && !self.is_read_only())? {
                    Some(well) => misnamed_sound &= well,
                    None => missing.push(row.path.clone()),
                }
            }
        }
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
        Ok(misnamed_sound && done.values().all(|well| *well))
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
            let mut referrers = match self.db().referrers(&path) {
                Ok(referrers) => referrers,
                Err(error @ StoreError::Damaged { .. }) => {
                    // Told of before; what refers to it is not known.
                    let shown = self.dir().display(&path);
                    self.progress()
                        .problem(&format!("path '{shown}' disappeared; it stays registered: {error}"));
                    done.insert(path, false);
                    continue;
                }
                Err(error) => return Err(error),
            };
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

    fn verify_all_contents(
        &self,
        rows: &[Checked],
        repair: Option<&[&dyn Store]>,
        tally: &mut Tally,
    ) -> Result<()> {
        let work: Vec<(PathId, Expected)> = rows
            .iter()
            .filter_map(|row| {
                Some((row.id, Expected { path: row.path.clone(), hash: row.hash?, size: row.size }))
            })
            .collect();
        let total = work.iter().fold(0u64, |total, (_, expected)| total.saturating_add(expected.size));
        let (ids, work): (Vec<PathId>, Vec<Expected>) = work.into_iter().unzip();
        self.progress().begin("checking", Some(total), Unit::Bytes);
        let count = ids.len() as u64;
        let mut ids = ids.into_iter().zip(1..);
        let result = self.verify_contents(&work, |path, damage| {
            let (id, number) = ids.next().unwrap_or_default();
            self.progress().count(number, count);
            self.progress().detail(&format!("checking contents of '{}'", self.dir().display(path)));
            // What was collected since it was listed is no concern of ours.
            if let Some(damage) = damage
                && self.db().is_valid(path)?
                && !self.judge(id, path, damage, repair)?
            {
                tally.add(path);
            }
            Ok(())
        });
        self.progress().end();
        result
    }

    /// Tells of what is wrong with the contents of a path or with its row, and
    /// mends what can be mended. True if all is well by now.
    fn judge(
        &self,
        id: PathId,
        path: &StorePath,
        damage: Damage,
        repair: Option<&[&dyn Store]>,
    ) -> Result<bool> {
        let shown = self.dir().print(path);
        let progress = self.progress();
        match damage {
            Damage::Size { expected: 0, found } => {
                if self.is_read_only() {
                    return Ok(true);
                }
                progress.problem(&format!("updating size field on '{shown}' to {found}"));
                return self.write(|writer| writer.set(id, "narSize", found.cast_signed())).map(|()| true);
            }
            Damage::Size { expected, found } => {
                progress
                    .problem(&format!("path '{shown}' was registered with size {expected}, but has {found}"));
                if repair.is_none() || self.is_read_only() {
                    return Ok(false);
                }
                progress.notice(&format!("updating size field on '{shown}' to {found}"));
                return self.write(|writer| writer.set(id, "narSize", found.cast_signed())).map(|()| true);
            }
            Damage::Modified { expected, found } if expected.as_bytes().iter().all(|byte| *byte == 0) => {
                if self.is_read_only() {
                    return Ok(true);
                }
                progress.problem(&format!("fixing missing hash on '{shown}'"));
                let hash = found.prefixed(HashFormat::Base16);
                return self.write(|writer| writer.set(id, "hash", hash)).map(|()| true);
            }
            Damage::Modified { expected, found } if is_one_digit_off(expected, found) => {
                // Contents that change have another hash altogether.
                progress.problem(&format!(
                    "the database is damaged: row {id} of ValidPaths ('{shown}'): \
                     its hash '{expected}' differs in a digit from that of the contents, '{found}'"
                ));
                if repair.is_none() || self.is_read_only() {
                    return Ok(false);
                }
                progress.notice(&format!("mended row {id} of ValidPaths: its hash is '{found}'"));
                let hash = found.prefixed(HashFormat::Base16);
                return self.write(|writer| writer.set(id, "hash", hash)).map(|()| true);
            }
            Damage::Modified { expected, found } => progress
                .problem(&format!("path '{shown}' was modified! expected hash '{expected}', got '{found}'")),
            Damage::Unreadable(error) => progress.problem(&format!("cannot check path '{shown}': {error}")),
        }
        let Some(sources) = repair else { return Ok(false) };
        match self.require_repair(path, sources) {
            Ok(()) => Ok(true),
            Err(error @ StoreError::NoSource(_)) => {
                progress.problem(&format!("error: {error}{}", progress.advice(Advice::NameSubstituter)));
                Ok(false)
            }
            Err(error @ (StoreError::Unrepairable { .. } | StoreError::Damaged { .. })) => {
                progress.problem(&format!("error: {error}"));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// See [`Layout::verify_contents`].
    ///
    /// # Errors
    /// The errors of `found`, and a signal.
    pub fn verify_contents(
        &self,
        work: &[Expected],
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
    /// The errors of `found`, and a signal.
    pub fn verify_contents(
        &self,
        work: &[Expected],
        progress: &Arc<dyn Progress>,
        mut found: impl FnMut(&StorePath, Option<Damage>) -> Result<()>,
    ) -> Result<()> {
        let cores = threads::cores().min(work.len().max(1));
        let pipe = if cores > 1 { HashPipe::without_thread } else { HashPipe::new };
        let read = |number: usize| {
            let Expected { path, hash: expected, size } = &work[number];
            let pipe = pipe(HashAlgorithm::Sha256).watched(Arc::clone(progress));
            match dump::hash_with(&self.real_path(path), pipe) {
                Ok((hash, found)) if hash == *expected && found == *size => None,
                Ok((hash, found)) if hash == *expected => Some(Damage::Size { expected: *size, found }),
                Ok((hash, _)) => Some(Damage::Modified { expected: *expected, found: hash }),
                Err(error) => Some(Damage::Unreadable(error)),
            }
        };
        threads::in_order(cores, work.len(), read, |number, damage| match damage {
            Some(Damage::Unreadable(NarError::Interrupted(signal))) => Err(signal.into()),
            // It says nothing of the path.
            Some(Damage::Unreadable(NarError::Path(error))) if is_exhaustion(&error) => Err(error.into()),
            damage => found(&work[number].path, damage),
        })
    }
}
