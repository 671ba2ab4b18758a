//! One copy of each file: hard links to `.links`.
//!
//! ```text
//! .links/NAME     NAME = nix32 of the SHA-256 of the archive of that one file
//! ```
//!
//! Contents, the executable bit and the type of a file are in its archive, so
//! whatever has the same name is the same file. A file is replaced by a link
//! made aside (`.tmp-link-…` in the store directory, rubbish to every collector)
//! and renamed over it, so that it is there at every moment.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::optimised::Optimised;
use super::{Layout, LocalStore};
use crate::model::{HashAlgorithm, HashFormat, Hasher, StorePath};
use crate::nar::restore::CANONICAL_TIMES;
use crate::nar::writer::{NarWriter, Output};
use crate::nar::{Contents, NarError, dump};
use crate::progress::{Advice, Progress, Unit};
use crate::store::error::{Result, StoreError};
use crate::sys::{PathError, dir, interrupt, threads, walk};

/// Paths that are rooted and worked on together.
const CHUNK: usize = 512;
/// Bytes read at a time.
const BUFFER: usize = 128 * 1024;
/// The owner's write permission.
const OWNER_WRITE: u32 = 0o200;

/// What came of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptimiseReport {
    /// Files that were replaced by links.
    pub files: u64,
    /// Bytes that came free by that.
    pub bytes: u64,
    /// Paths that could not be worked on; each was told as a problem.
    pub failed: u64,
}

impl LocalStore {
    /// Links equal files of all valid paths. Where nothing is to be linked, nothing is
    /// written to a store that cannot be written.
    ///
    /// # Errors
    /// [`StoreError`]; what was linked till then stays so.
    pub fn optimise(&self) -> Result<OptimiseReport> {
        let mut paths: Vec<Box<str>> = Vec::new();
        self.db().each_name(|_, name| paths.push(name.into()))?;
        let made = self.layout().links_dir().exists();
        if !made {
            self.require_place()?;
        }
        let mut optimiser = Optimiser::new(self.layout(), self.progress())?;
        let mut optimised = Optimised::load(self.layout(), &optimiser.links)?;
        let mut waiting = Vec::new();
        for name in &paths {
            let path = StorePath::from_base_name(name)?;
            if !optimised.knows(&optimiser.store, &path) {
                waiting.push(path);
            }
        }
        self.progress().detail(&format!("{} paths were optimised before", paths.len() - waiting.len()));
        if !waiting.is_empty() {
            self.require_place()?;
            optimiser.load_linked()?;
        }
        self.progress().begin("optimising", Some(waiting.len() as u64), Unit::Items);
        let result = waiting.chunks(CHUNK).try_for_each(|chunk| -> Result<()> {
            self.optimise_paths(&optimiser, chunk)?;
            let done = std::mem::take(&mut *optimiser.done.lock().unwrap_or_else(PoisonError::into_inner));
            done.iter().for_each(|path| optimised.add(&optimiser.store, path));
            Ok(())
        });
        self.progress().end();
        if !self.is_read_only() {
            optimised.save();
        }
        result?;
        let report = optimiser.report();
        self.progress().notice(&format!(
            "{} freed by hard-linking {} files",
            crate::progress::size_text(i64::try_from(report.bytes).unwrap_or(i64::MAX)),
            report.files
        ));
        Ok(report)
    }

    fn optimise_paths(&self, optimiser: &Optimiser<'_>, paths: &[StorePath]) -> Result<()> {
        self.add_temp_roots(&paths.iter().collect::<Vec<_>>())?;
        let mut valid = Vec::with_capacity(paths.len());
        for path in paths {
            // What was collected meanwhile may be somebody's work in progress.
            if self.db().is_valid(path)? {
                valid.push(path);
            }
        }
        optimiser.paths(&valid)?;
        self.progress().advance((paths.len() - valid.len()) as u64);
        Ok(())
    }

    /// Links the files of paths that are complete and in their places, but
    /// whose locks are held, to equal files that were linked before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn optimise_new(&self, paths: &[&StorePath]) -> Result<()> {
        let silent = crate::progress::Silent;
        let optimiser = Optimiser::new(self.layout(), &silent)?;
        optimiser.paths(paths)
    }
}

struct Optimiser<'p> {
    store: OwnedFd,
    store_path: &'p Path,
    links: OwnedFd,
    links_path: PathBuf,
    progress: &'p dyn Progress,
    /// Inodes of the files in `.links`, sorted.
    linked: Vec<u64>,
    files: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    /// Links made aside, for their names.
    made: AtomicU64,
    /// Paths of which nothing was left out.
    done: Mutex<Vec<StorePath>>,
    /// A file of `.links` was damaged. Held while one is removed.
    damaged: Mutex<bool>,
}

/// What a thread hashes and compares with.
struct Scratch {
    hasher: Hasher,
    buffer: Vec<u8>,
    other: Vec<u8>,
    /// Nothing of the path was left out.
    complete: bool,
}

