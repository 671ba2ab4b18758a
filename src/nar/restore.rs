//! Calls of a sink → tree, written relative to directory handles.
//!
//! Nothing that is already there is followed or opened: every file, directory
//! and symlink is created anew (`O_EXCL`), below a directory that this very
//! code has made.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Contents, NarError, Sink, case_hack};
use crate::sys::dir::{DIRECTORY, DirStack};
use crate::sys::{PathError, interrupt, writeback};

/// The modification time of everything in a store, in seconds since 1970.
pub const CANONICAL_MTIME: i64 = 1;

/// Bytes of contents written at a time.
const BUFFER: usize = 256 * 1024;

/// What the restored files look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// As any new file: 0666 or 0777 less the umask, and the current time.
    Ordinary,
    /// As in a store: 0444 or 0555, modified at [`CANONICAL_MTIME`]. The root,
    /// if it is a directory, stays writable until [`make_canonical`], because
    /// a directory that one may not write to cannot be moved.
    Canonical,
}

/// A sink that makes the tree it is told of.
pub struct Restorer {
    parent: OwnedFd,
    stack: Option<DirStack>,
    /// Name of the next node.
    name: CString,
    /// Where one stands, for messages: the path and, for each directory, its length.
    path: Vec<u8>,
    lengths: Vec<usize>,
    /// The names of each directory that is open, where they may have to change.
    names: Vec<case_hack::Names>,
    metadata: Metadata,
    /// Whether files are sent to disk while more is written, because they will
    /// be synced.
    pub writeback: bool,
    ahead: writeback::Ahead,
    /// Whether the umask takes bits away that the metadata needs, for plain and
    /// executable files; known once one was made.
    masked: [Option<bool>; 2],
    buffer: Vec<u8>,
}

/// A file being written.
pub struct NewFile {
    handle: OwnedFd,
    written: u64,
    /// Up to where the kernel was told to begin writing.
    begun: u64,
}

/// Bytes after which the kernel is told to begin writing a file that will be
/// synced.
const WRITEBACK_STEP: u64 = 4 << 20;

impl Restorer {
    /// Makes the tree as `name` in `parent`; `shown` is its path for messages.
    pub fn new(parent: OwnedFd, name: CString, shown: &Path, metadata: Metadata) -> Self {
        Self {
            parent,
            stack: None,
            name,
            path: shown.as_os_str().as_bytes().to_vec(),
            lengths: Vec::new(),
            names: Vec::new(),
            metadata,
            writeback: false,
            ahead: writeback::Ahead::default(),
            masked: [None; 2],
            buffer: Vec::new(),
        }
    }

    fn shown(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.path))
    }

    fn error(&self, operation: &'static str, error: Errno) -> NarError {
        let path = self.shown();
        match error {
            Errno::EXIST => NarError::Exists(path),
            error => PathError::new(operation, path, error).into(),
        }
    }

    fn at(&self) -> BorrowedFd<'_> {
        self.stack.as_ref().map_or(self.parent.as_fd(), DirStack::current)
    }

    /// Creates the file that is the next node.
    ///
    /// # Errors
    /// [`NarError::Exists`] or a [`PathError`].
    pub fn create(&mut self, executable: bool, len: u64) -> Result<NewFile, NarError> {
        let mode = match (self.metadata, executable) {
            (Metadata::Ordinary, false) => 0o666,
            (Metadata::Ordinary, true) => 0o777,
            (Metadata::Canonical, false) => 0o444,
            (Metadata::Canonical, true) => 0o555,
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(self.at(), &*self.name, flags, Mode::from_raw_mode(mode))
            .map_err(|e| self.error("creating file", e))?;
        if self.metadata == Metadata::Canonical {
            self.unmask(&handle, mode)?;
        }
        // Room for large contents is asked for at once, which keeps them in
        // few pieces; a file system that cannot do so does not matter. The
        // length comes from outside, so it is bounded.
        if (BUFFER as u64..=1 << 30).contains(&len) {
            let _ = rustix::fs::fallocate(&handle, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len);
        }
        Ok(NewFile { handle, written: 0, begun: 0 })
    }

    fn unmask(&mut self, handle: &OwnedFd, mode: u32) -> Result<(), NarError> {
        let masked = match self.masked[usize::from(mode & 0o100 != 0)] {
            Some(masked) => masked,
            None => {
                let stat = rustix::fs::fstat(handle);
                let stat = stat.map_err(|e| self.error("getting status of", e))?;
                let masked = stat.st_mode & 0o7777 != mode;
                self.masked[usize::from(mode & 0o100 != 0)] = Some(masked);
                masked
            }
        };
        if masked {
            rustix::fs::fchmod(handle, Mode::from_raw_mode(mode))
                .map_err(|e| self.error("changing mode of", e))?;
        }
        Ok(())
    }

    /// Writes to a file made with [`Restorer::create`].
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn write(&self, file: &mut NewFile, mut data: &[u8]) -> Result<(), NarError> {
        while !data.is_empty() {
            match rustix::io::write(&file.handle, data) {
                Ok(count) => {
                    data = &data[count..];
                    file.written += count as u64;
                }
                Err(Errno::INTR) => interrupt::check()?,
                Err(error) => return Err(self.error("writing file", error)),
            }
        }
        if self.writeback && file.written - file.begun >= WRITEBACK_STEP {
            writeback::begin(file.handle.as_fd(), file.begun, file.written - file.begun);
            file.begun = file.written;
        }
        Ok(())
    }

    /// Completes a file.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn finish(&mut self, file: NewFile) -> Result<(), NarError> {
        if self.metadata == Metadata::Canonical {
            rustix::fs::futimens(&file.handle, &CANONICAL_TIMES)
                .map_err(|e| self.error("changing time of", e))?;
        }
        if self.writeback {
            self.ahead.wrote(self.parent.as_fd());
        }
        Ok(())
    }
}

