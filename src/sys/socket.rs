//! Unix sockets at paths that may be longer than a socket's address.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes that fit in an address, with room to spare.
const MAX_PATH: usize = 100;

/// Listens at `path`, where nothing may be.
///
/// # Errors
/// Those of the system.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    with_short(path, |short| UnixListener::bind(short))
}

/// Connects to `path`.
///
/// # Errors
/// Those of the system.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    with_short(path, |short| UnixStream::connect(short))
}

/// A long path is named by a handle on its directory instead.
fn with_short<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= MAX_PATH {
        return work(path);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = std::fs::File::open(dir)?;
    let mut short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    short.push(name);
    work(&short)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn long_paths() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("d".repeat(200));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("socket");
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = bind(&path).unwrap();
        connect(&path).unwrap();
        listener.accept().unwrap();
    }
}