impl<'p> Optimiser<'p> {
    fn new(layout: &'p Layout, progress: &'p dyn Progress) -> Result<Self> {
        let (store_path, links_path) = (&*layout.real_store_dir, layout.links_dir());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let store = rustix::fs::open(store_path, flags, Mode::empty())
            .map_err(PathError::at("opening directory", store_path))?;
        Ok(Self {
            store,
            store_path,
            links: dir::open_dir(&links_path)?,
            links_path,
            progress,
            linked: Vec::new(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            made: AtomicU64::new(0),
            done: Mutex::new(Vec::new()),
            damaged: Mutex::new(false),
        })
    }

    /// Notes which files are linked already: the directory alone tells, and
    /// they need not be looked at again.
    fn load_linked(&mut self) -> Result<()> {
        let linked = &mut self.linked;
        dir::each_entry(&self.links, &self.links_path, |entry| -> Result<()> {
            if entry.file_type() != FileType::Directory {
                linked.push(entry.ino());
            }
            Ok(())
        })?;
        self.linked.sort_unstable();
        self.progress.detail(&format!("loaded {} hash inodes", self.linked.len()));
        Ok(())
    }

    fn report(&self) -> OptimiseReport {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OptimiseReport { files: load(&self.files), bytes: load(&self.bytes), failed: load(&self.failed) }
    }

    /// Works on paths, on all cores.
    fn paths(&self, paths: &[&StorePath]) -> Result<()> {
        let next = AtomicUsize::new(0);
        threads::on_all_cores(paths.len(), || {
            let mut scratch = Scratch {
                hasher: Hasher::new(HashAlgorithm::Sha256),
                buffer: vec![0; BUFFER],
                other: Vec::new(),
                complete: true,
            };
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                interrupt::check()?;
                self.path(path, &mut scratch)?;
                self.progress.advance(1);
            }
            Ok(())
        })
    }

