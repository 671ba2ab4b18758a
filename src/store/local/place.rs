//! Moving a complete tree to its place in the store.
//!
//! Trees are made in a scratch directory of the store, named like a store path
//! and rooted like one, so that no collector takes it away. It goes with the
//! process, or with the next collection after the process was killed.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::LocalStore;
use crate::model::StorePath;
use crate::model::store_path::HASH_BYTES;
use crate::nar::restore;
use crate::store::error::{Result, StoreError};
use crate::sys::{PathError, dir, remove};

/// Where trees are made before their path is known.
pub struct Scratch {
    handle: OwnedFd,
    path: PathBuf,
}

impl Scratch {
    /// The directory.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// The path of an entry, for messages.
    pub fn shown(&self, name: &CString) -> PathBuf {
        self.path.join(&*name.to_string_lossy())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now goes with the next collection.
        let _ = remove::remove(&self.path);
    }
}

impl LocalStore {
    /// The scratch directory, made on first use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn scratch(&self) -> Result<std::cell::Ref<'_, Scratch>> {
        if self.scratch.borrow().is_none() {
            *self.scratch.borrow_mut() = Some(self.make_scratch()?);
        }
        std::cell::Ref::filter_map(self.scratch.borrow(), Option::as_ref)
            .map_err(|_| StoreError::ReadOnly("there is no scratch directory".to_owned()))
    }

    fn make_scratch(&self) -> Result<Scratch> {
        loop {
            let mut random = [0; HASH_BYTES];
            getrandom::fill(&mut random).map_err(|error| StoreError::Input(error.to_string()))?;
            let name = StorePath::from_parts(&random, "scratch")
                .map_err(|reason| StoreError::Name { path: "scratch".to_owned(), reason })?;
            self.add_temp_roots(&[&name])?;
            let path = self.real_path(&name);
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {
                    let handle = dir::open_dir(&path)?;
                    return Ok(Scratch { handle, path });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(PathError::new("creating directory", path, error).into()),
            }
        }
    }

    /// Puts an entry of the scratch directory in the place of `path`, whose
    /// lock the caller holds, over whatever invalid thing is there.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn put_in_place(&self, name: &CString, path: &StorePath) -> Result<()> {
        let real = self.real_path(path);
        let store = self.open_store_dir()?;
        let base = CString::new(path.base_name()).unwrap_or_default();
        remove::remove_at(store.as_fd(), &base, &real)?;
        let scratch = self.scratch()?;
        rustix::fs::renameat(scratch.handle(), name, &store, &base)
            .map_err(PathError::at("renaming to", &real))?;
        Ok(restore::make_canonical(store.as_fd(), &base, &real)?)
    }

    /// Removes an entry of the scratch directory that is not needed.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn discard(&self, name: &CString) -> Result<()> {
        let scratch = self.scratch.borrow();
        if let Some(scratch) = &*scratch {
            remove::remove_at(scratch.handle(), name, &scratch.shown(name))?;
        }
        Ok(())
    }

    fn open_store_dir(&self) -> Result<OwnedFd> {
        let path = &self.layout().real_store_dir;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| PathError::new("opening directory", path, error).into())
    }

    /// Makes the given paths durable: data, directories, and their entries in
    /// the store directory.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn sync_paths(&self, paths: &[&StorePath]) -> Result<()> {
        if !self.options.sync || paths.is_empty() {
            return Ok(());
        }
        let store = self.open_store_dir()?;
        if let [path] = paths
            && sync_if_file(&self.real_path(path))?
        {
            let dir = &self.layout().real_store_dir;
            return Ok(rustix::fs::fsync(&store).map_err(PathError::at("syncing directory", dir))?);
        }
        // A tree has too many files for a call each: the file system as a
        // whole is asked once.
        let dir = &self.layout().real_store_dir;
        Ok(rustix::fs::syncfs(&store).map_err(PathError::at("syncing the file system of", dir))?)
    }
}

/// Syncs a regular file; false for anything else.
fn sync_if_file(path: &Path) -> Result<bool> {
    let meta = std::fs::symlink_metadata(path).map_err(PathError::at("getting status of", path))?;
    if !meta.is_file() {
        return Ok(false);
    }
    let file = std::fs::File::open(path).map_err(PathError::at("opening file", path))?;
    file.sync_all().map_err(PathError::at("syncing file", path))?;
    Ok(true)
}
