//! Advisory locks on whole files (flock), as every program of a store uses them.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::PathError;
use super::interrupt::{self, Interrupted};

/// Shared by readers, or held by one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A signal came while waiting.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Opens (and creates, mode 0600) a lock file.
///
/// # Errors
/// A [`PathError`].
pub fn open_lock_file(path: &Path) -> Result<File, PathError> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Nobody who may write to the directory chooses another file for us.
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(PathError::at("opening lock file", path))
}

/// Takes the lock if nobody is in the way.
///
/// # Errors
/// A [`PathError`].
pub fn try_lock(file: &File, path: &Path, kind: LockKind) -> Result<bool, PathError> {
    let operation = match kind {
        LockKind::Shared => FlockOperation::NonBlockingLockShared,
        LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(PathError::new("acquiring lock", path, error)),
    }
}

/// Takes the lock; calls `waiting` once if somebody is in the way.
///
/// The wait is a poll with growing pauses (1 to 50 ms) and not a blocking
/// call, so that a signal ends it.
///
/// # Errors
/// A [`LockError`].
pub fn lock(file: &File, path: &Path, kind: LockKind, waiting: impl FnOnce()) -> Result<(), LockError> {
    lock_telling(file, path, kind, waiting, |_| ())
}

/// As [`lock`]; calls `long` once with the names of the processes that hold the
/// lock, as a text for people, when that takes more than a few seconds and the system tells.
///
/// # Errors
/// A [`LockError`].
pub fn lock_telling(
    file: &File,
    path: &Path,
    kind: LockKind,
    waiting: impl FnOnce(),
    long: impl FnOnce(&str),
) -> Result<(), LockError> {
    lock_within(file, path, kind, None, waiting, long).map(drop)
}

/// When somebody who waits wants to know for whom.
pub const LONG: Duration = Duration::from_secs(3);

/// As [`lock_telling`]; gives up after so long, and is then false.
fn lock_within(
    file: &File,
    path: &Path,
    kind: LockKind,
    patience: Option<Duration>,
    waiting: impl FnOnce(),
    long: impl FnOnce(&str),
) -> Result<bool, LockError> {
    if try_lock(file, path, kind)? {
        return Ok(true);
    }
    waiting();
    let began = Instant::now();
    let mut long = Some(long);
    let mut pause = Duration::from_millis(1);
    loop {
        interrupt::check()?;
        std::thread::sleep(pause);
        if try_lock(file, path, kind)? {
            return Ok(true);
        }
        if patience.is_some_and(|patience| began.elapsed() >= patience) {
            return Ok(false);
        }
        if began.elapsed() >= LONG
            && let Some(long) = long.take()
            && let Some(holders) = holders_text(path)
        {
            long(&holders);
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Who holds a lock on the file at `path`, for people: `process 12 (nix-store)`;
/// nothing where the system does not tell.
pub fn holders_text(path: &Path) -> Option<String> {
    describe(holders(path))
}

/// Processes, by number, for people; nothing for none.
pub fn describe(mut pids: Vec<String>) -> Option<String> {
    pids.sort_unstable();
    pids.dedup();
    let describe = |pid: &String| match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(program) => format!("process {pid} ({})", program.trim_end()),
        Err(_) => format!("process {pid}"),
    };
    (!pids.is_empty()).then(|| pids.iter().map(describe).collect::<Vec<_>>().join(", "))
}

/// The numbers of the processes that hold a lock on the file at `path`, as far
/// as the kernel tells.
pub fn holders(path: &Path) -> Vec<String> {
    holders_of(path, &(0..u64::MAX))
}

/// As [`holders`], of locks on some of the bytes of the file.
pub fn holders_of(path: &Path, bytes: &std::ops::Range<u64>) -> Vec<String> {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Vec::new() };
    let (dev, inode) = (meta.dev(), meta.ino());
    let file = format!("{:02x}:{:02x}:{inode}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    // "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF"; those that wait
    // have an arrow in front of the kind.
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let held = words.get(1) != Some(&"->") && words.get(5) == Some(&file.as_str());
        let byte = |index: usize| words.get(index).and_then(|word| word.parse().ok());
        let (first, last): (u64, u64) = (byte(6).unwrap_or(0), byte(7).unwrap_or(u64::MAX));
        (held && first < bytes.end && last >= bytes.start).then(|| words[4].to_owned())
    };
    table.lines().filter_map(holder).collect()
}

/// A lock file that is removed when its holder is done with it.
///
/// The process that acquires the lock makes sure that the file is still the one
/// the path names: the holder before may have removed it. A removed file gets one byte,
/// which tells those who wait on the old one to open it anew.
#[derive(Debug)]
pub struct PathLock {
    file: File,
    name: Name,
}

/// What a lock file is found by.
#[derive(Debug)]
enum Name {
    Path(PathBuf),
    /// In a directory, wherever that is by now.
    In(Arc<OwnedFd>, CString),
}

impl PathLock {
    /// Creates the file if need be and holds it exclusively.
    ///
    /// # Errors
    /// A [`LockError`].
    pub fn acquire(path: &Path, mut waiting: impl FnMut()) -> Result<Self, LockError> {
        loop {
            let file = open_lock_file(path)?;
            lock(&file, path, LockKind::Exclusive, &mut waiting)?;
            if is_current(&file, path)? {
                return Ok(Self { file, name: Name::Path(path.to_owned()) });
            }
        }
    }

    /// As [`PathLock::acquire`], in an open directory, with `shown` for
    /// messages; `None` when somebody else has held it for as long as there is
    /// patience. `long` is as for [`lock_telling`].
    ///
    /// # Errors
    /// A [`LockError`].
    pub fn acquire_at(
        dir: Arc<OwnedFd>,
        name: CString,
        shown: &Path,
        patience: Option<Duration>,
        mut waiting: impl FnMut(),
        mut long: impl FnMut(&str),
    ) -> Result<Option<Self>, LockError> {
        let began = Instant::now();
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let file = rustix::fs::openat(&*dir, &name, flags, Mode::from_raw_mode(0o600))
                .map_err(PathError::at("opening lock file", shown))?;
            let file = File::from(file);
            let left = patience.map(|patience| patience.saturating_sub(began.elapsed()));
            if !lock_within(&file, shown, LockKind::Exclusive, left, &mut waiting, &mut long)? {
                return Ok(None);
            }
            if is_current(&file, shown)? {
                return Ok(Some(Self { file, name: Name::In(dir, name) }));
            }
        }
    }

    /// As [`PathLock::acquire`], or `None` if somebody else holds it.
    ///
    /// # Errors
    /// A [`LockError`].
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, LockError> {
        loop {
            let file = open_lock_file(path)?;
            if !try_lock(&file, path, LockKind::Exclusive)? {
                return Ok(None);
            }
            if is_current(&file, path)? {
                return Ok(Some(Self { file, name: Name::Path(path.to_owned()) }));
            }
        }
    }

    /// Removes the file, if it is still there; true if so.
    fn remove(&self) -> bool {
        match &self.name {
            Name::Path(path) => is_same(&self.file, path) && std::fs::remove_file(path).is_ok(),
            Name::In(dir, name) => {
                let there = rustix::fs::statat(&**dir, name, AtFlags::SYMLINK_NOFOLLOW);
                let same = match (self.file.metadata(), there) {
                    (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.st_dev, there.st_ino),
                    _ => false,
                };
                same && rustix::fs::unlinkat(&**dir, name, AtFlags::empty()).is_ok()
            }
        }
    }
}

