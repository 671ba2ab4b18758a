//! What is wrong with a root of the collector.

use std::path::PathBuf;

/// Why something cannot be a root of the collector, or cannot be kept from collection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// A link that would lie in the store directory.
    #[error(
        "creating a garbage collector root (\"{}\") in the Nix store is forbidden (are you running nix-build inside the \
         store?)", .0.display()
    )]
    InStore(PathBuf),
    /// Something other than a symlink is where the link is to be.
    #[error("cannot create symlink \"{}\"; already exists", .0.display())]
    Exists(PathBuf),
    /// A relative path, where the root is to be found later.
    #[error("not an absolute path: \"{}\"", .0.display())]
    NotAbsolute(PathBuf),
    /// A path that no file can have.
    #[error("no file can have the name \"{}\"", .0.display())]
    NoFileName(PathBuf),
    /// A path that would spoil the terminals of those who list the roots.
    #[error("the name of a root has control characters: {0:?}")]
    ControlCharacters(PathBuf),
    /// More temporary roots than one client may have.
    #[error("more than {0} paths would have to be kept from collection for one client")]
    TooMany(usize),
    /// What listens on the collector's socket is no collector.
    #[error("the collector at '{}' answered with something other than a grant", .0.display())]
    NoGrant(PathBuf),
}
