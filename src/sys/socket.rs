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
/// Errors of the system.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    with_short(path, |short| UnixListener::bind(short))
}

/// Connects to `path`.
///
/// # Errors
/// Errors of the system.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    with_short(path, |short| UnixStream::connect(short))
}

/// Listens at `path` for everybody, in the place of a socket at which nobody
/// listens any more.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] where somebody listens, or where something else
/// than a socket lies; those of the system.
pub fn bind_for_all(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) if connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        _ => {}
    }
    // Clients find the old socket or one that they can use.
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = bind(&aside)?;
    let placed = std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o666))
        .and_then(|()| std::fs::rename(&aside, path));
    if placed.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    placed.map(|()| listener)
}

/// The sockets that the parent of this process has opened for it: `count`
/// descriptors from 3 on.
///
/// # Errors
/// A descriptor that is not open, or no socket at which one can listen.
pub fn passed(count: u32) -> io::Result<Vec<UnixListener>> {
    use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
    const FIRST: RawFd = 3;
    let mut listeners = Vec::new();
    for number in 0..count {
        let raw = RawFd::try_from(number).ok().and_then(|number| FIRST.checked_add(number));
        let raw = raw.ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: fcntl changes nothing but a flag of the descriptor, and fails
        // where it is not open.
        #[allow(unsafe_code)]
        if unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, as was just seen, and was opened for
        // us by the parent that says so in the environment: nobody else here owns it.
        #[allow(unsafe_code)]
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        if !rustix::net::sockopt::socket_acceptconn(&fd)? {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        listeners.push(UnixListener::from(fd));
    }
    Ok(listeners)
}

/// Who has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The number of the user.
    pub user: u32,
    /// The number of its first group.
    pub group: u32,
    /// The number of the process, if it has one here: another container's
    /// processes have none.
    pub process: Option<u32>,
}

/// Who is at the other end of a connection.
///
/// # Errors
/// Errors of the system.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let size = std::mem::size_of::<libc::ucred>();
    // It is a few bytes.
    let mut length = size as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and
    // there is room for as many bytes as `length` says, of plain integers, which
    // may have any value.
    #[allow(unsafe_code)]
    let answer = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    if usize::try_from(length) != Ok(size) || found.uid == u32::MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let process = u32::try_from(found.pid).ok().filter(|pid| *pid != 0);
    Ok(Peer { user: found.uid, group: found.gid, process })
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
