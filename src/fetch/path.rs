//! Trees of this machine that become inputs.

use std::path::Path;

use rustix::fs::AtFlags;

use crate::sys::dir::open_parent;
use crate::sys::{PathError, walk};

/// The time of what was changed last in a tree, in seconds since 1970. Links are not followed, and
/// count as other files do.
///
/// # Errors
/// A [`PathError`], also where nothing is.
pub fn newest(path: &Path) -> Result<u64, PathError> {
    let mut newest = 0;
    let (parent, name) = open_parent(path)?;
    walk::walk(std::os::fd::AsFd::as_fd(&parent), &name, path, |entry| {
        let status = rustix::fs::statat(entry.dir, entry.name, AtFlags::SYMLINK_NOFOLLOW);
        match status {
            Ok(status) => newest = newest.max(u64::try_from(status.st_mtime).unwrap_or(0)),
            // Gone meanwhile; reading the tree tells of it.
            Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(entry.error("getting status of", errno)),
        }
        Ok(())
    })?;
    Ok(newest)
}
