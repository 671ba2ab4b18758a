//! What is known of a path, as texts.

use crate::model::{Hash, HashAlgorithm, HashFormat, StoreDir, ValidPathInfo};
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;

/// What is known of a path apart from its references, with its texts as they are in
/// a database: for listings that have no use for parsed values.
#[derive(Debug, Clone)]
pub struct RawPath {
    /// Its number in the database; 0 where there is none.
    pub id: PathId,
    /// The full path.
    pub path: String,
    /// `sha256:` and base-16 digits.
    pub hash: String,
    /// Bytes of the NAR.
    pub nar_size: u64,
    /// The full path of the deriver.
    pub deriver: Option<String>,
    /// Seconds since 1970.
    pub registration_time: i64,
    /// Whether it was built here.
    pub ultimate: bool,
    /// Blank-separated.
    pub signatures: Option<String>,
    /// The content address.
    pub ca: Option<String>,
}

impl RawPath {
    /// The texts that a database would have for a path.
    pub fn of(dir: &StoreDir, info: &ValidPathInfo) -> Self {
        let signatures: Vec<&str> = info.signatures.iter().map(String::as_str).collect();
        Self {
            id: 0,
            path: dir.print(&info.path),
            hash: info.nar_hash.prefixed(HashFormat::Base16),
            nar_size: info.nar_size,
            deriver: info.deriver.as_ref().map(|deriver| dir.print(deriver)),
            registration_time: info.registration_time,
            ultimate: info.ultimate,
            signatures: Some(signatures.join(" ")),
            ca: info.ca.as_ref().map(ToString::to_string),
        }
    }

    /// The hash of the NAR.
    ///
    /// # Errors
    /// [`StoreError::Row`].
    pub fn nar_hash(&self) -> Result<Hash> {
        Hash::parse(&self.hash, Some(HashAlgorithm::Sha256)).map_err(|error| self.error(&error))
    }

    pub(in crate::store) fn error(&self, error: &dyn std::error::Error) -> StoreError {
        StoreError::Row { path: self.path.clone(), message: error.to_string() }
    }
}
