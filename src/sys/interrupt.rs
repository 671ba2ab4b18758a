//! Ending early and cleanly.
//!
//! A program that may have to give up hands in a [`CancelToken`]: work within
//! [`CancelToken::scope`] looks at it between two steps and returns
//! [`Interrupted`] once it is cancelled, so that temporary files are removed on
//! the way out. Work outside such a scope runs to its end. Nothing here belongs
//! to the process: two threads can work under two tokens, and which signals
//! cancel a token is for the program to decide.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Work was told to end before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by the user")]
pub struct Interrupted;

/// Tells work to end early. All clones are one token.
///
/// ```
/// use nival::sys::interrupt::{self, CancelToken};
///
/// let token = CancelToken::new();
/// assert!(token.scope(interrupt::check).is_ok());
/// token.cancel(); // usually on another thread, or by a signal
/// assert!(token.scope(interrupt::check).is_err());
/// assert!(interrupt::check().is_ok());
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled while `flag` is set: for handlers of signals.
    pub fn of_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Tells all work under the token to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work under the token is to end.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Does `work` under the token: on this thread, and on those that the library
    /// starts for it. Within another scope only the inner token counts.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        Bounds { token: Some(self.clone()), ..Bounds::current() }.enter(work)
    }
}

/// When the work of a thread is to end: handed on to the threads that it starts.
#[derive(Clone)]
pub(crate) struct Bounds {
    token: Option<CancelToken>,
    grace: Option<Instant>,
}

impl Bounds {
    /// The bounds of this thread.
    pub(crate) fn current() -> Self {
        Self { token: TOKEN.with_borrow(Clone::clone), grace: GRACE.get() }
    }

    /// Does `work` within these bounds.
    pub(crate) fn enter<T>(self, work: impl FnOnce() -> T) -> T {
        struct Before(Bounds);
        impl Drop for Before {
            fn drop(&mut self) {
                TOKEN.set(self.0.token.take());
                GRACE.set(self.0.grace);
            }
        }
        let _before = Before(Bounds { token: TOKEN.replace(self.token), grace: GRACE.replace(self.grace) });
        work()
    }
}

/// Work for another thread, which ends when the work of this thread is to end.
pub fn inherited<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let bounds = Bounds::current();
    move || bounds.enter(work)
}

/// Whether this thread's work is to end now.
pub fn requested() -> bool {
    TOKEN.with_borrow(|token| token.as_ref().is_some_and(CancelToken::is_cancelled)) && !in_grace()
}

thread_local! {
    static TOKEN: RefCell<Option<CancelToken>> = const { RefCell::new(None) };
    /// Until when this thread goes on although it is told to end.
    static GRACE: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn in_grace() -> bool {
    GRACE.get().is_some_and(|end| Instant::now() < end)
}

/// How long what is complete may take to be kept after work was told to end.
pub const KEEPING: Duration = Duration::from_secs(30);

/// Lets `work` go on for so long although it is told to end, to keep what is
/// complete: on this thread, and on those that the library starts for it.
pub fn with_grace<T>(time: Duration, work: impl FnOnce() -> T) -> T {
    Bounds { grace: Instant::now().checked_add(time), ..Bounds::current() }.enter(work)
}

/// To be called between steps of long work.
///
/// # Errors
/// [`Interrupted`] once the work is to end.
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

/// How often a reader that waits looks at the token.
const LOOK: Duration = Duration::from_millis(100);

/// Reads from a pipe, terminal or socket so that cancelling ends the wait: the
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

/// Writes so that cancelling ends the wait for the reader: for files, pipes and
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

/// Waits until a non-blocking pipe or socket takes more.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] once the work is to end.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_thread_and_those_that_work_for_it() {
        let (token, other) = (CancelToken::new(), CancelToken::new());
        token.cancel();
        token.scope(|| {
            assert_eq!(check(), Err(Interrupted));
            other.scope(|| assert_eq!(check(), Ok(())));
            let helped = super::super::threads::on_threads(3, check);
            assert_eq!(helped, Err(Interrupted));
            assert!(matches!(std::thread::spawn(inherited(check)).join(), Ok(Err(Interrupted))));
            assert!(matches!(std::thread::spawn(check).join(), Ok(Ok(()))));
            with_grace(Duration::from_secs(60), || assert_eq!(check(), Ok(())));
            assert_eq!(check(), Err(Interrupted));
        });
        assert_eq!(check(), Ok(()));
    }

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
