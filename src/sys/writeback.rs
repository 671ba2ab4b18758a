//! Telling the kernel to begin writing what a sync will wait for later.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Begins to write a range of a file to disk, without waiting.
///
/// Nothing depends on it: whoever needs the data on disk syncs.
pub fn begin(file: BorrowedFd<'_>, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
    // SAFETY: the descriptor is open for as long as the borrow lasts, and the
    // call touches no memory of ours.
    #[allow(unsafe_code)]
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
    }
}
