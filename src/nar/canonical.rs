//! Giving a tree that somebody else made the metadata of a store: modes 0444
//! and 0555, the canonical time, our owner, no extended attributes.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::restore::CANONICAL_TIMES;
use super::{MAX_DEPTH, NarError};
use crate::sys::dir::{DirStack, Names, open_parent};
use crate::sys::{PathError, interrupt};

/// Gives the tree at `path` canonical metadata wherever it differs.
///
/// # Errors
/// [`NarError`]; also for a file of a type that no store holds.
pub fn canonicalise(path: &Path, ignored_xattrs: &[String]) -> Result<(), NarError> {
    let (parent, name) = open_parent(path)?;
    let mut shown = path.as_os_str().as_bytes().to_vec();
    let fix = Fix { ignored_xattrs };
    let Some((handle, names)) = fix.node(parent.as_fd(), &name, &shown)? else { return Ok(()) };
    let mut stack = DirStack::new(handle);
    let mut listings = vec![(names, shown.len())];
    while let Some((names, len)) = listings.last_mut() {
        interrupt::check()?;
        shown.truncate(*len);
        let Some((entry, _)) = names.take_next() else {
            listings.pop();
            stack.leave().map_err(|e| error("leaving directory", &shown, e))?;
            continue;
        };
        shown.push(b'/');
        shown.extend_from_slice(entry.to_bytes());
        if let Some((handle, names)) = fix.node(stack.current(), entry, &shown)? {
            if stack.depth() >= MAX_DEPTH {
                return Err(NarError::TooDeep);
            }
            stack.enter(handle).map_err(|e| error("entering directory", &shown, e))?;
            listings.push((names, shown.len()));
        }
    }
    Ok(())
}

fn error(operation: &'static str, shown: &[u8], errno: Errno) -> NarError {
    PathError::new(operation, OsStr::from_bytes(shown), errno).into()
}

struct Fix<'a> {
    ignored_xattrs: &'a [String],
}

impl Fix<'_> {
    /// One file, symlink or directory; the last is opened and listed.
    fn node(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        shown: &[u8],
    ) -> Result<Option<(OwnedFd, Names)>, NarError> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| error("getting status of", shown, e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                own(parent, name, &stat).map_err(|e| error("changing owner of", shown, e))?;
                rustix::fs::utimensat(parent, name, &CANONICAL_TIMES, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| error("changing time of", shown, e))?;
                Ok(None)
            }
            FileType::RegularFile => {
                // Under another name it may be a file that is not meant: the
                // maker of the tree has only linked to it.
                if stat.st_nlink > 1 && stat.st_uid != rustix::process::geteuid().as_raw() {
                    return Err(NarError::HardLink(PathBuf::from(OsStr::from_bytes(shown))));
                }
                let mode = if stat.st_mode & 0o100 != 0 { 0o555 } else { 0o444 };
                self.file(parent, name, &stat, mode, shown).map(|_| None)
            }
            FileType::Directory => {
                let handle = self.file(parent, name, &stat, 0o555, shown)?;
                let names =
                    Names::read(handle.as_fd()).map_err(|e| error("cannot read directory", shown, e))?;
                Ok(Some((handle, names)))
            }
            _ => Err(NarError::UnsupportedType(PathBuf::from(OsStr::from_bytes(shown)))),
        }
    }

    fn file(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        mode: u32,
        shown: &[u8],
    ) -> Result<OwnedFd, NarError> {
        own(parent, name, stat).map_err(|e| error("changing owner of", shown, e))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
        let handle = match open() {
            Err(Errno::ACCESS) => {
                // Not even its owner may read it. It was a file or directory
                // just now, and what it is is checked again by the open.
                rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
                    .map_err(|e| error("changing mode of", shown, e))?;
                open()
            }
            other => other,
        }
        .map_err(|e| error("opening file", shown, e))?;
        self.remove_xattrs(&handle).map_err(|e| error("removing extended attributes of", shown, e))?;
        if stat.st_mode & 0o7777 != mode {
            rustix::fs::fchmod(&handle, Mode::from_raw_mode(mode))
                .map_err(|e| error("changing mode of", shown, e))?;
        }
        rustix::fs::futimens(&handle, &CANONICAL_TIMES).map_err(|e| error("changing time of", shown, e))?;
        Ok(handle)
    }

    fn remove_xattrs(&self, handle: &OwnedFd) -> Result<(), Errno> {
        let mut list = [0; 4096];
        let count = match rustix::fs::flistxattr(handle, &mut list[..]) {
            // A file system without them.
            Err(Errno::NOTSUP | Errno::NODATA) => return Ok(()),
            other => other?,
        };
        for name in list[..count].split(|b| *b == 0).filter(|name| !name.is_empty()) {
            if self.ignored_xattrs.iter().any(|ignored| ignored.as_bytes() == name) {
                continue;
            }
            let Ok(name) = CString::new(name) else { continue };
            match rustix::fs::fremovexattr(handle, &*name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes the file ours.
fn own(parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let user = rustix::process::geteuid();
    if stat.st_uid == user.as_raw() {
        return Ok(());
    }
    let group = rustix::process::getegid();
    rustix::fs::chownat(parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}
