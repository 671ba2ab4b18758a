//! The signals that ask the program to end, and the one token of the process
//! that they cancel.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nival::sys::interrupt::CancelToken;
use rustix::event::{PollFd, PollFlags, poll};

/// The signals that ask a program to end.
const SIGNALS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

/// What the signals set.
fn flag() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    Arc::clone(FLAG.get_or_init(Arc::default))
}

/// The token that the signals cancel; the program works under it.
pub fn token() -> CancelToken {
    CancelToken::of_flag(flag())
}

/// Catches the signals from now on. A second one while the first is still
/// being honoured ends the process at once, as it would without us.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install() -> io::Result<()> {
    for signal in SIGNALS {
        signal_hook::flag::register_conditional_default(signal, flag())?;
        signal_hook::flag::register(signal, flag())?;
    }
    Ok(())
}

/// How often signals were forgotten.
static FORGOTTEN: AtomicU32 = AtomicU32::new(0);

/// Forgets a signal that ended one piece of work, so that the next can begin.
pub fn forget() {
    FORGOTTEN.fetch_add(1, Ordering::SeqCst);
    flag().store(false, Ordering::SeqCst);
}

/// Calls `end` on a thread of its own when a signal comes that ends the process for good: all of
/// them but that of Ctrl-C.
///
/// # Errors
/// When the handlers or the thread cannot be made.
pub fn when_ended(end: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (mut woken, waker) = UnixStream::pair()?;
    for signal in SIGNALS.into_iter().filter(|signal| *signal != signal_hook::consts::SIGINT) {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        if woken.read(&mut [0]).is_ok() {
            end();
        }
    })?;
    Ok(())
}

/// Ends the process's work, as a signal would, once nobody is left at the other
/// end of a pipe or socket; looks at it from a thread of its own.
///
/// # Errors
/// When there is no thread to be had.
pub fn cancel_when_gone(output: File) -> io::Result<()> {
    let token = token();
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
                        return token.cancel();
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
pub fn pipe() -> io::Result<UnixStream> {
    let (woken, waker) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    for signal in SIGNALS.into_iter().chain([signal_hook::consts::SIGCHLD]) {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    Ok(woken)
}

/// Calls `end` if the process is still there a while after a signal that was not forgotten,
/// because it waits for somebody to take its output.
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
        while woken.read_exact(&mut [0]).is_ok() {
            let forgotten = FORGOTTEN.load(Ordering::SeqCst);
            std::thread::sleep(GRACE);
            if FORGOTTEN.load(Ordering::SeqCst) == forgotten && flag().load(Ordering::SeqCst) {
                return end();
            }
        }
    })?;
    Ok(())
}
