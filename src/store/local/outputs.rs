//! Outputs of derivations that were built here.

use std::collections::HashMap;
use std::path::PathBuf;

use super::LocalStore;
use super::batch::{Incoming, Intake, Placing};
use crate::model::{Realisation, StorePath, ValidPathInfo};
use crate::store::error::Result;
use crate::sys::lock::PathLock;

/// An output that was built and has no place yet.
pub struct NewOutput {
    /// Its tree.
    pub incoming: Incoming,
    /// What is registered of it.
    pub info: ValidPathInfo,
    /// The lock of its path, held since before it was built.
    pub lock: PathLock,
}

impl LocalStore {
    /// Takes the lock of a path, if nobody else has it.
    ///
    /// # Errors
    /// Errors of the lock file.
    pub fn try_lock(&self, path: &StorePath) -> Result<Option<PathLock>> {
        self.require_place()?;
        Ok(PathLock::try_acquire(&self.layout().lock_path(path))?)
    }

    /// Takes the lock of a path, and waits for it if somebody has it.
    ///
    /// # Errors
    /// Errors of the lock file, and an interruption.
    pub fn lock(&self, path: &StorePath) -> Result<PathLock> {
        Ok(PathLock::acquire(&self.layout().lock_path(path), || ())?)
    }

    /// What takes in outputs, on any thread; while many builds run, little of each is held in memory.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub fn build_intake(&self) -> Result<Intake> {
        /// Bytes.
        const HELD: usize = 1 << 20;
        self.intake(HELD)
    }

    /// Takes the lock of an output whose path is not known before it is built.
    ///
    /// # Errors
    /// Errors of the lock file.
    pub fn try_lock_output(&self, drv: &StorePath, output: &str) -> Result<Option<PathLock>> {
        self.require_place()?;
        let name = format!("{}.{output}.lock", drv.base_name());
        Ok(PathLock::try_acquire(&self.layout().real_store_dir.join(name))?)
    }

    /// Puts outputs in their places and registers them and `realisations`: with one sync and in one
    /// transaction. What refers to others among them is registered with them; everything else
    /// that they refer to is valid.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError); nothing is registered then.
    pub fn register_outputs(&self, outputs: Vec<NewOutput>, realisations: &[Realisation]) -> Result<()> {
        self.add_temp_roots(&outputs.iter().map(|output| &output.info.path).collect::<Vec<_>>())?;
        self.collect_if_short()?;
        let mut placing = Placing::new(self);
        for output in outputs {
            placing.push(output.lock, output.incoming, output.info)?;
        }
        placing.finish_with(&HashMap::new(), realisations)
    }

    /// Puts a tree beside the path that it should be equal to, with `.check` after its name; gives where
    /// that is. It is not registered: a collection removes it.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub fn put_beside(&self, incoming: Incoming, path: &StorePath) -> Result<PathBuf> {
        let name = format!("{}.check", path.base_name());
        let beside = StorePath::from_base_name(&name)?;
        incoming.exchange(&self.place()?, &beside, false)?;
        Ok(self.real_path(&beside))
    }

    /// Puts an output in the place of the one that is there, in one step, and registers what is
    /// known of it now.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub fn replace_output(&self, output: NewOutput) -> Result<()> {
        output.incoming.exchange(&self.place()?, &output.info.path, self.options().sync)?;
        self.write(|writer| match writer.id_of(&output.info.path)? {
            Some(id) => writer.update(id, &output.info),
            None => writer.insert(&output.info, crate::sys::clock::now()).map(drop),
        })
    }
}
