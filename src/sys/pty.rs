//! A terminal of our own, for a program that is to think that people watch it.

use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Both sides of a terminal.
#[derive(Debug)]
pub struct Terminal {
    /// Where its output is read, without waiting: the end of it is `EIO`.
    pub reader: OwnedFd,
    /// What a program writes to.
    pub program: OwnedFd,
}

/// Makes a terminal that passes on all bytes as they are. It is nobody's controlling terminal.
///
/// # Errors
/// Errors of the system, such as too many terminals.
pub fn open() -> std::io::Result<Terminal> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let reader = openpt(flags)?;
    unlockpt(&reader)?;
    // Not by its name, which can be somebody else's where `/dev/pts` is another one.
    let program = ioctl_tiocgptpeer(&reader, flags)?;
    let mut modes = tcgetattr(&program)?;
    modes.make_raw();
    tcsetattr(&program, OptionalActions::Now, &modes)?;
    fcntl_setfl(&reader, fcntl_getfl(&reader)? | OFlags::NONBLOCK)?;
    Ok(Terminal { reader, program })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn bytes_pass_as_they_are_and_then_end() {
        let terminal = open().unwrap();
        assert!(rustix::termios::isatty(&terminal.program));
        let mut buffer = [0; 64];
        assert_eq!(rustix::io::read(&terminal.reader, &mut buffer), Err(Errno::AGAIN));
        rustix::io::write(&terminal.program, b"a\n\x03\x04b\r").unwrap();
        drop(terminal.program);
        let mut seen = Vec::new();
        let end = loop {
            match rustix::io::read(&terminal.reader, &mut buffer) {
                Ok(count) => seen.extend_from_slice(&buffer[..count]),
                Err(errno) => break errno,
            }
        };
        assert_eq!((seen.as_slice(), end), (&b"a\n\x03\x04b\r"[..], Errno::IO));
    }
}
