//! Taking entries away from the store directory.
//!
//! Directories are renamed into a directory of their own beside the store
//! paths, which is quick, and deleted there by several threads, relative to
//! directory handles. To every collector that directory is an entry without a
//! row: what a killed collection leaves, the next one deletes.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use crate::store::error::Result;
use crate::sys::remove::{Freed, remove_counted};
use crate::sys::{PathError, dir, interrupt};

/// Trees that wait to be deleted; whoever brings more of them waits.
const WAITING: usize = 64;

/// A tree to be deleted: its name in the trash, and its path for messages.
struct Tree {
    entry: CString,
    shown: PathBuf,
}

/// What the threads share.
struct Shared {
    trash: OwnedFd,
    freed: Arc<Freed>,
    unfinished: Mutex<usize>,
    finished: Condvar,
    failures: Mutex<Vec<PathError>>,
}

impl Shared {
    fn delete(&self, tree: &Tree) {
        let result = remove_counted(self.trash.as_fd(), &tree.entry, &tree.shown, &self.freed);
        if let Err(error) = result
            && !interrupt::requested()
        {
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(error);
        }
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.finished.notify_all();
    }
}

/// A directory for the trees, and the threads that delete them.
struct Bin {
    shared: Arc<Shared>,
    name: CString,
    trees: Option<SyncSender<Tree>>,
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
    failures: Vec<PathError>,
}

impl Trash {
    /// For the entries of `store_path`.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn new(store_path: &Path) -> Result<Self> {
        // The store directory itself may be behind a symlink.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let store = rustix::fs::open(store_path, flags, Mode::empty())
            .map_err(PathError::at("opening directory", store_path))?;
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

    /// What came free so far.
    pub(super) fn freed(&self) -> &Freed {
        &self.freed
    }

    /// Takes an entry away. When this returns it is gone from the store
    /// directory, or its failure is noted.
    pub(super) fn take(&mut self, name: &CStr) {
        let shown = self.store_path.join(&*name.to_string_lossy());
        let stat = match rustix::fs::statat(&self.store, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(errno) => return self.failures.push(PathError::new("getting status of", shown, errno)),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            match self.freed.unlink(self.store.as_fd(), name, stat.st_ino) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => self.failures.push(PathError::new("removing", shown, errno)),
            }
            return;
        }
        if !self.throw_in(name, &shown)
            && let Err(error) = remove_counted(self.store.as_fd(), name, &shown, &self.freed)
            && !interrupt::requested()
        {
            self.failures.push(error);
        }
    }

    /// Moves a directory into the bin; false where that is not possible.
    fn throw_in(&mut self, name: &CStr, shown: &Path) -> bool {
        if self.bin.is_none() && !self.without_bin {
            self.bin = Bin::new(&self.store, Arc::clone(&self.freed));
            self.without_bin = self.bin.is_none();
        }
        let Some(bin) = &mut self.bin else { return false };
        let entry = CString::new(bin.count.to_string()).unwrap_or_default();
        let rename = || rustix::fs::renameat(&self.store, name, &bin.shared.trash, &entry);
        let moved = match rename() {
            // Moving a directory changes its "..", which takes permission.
            Err(Errno::ACCESS) => make_writable(&self.store, name).and_then(|()| rename()),
            other => other,
        };
        if moved.is_err() {
            return false;
        }
        bin.count += 1;
        bin.delete(Tree { entry, shown: shown.to_owned() });
        true
    }

    /// Waits until everything that was taken is deleted.
    pub(super) fn drain(&mut self) {
        if let Some(bin) = &self.bin {
            bin.drain();
        }
    }

    /// Deletes the rest and gives what could not be deleted.
    pub(super) fn finish(mut self) -> (Vec<PathError>, u64) {
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
        let name = format!(".trash-{}-{:016x}", std::process::id(), u64::from_ne_bytes(random));
        let name = CString::new(name).ok()?;
        rustix::fs::mkdirat(store, &name, Mode::RWXU).ok()?;
        let trash = match rustix::fs::openat(store, &name, dir::DIRECTORY, Mode::empty()) {
            Ok(trash) => trash,
            Err(_) => {
                let _ = rustix::fs::unlinkat(store, &name, AtFlags::REMOVEDIR);
                return None;
            }
        };
        let shared = Arc::new(Shared {
            trash,
            freed,
            unfinished: Mutex::default(),
            finished: Condvar::new(),
            failures: Mutex::default(),
        });
        let (sender, trees) = sync_channel(WAITING);
        let trees = Arc::new(Mutex::new(trees));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spawn = |_| {
            let (shared, trees) = (Arc::clone(&shared), Arc::clone(&trees));
            std::thread::Builder::new().spawn(move || work(&shared, &trees)).ok()
        };
        let threads: Vec<_> = (0..cores).filter_map(spawn).collect();
        // Without a thread, whoever brings a tree deletes it.
        let trees = (!threads.is_empty()).then_some(sender);
        Some(Self { shared, name, trees, threads, count: 0 })
    }

    fn delete(&self, tree: Tree) {
        *self.shared.unfinished.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        match &self.trees {
            Some(trees) => {
                if let Err(unsent) = trees.send(tree) {
                    self.shared.delete(&unsent.0);
                }
            }
            None => self.shared.delete(&tree),
        }
    }

    fn drain(&self) {
        let mut unfinished = self.shared.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        while *unfinished > 0 {
            unfinished = self.shared.finished.wait(unfinished).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(mut self, store: &OwnedFd) -> Vec<PathError> {
        drop(self.trees.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // What could not be deleted keeps it; the next collection tries again.
        let _ = rustix::fs::unlinkat(store, &self.name, AtFlags::REMOVEDIR);
        std::mem::take(&mut *self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn work(shared: &Shared, trees: &Mutex<Receiver<Tree>>) {
    loop {
        let next = trees.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(tree) = next else { return };
        shared.delete(&tree);
    }
}
