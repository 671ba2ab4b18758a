//! What a client asks a server for and does not get.

use crate::model::realisation::RealisationError;

/// Why a server refuses the request of a client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// This client may not have that done.
    #[error("{0}")]
    NotPermitted(String),
    /// A request that makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// The same is being done for another user.
    #[error("{0}")]
    Busy(&'static str),
    /// A text that should be a signature.
    #[error("signature '{0}' is corrupt")]
    CorruptSignature(String),
    /// A realisation that cannot be read.
    #[error("the client's realisation cannot be used: {0}")]
    Realisation(RealisationError),
    /// A path that is no derivation, where one is needed.
    #[error("'{0}' is not a valid derivation path")]
    NotADerivation(String),
    /// A path with more signatures than a client may give it.
    #[error("'{path}' has more than {most} signatures")]
    TooManySignatures {
        /// The full path.
        path: String,
        /// How many it may have.
        most: usize,
    },
    /// A path that was to be deleted and that something keeps.
    #[error(
        "Cannot delete path '{0}' since it is still alive. To find out why, use: nix-store --query --roots and \
         nix-store --query --referrers"
    )]
    Alive(String),
}
