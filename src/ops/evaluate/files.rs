//! Reading files of this machine, with the wording that the language has for failures.

use std::fs::{DirEntry, FileType};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::eval::error::{Error, Kind};
use crate::eval::io::FileKind;
use crate::sys::{errno_text, interrupt, read_whole};

/// The kind of file that a type of the system is.
pub fn kind_of(file_type: FileType) -> FileKind {
    match file_type {
        _ if file_type.is_file() => FileKind::Regular,
        _ if file_type.is_dir() => FileKind::Directory,
        _ if file_type.is_symlink() => FileKind::Symlink,
        _ => FileKind::Unknown,
    }
}

/// The failure of reading `path`, of which `doing` says what was tried.
pub fn failure(path: &Path, doing: &str, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => missing(path),
        _ => Error::new(format!("{doing} \"{}\": {}", path.display(), errno_text(error))),
    }
}

/// The failure for a path that is not there.
pub fn missing(path: &Path) -> Error {
    Error::new(format!("path '{}' does not exist", path.display()))
}

/// The failure of an evaluation that was told to end.
pub fn interrupted() -> Error {
    Error::of(Kind::Interrupted, interrupt::Interrupted.to_string())
}

/// What `path` names without following a link, if anything.
///
/// # Errors
/// The system does not say.
pub fn kind(path: &Path) -> Result<Option<FileKind>, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(kind_of(metadata.file_type()))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(failure(path, "getting status of", &error)),
    }
}

/// The contents of a file.
///
/// # Errors
/// It cannot be read, is a directory, or does not end.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::IsADirectory => Error::new("read of 4096 bytes: Is a directory"),
        ErrorKind::FileTooLarge => Error::new(format!("file '{}' does not end", path.display())),
        _ => failure(path, "opening file", &error),
    };
    read_whole(path).map_err(|error| interrupt::check().map_or_else(|_| interrupted(), |()| failed(error)))
}

/// The entries of a directory in the order of their names' bytes.
///
/// # Errors
/// It cannot be read.
pub fn entries(path: &Path) -> Result<Vec<DirEntry>, Error> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => missing(path),
        _ => Error::new(format!("cannot read directory \"{}\": {}", path.display(), errno_text(&error))),
    };
    let read = std::fs::read_dir(path).map_err(failed)?;
    let mut entries = read.collect::<io::Result<Vec<DirEntry>>>().map_err(failed)?;
    entries.sort_by_cached_key(DirEntry::file_name);
    Ok(entries)
}
