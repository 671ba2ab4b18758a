//! Making a lost database anew from the store directory.
//!
//! Every path is hashed, and its references are the paths whose hash parts
//! stand in it. What can be checked is: derivations and other content-addressed
//! paths against their names. Of the rest, what looks complete (it has the
//! metadata of a store, and nobody's lock lies beside it) is taken as it is.
//! Nothing is deleted; what is not registered is told, with the reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType};

use super::LocalOptions;
use super::db::write::Existing;
use super::db::{Access, Db};
use super::examine::{content_address, examine};
use crate::model::references::Candidates;
use crate::model::{Derivation, StorePath, ValidPathInfo};
use crate::nar::restore::CANONICAL_MTIME;
use crate::progress::{Progress, Unit};
use crate::store::error::{Result, StoreError};
use crate::sys::lock::{self, LockKind};
use crate::sys::{PathError, atomic, clock, dir, interrupt, threads, walk};

/// What came of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebuildReport {
    /// Paths that are registered now.
    pub registered: u64,
    /// Entries of the store directory that are not; each was told.
    pub left: u64,
}

/// What is known of one path.
struct Found {
    info: ValidPathInfo,
    derivation: Option<Derivation>,
}

/// Makes the database of a store anew; there must be none, or an empty one.
///
/// # Errors
/// [`StoreError`]; the store is then as before.
pub fn rebuild(options: &LocalOptions, progress: &Arc<dyn Progress>) -> Result<RebuildReport> {
    let layout = &options.layout;
    if !options.allow_symlinks {
        layout.refuse_symlinks()?;
    }
    super::db::check_version(&layout.db_dir())?;
    layout.create(Some(options.reserved_space))?;
    let path = layout.big_lock();
    let big_lock = lock::open_lock_file(&path)?;
    // Nobody else has the store open.
    lock::lock(&big_lock, &path, LockKind::Exclusive, || {
        progress.notice("waiting for the big Nix store lock...");
    })?;
    refuse_unless_lost(options)?;
    let rebuild = Rebuild { options, progress: &**progress };
    let (names, left) = rebuild.entries()?;
    let found = rebuild.read_all(names)?;
    let (found, refused) = rebuild.consistent(found);
    let report = RebuildReport { registered: found.len() as u64, left: left + refused };
    rebuild.write(&found)?;
    rebuild.tell_of_realisations(&found);
    progress.notice(&format!(
        "registered {} paths; {} entries of the store directory are not registered",
        report.registered, report.left
    ));
    Ok(report)
}

/// A database with something in it is not lost.
fn refuse_unless_lost(options: &LocalOptions) -> Result<()> {
    let file = options.layout.db_dir().join("db.sqlite");
    match std::fs::symlink_metadata(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PathError::new("getting status of", file, error).into()),
        Ok(meta) if meta.len() == 0 => return Ok(()),
        Ok(_) => {}
    }
    let why = match super::db::count_rows(&file) {
        Ok(0) => return Ok(()),
        Ok(count) => format!("has {count} valid paths"),
        Err(error) => format!("cannot be read ({error})"),
    };
    Err(StoreError::NotLost { database: file, why })
}

struct Rebuild<'r> {
    options: &'r LocalOptions,
    progress: &'r dyn Progress,
}

