//! Taking entries away from the store directory.
//!
//! Directories are renamed into a directory of their own beside the store
//! paths, which is quick, and deleted there by several threads, relative to
//! directory handles. To every collector that directory is an entry without a
//! row: what a killed collection leaves, the next one deletes. Small ones are
//! deleted where they lie, since that takes no longer than moving them; before
//! a batch ends they are gone. So are the remains of other collections, which
//! would lie deeper with each that cannot delete them.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, FileType, Mode, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::store::error::Result;
use crate::sys::remove::{Freed, remove_counted};
use crate::sys::{PathError, dir, interrupt};

/// Trees that wait to be deleted; a thread that brings more of them waits.
const WAITING: usize = 512;
/// A thread takes this part of what waits, and as many trees at most.
const SHARE: usize = 16;

/// A tree to be deleted: its name in the trash, or in the store directory, and
/// its path for messages.
struct Tree {
    entry: CString,
    shown: PathBuf,
    /// Where it was, if it was moved.
    was: Option<PathBuf>,
}

impl Tree {
    fn in_place(&self) -> bool {
        self.was.is_none()
    }
}

/// Bytes of a directory that has few entries.
const SMALL: u64 = 4096;
/// Links of a directory without directories in it, where the file system
/// counts them.
const WITHOUT_DIRECTORIES: u32 = 2;
/// How the names of directories for trees begin.
const BIN: &str = ".trash-";

/// A tree, or a part of it, that could not be deleted.
#[derive(Debug)]
pub(super) struct Failure {
    /// Where it lies now, and why.
    pub(super) error: PathError,
    /// What it was, if it was moved.
    pub(super) was: Option<PathBuf>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot delete: {}", self.error)?;
        match &self.was {
            Some(was) => write!(f, " (this was \"{}\")", was.display()),
            None => Ok(()),
        }
    }
}

/// What the threads share.
struct Shared {
    trash: OwnedFd,
    store: OwnedFd,
    freed: Arc<Freed>,
    queue: Mutex<Queue>,
    /// There are more trees, or there will be none.
    more: Condvar,
    /// There are fewer.
    fewer: Condvar,
    failures: Mutex<Vec<Failure>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Tree>,
    /// Those in their places, of which somebody may wait for the end.
    first: Vec<Tree>,
    /// Of these, not deleted yet.
    in_place: usize,
    /// Taken by a thread and not deleted yet.
    under_way: usize,
    closed: bool,
    /// Threads that wait for more: waking nobody costs a call, too.
    idle: usize,
    /// Threads that wait until there are fewer.
    watched: usize,
}

impl Queue {
    fn len(&self) -> usize {
        self.waiting.len() + self.first.len()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_fewer<'q>(&self, mut queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        queue.watched += 1;
        queue = self.fewer.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.watched -= 1;
        queue
    }

    fn delete(&self, tree: &Tree) {
        let dir = if tree.in_place() { &self.store } else { &self.trash };
        // Whatever happens, a thread that waits for the tree must not wait for ever.
        let work = || remove_counted(dir.as_fd(), &tree.entry, &tree.shown, &self.freed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(PathError::new("removing", &tree.shown, std::io::Error::other("an error in this program")))
        });
        if let Err(error) = result
            && !interrupt::requested()
        {
            let failure = Failure { error, was: tree.was.clone() };
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
        }
    }

    /// Deletes trees until there are no more.
    fn work(&self) {
        let mut taken: Vec<Tree> = Vec::new();
        loop {
            let mut queue = self.queue();
            queue.under_way -= taken.len();
            queue.in_place -= taken.iter().filter(|tree| tree.in_place()).count();
            if queue.watched > 0 && queue.in_place == 0 && taken.iter().any(Tree::in_place) {
                self.fewer.notify_all();
            }
            taken.clear();
            while queue.waiting.is_empty() && queue.first.is_empty() && !queue.closed {
                if queue.watched > 0 {
                    self.fewer.notify_all();
                }
                queue.idle += 1;
                queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
            // Several at a time where there are many, so that the lock is not
            // what takes the time, and large ones still spread.
            let share = (queue.len() / SHARE).clamp(1, SHARE);
            let rest = queue.first.len().saturating_sub(share);
            taken.extend(queue.first.drain(rest..));
            if taken.is_empty() {
                taken.extend((0..share).map_while(|_| queue.waiting.pop_front()));
            }
            queue.under_way += taken.len();
            if queue.watched > 0 && queue.len() <= WAITING / 2 {
                self.fewer.notify_all();
            }
            drop(queue);
            if taken.is_empty() {
                return;
            }
            taken.iter().for_each(|tree| self.delete(tree));
        }
    }
}

