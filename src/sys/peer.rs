//! Who is at the other end of a socket.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

/// The user at the other end, as it was when the connection was made.
///
/// The kernel's answer is read into plain integers: the process's number is 0
/// where it has none among ours.
///
/// # Errors
/// Those of the system.
pub fn user(stream: &UnixStream) -> std::io::Result<u32> {
    let mut peer = MaybeUninit::<libc::ucred>::zeroed();
    // A dozen bytes.
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: there is room for as many bytes as `size` says.
    #[allow(unsafe_code)]
    let answer = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            peer.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if answer != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: three integers, for which all bytes are good; they were zero before.
    #[allow(unsafe_code)]
    Ok(unsafe { peer.assume_init() }.uid)
}
