//! What can go wrong with user environments.

use std::path::PathBuf;

use crate::model::manifest_nix::ManifestError;
use crate::model::store_path::NameError;
use crate::ops::profile::ProfileError;
use crate::store::error::StoreError;
use crate::sys::PathError;

/// What can go wrong with a user environment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserEnvError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A name that makes no store path.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A package that cannot be part of an environment.
    #[error("{0}")]
    Build(String),
    /// `manifest.nix` cannot be read.
    #[error("cannot read \"{}\": {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: ManifestError,
    },
    /// `manifest.nix` does not say what is installed.
    #[error("cannot read \"{}\": {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The profile leads to an environment that is gone.
    #[error("profile \"{}\" leads to something that does not exist", .0.display())]
    Dangling(PathBuf),
    /// The profile is kept by `nix profile`.
    #[error("profile \"{}\" is incompatible with 'nix-env'; please use 'nix profile' instead", .0.display())]
    OtherTool(PathBuf),
}

/// The result of working on user environments.
pub type Result<T> = std::result::Result<T, UserEnvError>;