/// A directory for the trees, and the threads that delete them.
struct Bin {
    shared: Arc<Shared>,
    name: CString,
    threads: Vec<JoinHandle<()>>,
    count: u64,
}

/// Deletes entries of the store directory.
pub(super) struct Trash {
    store: OwnedFd,
    store_path: PathBuf,
    freed: Arc<Freed>,
    bin: Option<Bin>,
    /// Where no bin can be made, trees are deleted where they lie.
    without_bin: bool,
    failures: Vec<Failure>,
}

impl Trash {
    /// For the entries of `store_path`.
    ///
    /// # Errors
    /// [`PathError`]; also where no entry of it could be taken away.
    pub(super) fn new(store_path: &Path) -> Result<Self> {
        // The store directory itself may be behind a symlink.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let store = rustix::fs::open(store_path, flags, Mode::empty())
            .map_err(PathError::at("opening directory", store_path))?;
        rustix::fs::access(store_path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(PathError::at("deleting from", store_path))?;
        Ok(Self {
            store,
            store_path: store_path.to_owned(),
            freed: Arc::default(),
            bin: None,
            without_bin: false,
            failures: Vec::new(),
        })
    }

    /// The store directory.
    pub(super) fn store(&self) -> &OwnedFd {
        &self.store
    }

    /// The number of hard links of the store directory, without our own.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn store_links(&self) -> Result<u64> {
        let stat =
            rustix::fs::fstat(&self.store).map_err(PathError::at("getting status of", &self.store_path))?;
        Ok(stat.st_nlink - u64::from(self.bin.is_some() && stat.st_nlink > 0))
    }

    /// What came free so far.
    pub(super) fn freed(&self) -> &Freed {
        &self.freed
    }

    /// Takes an entry away. After [`Trash::settle`] it is gone from the store
    /// directory, or its failure is noted.
    ///
    /// # Errors
    /// [`PathError`]: nothing of it was taken, and it is in its place as it was.
    pub(super) fn take(&mut self, name: &CStr) -> std::result::Result<(), PathError> {
        let shown = self.store_path.join(&*name.to_string_lossy());
        let mask = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::SIZE | StatxFlags::INO;
        let stat = match rustix::fs::statx(&self.store, name, AtFlags::SYMLINK_NOFOLLOW, mask) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(PathError::new("getting status of", shown, errno)),
        };
        if stat.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
            // Its entries could perhaps be deleted, but not itself.
            return Err(PathError::new("removing", shown, Errno::PERM));
        }
        if FileType::from_raw_mode(u32::from(stat.stx_mode)) != FileType::Directory {
            return match self.freed.unlink(self.store.as_fd(), name, stat.stx_ino) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(PathError::new("removing", shown, errno)),
            };
        }
        let small = stat.stx_nlink == WITHOUT_DIRECTORIES && stat.stx_size <= SMALL;
        if !self.throw_in(name, &shown, small || name.to_bytes().starts_with(BIN.as_bytes()))?
            && let Err(error) = remove_counted(self.store.as_fd(), name, &shown, &self.freed)
            && !interrupt::requested()
        {
            self.failures.push(Failure { error, was: None });
        }
        Ok(())
    }

    /// Moves a directory into the bin, or has it deleted in its place; false
    /// where the bin is of no use.
    fn throw_in(
        &mut self,
        name: &CStr,
        shown: &Path,
        in_place: bool,
    ) -> std::result::Result<bool, PathError> {
        if self.bin.is_none() && !self.without_bin {
            self.bin = Bin::new(&self.store, Arc::clone(&self.freed));
            self.without_bin = self.bin.is_none();
        }
        let Some(bin) = &mut self.bin else { return Ok(false) };
        if in_place {
            bin.delete(Tree { entry: name.to_owned(), shown: shown.to_owned(), was: None });
            return Ok(true);
        }
        let entry = CString::new(bin.count.to_string()).unwrap_or_default();
        let rename = || rustix::fs::renameat(&self.store, name, &bin.shared.trash, &entry);
        let moved = match rename() {
            // Moving a directory changes its "..", which takes permission.
            Err(Errno::ACCESS) => make_writable(&self.store, name).and_then(|()| rename()),
            other => other,
        };
        match moved {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(true),
            // No room for the name, or a file system of layers that moves only
            // what is in the uppermost.
            Err(Errno::NOSPC | Errno::DQUOT | Errno::MLINK | Errno::XDEV) => return Ok(false),
            Err(errno) => return Err(PathError::new("removing", shown, errno)),
        }
        let now = self.store_path.join(&*bin.name.to_string_lossy()).join(bin.count.to_string());
        bin.count += 1;
        bin.delete(Tree { entry, shown: now, was: Some(shown.to_owned()) });
        Ok(true)
    }

    /// Waits until everything that was taken is gone from the store directory.
    pub(super) fn settle(&mut self) {
        if let Some(bin) = &self.bin {
            bin.settle();
        }
    }

    /// Waits until everything that was taken is deleted.
    pub(super) fn drain(&mut self) {
        if let Some(bin) = &self.bin {
            bin.drain();
        }
    }

    /// Notes that something could not be taken.
    pub(super) fn note(&mut self, error: PathError) {
        self.failures.push(Failure { error, was: None });
    }

    /// Deletes the rest and gives what could not be deleted.
    pub(super) fn finish(mut self) -> (Vec<Failure>, u64) {
        if let Some(bin) = self.bin.take() {
            self.failures.extend(bin.finish(&self.store));
        }
        (std::mem::take(&mut self.failures), self.freed.bytes())
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        if let Some(bin) = self.bin.take() {
            bin.finish(&self.store);
        }
    }
}