/// The time of everything in a store; when it was read last stays as it is.
pub const CANONICAL_TIMES: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT as _ },
    last_modification: Timespec { tv_sec: CANONICAL_MTIME, tv_nsec: 0 },
};

impl Sink for Restorer {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        rustix::fs::mkdirat(self.at(), &*self.name, Mode::from_raw_mode(0o777))
            .map_err(|e| self.error("creating directory", e))?;
        let handle = rustix::fs::openat(self.at(), &*self.name, DIRECTORY, Mode::empty())
            .map_err(|e| self.error("opening directory", e))?;
        self.lengths.push(self.path.len());
        if case_hack::is_enabled() {
            self.names.push(case_hack::Names::default());
        }
        match &mut self.stack {
            Some(stack) => {
                let entered = stack.enter(handle);
                entered.map_err(|e| self.error("entering directory", e))
            }
            None => {
                self.stack = Some(DirStack::new(handle));
                Ok(())
            }
        }
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.path.truncate(self.lengths.last().copied().unwrap_or(self.path.len()));
        self.name = match self.names.last_mut() {
            Some(names) => names.next(name)?,
            None => name.to_owned(),
        };
        self.path.push(b'/');
        self.path.extend_from_slice(self.name.to_bytes());
        Ok(())
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        if let Some(len) = self.lengths.pop() {
            self.path.truncate(len);
        }
        self.names.pop();
        let Some(stack) = &mut self.stack else { return Ok(()) };
        let left = stack.leave();
        let at_root = stack.depth() == 0;
        let Some(handle) = left.map_err(|e| self.error("leaving directory", e))? else { return Ok(()) };
        if self.metadata == Metadata::Canonical {
            if !at_root {
                rustix::fs::fchmod(&handle, Mode::from_raw_mode(0o555))
                    .map_err(|e| self.error("changing mode of", e))?;
            }
            rustix::fs::futimens(&handle, &CANONICAL_TIMES).map_err(|e| self.error("changing time of", e))?;
        }
        if at_root {
            self.stack = None;
        }
        Ok(())
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let mut file = self.create(executable, contents.remaining())?;
        let mut buffer = std::mem::take(&mut self.buffer);
        // Never larger than what is announced, nor than the limit.
        let wanted = usize::try_from(contents.remaining()).unwrap_or(BUFFER).min(BUFFER);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(&mut buffer)?;
            self.write(&mut file, &buffer[..count])?;
        }
        self.buffer = buffer;
        self.finish(file)
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        rustix::fs::symlinkat(target, self.at(), &*self.name)
            .map_err(|e| self.error("creating symbolic link", e))?;
        if self.metadata == Metadata::Canonical {
            rustix::fs::utimensat(self.at(), &*self.name, &CANONICAL_TIMES, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| self.error("changing time of", e))?;
        }
        Ok(())
    }
}

