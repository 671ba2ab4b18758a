//! How much room a deletion would give back.
//!
//! A file with several links gives its blocks back when the last one goes: if
//! all of them lie in what is deleted, or all but the one in `.links`, which is
//! removed as unused then.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::Survey;
use crate::store::LocalStore;
use crate::store::error::Result;
use crate::sys::{PathError, dir, interrupt, threads, walk};

/// Files with several links that are looked at in one pass; with more of them
/// the trees are walked several times, so that memory stays bounded.
const MAX_SHARED: usize = 1 << 20;
const SHARDS: usize = 64;
const BLOCK: u64 = 512;

/// A file with several links.
struct Shared {
    /// Links that go.
    going: u64,
    all: u64,
    bytes: u64,
}

/// One pass: of the files with several links only every so manieth.
struct Pass {
    number: u64,
    of: u64,
    shards: [Mutex<HashMap<u64, Shared>>; SHARDS],
    count: AtomicUsize,
    overflow: AtomicBool,
    /// Bytes of directories and of files with one link.
    single: AtomicU64,
}

impl Pass {
    fn new(number: u64, of: u64) -> Self {
        Self {
            number,
            of,
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            overflow: AtomicBool::new(false),
            single: AtomicU64::new(0),
        }
    }

    fn shard(&self, inode: u64) -> std::sync::MutexGuard<'_, HashMap<u64, Shared>> {
        let index = usize::try_from(inode / self.of % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit(&self, entry: &walk::Entry<'_>) -> std::result::Result<(), PathError> {
        let stat = match rustix::fs::statat(entry.dir, entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(entry.error("getting status of", errno)),
        };
        let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        if entry.file_type == FileType::Directory || stat.st_nlink <= 1 {
            self.single.fetch_add(bytes, Ordering::Relaxed);
        } else if stat.st_ino % self.of == self.number {
            let mut shard = self.shard(stat.st_ino);
            let file = shard.entry(stat.st_ino).or_insert_with(|| {
                if self.count.fetch_add(1, Ordering::Relaxed) >= MAX_SHARED {
                    self.overflow.store(true, Ordering::Relaxed);
                }
                Shared { going: 0, all: stat.st_nlink, bytes }
            });
            file.going += 1;
        }
        Ok(())
    }

    /// Counts the links of `.links` as going, and those that are unused already.
    fn count_links(&self, path: &Path) -> Result<u64> {
        let handle = match dir::open_dir(path) {
            Ok(handle) => handle,
            Err(error) if error.is_not_found() => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut unused = 0;
        dir::each_entry(&handle, path, |entry| -> Result<()> {
            if entry.file_type() == FileType::Directory || entry.ino() % self.of != self.number {
                return Ok(());
            }
            match self.shard(entry.ino()).get_mut(&entry.ino()) {
                Some(file) => file.going += 1,
                None => match rustix::fs::statat(&handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if stat.st_nlink == 1 => {
                        unused += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
                    }
                    Ok(_) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(PathError::new("cannot read directory", path, errno).into()),
                },
            }
            Ok(())
        })?;
        Ok(unused)
    }

    fn shared(&self) -> u64 {
        let sum = |shard: &Mutex<HashMap<u64, Shared>>| -> u64 {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().filter(|file| file.going >= file.all).map(|file| file.bytes).sum()
        };
        self.shards.iter().map(sum).sum()
    }
}

impl LocalStore {
    /// The bytes of the file system that come free when everything dead goes.
    ///
    /// # Errors
    /// [`PathError`], and a signal.
    pub fn reclaimable(&self, survey: &Survey) -> Result<u64> {
        let mut names = Vec::new();
        survey.each_name(false, |name| -> Result<()> {
            names.push(CString::new(name).unwrap_or_default());
            Ok(())
        })?;
        let mut passes = 1;
        loop {
            if let Some(bytes) = self.in_passes(&names, passes)? {
                return Ok(bytes);
            }
            passes *= 4;
        }
    }

    /// `None` if there are too many files with several links for so few passes.
    fn in_passes(&self, names: &[CString], passes: u64) -> Result<Option<u64>> {
        let store = &self.layout().real_store_dir;
        let handle = std::fs::File::open(store).map_err(PathError::at("opening directory", store))?;
        let mut bytes = 0;
        for number in 0..passes {
            let pass = Pass::new(number, passes);
            let next = AtomicUsize::new(0);
            threads::on_all_cores(names.len().max(1), || -> Result<()> {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if pass.overflow.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    interrupt::check()?;
                    let shown = store.join(&*name.to_string_lossy());
                    walk::walk(handle.as_fd(), name, &shown, |entry| pass.visit(entry))?;
                }
                Ok(())
            })?;
            if pass.overflow.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if number == 0 {
                bytes += pass.single.load(Ordering::Relaxed);
            }
            bytes += pass.count_links(&self.layout().links_dir())? + pass.shared();
        }
        Ok(Some(bytes))
    }
}
