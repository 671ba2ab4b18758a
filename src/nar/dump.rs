//! Tree → calls of a sink, in one pass over directory handles.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::hashing::HashPipe;
use super::writer::NarWriter;
use super::{Contents, MAX_DEPTH, NarError, Sink, case_hack};
use crate::model::{Hash, HashAlgorithm};
use crate::sys::dir::{DIRECTORY, DirStack, Names, open_dir, open_parent};
use crate::sys::{PathError, interrupt};

/// What names of entries are told as.
pub type Naming<'n> = &'n dyn for<'a> Fn(&'a [u8]) -> Cow<'a, [u8]>;

/// How a tree is told of.
#[derive(Clone, Copy, Default)]
pub struct Manner<'m> {
    /// What names are told as, and in which order therefore, where that is not as they are.
    pub naming: Option<Naming<'m>>,
    /// Whose everything in it must be, where that matters.
    pub owner: Option<u32>,
}

impl Manner<'_> {
    /// As the process does it everywhere.
    fn usual() -> Manner<'static> {
        fn plain(name: &[u8]) -> Cow<'_, [u8]> {
            Cow::Borrowed(case_hack::plain(name))
        }
        let naming: Naming<'static> = &plain;
        Manner { naming: case_hack::is_enabled().then_some(naming), owner: None }
    }
}

/// Tells `sink` of the tree at `path`. The last component is not followed if
/// it is a symlink, and none below it ever is.
///
/// # Errors
/// [`NarError`]; the sink has then been told a part.
pub fn walk(path: &Path, sink: &mut (impl Sink + ?Sized)) -> Result<(), NarError> {
    walk_with(path, Manner::usual(), sink)
}

/// As [`walk`], in another manner.
///
/// # Errors
/// See [`walk`]; [`NarError::Owner`]; and for two entries that are told as the same.
pub fn walk_with(path: &Path, manner: Manner<'_>, sink: &mut (impl Sink + ?Sized)) -> Result<(), NarError> {
    if path == Path::new("/") {
        // The root has no name in a directory above it.
        return walk_from(open_dir(path)?.as_fd(), c".", path, manner, sink);
    }
    let (parent, name) = match open_parent(path) {
        Ok(found) => found,
        Err(error) if error.is_not_found() || error.reason.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(NarError::Missing(path.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    walk_from(parent.as_fd(), &name, path, manner, sink)
}

/// As [`walk`], for the entry `name` of a directory; `shown` is its path for
/// messages.
///
/// # Errors
/// See [`walk`].
pub fn walk_at(
    parent: BorrowedFd<'_>,
    name: &CStr,
    shown: &Path,
    sink: &mut (impl Sink + ?Sized),
) -> Result<(), NarError> {
    walk_from(parent, name, shown, Manner::usual(), sink)
}

fn walk_from(
    parent: BorrowedFd<'_>,
    name: &CStr,
    shown: &Path,
    manner: Manner<'_>,
    sink: &mut (impl Sink + ?Sized),
) -> Result<(), NarError> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(NarError::Missing(shown.to_owned())),
        other => other.map_err(PathError::at("getting status of", shown))?,
    };
    let shown = shown.as_os_str().as_bytes();
    let mut walk = Walk { sink, manner, path: shown.strip_suffix(b"/").unwrap_or(shown).to_vec() };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => walk.tree(parent, name),
        other => walk.leaf(parent, name, other),
    }
}

/// The hash and size of the archive of the tree at `path`, with `pipe` to
/// choose the algorithm and whether a thread is used.
///
/// # Errors
/// See [`walk`].
pub fn hash_with(path: &Path, pipe: HashPipe) -> Result<(Hash, u64), NarError> {
    let mut writer = NarWriter::new(pipe)?;
    walk(path, &mut writer)?;
    Ok(writer.into_output().finish())
}

/// The hash and size of the archive of the tree at `path`.
///
/// # Errors
/// See [`walk`].
pub fn hash(path: &Path, algorithm: HashAlgorithm) -> Result<(Hash, u64), NarError> {
    hash_with(path, HashPipe::new(algorithm))
}

struct Walk<'s, S: ?Sized> {
    sink: &'s mut S,
    manner: Manner<'s>,
    /// Where one stands, for messages.
    path: Vec<u8>,
}

