//! Removing a tree of any depth, relative to directory handles.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::dir::{DIRECTORY, DirStack, Names};
use super::{PathError, dir, interrupt};

/// Removes `name` in `parent`, whatever it is; true if it was there.
///
/// Symlinks are removed, never followed; directories without write permission
/// are given it first. `shown` is the path for messages.
///
/// # Errors
/// The first [`PathError`]; what was removed till then is gone.
pub fn remove_at(parent: BorrowedFd<'_>, name: &CStr, shown: &Path) -> Result<bool, PathError> {
    Remover { freed: None }.remove(parent, name, shown)
}

/// As [`remove_at`], by path.
///
/// # Errors
/// See [`remove_at`]; a missing parent counts as nothing to remove.
pub fn remove(path: &Path) -> Result<bool, PathError> {
    match dir::open_parent(path) {
        Ok((parent, name)) => remove_at(parent.as_fd(), &name, path),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// As [`remove_at`]; counts what is given back, and ends with `EINTR` when a
/// signal has come.
///
/// # Errors
/// See [`remove_at`].
pub fn remove_counted(
    parent: BorrowedFd<'_>,
    name: &CStr,
    shown: &Path,
    freed: &Freed,
) -> Result<bool, PathError> {
    Remover { freed: Some(freed) }.remove(parent, name, shown)
}

/// Locks by inode; each serves many inodes.
const STRIPES: usize = 64;

/// The bytes in files whose last link was removed, added up by several threads.
pub struct Freed {
    bytes: AtomicU64,
    /// Also counts files of which one more link is left: in a store that is
    /// the one in `.links`, which goes later.
    for_limit: AtomicU64,
    /// Two links of one file are not removed at the same moment, or neither
    /// would be seen as the last.
    stripes: [Mutex<()>; STRIPES],
}

impl Default for Freed {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            for_limit: AtomicU64::new(0),
            stripes: [const { Mutex::new(()) }; STRIPES],
        }
    }
}

impl Freed {
    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes so far, with those that come free when nothing but a link for
    /// sharing is left.
    pub fn for_limit(&self) -> u64 {
        self.for_limit.load(Ordering::Relaxed)
    }

    /// Removes something that is no directory.
    ///
    /// # Errors
    /// Errors of fstatat and unlinkat.
    pub fn unlink(&self, parent: BorrowedFd<'_>, name: &CStr, inode: u64) -> Result<(), Errno> {
        let stripe = usize::try_from(inode % STRIPES as u64).unwrap_or(0);
        let _alone = self.stripes[stripe].lock();
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if stat.st_nlink == 1 {
            self.bytes.fetch_add(size, Ordering::Relaxed);
        }
        if stat.st_nlink <= 2 {
            self.for_limit.fetch_add(size, Ordering::Relaxed);
        }
        Ok(())
    }
}

struct Remover<'f> {
    freed: Option<&'f Freed>,
}

/// A directory on the way down: its name in the one above, and what is left of
/// its entries.
type Step = (CString, Names);

