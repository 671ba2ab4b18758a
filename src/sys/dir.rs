//! Directories by handle: sorted listings, and a way down and up trees of any
//! depth with few handles open.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, RawDirEntry};
use rustix::io::Errno;

use super::PathError;
use super::interrupt::{self, Interrupted};

/// How a directory is opened: never through a symlink.
pub const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Calls `each` with every entry of a directory (`.` and `..` among them), in
/// the order of the file system, and looks for signals between them; for
/// directories of any size.
///
/// # Errors
/// The errors of `each`, a [`PathError`] that names `path`, and a signal.
pub fn each_entry<E: From<PathError> + From<Interrupted>>(
    dir: impl AsFd,
    path: &Path,
    mut each: impl FnMut(&RawDirEntry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    const BUFFER: usize = 128 * 1024;
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        interrupt::check()?;
        each(&entry.map_err(PathError::at("cannot read directory", path))?)?;
    }
    Ok(())
}

/// The names in a directory, sorted by their bytes, with types and inodes.
///
/// All names lie in one buffer, NUL-terminated, so that a directory costs
/// little more than the bytes of its names.
#[derive(Default)]
pub struct Names {
    bytes: Vec<u8>,
    index: Vec<(usize, FileType, u64)>,
    next: usize,
}

impl Names {
    /// Reads every name but `.` and `..`.
    ///
    /// # Errors
    /// Errors of getdents64 and fstatat.
    pub fn read(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut names = Self::default();
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let mut file_type = entry.file_type();
            if file_type == FileType::Unknown {
                file_type = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    // Gone since the directory was read.
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno),
                };
            }
            names.index.push((names.bytes.len(), file_type, entry.ino()));
            names.bytes.extend_from_slice(name.to_bytes_with_nul());
        }
        let bytes = &names.bytes;
        names.index.sort_unstable_by(|a, b| name_at(bytes, a.0).cmp(name_at(bytes, b.0)));
        Ok(names)
    }

    /// Puts them in the order of what `key` makes of them; gives what it makes of
    /// two of them, if that happens.
    pub fn sort_by_key(&mut self, key: &dyn for<'n> Fn(&'n [u8]) -> Cow<'n, [u8]>) -> Option<Vec<u8>> {
        let bytes = &self.bytes;
        let key = |at: usize| key(name_at(bytes, at).to_bytes());
        self.index.sort_by(|a, b| key(a.0).cmp(&key(b.0)));
        let twice = self.index.windows(2).find(|pair| key(pair[0].0) == key(pair[1].0))?;
        Some(key(twice[0].0).into_owned())
    }

    /// The next name in order.
    pub fn take_next(&mut self) -> Option<(&CStr, FileType)> {
        self.take_next_with_inode().map(|(name, file_type, _)| (name, file_type))
    }

    /// The next name in order, with the number of its inode.
    pub fn take_next_with_inode(&mut self) -> Option<(&CStr, FileType, u64)> {
        let &(at, file_type, inode) = self.index.get(self.next)?;
        self.next += 1;
        Some((name_at(&self.bytes, at), file_type, inode))
    }

    /// How many there are, taken or not.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

fn name_at(bytes: &[u8], at: usize) -> &CStr {
    // Every name was pushed with its NUL.
    CStr::from_bytes_until_nul(&bytes[at..]).unwrap_or_default()
}

/// Handles kept open on the way down; below that, those nearest the root are
/// closed and found again through `..`.
const KEPT_OPEN: usize = 96;

/// The chain of directories from the root of a tree to where one stands.
///
/// Going up opens `..` where the handle had to be closed, and checks that it
/// is the very directory that was left: somebody who moves directories about
/// meanwhile causes an error, never a step out of the tree.
pub struct DirStack {
    levels: Vec<Level>,
    /// Number of levels, from the root, whose handle is closed.
    closed: usize,
}

struct Level {
    handle: Option<OwnedFd>,
    identity: (u64, u64),
}

impl DirStack {
    /// Begins at the root of a tree.
    pub fn new(root: OwnedFd) -> Self {
        Self { levels: vec![Level { handle: Some(root), identity: (0, 0) }], closed: 0 }
    }

    /// Number of directories entered, the root among them.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The handle of the directory where one stands.
    ///
    /// # Panics
    /// Never, while the root has not been left.
    pub fn current(&self) -> BorrowedFd<'_> {
        match self.levels.last().and_then(|level| level.handle.as_ref()) {
            Some(handle) => handle.as_fd(),
            None => unreachable!("the innermost handle is always open"),
        }
    }

    /// Goes down into a directory opened below the current one.
    ///
    /// # Errors
    /// When the handle to be closed cannot be identified.
    pub fn enter(&mut self, handle: OwnedFd) -> Result<(), Errno> {
        if self.levels.len() - self.closed >= KEPT_OPEN {
            let level = &mut self.levels[self.closed];
            if let Some(handle) = &level.handle {
                level.identity = identity(handle.as_fd())?;
            }
            level.handle = None;
            self.closed += 1;
        }
        self.levels.push(Level { handle: Some(handle), identity: (0, 0) });
        Ok(())
    }

    /// Goes up; the handle of what was left is returned. `None` when that was
    /// the root.
    ///
    /// # Errors
    /// When the parent cannot be opened, or is another directory by now
    /// (`ESTALE`).
    pub fn leave(&mut self) -> Result<Option<OwnedFd>, Errno> {
        let Some(left) = self.levels.pop() else { return Ok(None) };
        let Some(handle) = left.handle else { return Ok(None) };
        if let Some(parent) = self.levels.last_mut().filter(|parent| parent.handle.is_none()) {
            let reopened = rustix::fs::openat(&handle, "..", DIRECTORY, Mode::empty())?;
            if identity(reopened.as_fd())? != parent.identity {
                return Err(Errno::STALE);
            }
            parent.handle = Some(reopened);
            self.closed -= 1;
        }
        Ok(Some(handle))
    }
}

/// Device and inode.
fn identity(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Opens a directory by path, following symlinks only above the last component.
///
/// # Errors
/// A [`PathError`].
pub fn open_dir(path: &Path) -> Result<OwnedFd, PathError> {
    rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()).map_err(PathError::at("opening directory", path))
}

/// Opens the directory that holds `path`, following symlinks, and gives the
/// last component. A path of any length can be worked on that way, as long as
/// each part given to the system is short enough.
///
/// # Errors
/// A [`PathError`]; `InvalidInput` when the path has no last component.
pub fn open_parent(path: &Path) -> Result<(OwnedFd, CString), PathError> {
    let error = |e: Errno| PathError::new("opening directory", path, e);
    let name = path.file_name().ok_or_else(|| error(Errno::INVAL))?;
    let name = CString::new(name.as_bytes()).map_err(|_| error(Errno::INVAL))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(CWD, &parent, flags, Mode::empty())
        .map_err(PathError::at("opening directory", &parent))?;
    Ok((handle, name))
}
