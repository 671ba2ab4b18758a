//! What can go wrong with a binary cache.

use crate::model::nar_info::NarInfoError;
use crate::sys::PathError;
use crate::sys::interrupt::Interrupted;

/// A failed operation on a binary cache; the texts are the reference's where a
/// script may look for them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A narinfo that cannot be used.
    #[error("NAR info file '{file}' is corrupt: {reason} (in '{uri}')")]
    NarInfo {
        /// Its name.
        file: String,
        /// The cache.
        uri: String,
        /// What is wrong.
        reason: NarInfoError,
    },
    /// A narinfo of something else.
    #[error("NAR info file '{file}' is corrupt: StorePath is '{found}', not '{wanted}' (in '{uri}')")]
    OtherPath {
        /// Its name.
        file: String,
        /// The cache.
        uri: String,
        /// The path in it.
        found: String,
        /// The one it should be of.
        wanted: String,
    },
    /// A realisation that cannot be used.
    #[error("realisation '{url}' is corrupt: {reason}")]
    Realisation {
        /// Its file.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Paths below another directory.
    #[error("binary cache '{uri}' is for Nix stores with prefix '{found}', not '{wanted}'")]
    StoreDir {
        /// The cache.
        uri: String,
        /// Its store directory.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// `nix-cache-info` with a value that cannot be.
    #[error("'{uri}/nix-cache-info' is corrupt: {key} is '{value}'")]
    CacheInfo {
        /// The cache.
        uri: String,
        /// Which.
        key: &'static str,
        /// What stands there.
        value: String,
    },
    /// A narinfo names an archive that is not there.
    #[error("file '{name}' does not exist in binary cache '{uri}'")]
    MissingFile {
        /// The cache.
        uri: String,
        /// The archive.
        name: String,
    },
    /// A narinfo names something that is no archive of this cache.
    #[error("NAR info file '{file}' is corrupt: URL is '{url}', which does not lie in '{uri}'")]
    Outside {
        /// Its name.
        file: String,
        /// The cache.
        uri: String,
        /// What it names.
        url: String,
    },
    /// A compression that nobody reads here.
    #[error("NAR info file '{file}' is corrupt: Compression is '{name}', which is not known (in '{uri}')")]
    Compression {
        /// Its name.
        file: String,
        /// The cache.
        uri: String,
        /// The compression.
        name: String,
    },
    /// An archive that cannot be read or makes no sense.
    #[error("path '{path}': its archive at '{url}' {reason}")]
    Archive {
        /// The path that it is of.
        path: String,
        /// Where it is.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Reading a file.
    #[error("reading '{url}': {reason}")]
    Read {
        /// The file.
        url: String,
        /// Why.
        reason: std::io::Error,
    },
    /// A server answered something that does not help.
    #[error("unable to {action} '{url}': {reason}")]
    Transfer {
        /// `download` or `upload`.
        action: &'static str,
        /// What.
        url: String,
        /// Why not.
        reason: String,
        /// Whether the server cannot be reached, or is of no use for now.
        dead: bool,
    },
    /// A server does not let us in.
    #[error("unable to {action} '{url}': HTTP error {status}{words}")]
    Refused {
        /// `download` or `upload`.
        action: &'static str,
        /// What.
        url: String,
        /// Its answer.
        status: u16,
        /// What it says about that.
        words: String,
    },
    /// There is nothing that could be read.
    #[error("'{uri}' is not a binary cache: {reason}")]
    NoCache {
        /// Where it should be.
        uri: String,
        /// What is missing.
        reason: String,
    },
    /// There is no description, and none can be stored.
    #[error("'{uri}' does not appear to be a binary cache ({reason})")]
    NotMade {
        /// Where it should be.
        uri: String,
        /// Why none can be stored.
        reason: String,
    },
    /// Paths cannot be listed.
    #[error("the paths of '{0}' cannot be listed")]
    Unlisted(String),
    /// Keys, levels and the like.
    #[error("{0}")]
    Option(String),
    /// A file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The work was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl CacheError {
    /// Whether the cache as a whole is of no use for now.
    pub fn is_dead(&self) -> bool {
        matches!(self, Self::Transfer { dead: true, .. } | Self::NoCache { .. } | Self::NotMade { .. })
    }
}
