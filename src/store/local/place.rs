//! Moving a complete tree to its place in the store.
//!
//! Trees are made in a scratch directory of the store, named like a store path
//! and rooted like one, so that no collector takes it away. It goes with the
//! process, or with the next collection after the process was killed.

use std::ffi::CString;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::LocalStore;
use crate::model::StorePath;
use crate::model::store_path::HASH_BYTES;
use crate::nar::restore::{self, Metadata, Restorer};
use crate::store::error::{Result, StoreError};
use crate::sys::{PathError, dir, remove};

/// Where trees are made before their path is known.
pub struct Scratch {
    handle: OwnedFd,
    path: PathBuf,
}

impl Scratch {
    fn shown(&self, entry: &CString) -> PathBuf {
        self.path.join(&*entry.to_string_lossy())
    }

    /// As [`Place::sync`].
    ///
    /// # Errors
    /// [`PathError`].
    fn sync(&self) -> Result<()> {
        Ok(sync_file_system(&self.handle, &self.path)?)
    }

    /// What makes a tree as the given entry.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn restorer(&self, entry: CString) -> Result<Restorer> {
        let shown = self.shown(&entry);
        let handle = self.handle.try_clone().map_err(PathError::at("opening directory", &shown))?;
        Ok(Restorer::new(handle, entry, &shown, Metadata::Canonical))
    }

    /// Makes a plain file with a text as the given entry.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn write_text(&self, entry: &CString, text: &[u8]) -> Result<()> {
        let shown = self.shown(entry);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.handle, entry, flags, Mode::from_raw_mode(0o600))
            .map_err(PathError::at("creating file", &shown))?;
        let file = std::fs::File::from(file);
        (&file).write_all(text).map_err(PathError::at("writing to", &shown))?;
        restore::make_file_canonical(&file, &shown)?;
        Ok(())
    }

    /// Removes an entry, if it is there.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn discard(&self, entry: &CString) -> Result<()> {
        remove::remove_at(self.handle.as_fd(), entry, &self.shown(entry))?;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now goes with the next collection.
        let _ = remove::remove(&self.path);
    }
}

/// The directory that paths are put into.
pub(super) struct Place {
    handle: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// Puts an entry of the scratch directory in the place of `path`, whose
    /// lock the caller holds, over whatever invalid thing is there.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn put(&self, scratch: &Scratch, entry: &CString, path: &StorePath) -> Result<()> {
        let real = self.path.join(path.base_name());
        let base = CString::new(path.base_name()).unwrap_or_default();
        let rename = || rustix::fs::renameat(&scratch.handle, entry, &self.handle, &base);
        match rename() {
            // A directory, or a file where a directory is to go.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR | Errno::NOTDIR) => {
                remove::remove_at(self.handle.as_fd(), &base, &real)?;
                rename()
            }
            other => other,
        }
        .map_err(PathError::at("renaming to", &real))?;
        Ok(restore::make_canonical(self.handle.as_fd(), &base, &real)?)
    }
}

impl Place {
    /// Makes everything in the store durable. A tree has too many files for a
    /// call each: the file system as a whole is asked once.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn sync(&self) -> Result<()> {
        Ok(sync_file_system(&self.handle, &self.path)?)
    }

    /// Puts an entry of the scratch directory, complete and durable, in the
    /// place of `path` in one step; what was there is then the scratch entry.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn exchange(&self, scratch: &Scratch, entry: &CString, path: &StorePath) -> Result<()> {
        let real = self.path.join(path.base_name());
        let base = CString::new(path.base_name()).unwrap_or_default();
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let exchange = || rustix::fs::renameat_with(&scratch.handle, entry, &self.handle, &base, flags);
        let exchanged = match exchange() {
            // Moving a directory changes its "..", which takes permission.
            Err(Errno::ACCESS) => {
                let opened = rustix::fs::openat(&self.handle, &base, dir::DIRECTORY, Mode::empty());
                opened.and_then(|old| {
                    rustix::fs::fchmod(&old, Mode::RWXU)?;
                    exchange()
                        .or_else(|errno| rustix::fs::fchmod(&old, Mode::from_raw_mode(0o555)).and(Err(errno)))
                })
            }
            other => other,
        };
        match exchanged {
            Ok(()) => {}
            // Nothing was there.
            Err(Errno::NOENT) => return self.put(scratch, entry, path),
            // A file system without that step: for a moment nothing is there.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let aside = CString::new(format!("{}-old", entry.to_string_lossy())).unwrap_or_default();
                rustix::fs::renameat(&self.handle, &base, &scratch.handle, &aside)
                    .map_err(PathError::at("moving aside", &real))?;
                if let Err(errno) = rustix::fs::renameat(&scratch.handle, entry, &self.handle, &base) {
                    let _ = rustix::fs::renameat(&scratch.handle, &aside, &self.handle, &base);
                    return Err(PathError::new("renaming to", &real, errno).into());
                }
            }
            Err(errno) => return Err(PathError::new("exchanging", &real, errno).into()),
        }
        Ok(restore::make_canonical(self.handle.as_fd(), &base, &real)?)
    }
}

impl LocalStore {
    /// The scratch directory, made on first use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn scratch(&self) -> Result<Arc<Scratch>> {
        self.require_place()?;
        if let Some(scratch) = &*self.scratch.borrow() {
            return Ok(Arc::clone(scratch));
        }
        let scratch = Arc::new(self.make_scratch()?);
        *self.scratch.borrow_mut() = Some(Arc::clone(&scratch));
        Ok(scratch)
    }

    fn make_scratch(&self) -> Result<Scratch> {
        loop {
            let mut random = [0; HASH_BYTES];
            getrandom::fill(&mut random).map_err(|error| StoreError::NoRandomness(error.to_string()))?;
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

    /// The store directory, to put paths into.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) fn place(&self) -> Result<Place> {
        let path = self.layout().real_store_dir.clone();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(PathError::at("opening directory", &path))?;
        Ok(Place { handle, path })
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
        let place = self.place()?;
        if let [path] = paths
            && sync_if_file(&self.real_path(path))?
        {
            rustix::fs::fsync(&place.handle).map_err(PathError::at("syncing directory", &place.path))?;
            return Ok(());
        }
        match &*self.scratch.borrow() {
            // It was open before anything was written, and hears of failures
            // that another sync was told of already.
            Some(scratch) => scratch.sync(),
            None => place.sync(),
        }
    }
}

fn sync_file_system(handle: &OwnedFd, path: &Path) -> std::result::Result<(), PathError> {
    rustix::fs::syncfs(handle).map_err(PathError::at("syncing the file system of", path))
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
