//! Ending early and cleanly on SIGINT, SIGTERM and SIGHUP.
//!
//! A signal only raises a flag; long work looks at it between two
//! steps and returns [`Interrupted`], so that temporary files are removed on
//! the way out.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The signals that ask a program to end.
const SIGNALS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The user, or the manager of services, wants the program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by the user")]
pub struct Interrupted;

/// Catches the signals from now on. A second one while the first is still
/// being honoured ends the process at once, as it would without us.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install() -> std::io::Result<()> {
    let flag = FLAG.get_or_init(Arc::default);
    for signal in SIGNALS {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(flag))?;
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Whether a signal has come that is to be honoured now.
pub fn requested() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed)) && !in_grace()
}

thread_local! {
    /// Until when signals are not honoured by this thread.
    static GRACE: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn in_grace() -> bool {
    grace().is_some_and(|end| Instant::now() < end)
}

/// Until when this thread has leave to go on, for those that work for it.
pub(super) fn grace() -> Option<Instant> {
    GRACE.get()
}

/// How long what is complete may take to be kept after a signal.
pub const KEEPING: Duration = Duration::from_secs(30);

/// Lets `work` go on for so long although a signal has come, to keep what is
/// complete: on this thread, and on those that [`super::threads`] starts for it. A
/// second signal still ends the process.
pub fn with_grace<T>(time: Duration, work: impl FnOnce() -> T) -> T {
    until(Instant::now().checked_add(time), work)
}

/// As [`with_grace`], with what [`grace`] said.
pub(super) fn until<T>(end: Option<Instant>, work: impl FnOnce() -> T) -> T {
    struct Before(Option<Instant>);
    impl Drop for Before {
        fn drop(&mut self) {
            GRACE.set(self.0);
        }
    }
    let _before = Before(GRACE.replace(end));
    work()
}

/// To be called between steps of long work.
///
/// # Errors
/// [`Interrupted`] once a signal has come.
pub fn check() -> Result<(), Interrupted> {
    if requested() { Err(Interrupted) } else { Ok(()) }
}

/// The error for readers and writers whose callers try again after
/// [`io::ErrorKind::Interrupted`], as most do.
pub fn io_error() -> io::Error {
    io::Error::other(Interrupted)
}

/// Whether an error is that of [`io_error`].
pub fn is_io_error(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Interrupted>())
}

/// How often a reader that waits looks at the flag.
const LOOK: Duration = Duration::from_millis(100);

/// Reads from a pipe, terminal or socket so that a signal ends the wait: the
/// read then fails with [`io_error`].
pub struct Interruptible<R>(pub R);

impl<R: Read + AsFd> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if requested() {
                return Err(io_error());
            }
            let mut wanted = [PollFd::new(&self.0, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
            match poll(&mut wanted, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                // Readable, at its end, or broken: the read itself tells which.
                _ => match self.0.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                },
            }
        }
    }
}

/// Writes so that a signal ends the wait for the reader: for files, pipes and
/// sockets that are non-blocking.
impl Write for Interruptible<File> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match super::write_all(&self.0, data) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(io_error()),
            other => other.map(|()| data.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Interruptible<File> {
    /// Writes what can be written within a time; gives how much that was. The
    /// file is non-blocking.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn write_within(&self, data: &[u8], time: Duration) -> io::Result<usize> {
        let mut wanted = [PollFd::new(&self.0, PollFlags::OUT)];
        // A few seconds.
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        if matches!(poll(&mut wanted, Some(&timeout)), Ok(0) | Err(rustix::io::Errno::INTR)) {
            return Ok(0);
        }
        match rustix::io::write(&self.0, data) {
            Ok(count) => Ok(count),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the connection where it is a socket; others end when they are closed.
    pub fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

/// Ends the process's work, as a signal would, once nobody is left at the other
/// end of a pipe or socket; looks at it from a thread of its own.
///
/// # Errors
/// When there is no thread to be had.
pub fn request_when_gone(output: File) -> io::Result<()> {
    let flag = Arc::clone(FLAG.get_or_init(Arc::default));
    std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        loop {
            // No event is asked for: those that are always told are meant.
            let mut watched = [PollFd::new(&output, PollFlags::empty())];
            match poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
                Ok(_) => {
                    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
                    if watched[0].revents().intersects(gone) {
                        flag.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        }
    })?;
    Ok(())
}

/// A pipe in which there is something to read once a signal has come that asks
/// the program to end, or that tells of the end of a child.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn signal_pipe() -> io::Result<UnixStream> {
    let (woken, waker) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    for signal in SIGNALS.into_iter().chain([signal_hook::consts::SIGCHLD]) {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    Ok(woken)
}

/// Waits until a non-blocking pipe or socket takes more.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] after a signal.
pub fn wait_writable(file: impl AsFd) -> io::Result<()> {
    loop {
        if requested() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut wanted = [PollFd::new(&file, PollFlags::OUT)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
        match poll(&mut wanted, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            // Writable, or broken: the write itself tells which.
            _ => return Ok(()),
        }
    }
}

/// Calls `end` if the process is still there a while after a signal, because it
/// waits for somebody to take its output.
///
/// # Errors
/// When the handlers or the thread cannot be made.
pub fn end_when_stuck(end: impl FnOnce() + Send + 'static) -> io::Result<()> {
    /// Time enough for everything else to be cleaned up.
    const GRACE: Duration = Duration::from_millis(700);
    let (mut woken, waker) = UnixStream::pair()?;
    for signal in SIGNALS {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        let mut byte = [0];
        if woken.read(&mut byte).is_ok() {
            std::thread::sleep(GRACE);
            end();
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_for_one_thread_and_those_that_work_for_it() {
        assert!(!in_grace());
        with_grace(Duration::from_secs(60), || {
            assert!(in_grace());
            let helped: Result<(), ()> =
                super::super::threads::on_threads(3, || if in_grace() { Ok(()) } else { Err(()) });
            assert_eq!(helped, Ok(()));
            let other = std::thread::spawn(in_grace).join();
            assert!(matches!(other, Ok(false)));
            with_grace(Duration::ZERO, || assert!(!in_grace()));
            assert!(in_grace());
        });
        assert!(!in_grace());
    }
}
