//! Telling the kernel to begin writing what a sync will wait for later.
//!
//! Nothing depends on it: code that needs the data on disk syncs.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::fs::{Mode, OFlags};

/// Small files after which what there is is written.
const FILES: u32 = 1000;

/// Begins to write a range of a file to disk, without waiting.
pub fn begin(file: BorrowedFd<'_>, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
    // SAFETY: the descriptor is open for as long as the borrow lasts, and the
    // call touches no memory of ours.
    #[allow(unsafe_code)]
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// Writes many small files to disk, on a thread of its own, while more of them
/// are being made.
#[derive(Default)]
pub struct Ahead {
    files: u32,
    wake: Option<SyncSender<()>>,
}

impl Ahead {
    /// A file was made in `dir`, or below.
    pub fn wrote(&mut self, dir: BorrowedFd<'_>) {
        self.files += 1;
        if self.files < FILES {
            return;
        }
        self.files = 0;
        if self.wake.is_none() {
            self.wake = start(dir);
        }
        if let Some(wake) = &self.wake {
            // Full: it is at work and will look again.
            let _ = wake.try_send(());
        }
    }
}

fn start(dir: BorrowedFd<'_>) -> Option<SyncSender<()>> {
    // An open file of its own: a failure to write is told once to each, and
    // the one that the caller syncs must hear of it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::openat(dir, c".", flags, Mode::empty()).ok()?;
    let (wake, woken) = sync_channel(1);
    let work = move || {
        for () in woken {
            let _ = rustix::fs::syncfs(&own);
        }
    };
    std::thread::Builder::new().spawn(work).ok()?;
    Some(wake)
}
