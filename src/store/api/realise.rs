//! What a store that makes paths valid by itself can do: another program stands
//! behind it, which builds and fetches.

use std::collections::BTreeSet;

use crate::model::{DerivedPath, StorePath};
use crate::store::error::Result;

/// What would have to be done for some requests.
#[derive(Debug, Default)]
pub struct Missing {
    /// Derivations that would be built, as far as possible each after its inputs.
    pub build: Vec<StorePath>,
    /// Paths that would be fetched, as far as possible each after what it refers to.
    pub fetch: Vec<StorePath>,
    /// Paths that nobody has.
    pub unknown: BTreeSet<StorePath>,
    /// Bytes to download.
    pub download: u64,
    /// Bytes of the archives.
    pub unpacked: u64,
}

/// In which way paths are made valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealiseMode {
    /// What is missing is made.
    Normal,
    /// What is damaged is made again.
    Repair,
    /// What is there is made again, and compared.
    Check,
}

/// Makes paths valid, by building or fetching them.
pub trait RealiseStore {
    /// Makes what is requested valid.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]; a build that failed, or that came out differently.
    fn realise(&self, requests: &[DerivedPath], mode: RealiseMode) -> Result<()>;

    /// Finds what would have to be done for that.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn missing(&self, requests: &[DerivedPath]) -> Result<Missing>;
}
