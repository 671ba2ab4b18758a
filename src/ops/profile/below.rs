//! The profiles below a directory, which others may own and change meanwhile.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Profile;
use crate::progress::Progress;
use crate::sys::dir::{DIRECTORY, Names};
use crate::sys::lock::LockError;
use crate::sys::{PathError, interrupt};

/// Deepest nesting that is looked into.
const MAX_DEPTH: usize = 64;

/// A directory that is open, what is left of its entries, and whose it is.
struct Level {
    dir: Arc<OwnedFd>,
    names: Names,
    path: PathBuf,
    owner: u32,
}

impl Level {
    fn new(dir: OwnedFd, path: PathBuf) -> Result<Self, Errno> {
        let (names, owner) = (Names::read(dir.as_fd())?, rustix::fs::fstat(&dir)?.st_uid);
        Ok(Self { dir: Arc::new(dir), names, path, owner })
    }
}

/// Calls `each` with every profile below a directory, in order: links that lead
/// to a generation of their own name. What `each` does to one is done in the
/// very directory that it was found in.
///
/// In what belongs to a user, only directories of that user and of root are
/// looked into. Directories that cannot be read are told and passed over.
///
/// # Errors
/// Errors of `each`; a [`PathError`] of the first directory, unless it is missing.
pub fn each_profile_below<E: From<PathError> + From<LockError>>(
    top: &Path,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&Profile) -> Result<(), E>,
) -> Result<(), E> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, top, flags, Mode::empty());
    let mut levels = match opened.and_then(|dir| Level::new(dir, top.to_owned())) {
        Ok(level) => vec![level],
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(PathError::new("cannot read directory", top, errno).into()),
    };
    loop {
        interrupt::check().map_err(LockError::from)?;
        let deep = levels.len() >= MAX_DEPTH;
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let Some((name, kind)) = level.names.take_next() else {
            levels.pop();
            continue;
        };
        let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
        match kind {
            FileType::Directory if !deep => {
                let owner = level.owner;
                let opened = rustix::fs::openat(&*level.dir, name, DIRECTORY, Mode::empty());
                match opened.and_then(|dir| Level::new(dir, path.clone())) {
                    Ok(below) if owner == 0 || [0, owner].contains(&below.owner) => levels.push(below),
                    Ok(_) => {}
                    // Gone, or something else by now.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(errno) => {
                        let error = PathError::new("cannot read directory", path, errno);
                        progress.warn(&format!("{error}, so profiles in it stay as they are"));
                    }
                }
            }
            FileType::Symlink => {
                let profile = Profile { found_in: Some(Arc::clone(&level.dir)), ..Profile::new(path) };
                if profile.is_profile() {
                    each(&profile)?;
                }
            }
            _ => {}
        }
    }
}

impl Profile {
    /// Device and inode of its directory, and whose that is.
    ///
    /// # Errors
    /// [`PathError`]; nothing for a directory that is missing.
    pub fn place(&self) -> super::Result<Option<((u64, u64), u32)>> {
        let Some(dir) = self.open()? else { return Ok(None) };
        let stat = rustix::fs::statat(&*dir, "", AtFlags::EMPTY_PATH)
            .map_err(PathError::at("getting status of", self.dir()))?;
        Ok(Some(((stat.st_dev, stat.st_ino), stat.st_uid)))
    }
}
