//! Sources from elsewhere: one file or archive, by its URL, to be added to a
//! store.
//!
//! ```text
//! git       a tree of a Git repository
//! mercurial a tree of a Mercurial repository
//! path      a tree of this machine
//! url       a URL → the bytes behind it
//! unpack    an archive (tar in any compression, zip) → the entries of a tree
//! tree      entries → files below one directory, and nothing anywhere else
//! link      where a server says that the same will always be
//! forge     where forges tell of commits, and have them
//! memory    what was behind a URL when it was looked at last
//! ```

pub mod forge;
pub mod git;
mod link;
pub mod memory;
pub mod mercurial;
pub mod path;
mod tree;
pub mod unpack;
pub mod url;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::model::{Hash, HashFormat};
use crate::store::binary_cache::CacheError;
use crate::sys::PathError;
use crate::sys::interrupt::Interrupted;

/// A hash that is not the one that was expected.
#[derive(Debug, thiserror::Error)]
#[error(
    "hash mismatch for '{url}':\n  specified: {}\n  got:       {}",
    expected.digits(HashFormat::Sri),
    found.digits(HashFormat::Sri)
)]
pub struct Mismatch {
    /// The URL, without what lets people in.
    pub url: String,
    /// What was expected.
    pub expected: Hash,
    /// What was found.
    pub found: Hash,
}

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
    /// A file that is not of this machine.
    #[error("'{0}' names no file of this machine: that is written 'file:///…'")]
    Place(String),
    /// A file of this machine that cannot be read.
    #[error("unable to download '{url}': could not read '{}': {}", path.display(), crate::sys::errno_text(reason))]
    Local {
        /// The URL.
        url: String,
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
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
    /// An answer that says that nothing changed, to who has nothing yet.
    #[error("unable to download '{0}': HTTP error 304")]
    Unasked(String),
    /// Something that is neither tar nor zip.
    #[error("failed to open archive: Unrecognized archive format")]
    Format,
    /// An archive without entries, where one is wanted.
    #[error("failed to unpack the archive: it is empty")]
    Empty,
    /// A channel that is none.
    #[error("{0}")]
    Channel(String),
    /// An archive that breaks off, or leads out of its directory.
    #[error("failed to unpack the archive: {0}")]
    Archive(String),
    /// Another hash was expected.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
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

impl FetchError {
    /// Whether it is that the work was told to end.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted(_) | Self::Transfer(CacheError::Interrupted(_)) => true,
            Self::Store(error) => error.is_interruption(),
            _ => false,
        }
    }
}

/// A directory that nobody else may look into, or change; it goes with the value.
///
/// # Errors
/// It cannot be made.
pub fn private_dir() -> Result<TempDir> {
    let made =
        tempfile::Builder::new().prefix("nival-fetch-").permissions(Permissions::from_mode(0o700)).tempdir();
    Ok(made.map_err(|error| PathError::new("creating directory in", std::env::temp_dir(), error))?)
}

/// The result of fetching.
pub type Result<T> = std::result::Result<T, FetchError>;
