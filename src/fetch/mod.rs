//! Sources from elsewhere: one file or archive, by its URL, to be added to a
//! store.
//!
//! ```text
//! url       a URL → the bytes behind it
//! unpack    an archive (tar in any compression, zip) → a tree in a directory
//! ```

pub mod unpack;
pub mod url;

use crate::store::binary_cache::CacheError;
use crate::sys::PathError;
use crate::sys::interrupt::Interrupted;

/// Why a source cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A text without a scheme.
    #[error("URL '{0}' doesn't have a scheme")]
    NoScheme(String),
    /// A scheme that nothing here speaks.
    #[error("unable to download '{url}': the protocol '{scheme}' is not supported")]
    Scheme {
        /// The URL, without what lets people in.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// The server has no such file.
    #[error("unable to download '{0}': HTTP error 404")]
    Absent(String),
    /// The name for the store cannot be taken from the URL.
    #[error("cannot figure out file name for '{0}'")]
    NoName(String),
    /// Requests and answers.
    #[error(transparent)]
    Transfer(#[from] CacheError),
    /// Reading what a server sends.
    #[error("unable to download '{url}': {}", crate::sys::errno_text(reason))]
    Broken {
        /// The URL, without what lets people in.
        url: String,
        /// Why.
        reason: std::io::Error,
    },
    /// Something that is neither tar nor zip.
    #[error("failed to open archive: Unrecognized archive format")]
    Format,
    /// An archive that breaks off, or leads out of its directory.
    #[error("failed to unpack the archive: {0}")]
    Archive(String),
    /// Another hash was expected.
    #[error("hash mismatch for '{url}':\n  specified: {expected}\n  got:       {found}")]
    Mismatch {
        /// The URL, without what lets people in.
        url: String,
        /// What was expected, as SRI.
        expected: String,
        /// What was found, likewise.
        found: String,
    },
    /// A file of this machine.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The work was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The result of fetching.
pub type Result<T> = std::result::Result<T, FetchError>;