impl Remover<'_> {
    fn remove(&self, parent: BorrowedFd<'_>, name: &CStr, shown: &Path) -> Result<bool, PathError> {
        let error = |errno| PathError::new("removing", shown, errno);
        let unlinked = match self.freed {
            None => rustix::fs::unlinkat(parent, name, AtFlags::empty()),
            Some(freed) => match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Err(Errno::ISDIR),
                Ok(stat) => freed.unlink(parent, name, stat.st_ino),
                Err(errno) => Err(errno),
            },
        };
        match unlinked {
            Ok(()) => return Ok(true),
            Err(Errno::NOENT) => return Ok(false),
            // EISDIR is Linux's answer for a directory, EPERM that of POSIX.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(error(errno)),
        }
        match self.directory(parent, name, shown) {
            // It is no directory: the first answer was meant.
            Err(failure) if failure.reason.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) => {
                Err(error(unlinked.err().unwrap_or(Errno::NOTDIR)))
            }
            removed => removed.map(|()| true),
        }
    }

    fn unlink(&self, at: BorrowedFd<'_>, name: &CStr, inode: u64) -> Result<(), Errno> {
        match self.freed {
            None => rustix::fs::unlinkat(at, name, AtFlags::empty()),
            Some(freed) => freed.unlink(at, name, inode),
        }
    }

    fn directory(&self, parent: BorrowedFd<'_>, name: &CStr, shown: &Path) -> Result<(), PathError> {
        // Names from the root down, for messages and for the rmdir on the way up.
        let mut trail: Vec<Step> = Vec::new();
        let (handle, names) = open(parent, name).map_err(PathError::at("opening directory", shown))?;
        let mut stack = DirStack::new(handle);
        trail.push((name.to_owned(), names));
        while let Some((_, names)) = trail.last_mut() {
            if self.freed.is_some() && interrupt::requested() {
                return Err(PathError::new("removing", shown, Errno::INTR));
            }
            let Some((entry, file_type, inode)) = names.take_next_with_inode() else {
                let Some((left, _)) = trail.pop() else { break };
                stack.leave().map_err(PathError::at("leaving directory", shown))?;
                let at = if trail.is_empty() { parent } else { stack.current() };
                match rustix::fs::unlinkat(at, &left, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    Err(errno) => {
                        return Err(PathError::new("removing directory", below(shown, &trail, &left), errno));
                    }
                }
            };
            let entry = entry.to_owned();
            if file_type == FileType::Directory {
                let (handle, names) = match open(stack.current(), &entry) {
                    Ok(opened) => opened,
                    // Removed or replaced since the directory was read.
                    Err(Errno::NOENT) => continue,
                    Err(Errno::NOTDIR | Errno::LOOP) => {
                        let _ = self.unlink(stack.current(), &entry, inode);
                        continue;
                    }
                    Err(errno) => {
                        return Err(PathError::new("opening directory", below(shown, &trail, &entry), errno));
                    }
                };
                stack.enter(handle).map_err(PathError::at("entering directory", shown))?;
                trail.push((entry, names));
            } else {
                match self.unlink(stack.current(), &entry, inode) {
                    // Gone already: somebody else removes the same tree.
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => {
                        return Err(PathError::new("removing", below(shown, &trail, &entry), errno));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The path of an entry of the innermost directory of `trail`.
fn below(shown: &Path, trail: &[Step], last: &CStr) -> PathBuf {
    let mut path = shown.to_owned();
    let inner = trail.iter().skip(1).map(|(name, _)| name.as_c_str());
    // The first name is that of `shown` itself.
    for name in inner.chain((!trail.is_empty()).then_some(last)) {
        path.push(&*name.to_string_lossy());
    }
    path
}

/// Opens a directory so that its entries can be removed.
fn open(at: BorrowedFd<'_>, name: &CStr) -> Result<(OwnedFd, Names), Errno> {
    let handle = match rustix::fs::openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            make_accessible(at, name)?;
            rustix::fs::openat(at, name, DIRECTORY, Mode::empty())?
        }
        other => other?,
    };
    let names = Names::read(handle.as_fd())?;
    if !names.is_empty() && !is_root() {
        // Entries of a read-only directory cannot be unlinked by its owner.
        rustix::fs::fchmod(&handle, Mode::RWXU)?;
    }
    Ok((handle, names))
}

/// Whether read-only directories are no obstacle; asked once.
fn is_root() -> bool {
    static ROOT: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ROOT.get_or_init(|| rustix::process::geteuid().is_root())
}

/// Gives the owner every permission on a directory that is not to be read.
fn make_accessible(at: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    use rustix::fs::OFlags;
    // By a handle on the very directory, since chmod by name follows a symlink
    // that was put in its place.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(at, name, flags, Mode::empty())?;
    use std::os::fd::AsRawFd as _;
    rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::RWXU)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn removes_what_is_read_only_and_leaves_what_is_linked_to() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("keep"), "x").unwrap();
        let tree = root.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(tree.join("a/b"), std::fs::Permissions::from_mode(0o555)).unwrap();
        std::fs::set_permissions(tree.join("a"), std::fs::Permissions::from_mode(0o555)).unwrap();
        assert!(remove(&tree).unwrap());
        assert!(!tree.exists());
        assert!(outside.join("keep").exists());
        assert!(!remove(&tree).unwrap());
        assert!(!remove(&tree.join("x/y")).unwrap());
    }

    #[test]
    fn removes_trees_deeper_than_any_path() {
        let root = tempfile::tempdir().unwrap();
        let top = dir::open_dir(root.path()).unwrap();
        rustix::fs::mkdirat(&top, "deep", Mode::RWXU).unwrap();
        let mut at = rustix::fs::openat(&top, "deep", DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "nested", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "nested", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        assert!(remove(&root.path().join("deep")).unwrap());
        assert!(!root.path().join("deep").exists());
    }
}