fn is_current(file: &File, path: &Path) -> Result<bool, PathError> {
    let meta = file.metadata().map_err(PathError::at("getting status of", path))?;
    let refuse = |why: &str| PathError::new("acquiring lock", path, std::io::Error::other(why.to_owned()));
    if !meta.is_file() {
        return Err(refuse("it is not a regular file"));
    }
    if meta.nlink() > 0 && meta.len() > 0 {
        // A lock file is empty until it is removed: this is something else.
        return Err(refuse("it is not a lock file, because there is something in it"));
    }
    Ok(meta.nlink() > 0)
}

/// Whether the path still names the very file.
pub fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // Others who wait on the removed file take it for the lock unless there
        // is something in it. Where it has another name, it was somebody's file
        // that was put in the place of a lock.
        if self.remove() && self.file.metadata().is_ok_and(|meta| meta.nlink() == 0) {
            use std::io::Write as _;
            let _ = self.file.write_all(b"d");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_lock_file_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        std::fs::write(&path, "contents").unwrap();
        assert!(PathLock::acquire(&path, || ()).is_err());
        assert!(PathLock::try_acquire(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"contents");
        std::fs::remove_file(&path).unwrap();
        let held = PathLock::acquire(&path, || ()).unwrap();
        // Something else has taken the place of the lock file.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "contents").unwrap();
        drop(held);
        assert_eq!(std::fs::read(&path).unwrap(), b"contents");
    }

    #[test]
    fn a_lock_excludes_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let held = PathLock::acquire(&path, || ()).unwrap();
        let other = open_lock_file(&path).unwrap();
        assert!(!try_lock(&other, &path, LockKind::Shared).unwrap());
        drop(held);
        assert!(!path.exists());
        assert!(try_lock(&other, &path, LockKind::Exclusive).unwrap());
        assert!(!is_current(&other, &path).unwrap());
        let again = PathLock::acquire(&path, || ()).unwrap();
        drop(again);
    }
}
