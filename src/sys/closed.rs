//! Was standard output closed when the program began?
//!
//! Rust opens `/dev/null` in the place of closed streams before `main`, so that
//! output would be lost without a word.

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT: AtomicBool = AtomicBool::new(false);

#[allow(unsafe_code)]
extern "C" fn look() {
    // SAFETY: fcntl with F_GETFD takes a number and touches no memory; a number
    // that is no open file is what is looked for.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    STDOUT.store(flags == -1, Ordering::Relaxed);
}

/// Called by the system before everything else.
#[cfg(target_os = "linux")]
// SAFETY: what stands in this section is called with the arguments of `main`,
// which a function of the C calling convention may ignore; `look` needs nothing
// that is set up later.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Whether it was.
pub fn stdout_was_closed() -> bool {
    #[cfg(target_os = "linux")]
    std::hint::black_box(&LOOK);
    STDOUT.load(Ordering::Relaxed)
}
