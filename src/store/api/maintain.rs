//! What a store that can be checked and optimised can do.

use super::Store;
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
