//! The tree that an archive is unpacked to, below one directory.
//!
//! Everything is made relative to handles of directories, one part of a name at a
//! time and without following a link, so that no name leads out of it. Of files only
//! the contents and whether they can be executed are kept; a later entry replaces an
//! earlier one of the same name, but never a directory.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{FetchError, Result};
use crate::sys::dir::{DIRECTORY, open_dir};
use crate::sys::{PathError, interrupt};

/// Bytes copied at a time.
const STEP: usize = 128 * 1024;

/// How much may come out of one archive.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of all files together, as they are once unpacked.
    pub bytes: u64,
}

impl Limits {
    /// Of archives that somebody brings who need not be trusted.
    pub const OF_STRANGERS: Self = Self { entries: 1 << 20, bytes: 1 << 33 };
}

impl Default for Limits {
    /// Several times as much as the largest sources there are.
    fn default() -> Self {
        Self { entries: 1 << 23, bytes: 1 << 37 }
    }
}

/// A directory that an archive is unpacked to.
pub struct Tree {
    root: OwnedFd,
    shown: PathBuf,
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// The time of the newest entry, in seconds since 1970, as far as whoever has the archive told it.
    pub newest: u64,
    /// The directory that the last entry lies in, which the next one mostly lies in, too.
    last: Option<(Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

/// A name, taken apart: those of directories, and the last one.
struct Name<'n> {
    parts: Vec<&'n [u8]>,
}

impl<'n> Name<'n> {
    fn of(name: &'n [u8]) -> Result<Self> {
        let refused = |why: &str| FetchError::Archive(format!("'{}' {why}", String::from_utf8_lossy(name)));
        if name.starts_with(b"/") {
            return Err(refused("is an absolute name"));
        }
        let parts: Vec<&[u8]> =
            name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        if parts.contains(&&b".."[..]) {
            return Err(refused("leads out of the archive"));
        }
        if name.contains(&0) {
            return Err(refused("has a zero byte in it"));
        }
        Ok(Self { parts })
    }

    /// The directory and the last part; nothing for the top itself.
    fn split(&self) -> Option<(&[&'n [u8]], CString)> {
        let (last, above) = self.parts.split_last()?;
        // There is no zero byte in it.
        Some((above, CString::new(*last).ok()?))
    }
}

impl Tree {
    /// The tree in `dir`, which is there and empty.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn new(dir: &Path, limits: Limits) -> Result<Self> {
        let (root, shown) = (open_dir(dir)?, dir.to_owned());
        Ok(Self { root, shown, limits, entries: 0, bytes: 0, newest: 0, last: None, buffer: vec![0; STEP] })
    }

    /// Makes a directory and those above it, if they are not there.
    ///
    /// # Errors
    /// A name that leads out, something else that has the name, and failures to write.
    pub fn directory(&mut self, name: &[u8]) -> Result<()> {
        self.count()?;
        let name = Name::of(name)?;
        self.parent(&name.parts).map(drop)
    }

