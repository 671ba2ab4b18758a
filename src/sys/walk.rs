//! Walking a tree of any depth, relative to directory handles; symlinks are
//! never followed.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode};

use super::dir::{DIRECTORY, DirStack, Names};
use super::{PathError, interrupt};

/// One entry of a tree.
pub struct Entry<'w> {
    /// The directory it lies in.
    pub dir: BorrowedFd<'w>,
    /// Its name there.
    pub name: &'w CStr,
    /// What it is.
    pub file_type: FileType,
    /// The number of its inode.
    pub inode: u64,
    /// Its path, for messages.
    shown: &'w [u8],
}

impl Entry<'_> {
    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.shown))
    }

    /// The failure of an operation on it.
    pub fn error(&self, operation: &'static str, errno: rustix::io::Errno) -> PathError {
        PathError::new(operation, self.path(), errno)
    }
}

/// Calls `visit` for `name` in `parent` and everything below it, a directory
/// before its entries and these in order. `shown` is the path for messages.
/// What vanishes meanwhile is passed over.
///
/// # Errors
/// The errors of `visit`, directories that cannot be read, and a signal (`EINTR`).
pub fn walk<E: From<PathError>>(
    parent: BorrowedFd<'_>,
    name: &CStr,
    shown: &Path,
    mut visit: impl FnMut(&Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(PathError::new("getting status of", shown, errno).into()),
    };
    let mut path = shown.as_os_str().as_bytes().to_vec();
    let root = Entry {
        dir: parent,
        name,
        file_type: FileType::from_raw_mode(stat.st_mode),
        inode: stat.st_ino,
        shown: &path,
    };
    visit(&root)?;
    let Some((handle, names)) = open(&root)? else { return Ok(()) };
    let mut stack = DirStack::new(handle);
    let mut listings: Vec<(Names, usize)> = vec![(names, path.len())];
    while let Some((names, len)) = listings.last_mut() {
        if interrupt::requested() {
            return Err(PathError::new("reading", shown, rustix::io::Errno::INTR).into());
        }
        path.truncate(*len);
        let Some((name, file_type, inode)) = names.take_next_with_inode() else {
            listings.pop();
            stack.leave().map_err(PathError::at("leaving directory", shown))?;
            continue;
        };
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        let name: CString = name.to_owned();
        let entry = Entry { dir: stack.current(), name: &name, file_type, inode, shown: &path };
        visit(&entry)?;
        if let Some((handle, names)) = open(&entry)? {
            stack.enter(handle).map_err(PathError::at("entering directory", shown))?;
            listings.push((names, path.len()));
        }
    }
    Ok(())
}

fn open(entry: &Entry<'_>) -> Result<Option<(std::os::fd::OwnedFd, Names)>, PathError> {
    if entry.file_type != FileType::Directory {
        return Ok(None);
    }
    let handle = match rustix::fs::openat(entry.dir, entry.name, DIRECTORY, Mode::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(entry.error("opening directory", errno)),
    };
    let names = Names::read(handle.as_fd()).map_err(|errno| entry.error("cannot read directory", errno))?;
    Ok(Some((handle, names)))
}
