//! Why a text does not lead to a store.

use std::path::PathBuf;

use crate::model::signature::KeyError;
use crate::settings::environment::RelativeDirectory;

/// A text that does not lead to a store: the URI, or one of its parameters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A word that is no URI.
    #[error("Cannot parse Nix store '{0}'")]
    Unparsable(String),
    /// A scheme of no kind of store.
    #[error("don't know how to open Nix store with scheme '{0}'")]
    UnknownScheme(String),
    /// A kind of store that cannot be opened yet.
    #[error("stores with scheme '{0}' cannot be opened by this version of Nival yet")]
    SchemeToCome(String),
    /// A URI that must name a host or bucket, and does not.
    #[error("`{0}` Store requires a non-empty authority in Store URL")]
    NoAuthority(String),
    /// A host or user that cannot be one.
    #[error("invalid {kind} authority: '{authority}': {reason}")]
    Authority {
        /// `SSH` or `URL`.
        kind: &'static str,
        /// User, host and port, as they stand in the URI.
        authority: String,
        /// What is wrong.
        reason: String,
    },
    /// A parameter with a value that it cannot have.
    #[error("{kind} '{name}' has invalid value '{value}'{}", meant(near))]
    Parameter {
        /// What it is called in messages: `setting`, `option`, `Boolean setting`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The value.
        value: String,
        /// A value that may have been meant.
        near: Option<String>,
    },
    /// A relative path where only an absolute one makes sense.
    #[error("not an absolute path: \"{}\"", .0.display())]
    NotAbsolute(PathBuf),
    /// A variable of the environment that should name a directory.
    #[error(transparent)]
    Directory(#[from] RelativeDirectory),
    /// A directory that no store paths can lie in.
    #[error("'{0}' cannot be a store directory")]
    StoreDir(String),
    /// A store that has no database of its own on this machine, where one is needed.
    #[error("this operation works on a local store, and '{store}' {what}")]
    NotLocal {
        /// The URI of the store.
        store: String,
        /// What kind of store it is.
        what: &'static str,
    },
    /// A store that another program works on for the user, where it is to be worked on directly.
    #[error(
        "you don't have sufficient rights to use this command: '{0}' is worked on through another program"
    )]
    ThroughAnother(String),
    /// A store without contents that is to take some.
    #[error("'dummy://' stores that can be written to are not available in this version of Nival")]
    WritableDummy,
    /// A file that is too long to hold a key.
    #[error("'{0}' is too long for a key")]
    LongKey(String),
    /// A file that holds no secret key.
    #[error("secret-key: '{file}': {reason}")]
    Key {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: KeyError,
    },
}

impl OpenError {
    /// The error for a parameter with a value that it cannot have.
    pub(crate) fn parameter(kind: &'static str, name: &str, value: &str) -> Self {
        Self::Parameter { kind, name: name.to_owned(), value: value.to_owned(), near: None }
    }
}

fn meant(near: &Option<String>) -> String {
    near.as_ref().map_or(String::new(), |near| format!("\n       Did you mean {near}?"))
}
