//! The archive format of the store (NAR).
//!
//! ```text
//! nar     = str("nix-archive-1") node
//! node    = "(" "type" ( "regular" ["executable" ""] "contents" DATA
//!                      | "symlink" "target" TARGET
//!                      | "directory" { "entry" "(" "name" NAME "node" node ")" } ) ")"
//! str(s)  = length as 64-bit little-endian, bytes, zeros up to a multiple of 8
//! ```
//!
//! Every token is a `str`. Entries are strictly increasing by their bytes. The
//! format knows neither times nor owners, and of the mode only the owner's
//! execute bit.
//!
//! | limit | value | why |
//! |---|---|---|
//! | NAME | 1 … 255 bytes, not `.` or `..`, no `/`, no NUL | what a directory can hold |
//! | TARGET | 1 … 4095 bytes, no NUL | what a symlink can hold |
//! | nesting | [`MAX_DEPTH`] directories | memory |
//! | DATA | none: it is never held in memory | |
//!
//! A tree (or an archive) is turned into calls of a [`Sink`], and the sinks
//! write an archive, restore a tree, or do both at once:
//!
//! ```text
//! dump::walk(tree)  ─┐           ┌─ writer::NarWriter → bytes, hash
//!                    ├→ Sink ────┼─ restore::Restorer → tree
//! reader::read(nar) ─┘           └─ store's sink: both
//! ```

pub mod canonical;
pub mod case_hack;
pub mod content_hash;
pub mod dump;
pub mod file;
pub mod git;
pub mod hashing;
pub mod input;
pub mod listing;
pub mod modulo;
pub mod reader;
pub mod restore;
pub mod rewriting;
mod scanning;
pub mod tee;
pub mod writer;

#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::sys::PathError;
use crate::sys::interrupt::Interrupted;

/// First token of an archive.
pub const MAGIC: &str = "nix-archive-1";
/// Deepest nesting of directories that is read or written.
pub const MAX_DEPTH: usize = 65_536;
/// Longest name of an entry, in bytes.
pub const MAX_NAME_LEN: usize = 255;
/// Longest target of a symlink, in bytes.
pub const MAX_TARGET_LEN: usize = 4095;

/// Bytes of contents that are looked at together on their way.
const STEP: usize = 128 * 1024;

/// What can go wrong with an archive or the tree it is made of or into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NarError {
    /// A departure from the grammar.
    #[error("bad archive: {0}")]
    Bad(String),
    /// Padding bytes other than zero.
    #[error("non-zero padding")]
    Padding,
    /// A name, target or token over its limit.
    #[error("string is too long")]
    TooLong,
    /// The input ends too early.
    #[error("unexpected end-of-file")]
    Eof,
    /// Over [`MAX_DEPTH`].
    #[error("bad archive: directories are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The tree to be dumped is not there.
    #[error("path '{}' does not exist", .0.display())]
    Missing(PathBuf),
    /// A device, socket or pipe.
    #[error("file '{}' has an unsupported type", .0.display())]
    UnsupportedType(PathBuf),
    /// A file of somebody else's that has other names, too.
    #[error(
        "path \"{}\" has other names (hard links) and belongs to somebody else: it may be a file that is not \
         meant",
        .0.display()
    )]
    HardLink(PathBuf),
    /// A file, directory or link of somebody else in a tree that should be one user's.
    #[error("invalid ownership on file \"{}\"", .0.display())]
    Owner(PathBuf),
    /// Somebody wrote to a file, or moved a directory, that was being read.
    #[error("file '{}' changed while it was being read", .0.display())]
    Changed(PathBuf),
    /// The tree to be made is there already.
    #[error("path '{}' already exists", .0.display())]
    Exists(PathBuf),
    /// The tree to be made is there already, as a command names it.
    #[error("{0}")]
    Occupied(String),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Reading the archive.
    #[error("reading the archive: {}", crate::sys::errno_text(.0))]
    Read(io::Error),
    /// Writing the archive.
    #[error("writing the archive: {}", crate::sys::errno_text(.0))]
    Write(io::Error),
    /// The work was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Whatever else a sink fails with.
    #[error(transparent)]
    Sink(Box<dyn std::error::Error + Send + Sync>),
}

impl NarError {
    /// A failure to read, or a signal.
    pub(crate) fn reading(error: io::Error) -> Self {
        if crate::sys::interrupt::is_io_error(&error) {
            Self::Interrupted(Interrupted)
        } else {
            Self::Read(error)
        }
    }

    /// A failure to write, or a signal.
    pub(crate) fn writing(error: io::Error) -> Self {
        if crate::sys::interrupt::is_io_error(&error) {
            Self::Interrupted(Interrupted)
        } else {
            Self::Write(error)
        }
    }

    /// A departure from the grammar.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::Bad(message.into())
    }
}

/// The contents of one file, to be read from start to end.
pub trait Contents {
    /// Bytes not read yet.
    fn remaining(&self) -> u64;

    /// Reads at most `buffer.len()` bytes; 0 only at the end or for an empty
    /// buffer.
    ///
    /// # Errors
    /// [`NarError`]; also when there is less than was announced.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError>;

    /// The open file the rest can be taken from by the kernel itself,
    /// positioned where reading goes on; what is taken is told with
    /// [`Contents::taken`].
    fn file(&self) -> Option<&File> {
        None
    }

    /// Notes that `bytes` were taken from [`Contents::file`].
    fn taken(&mut self, bytes: u64) {
        let _ = bytes;
    }
}

/// Contents in memory.
impl Contents for &[u8] {
    fn remaining(&self) -> u64 {
        self.len() as u64
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        let (now, later) = self.split_at(buffer.len().min(self.len()));
        buffer[..now.len()].copy_from_slice(now);
        *self = later;
        Ok(now.len())
    }
}

/// Takes a tree, node by node, in the order of the archive.
///
/// A directory is `enter_directory`, then for each entry `entry` and its node,
/// then `leave_directory`.
pub trait Sink {
    /// A directory begins.
    ///
    /// # Errors
    /// Whatever the sink does with it.
    fn enter_directory(&mut self) -> Result<(), NarError>;

    /// The next node is the entry `name`.
    ///
    /// # Errors
    /// Whatever the sink does with it.
    fn entry(&mut self, name: &CStr) -> Result<(), NarError>;

    /// The directory entered last ends.
    ///
    /// # Errors
    /// Whatever the sink does with it.
    fn leave_directory(&mut self) -> Result<(), NarError>;

    /// A file. What the sink leaves of the contents is passed over.
    ///
    /// # Errors
    /// Whatever the sink does with it, and those of the contents.
    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError>;

    /// A symlink.
    ///
    /// # Errors
    /// Whatever the sink does with it.
    fn symlink(&mut self, target: &CStr) -> Result<(), NarError>;
}

/// A sink that keeps nothing: the source is only checked.
pub struct Discard;

impl Sink for Discard {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        Ok(())
    }

    fn entry(&mut self, _name: &CStr) -> Result<(), NarError> {
        Ok(())
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        Ok(())
    }

    fn regular(&mut self, _executable: bool, _contents: &mut dyn Contents) -> Result<(), NarError> {
        Ok(())
    }

    fn symlink(&mut self, _target: &CStr) -> Result<(), NarError> {
        Ok(())
    }
}