impl Rebuild<'_> {
    fn refuse(&self, name: &str, why: &str) {
        let dir = self.options.layout.store_dir.as_str();
        self.progress.warn(&format!("not registering '{dir}/{name}': {why}"));
    }

    /// Tells of derivations whose output paths only a realisation could tell: the lost
    /// database had them, and nothing else does.
    fn tell_of_realisations(&self, found: &[Found]) {
        let is_open = |drv: &Derivation| drv.outputs.values().any(|output| output.path().is_none());
        let count =
            found.iter().filter_map(|found| found.derivation.as_ref()).filter(|drv| is_open(drv)).count();
        if count > 0 {
            self.progress.notice(&format!(
                "{count} derivations have outputs whose paths only realisations tell, which are lost \
                 with the old database; outputs that are there are registered as paths, and belong \
                 to their derivations again once they are built or fetched"
            ));
        }
    }

    /// The names that can be paths, and how many other entries there are.
    fn entries(&self) -> Result<(BTreeSet<StorePath>, u64)> {
        let path = &self.options.layout.real_store_dir;
        let error = |error| PathError::new("cannot read directory", path, error);
        let mut names = BTreeSet::new();
        let mut all = BTreeSet::new();
        let mut left = 0;
        for entry in std::fs::read_dir(path).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            if name == ".links" {
                continue;
            }
            match name.to_str().map(StorePath::from_base_name) {
                Some(Ok(path)) => {
                    all.insert(path);
                }
                _ => {
                    self.refuse(&name.to_string_lossy(), "its name is not that of a store path");
                    left += 1;
                }
            }
        }
        for path in &all {
            let locked = path.base_name().strip_suffix(".lock");
            if locked.and_then(|locked| StorePath::from_base_name(locked).ok()).is_some() {
                self.refuse(path.base_name(), "it is a lock file");
                left += 1;
            } else {
                names.insert(path.clone());
            }
        }
        Ok((names, left))
    }

    /// Hashes and scans everything, on all cores; what cannot be read is told
    /// and has no result.
    fn read_all(&self, names: BTreeSet<StorePath>) -> Result<BTreeMap<StorePath, Option<Found>>> {
        let candidates = Candidates::new(names.iter().cloned());
        for name in names.iter().filter(|name| !candidates.contains(name)) {
            self.refuse(name.base_name(), "another path has the same hash part");
        }
        let names: Vec<StorePath> = names.into_iter().collect();
        let results: Vec<Mutex<Option<Found>>> = names.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        self.progress.begin("reading the store", Some(names.len() as u64), Unit::Items);
        let read = threads::on_all_cores(names.len(), || {
            while let Some((at, path)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, names.get(at)?)))
            {
                interrupt::check()?;
                if !candidates.contains(path) {
                    continue;
                }
                match self.read(path, &candidates) {
                    Ok(found) => *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(found),
                    Err(error) if error.is_interruption() => return Err(error),
                    Err(error) => self.refuse(path.base_name(), &error.to_string()),
                }
                self.progress.advance(1);
            }
            Ok(())
        });
        self.progress.end();
        read?;
        let results =
            results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(names.into_iter().zip(results).collect())
    }

    fn read(&self, path: &StorePath, candidates: &Candidates) -> Result<Found> {
        let real = self.options.layout.real_path(path);
        let examined = examine(&real, candidates)?;
        let mut info = ValidPathInfo::new(path.clone(), examined.hash, examined.size);
        info.references = examined.references;
        let mut derivation = None;
        if path.is_derivation() {
            /// The largest derivations are a few megabytes.
            const MAX_LEN: u64 = 64 << 20;
            let text = crate::sys::read_regular(&real, MAX_LEN)?;
            let shown = || self.options.layout.store_dir.print(path);
            let parsed = Derivation::parse(&self.options.layout.store_dir, &text)
                .map_err(|reason| StoreError::Derivation { path: shown(), reason })?;
            info.references = parsed.references();
            // Only the outputs are of use later, and there may be many derivations.
            derivation = Some(Derivation { outputs: parsed.outputs, ..Derivation::default() });
        }
        info.ca = content_address(&self.options.layout.store_dir, &info, examined.flat);
        match info.ca {
            Some(_) => {}
            None if derivation.is_some() => {
                return Err(StoreError::Suspect("its contents are not what its name says".to_owned()));
            }
            None => self.looks_complete(path, &real)?,
        }
        Ok(Found { info, derivation })
    }

    /// Whether a path has the metadata that it gets when it is complete, and
    /// nobody's lock lies beside it.
    fn looks_complete(&self, path: &StorePath, real: &Path) -> Result<()> {
        let incomplete = |why: &str| Err(StoreError::Suspect(format!("it may be incomplete: {why}")));
        if std::fs::symlink_metadata(self.options.layout.lock_path(path)).is_ok() {
            return incomplete("its lock file is there");
        }
        let (parent, name) = dir::open_parent(real)?;
        let mut odd: Option<PathBuf> = None;
        walk::walk(
            std::os::fd::AsFd::as_fd(&parent),
            &name,
            real,
            |entry| -> std::result::Result<(), PathError> {
                let stat = rustix::fs::statat(entry.dir, entry.name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| entry.error("getting status of", errno))?;
                let writable = stat.st_mode & 0o222 != 0 && entry.file_type != FileType::Symlink;
                if (writable || stat.st_mtime != CANONICAL_MTIME) && odd.is_none() {
                    odd = Some(entry.path().to_owned());
                }
                Ok(())
            },
        )?;
        match odd {
            Some(odd) => incomplete(&format!("\"{}\" has other metadata than a store's", odd.display())),
            None => Ok(()),
        }
    }

    /// What can be registered: nothing that refers to what cannot. Also the
    /// number of those left out.
    fn consistent(&self, found: BTreeMap<StorePath, Option<Found>>) -> (Vec<Found>, u64) {
        let mut referrers: HashMap<StorePath, Vec<StorePath>> = HashMap::new();
        let mut refused: BTreeSet<StorePath> = BTreeSet::new();
        let mut waiting: Vec<StorePath> = Vec::new();
        for (path, found_here) in &found {
            let Some(here) = found_here else {
                refused.insert(path.clone());
                waiting.push(path.clone());
                continue;
            };
            for reference in &here.info.references {
                if !found.contains_key(reference) && refused.insert(path.clone()) {
                    let dir = &self.options.layout.store_dir;
                    self.refuse(
                        path.base_name(),
                        &format!("it refers to '{}', which is gone", dir.display(reference)),
                    );
                    waiting.push(path.clone());
                }
                referrers.entry(reference.clone()).or_default().push(path.clone());
            }
        }
        while let Some(path) = waiting.pop() {
            for referrer in referrers.remove(&path).unwrap_or_default() {
                if refused.insert(referrer.clone()) {
                    let dir = &self.options.layout.store_dir;
                    self.refuse(
                        referrer.base_name(),
                        &format!("it refers to '{}', which is not registered", dir.display(&path)),
                    );
                    waiting.push(referrer);
                }
            }
        }
        let mut derivers: HashMap<StorePath, StorePath> = HashMap::new();
        for (path, here) in &found {
            let Some(drv) = here.as_ref().and_then(|here| here.derivation.as_ref()) else { continue };
            if !refused.contains(path) {
                derivers.extend(drv.output_paths().map(|(_, output)| (output.clone(), path.clone())));
            }
        }
        let kept = found.into_iter().filter(|(path, _)| !refused.contains(path)).filter_map(|(_, here)| here);
        let kept = kept.map(|mut here| {
            here.info.deriver = derivers.get(&here.info.path).cloned();
            here
        });
        (kept.collect(), refused.len() as u64)
    }

    /// Writes the database aside and puts it in its place.
    fn write(&self, found: &[Found]) -> Result<()> {
        let db_dir = self.options.layout.db_dir();
        let aside = tempfile::Builder::new()
            .prefix("rebuild-")
            .tempdir_in(&db_dir)
            .map_err(PathError::at("creating directory", &db_dir))?;
        let mut options = self.options.db;
        // Everything is to be in the one file that is moved.
        options.wal = false;
        let mut db = Db::open(aside.path(), &self.options.layout.store_dir, Access::ReadWrite, options)?;
        let infos: Vec<ValidPathInfo> = found.iter().map(|found| found.info.clone()).collect();
        let derivations: HashMap<&StorePath, &Derivation> =
            found.iter().filter_map(|found| Some((&found.info.path, found.derivation.as_ref()?))).collect();
        db.write_in_bulk(|writer| {
            writer.register(&infos, Existing::Keep, clock::now(), |path| match derivations.get(path) {
                Some(drv) => Ok(drv.known_outputs()),
                None => Err(StoreError::Missing(self.options.layout.store_dir.print(path))),
            })
        })?;
        drop(db);
        let made = aside.path().join("db.sqlite");
        std::fs::File::open(&made)
            .and_then(|file| file.sync_all())
            .map_err(PathError::at("syncing file", &made))?;
        // What belongs to the lost one must not be taken for part of the new one.
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let old = db_dir.join(format!("db.sqlite{suffix}"));
            match std::fs::rename(&old, db_dir.join(format!("db.sqlite{suffix}.lost"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(PathError::new("renaming", old, error).into());
                }
                _ => {}
            }
        }
        let place = db_dir.join("db.sqlite");
        std::fs::rename(&made, &place).map_err(PathError::at("renaming to", &place))?;
        let version = super::db::schema::VERSION.to_string();
        Ok(atomic::replace_file(&db_dir.join("schema"), version.as_bytes(), 0o644)?)
    }
}
