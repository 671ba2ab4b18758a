//! Two directions of bytes to somebody who speaks a protocol.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::store::error::Result;
use crate::store::remote::RemoteError;
use crate::store::remote::protocol::wire::{Reader, Writer};
use crate::sys::interrupt::Interruptible;
use crate::sys::socket;

/// The reading side of a connection; a signal ends the wait.
pub type Incoming = Reader<Interruptible<File>>;
/// The writing side of a connection; a signal ends the wait.
pub type Outgoing = Writer<Interruptible<File>>;

/// A connection; closed when dropped.
pub struct Connection {
    /// What the other side says.
    pub reader: Incoming,
    /// What it is told.
    pub writer: Outgoing,
    /// What has to go on while it is open; dropped last.
    pub carrier: Option<Box<dyn Carrier>>,
}

/// What carries a connection.
pub trait Carrier: Send + Sync {
    /// What it says about how the connection ended, if it does.
    fn last_words(&self) -> Option<String> {
        None
    }
}

impl Connection {
    /// Over open files: what is read, and what is written.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn over(input: OwnedFd, output: OwnedFd, carrier: Option<Box<dyn Carrier>>) -> io::Result<Self> {
        for file in [&input, &output] {
            let flags = rustix::fs::fcntl_getfl(file)?;
            rustix::fs::fcntl_setfl(file, flags | rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(Self {
            reader: Reader::new(Interruptible(File::from(input))),
            writer: Writer::new(Interruptible(File::from(output))),
            carrier,
        })
    }

    /// To the program that listens at a socket.
    ///
    /// # Errors
    /// [`RemoteError::Connect`].
    pub fn to_socket(path: &Path) -> Result<Self> {
        let connect = || {
            let stream = socket::connect(path)?;
            let other = stream.try_clone()?;
            Self::over(stream.into(), other.into(), None)
        };
        let failed = |reason| RemoteError::Connect { path: path.display().to_string(), reason };
        Ok(connect().map_err(failed)?)
    }

    /// To a program, which is ended with the connection.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn to_program(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = crate::sys::mount::outside(&mut command).spawn()?;
        let (input, output) = (child.stdout.take(), child.stdin.take());
        let program = Program(child);
        match (input, output) {
            (Some(input), Some(output)) => Self::over(input.into(), output.into(), Some(Box::new(program))),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A program that was started for a connection.
struct Program(Child);

impl Carrier for Program {}

impl Program {
    /// Whether it ends by itself within a time; the user need not wait for it.
    fn ends_within(&mut self, time: Duration, interruptible: bool) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < time && !(interruptible && crate::sys::interrupt::requested()) {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                _ => return true,
            }
        }
        false
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        /// Time enough to say good-bye over a slow line.
        const PATIENCE: Duration = Duration::from_millis(2500);
        /// And to end when told to.
        const MORE: Duration = Duration::from_millis(500);
        // Its input has been closed: it ends by itself, unless it hangs.
        if self.ends_within(PATIENCE, true) {
            return;
        }
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        if self.ends_within(MORE, false) {
            return;
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
