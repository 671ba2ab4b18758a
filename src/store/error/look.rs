//! Why a file in a store path cannot be looked at.

/// What is wrong with a place in a store path that is to be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// The place is not below the store directory.
    #[error("path '{0}' is not in the Nix store")]
    NotInStore(String),
    /// The store path is not valid.
    #[error("path '{0}' is not a valid store path")]
    NotValid(String),
    /// There is nothing at the place.
    #[error("path '{0}' does not exist")]
    NotFound(String),
    /// A symlink on the way to the place; none is followed.
    #[error("path '{0}' is a symlink")]
    Symlink(String),
    /// Something other than a file, where the contents of one are wanted.
    #[error("path '{0}' is not a regular file")]
    NotRegular(String),
}