fn make_writable(at: &OwnedFd, name: &CStr) -> std::result::Result<(), Errno> {
    let handle = rustix::fs::openat(at, name, dir::DIRECTORY, Mode::empty())?;
    rustix::fs::fchmod(&handle, Mode::RWXU)
}

impl Bin {
    fn new(store: &OwnedFd, freed: Arc<Freed>) -> Option<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).ok()?;
        let name = format!("{BIN}{}-{:016x}", std::process::id(), u64::from_ne_bytes(random));
        let name = CString::new(name).ok()?;
        rustix::fs::mkdirat(store, &name, Mode::RWXU).ok()?;
        let trash = match rustix::fs::openat(store, &name, dir::DIRECTORY, Mode::empty()) {
            Ok(trash) => trash,
            Err(_) => {
                let _ = rustix::fs::unlinkat(store, &name, AtFlags::REMOVEDIR);
                return None;
            }
        };
        let store = rustix::io::fcntl_dupfd_cloexec(store, 0).ok()?;
        let shared = Arc::new(Shared {
            trash,
            store,
            freed,
            queue: Mutex::default(),
            more: Condvar::new(),
            fewer: Condvar::new(),
            failures: Mutex::default(),
        });
        let cores = crate::sys::threads::cores();
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().spawn(interrupt::inherited(move || shared.work())).ok()
        };
        // Without a thread, the caller that brings a tree deletes it.
        let threads = (0..cores).filter_map(spawn).collect();
        Some(Self { shared, name, threads, count: 0 })
    }

    fn delete(&self, tree: Tree) {
        if self.threads.is_empty() {
            return self.shared.delete(&tree);
        }
        let mut queue = self.shared.queue();
        while queue.len() >= WAITING {
            queue = self.shared.wait_for_fewer(queue);
        }
        if tree.in_place() {
            queue.in_place += 1;
            queue.first.push(tree);
        } else {
            queue.waiting.push_back(tree);
        }
        let idle = queue.idle > 0;
        drop(queue);
        if idle {
            self.shared.more.notify_one();
        }
    }

    fn drain(&self) {
        let mut queue = self.shared.queue();
        while queue.len() > 0 || queue.under_way > 0 {
            queue = self.shared.wait_for_fewer(queue);
        }
    }

    fn settle(&self) {
        let mut queue = self.shared.queue();
        while queue.in_place > 0 {
            queue = self.shared.wait_for_fewer(queue);
        }
    }

    fn finish(mut self, store: &OwnedFd) -> Vec<Failure> {
        self.shared.queue().closed = true;
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // What could not be deleted keeps it; the next collection tries again.
        let _ = rustix::fs::unlinkat(store, &self.name, AtFlags::REMOVEDIR);
        std::mem::take(&mut *self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
