//! What a store can do that builds single derivations for others: the derivation comes with the order,
//! and all that its builder reads is there.

use std::collections::BTreeMap;

use crate::model::{Derivation, StorePath};
use crate::store::error::Result;

/// What is to be built.
#[derive(Debug, Clone, Copy)]
pub struct BuildOrder<'o> {
    /// The path of the derivation, which need not be valid there.
    pub path: &'o StorePath,
    /// Its contents, with everything that its builder reads among its sources, and no other inputs.
    pub drv: &'o Derivation,
    /// Seconds that it may be silent; 0 for any.
    pub max_silent_time: u64,
    /// Seconds that it may take; 0 for any.
    pub timeout: u64,
    /// Bytes that it may print; 0 for any.
    pub max_log_size: u64,
    /// What a failed build leaves behind is kept.
    pub keep_failed: bool,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEnd {
    /// Its outputs are valid there: those whose paths are told, by name.
    Built(BTreeMap<String, StorePath>),
    /// It failed.
    Failed {
        /// It took too long, or was silent for too long.
        timed_out: bool,
        /// What is told of it there.
        message: String,
    },
}

/// Builds derivations for others.
pub trait BuildStore {
    /// Builds one.
    ///
    /// # Errors
    /// [`crate::store::StoreError`], where it is not known how it ended, or was not begun.
    fn build(&self, order: &BuildOrder<'_>) -> Result<BuildEnd>;
}
