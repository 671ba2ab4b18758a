//! What a store that can be checked, repaired, optimised and dumped can do.

use std::io::Write;

use super::Store;
use crate::model::StorePath;
use crate::store::error::Result;

/// Checks and optimises a store.
pub trait MaintainStore {
    /// Links equal files; gives the number of those that could not be.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn link_equal_files(&self) -> Result<u64>;

    /// Checks paths, with `contents` also what they hold; `repair` has what is
    /// damaged fetched from these stores, or from those that a daemon knows.
    /// True if all is well.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn verify(&self, contents: bool, repair: Option<&[&dyn Store]>) -> Result<bool>;
}

/// Repairs single paths.
pub trait RepairStore {
    /// Fetches a valid path again from the first of the stores that has it as it was
    /// registered.
    ///
    /// # Errors
    /// [`crate::store::StoreError::NoSource`] or [`crate::store::StoreError::Unrepairable`] when
    /// none has it, and others.
    fn repair(&self, path: &StorePath, sources: &[&dyn Store]) -> Result<()>;
}

/// Writes what the database says, in the form of `nix-store --dump-db`.
pub trait DumpStore {
    /// How many paths are valid.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn count(&self) -> Result<u64>;

    /// Writes the entries of all paths, in order.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]; those of the output as [`crate::nar::NarError::Write`].
    fn dump_all(&self, output: &mut dyn Write) -> Result<()>;
}