    fn path(&self, path: &StorePath, scratch: &mut Scratch) -> Result<()> {
        let shown = self.store_path.join(path.base_name());
        self.progress.detail(&format!("optimising path '{}'...", shown.display()));
        let name = CString::new(path.base_name()).unwrap_or_default();
        scratch.complete = true;
        let walked = walk::walk(self.store.as_fd(), &name, &shown, |entry| self.entry(entry, scratch));
        match walked {
            Ok(()) if scratch.complete => {
                self.done.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(_) if interrupt::requested() => Err(interrupt::Interrupted.into()),
            Err(StoreError::Path(error)) if is_general(&error) => Err(error.into()),
            // The others are none the worse for it.
            Err(error) => {
                self.progress.problem(&format!("error: cannot optimise '{}': {error}", shown.display()));
                self.failed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn entry(&self, entry: &walk::Entry<'_>, scratch: &mut Scratch) -> Result<()> {
        if !matches!(entry.file_type, FileType::RegularFile | FileType::Symlink)
            || self.linked.binary_search(&entry.inode).is_ok()
        {
            return Ok(());
        }
        let stat = match rustix::fs::statat(entry.dir, entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(entry.error("getting status of", errno).into()),
        };
        if entry.file_type == FileType::RegularFile && stat.st_mode & OWNER_WRITE != 0 {
            self.progress.warn(&format!("skipping suspicious writable file '{:?}'", entry.path()));
            scratch.complete = false;
            return Ok(());
        }
        let name = link_name(entry, scratch)?;
        loop {
            match rustix::fs::linkat(entry.dir, entry.name, &self.links, &name, AtFlags::empty()) {
                // The first of its kind.
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                // It has as many links as a file can have, or there is no room
                // for more names: then it stays as it is.
                Err(Errno::MLINK | Errno::NOSPC | Errno::NOENT) => {
                    scratch.complete = false;
                    return Ok(());
                }
                Err(errno) => return Err(self.link_error(&name, errno)),
            }
            let there = match rustix::fs::statat(&self.links, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) => there,
                // Removed as unused since.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(self.link_error(&name, errno)),
            };
            if there.st_ino == stat.st_ino {
                return Ok(());
            }
            if !self.is_same(entry, &stat, &name, &there, scratch)? {
                self.remove_corrupted(&name, &there).map_err(|errno| self.link_error(&name, errno))?;
                continue;
            }
            self.progress.detail(&format!("linking {:?} to {:?}", entry.path(), self.link_path(&name)));
            if self.replace(entry, &name)? {
                self.files.fetch_add(1, Ordering::Relaxed);
                if stat.st_nlink == 1 {
                    self.bytes.fetch_add(u64::try_from(stat.st_size).unwrap_or(0), Ordering::Relaxed);
                }
            } else {
                scratch.complete = false;
            }
            return Ok(());
        }
    }

    /// Removes a file of `.links` that was found to be something else than its
    /// name says. Several may find that at once: what the first has put in its
    /// place is not removed.
    fn remove_corrupted(&self, name: &CString, found: &Stat) -> std::result::Result<(), Errno> {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        match rustix::fs::statat(&self.links, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if there.st_ino == found.st_ino => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        self.progress.warn(&format!("removing corrupted link \"{}\"", self.link_path(name).display()));
        if !std::mem::replace(&mut *damaged, true) {
            let advice = self.progress.advice(Advice::RepairContents);
            self.progress.warn(&format!("there may be more damage{advice}"));
        }
        match rustix::fs::unlinkat(&self.links, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }

    fn link_path(&self, name: &CString) -> PathBuf {
        self.links_path.join(OsStr::from_bytes(name.as_bytes()))
    }

    fn link_error(&self, name: &CString, errno: Errno) -> StoreError {
        PathError::new("creating link", self.link_path(name), errno).into()
    }

    /// Whether a file of `.links` is what its name says: the same as `entry`.
    /// Damage must not spread to what is sound.
    fn is_same(
        &self,
        entry: &walk::Entry<'_>,
        stat: &Stat,
        name: &CString,
        there: &Stat,
        scratch: &mut Scratch,
    ) -> Result<bool> {
        let kinds = [stat, there].map(|stat| (stat.st_mode & 0o170_100, stat.st_size));
        if kinds[0] != kinds[1] {
            return Ok(false);
        }
        let shown = self.link_path(name);
        if entry.file_type == FileType::Symlink {
            let target =
                |dir: BorrowedFd<'_>, name: &std::ffi::CStr| rustix::fs::readlinkat(dir, name, Vec::new());
            let ours =
                target(entry.dir, entry.name).map_err(|errno| entry.error("reading symbolic link", errno))?;
            let theirs =
                target(self.links.as_fd(), name).map_err(PathError::at("reading symbolic link", shown))?;
            return Ok(ours == theirs);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let ours = rustix::fs::openat(entry.dir, entry.name, flags, Mode::empty())
            .map_err(|errno| entry.error("opening file", errno))?;
        let theirs = match rustix::fs::openat(&self.links, name, flags, Mode::empty()) {
            Ok(file) => file,
            // Removed as unused since: to be seen again by the caller.
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(PathError::new("opening file", shown, errno).into()),
        };
        scratch.other.resize(BUFFER, 0);
        loop {
            interrupt::check()?;
            let count =
                read_full(&ours, &mut scratch.buffer).map_err(|errno| entry.error("reading file", errno))?;
            let other =
                read_full(&theirs, &mut scratch.other).map_err(PathError::at("reading file", &shown))?;
            if scratch.buffer[..count] != scratch.other[..other] {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
        }
    }

    /// Puts a link to a file of `.links` in the place of `entry`; false if that
    /// file can have no more links or is gone.
    fn replace(&self, entry: &walk::Entry<'_>, name: &CString) -> Result<bool> {
        let aside = loop {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let aside =
                CString::new(format!(".tmp-link-{}-{number}", std::process::id())).unwrap_or_default();
            match rustix::fs::linkat(&self.links, name, &self.store, &aside, AtFlags::empty()) {
                Ok(()) => break aside,
                Err(Errno::EXIST) => {}
                Err(Errno::MLINK | Errno::NOENT | Errno::NOSPC) => return Ok(false),
                Err(errno) => return Err(self.link_error(&aside, errno)),
            }
        };
        let rename = || rustix::fs::renameat(&self.store, &aside, entry.dir, entry.name);
        let renamed = match rename() {
            Err(Errno::ACCESS) => {
                // Directories of the store are read-only for all but root.
                rustix::fs::fchmod(entry.dir, Mode::from_raw_mode(0o755)).and_then(|()| {
                    let renamed = rename();
                    rustix::fs::fchmod(entry.dir, Mode::from_raw_mode(0o555)).and(renamed)
                })
            }
            other => other,
        };
        // Renaming over another link to the same file leaves both names.
        let _ = rustix::fs::unlinkat(&self.store, &aside, AtFlags::empty());
        match renamed {
            Ok(()) => {}
            // A collection took the link that was made aside.
            Err(Errno::MLINK | Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(entry.error("replacing with a link", errno).into()),
        }
        if entry.path().parent() != Some(self.store_path) {
            rustix::fs::futimens(entry.dir, &CANONICAL_TIMES)
                .map_err(|errno| entry.error("changing time of the directory of", errno))?;
        }
        Ok(true)
    }
}

/// Whether every other path would fail in the same way.
fn is_general(error: &PathError) -> bool {
    matches!(
        error.reason.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EROFS | libc::ENOTSUP | libc::EXDEV)
    )
}

fn read_full(file: &OwnedFd, buffer: &mut [u8]) -> std::result::Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(file, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

/// The name in `.links` of a file or symlink.
fn link_name(entry: &walk::Entry<'_>, scratch: &mut Scratch) -> Result<CString> {
    let mut writer = NarWriter::new(&mut *scratch)?;
    dump::walk_at(entry.dir, entry.name, entry.path(), &mut writer)?;
    let hasher = std::mem::replace(&mut scratch.hasher, Hasher::new(HashAlgorithm::Sha256));
    Ok(CString::new(hasher.finish().digits(HashFormat::Nix32)).unwrap_or_default())
}

impl Output for &mut Scratch {
    fn write(&mut self, data: &[u8]) -> std::result::Result<(), NarError> {
        self.hasher.update(data);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> std::result::Result<(), NarError> {
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(&mut self.buffer)?;
            self.hasher.update(&self.buffer[..count]);
        }
        Ok(())
    }
}
