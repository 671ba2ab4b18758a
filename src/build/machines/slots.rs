//! Locks that all programs of a store share: how many builds are on a machine, and who sends it
//! something. Their names are those of the reference, so that both can use one farm.
//!
//! ```text
//! $STATE/current-load/main-lock          held while a machine is chosen
//! $STATE/current-load/URI-N              held while a build is there, N below the number of its jobs
//! $STATE/current-load/URI.upload-lock    held while inputs are sent
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use super::Machine;
use crate::store::error::Result;
use crate::sys::PathError;
use crate::sys::lock::{self, LockKind};

/// Held by one that sends inputs to a machine: another who waits finds what they share there, and
/// sends it no second time.
pub struct UploadLock {
    _file: File,
}

impl UploadLock {
    /// Waits for it; `told` is called once if somebody else has it.
    ///
    /// # Errors
    /// Errors of the file, and an interruption.
    pub fn acquire(state_dir: &Path, machine: &Machine, told: impl FnOnce()) -> Result<Self> {
        let path = directory(state_dir)?.join(format!("{}.upload-lock", name(machine)));
        let file = lock::open_lock_file(&path)?;
        lock::lock(&file, &path, LockKind::Exclusive, told)?;
        Ok(Self { _file: file })
    }
}

/// The directory of the locks.
pub(super) fn directory(state_dir: &Path) -> Result<PathBuf> {
    let directory = state_dir.join("current-load");
    std::fs::create_dir_all(&directory).map_err(PathError::at("creating directory", &directory))?;
    Ok(directory)
}

/// Waits until nobody else chooses a machine.
pub(super) fn main_lock(directory: &Path) -> Result<File> {
    let path = directory.join("main-lock");
    let file = lock::open_lock_file(&path)?;
    lock::lock(&file, &path, LockKind::Exclusive, || ())?;
    Ok(file)
}

/// A free slot of a machine, if there is one, and how many are taken.
pub(super) fn free(directory: &Path, machine: &Machine) -> Result<(Option<File>, u64)> {
    let (mut free, mut taken) = (None, 0);
    for number in 0..machine.jobs {
        let path = directory.join(format!("{}-{number}", name(machine)));
        let file = lock::open_lock_file(&path)?;
        if !lock::try_lock(&file, &path, LockKind::Exclusive)? {
            taken += 1;
        } else if free.is_none() {
            free = Some(file);
        }
    }
    Ok((free, taken))
}

/// A machine as a part of names of files.
fn name(machine: &Machine) -> String {
    machine.uri.replace('/', "_")
}