impl<S: Sink + ?Sized> Walk<'_, S> {
    fn shown(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.path))
    }

    fn error(&self, operation: &'static str, error: Errno) -> NarError {
        let path = self.shown();
        match error {
            // Opened as what its directory said it was, and was something else.
            Errno::LOOP | Errno::NOTDIR | Errno::STALE => NarError::Changed(path),
            error => PathError::new(operation, path, error).into(),
        }
    }

    fn check_owner(&self, found: u32) -> Result<(), NarError> {
        match self.manner.owner {
            Some(owner) if owner != found => Err(NarError::Owner(self.shown())),
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<(std::os::fd::OwnedFd, Names), NarError> {
        let handle = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
            .map_err(|e| self.error("cannot read directory", e))?;
        if self.manner.owner.is_some() {
            let stat = rustix::fs::fstat(&handle).map_err(|e| self.error("getting status of", e))?;
            self.check_owner(stat.st_uid)?;
        }
        let mut names = Names::read(handle.as_fd()).map_err(|e| self.error("cannot read directory", e))?;
        if let Some(naming) = self.manner.naming
            && let Some(twice) = names.sort_by_key(naming)
        {
            return Err(case_hack::collision(&twice));
        }
        self.sink.enter_directory()?;
        Ok((handle, names))
    }

    fn tree(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), NarError> {
        let (handle, names) = self.open(parent, name)?;
        let mut stack = DirStack::new(handle);
        // For each directory its names, and how long the path to it is.
        let mut listings = vec![(names, self.path.len())];
        while let Some((names, len)) = listings.last_mut() {
            interrupt::check()?;
            self.path.truncate(*len);
            let Some((entry, file_type)) = names.take_next() else {
                listings.pop();
                self.sink.leave_directory()?;
                stack.leave().map_err(|e| self.error("leaving directory", e))?;
                continue;
            };
            self.path.push(b'/');
            self.path.extend_from_slice(entry.to_bytes());
            match self.manner.naming.map(|naming| naming(entry.to_bytes())) {
                Some(told) if *told != *entry.to_bytes() => {
                    self.sink.entry(&CString::new(told.into_owned()).unwrap_or_default())?;
                }
                _ => self.sink.entry(entry)?,
            }
            if file_type == FileType::Directory {
                if stack.depth() >= MAX_DEPTH {
                    return Err(NarError::TooDeep);
                }
                let (handle, names) = self.open(stack.current(), entry)?;
                stack.enter(handle).map_err(|e| self.error("entering directory", e))?;
                let len = self.path.len();
                listings.push((names, len));
            } else {
                self.leaf(stack.current(), entry, file_type)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, parent: BorrowedFd<'_>, name: &CStr, file_type: FileType) -> Result<(), NarError> {
        match file_type {
            FileType::RegularFile => {
                // Should it be a pipe by now, opening must not wait for a writer.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let file = rustix::fs::openat(parent, name, flags, Mode::empty())
                    .map_err(|e| self.error("opening file", e))?;
                let stat = rustix::fs::fstat(&file).map_err(|e| self.error("getting status of", e))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(NarError::Changed(self.shown()));
                }
                self.check_owner(stat.st_uid)?;
                let executable = stat.st_mode & 0o100 != 0;
                // Sizes of files are not negative.
                let remaining = stat.st_size as u64;
                let mut contents = FileContents { file: file.into(), remaining, path: &self.path };
                self.sink.regular(executable, &mut contents)
            }
            FileType::Symlink => {
                if self.manner.owner.is_some() {
                    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(|e| self.error("getting status of", e))?;
                    self.check_owner(stat.st_uid)?;
                }
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(|e| self.error("reading symbolic link", e))?;
                self.sink.symlink(&target)
            }
            _ => Err(NarError::UnsupportedType(self.shown())),
        }
    }
}

struct FileContents<'p> {
    file: File,
    remaining: u64,
    path: &'p [u8],
}

impl Contents for FileContents<'_> {
    fn remaining(&self) -> u64 {
        self.remaining
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        let limit = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if limit == 0 {
            return Ok(0);
        }
        let path = || PathBuf::from(OsStr::from_bytes(self.path));
        loop {
            match rustix::io::read(&self.file, &mut buffer[..limit]) {
                Ok(0) => return Err(NarError::Changed(path())),
                Ok(count) => {
                    self.remaining -= count as u64;
                    return Ok(count);
                }
                Err(Errno::INTR) => interrupt::check()?,
                Err(error) => return Err(PathError::new("reading file", path(), error).into()),
            }
        }
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }

    fn taken(&mut self, bytes: u64) {
        self.remaining = self.remaining.saturating_sub(bytes);
    }
}
