//! Operating-system helpers: file operations relative to directory handles,
//! locks, interruption. The only floor where `unsafe` may stand.

pub mod atomic;
pub mod dir;
pub mod interrupt;
pub mod lock;
pub mod remove;
pub mod sqlite;
pub mod writeback;

use std::io;
use std::path::{Path, PathBuf};

/// A failed operation on a file, with what was tried and where.
#[derive(Debug, thiserror::Error)]
#[error("{operation} \"{}\": {}", path.display(), errno_text(source))]
pub struct PathError {
    /// In the form "opening file", "creating directory", …
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system answered.
    #[source]
    pub source: io::Error,
}

impl PathError {
    /// A failure of `operation` on `path`.
    pub fn new(operation: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self { operation, path: path.as_ref().to_owned(), source: source.into() }
    }

    /// For `map_err`.
    pub fn at<E: Into<io::Error>>(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |source| Self::new(operation, path, source)
    }

    /// Whether the file was not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// The system's own words, without Rust's "(os error N)".
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
