//! Operating-system helpers: file operations relative to directory handles,
//! locks, interruption. The only floor where `unsafe` may stand.

pub mod atomic;
pub mod child;
pub mod clock;
pub mod closed;
pub mod dir;
pub mod filesystem;
pub mod interrupt;
pub mod lock;
pub mod mount;
pub mod pty;
pub mod remove;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod sqlite;
pub mod threads;
pub mod users;
pub mod walk;
pub mod writeback;

use std::io;
use std::path::{Path, PathBuf};

/// A failed operation on a file, with what was tried and where.
#[derive(Debug, thiserror::Error)]
#[error("{operation} \"{}\": {}", path.display(), errno_text(reason))]
#[non_exhaustive]
pub struct PathError {
    /// In the form "opening file", "creating directory", …
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system answered.
    pub reason: io::Error,
}

impl PathError {
    /// A failure of `operation` on `path`.
    pub fn new(operation: &'static str, path: impl AsRef<Path>, reason: impl Into<io::Error>) -> Self {
        Self { operation, path: path.as_ref().to_owned(), reason: reason.into() }
    }

    /// For `map_err`.
    pub fn at<E: Into<io::Error>>(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |reason| Self::new(operation, path, reason)
    }

    /// Whether the file was not there.
    pub fn is_not_found(&self) -> bool {
        self.reason.kind() == io::ErrorKind::NotFound
    }
}

/// The greatest size of what is no regular file, such as a pipe or a device that never ends.
const MOST_OF_A_PIPE: u64 = 1 << 30;

/// Reads a whole file: a regular one of any size, of another one at most a gibibyte.
///
/// # Errors
/// What the system answers; [`FileTooLarge`](io::ErrorKind::FileTooLarge) for a file that does not
/// end; any failure when the work of this thread was told to end.
pub fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    const PIECE: u64 = 1 << 20;
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let most = if metadata.is_file() { u64::MAX } else { MOST_OF_A_PIPE };
    let mut text = Vec::with_capacity(usize::try_from(metadata.len().min(PIECE)).unwrap_or(0));
    loop {
        interrupt::check().map_err(io::Error::other)?;
        let count = (&mut file).take(PIECE).read_to_end(&mut text)?;
        if count == 0 {
            return Ok(text);
        }
        if text.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file does not end"));
        }
    }
}

/// Reads a regular file of at most `limit` bytes; symlinks, devices and pipes
/// are refused, and nothing is waited for.
///
/// # Errors
/// A [`PathError`].
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, PathError> {
    read_file(path, limit, libc::O_NOFOLLOW)
}

/// As [`read_regular`], of a file that the user named in their configuration:
/// symlinks are followed, as managers of homes and of secrets place them.
///
/// # Errors
/// A [`PathError`].
pub fn read_configured(path: &Path, limit: u64) -> Result<Vec<u8>, PathError> {
    read_file(path, limit, 0)
}

fn read_file(path: &Path, limit: u64, flags: i32) -> Result<Vec<u8>, PathError> {
    use io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let refuse = |why: &str| PathError::new("reading", path, io::Error::other(why.to_owned()));
    let file = std::fs::File::options()
        .read(true)
        .custom_flags(flags | libc::O_NONBLOCK)
        .open(path)
        .map_err(PathError::at("opening file", path))?;
    let meta = file.metadata().map_err(PathError::at("getting status of", path))?;
    if !meta.is_file() {
        return Err(refuse("it is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(limit + 1).read_to_end(&mut text).map_err(PathError::at("reading", path))?;
    if text.len() as u64 > limit {
        return Err(refuse("it is too large"));
    }
    Ok(text)
}

/// Writes everything to an open file, pipe or socket, blocking or not, unless a
/// signal comes.
///
/// # Errors
/// Errors of writing; [`io::ErrorKind::Interrupted`] after a signal.
pub fn write_all(file: &std::fs::File, mut data: &[u8]) -> io::Result<()> {
    use rustix::io::Errno;
    while !data.is_empty() {
        match rustix::io::write(file, data) {
            Ok(count) => data = &data[count..],
            Err(Errno::INTR) if !interrupt::requested() => {}
            Err(Errno::AGAIN) => interrupt::wait_writable(file)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The system's own words, without Rust's "(os error N)".
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