/// Gives the root of a tree restored with [`Metadata::Canonical`] its final
/// mode and time, once it is in its place.
///
/// # Errors
/// A [`PathError`].
pub fn make_canonical(parent: BorrowedFd<'_>, name: &CStr, shown: &Path) -> Result<(), PathError> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(PathError::at("getting status of", shown))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
        return Ok(());
    }
    let handle = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
        .map_err(PathError::at("opening directory", shown))?;
    rustix::fs::fchmod(&handle, Mode::from_raw_mode(0o555))
        .map_err(PathError::at("changing mode of", shown))?;
    rustix::fs::futimens(&handle, &CANONICAL_TIMES).map_err(PathError::at("changing time of", shown))
}

/// Gives a plain file its final mode and time.
///
/// # Errors
/// A [`PathError`].
pub fn make_file_canonical(file: &std::fs::File, shown: &Path) -> Result<(), PathError> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(0o444)).map_err(PathError::at("changing mode of", shown))?;
    rustix::fs::futimens(file, &CANONICAL_TIMES).map_err(PathError::at("changing time of", shown))
}

/// Restores one archive as `path`, which must not exist, with ordinary
/// metadata.
///
/// The tree is made in a temporary directory beside `path` and moved when it is
/// complete, so that a bad archive leaves nothing behind.
///
/// # Errors
/// [`NarError`]; [`NarError::Occupied`] where something is there, which is told
/// by the name that was given for the path.
pub fn restore_file<R: std::io::Read>(
    input: &mut super::input::Input<R>,
    path: &Path,
    given: &Path,
) -> Result<(), NarError> {
    let (parent, name) = crate::sys::dir::open_parent(path)?;
    if rustix::fs::statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        let mut first = FirstNode { given, over_directory: path.is_dir() };
        return match super::reader::read(input, &mut first) {
            Err(error) => Err(error),
            Ok(()) => Err(NarError::Exists(path.to_owned())),
        };
    }
    let beside = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let scratch = tempfile::Builder::new()
        .prefix(".restore-")
        .tempdir_in(beside)
        .map_err(PathError::at("creating directory in", beside))?
        // Removed below, by code that copes with any tree.
        .keep();
    let result = restore_within(input, &scratch, parent.as_fd(), &name, path);
    let removed = crate::sys::remove::remove(&scratch);
    result?;
    removed?;
    Ok(())
}

/// Fails at the first node, in the words for one that cannot be made where it
/// should be.
struct FirstNode<'p> {
    given: &'p Path,
    /// A directory is there, or a link to one.
    over_directory: bool,
}

impl FirstNode<'_> {
    fn fail(&self, text: String) -> Result<(), NarError> {
        Err(NarError::Occupied(text))
    }
}

impl Sink for FirstNode<'_> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        let given = self.given.display();
        self.fail(match self.over_directory {
            true => format!("path '{given}' already exists"),
            false => format!("filesystem error: cannot create directory: File exists [{given}]"),
        })
    }

    fn entry(&mut self, _name: &CStr) -> Result<(), NarError> {
        Ok(())
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        Ok(())
    }

    fn regular(&mut self, _executable: bool, _contents: &mut dyn Contents) -> Result<(), NarError> {
        self.fail(format!("creating file \"{}\": File exists", self.given.display()))
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        let (given, target) = (self.given.display(), target.to_string_lossy());
        self.fail(format!("creating symlink \"{given}\" -> \"{target}\": File exists"))
    }
}

fn restore_within<R: std::io::Read>(
    input: &mut super::input::Input<R>,
    scratch: &Path,
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
) -> Result<(), NarError> {
    let handle = crate::sys::dir::open_dir(scratch)?;
    let copy = handle.try_clone().map_err(PathError::at("opening directory", scratch))?;
    let mut restorer = Restorer::new(copy, c"x".to_owned(), path, Metadata::Ordinary);
    super::reader::read(input, &mut restorer)?;
    drop(restorer);
    rename_new(handle.as_fd(), c"x", parent, name).map_err(|error| match error {
        Errno::EXIST => NarError::Exists(path.to_owned()),
        error => PathError::new("renaming to", path, error).into(),
    })
}

/// Renames, never over something that is there.
fn rename_new(from: BorrowedFd<'_>, old: &CStr, to: BorrowedFd<'_>, new: &CStr) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, old, to, new, rustix::fs::RenameFlags::NOREPLACE) {
        // Some network file systems know only the plain rename.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if rustix::fs::statat(to, new, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(Errno::EXIST);
            }
            rustix::fs::renameat(from, old, to, new)
        }
        other => other,
    }
}