    /// Makes a file of what `contents` gives.
    ///
    /// # Errors
    /// As [`Tree::directory`], and more bytes than there may be.
    pub fn file(&mut self, name: &[u8], executable: bool, contents: &mut dyn Read) -> Result<()> {
        self.count()?;
        let split = Name::of(name)?;
        let Some((above, last)) = split.split() else { return Err(not_a_name(name)) };
        let parent = self.parent(above)?;
        self.make_room(&parent, &last, name)?;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, &last, flags, mode);
        let mut file = File::from(file.map_err(PathError::at("creating file", self.path(name)))?);
        self.last = Some((above.join(&b'/'), parent));
        let path = self.path(name);
        loop {
            interrupt::check()?;
            let count = match contents.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(super::unpack::bad(error)),
            };
            self.bytes += count as u64;
            if self.bytes > self.limits.bytes {
                return Err(FetchError::Archive(format!(
                    "it holds more than {} bytes once unpacked",
                    self.limits.bytes
                )));
            }
            file.write_all(&self.buffer[..count]).map_err(PathError::at("writing file", &path))?;
        }
    }

    /// Makes a symbolic link, which may say anything: nobody follows it here.
    ///
    /// # Errors
    /// As [`Tree::directory`].
    pub fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<()> {
        self.count()?;
        let split = Name::of(name)?;
        let Some((above, last)) = split.split() else { return Err(not_a_name(name)) };
        let parent = self.parent(above)?;
        self.make_room(&parent, &last, name)?;
        rustix::fs::symlinkat(target, &parent, &last)
            .map_err(PathError::at("creating symlink", self.path(name)))?;
        Ok(())
    }

    /// Gives a file of the tree another name.
    ///
    /// # Errors
    /// As [`Tree::directory`]; nothing in the tree has the name `target`.
    pub fn hard_link(&mut self, name: &[u8], target: &[u8]) -> Result<()> {
        self.count()?;
        let (split, split_target) = (Name::of(name)?, Name::of(target)?);
        let Some((above, last)) = split.split() else { return Err(not_a_name(name)) };
        let Some((target_above, target_last)) = split_target.split() else {
            return Err(not_a_name(target));
        };
        if split.parts == split_target.parts {
            return Ok(());
        }
        let from = self.parent(target_above)?;
        let to = self.parent(above)?;
        self.make_room(&to, &last, name)?;
        match rustix::fs::linkat(&from, &target_last, &to, &last, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT | Errno::PERM) => Err(FetchError::Archive(format!(
                "'{}' is a link to '{}', which is no file of the archive",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(target)
            ))),
            Err(errno) => Err(PathError::new("creating link", self.path(name), errno).into()),
        }
    }

    /// Counts an entry.
    fn count(&mut self) -> Result<()> {
        interrupt::check()?;
        self.entries += 1;
        match self.entries > self.limits.entries {
            true => Err(FetchError::Archive(format!("it has more than {} entries", self.limits.entries))),
            false => Ok(()),
        }
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.shown.join(OsStr::from_bytes(name))
    }

    /// The directory with a name, which is made if it is not there.
    fn parent(&mut self, parts: &[&[u8]]) -> Result<OwnedFd> {
        let name = parts.join(&b'/');
        if let Some((_, known)) = self.last.take_if(|(known, _)| *known == name) {
            return Ok(known);
        }
        let shown = self.path(&name);
        let failed = |errno: Errno| match errno {
            Errno::NOTDIR | Errno::LOOP => FetchError::Archive(format!(
                "'{}' is a directory and something else, too",
                String::from_utf8_lossy(&name)
            )),
            errno => PathError::new("creating directory", &shown, errno).into(),
        };
        let mut here = self.root.as_fd().try_clone_to_owned().map_err(PathError::at("opening", &shown))?;
        for part in parts {
            here = match rustix::fs::openat(&here, *part, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&here, *part, Mode::from_raw_mode(0o755)).map_err(failed)?;
                    rustix::fs::openat(&here, *part, DIRECTORY, Mode::empty()).map_err(failed)?
                }
                other => other.map_err(failed)?,
            };
        }
        Ok(here)
    }

    /// Removes what has a name, unless that is a directory.
    fn make_room(&self, parent: &OwnedFd, last: &CString, name: &[u8]) -> Result<()> {
        match rustix::fs::statat(parent, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(PathError::new("getting status of", self.path(name), errno).into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let name = String::from_utf8_lossy(name);
                Err(FetchError::Archive(format!("'{name}' is a directory and something else, too")))
            }
            Ok(_) => Ok(rustix::fs::unlinkat(parent, last, AtFlags::empty())
                .map_err(PathError::at("removing file", self.path(name)))?),
        }
    }
}

fn not_a_name(name: &[u8]) -> FetchError {
    FetchError::Archive(format!("'{}' is no name of a file", String::from_utf8_lossy(name)))
}
