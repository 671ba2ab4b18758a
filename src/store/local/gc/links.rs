//! Files of `.links` that nothing else shares any more.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use crate::progress::{Progress, Unit};
use crate::store::error::Result;
use crate::sys::remove::Freed;
use crate::sys::{PathError, dir, interrupt, threads};

/// Names that a thread takes at a time.
const PORTION: usize = 512;
/// Bytes of the directory read at a time.
const BUFFER: usize = 64 * 1024;

/// Some more names, in the order of their inodes, which is more or less how
/// they lie on disk; none at the end.
fn next_names(listing: &Mutex<RawDir<'_, &OwnedFd>>) -> std::result::Result<Vec<(u64, CString)>, Errno> {
    let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
    let mut names = Vec::with_capacity(PORTION);
    while names.len() < PORTION
        && let Some(entry) = listing.next()
    {
        let entry = entry?;
        if entry.file_type() != FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.ino(), entry.file_name().to_owned()));
        }
    }
    names.sort_unstable_by_key(|(inode, _)| *inode);
    Ok(names)
}

/// Removes unused files of the directory `path`; gives the bytes that hard
/// links save.
///
/// # Errors
/// [`PathError`], and a signal.
pub(super) fn remove_unused(path: &Path, freed: &Freed, progress: &dyn Progress) -> Result<i64> {
    let handle = match dir::open_dir(path) {
        Ok(handle) => handle,
        Err(error) if error.is_not_found() => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut buffer = Vec::with_capacity(BUFFER);
    let listing = Mutex::new(RawDir::new(&handle, buffer.spare_capacity_mut()));
    let saved = AtomicI64::new(0);
    progress.begin("looking through links", None, Unit::Items);
    let done = threads::on_all_cores(usize::MAX, || -> Result<()> {
        loop {
            interrupt::check()?;
            let names = next_names(&listing).map_err(PathError::at("cannot read directory", path))?;
            if names.is_empty() {
                return Ok(());
            }
            progress.advance(names.len() as u64);
            for (inode, name) in &names {
                let shown = || path.join(&*name.to_string_lossy());
                let stat = match rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(PathError::new("getting status of", shown(), errno).into()),
                };
                if stat.st_nlink > 1 {
                    // The file itself, and this link to it, would be there anyway.
                    let others = i64::try_from(stat.st_nlink).unwrap_or(i64::MAX) - 2;
                    saved.fetch_add(stat.st_size.saturating_mul(others), Ordering::Relaxed);
                    continue;
                }
                progress.detail(&format!("deleting unused link \"{}\"", shown().display()));
                match freed.unlink(handle.as_fd(), name, *inode) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(PathError::new("removing", shown(), errno).into()),
                }
            }
        }
    });
    progress.end();
    done?;
    let own = rustix::fs::fstat(&handle).map_err(PathError::at("getting status of", path))?;
    Ok(saved.into_inner() - own.st_blocks * 512)
}
