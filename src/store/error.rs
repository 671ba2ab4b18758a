//! What can go wrong with a store.

use std::path::PathBuf;

use crate::model::content_address::ContentPathError;
use crate::model::derivation::aterm::AtermError;
use crate::model::derivation::modulo::OutputError;
use crate::model::hash::HashError;
use crate::model::store_path::{NameError, StorePathError};
use crate::model::{Hash, StoreDir, ValidPathInfo};
use crate::nar::NarError;
use crate::sys::PathError;
use crate::sys::interrupt::Interrupted;
use crate::sys::lock::LockError;

use super::binary_cache::CacheError;
use super::remote::RemoteError;
use crate::settings::FeatureDisabled;

mod build;
mod formats;
mod look;
mod open;
mod realise;
mod request;
mod roots;

pub use build::{BuildFailure, FailureKinds};
pub use formats::{ImportError, RegistrationError};
pub use look::LookError;
pub use open::OpenError;
pub use realise::{Conflict, Conflicts, FailedBuild, RealiseError};
pub use request::RequestError;
pub use roots::RootError;

/// A failed operation on a store; the texts are the reference's where a script
/// may look for them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Not registered.
    #[error("path '{0}' is not valid")]
    Invalid(String),
    /// Registered or wanted, but not on disk.
    #[error("store path '{0}' does not exist")]
    Missing(String),
    /// A text that should be a store path.
    #[error(transparent)]
    StorePath(#[from] StorePathError),
    /// A name that makes no store path.
    #[error("path '{path}' is not a valid store path: {reason}")]
    Name {
        /// What the path would end in.
        path: String,
        /// Which rule is broken.
        reason: NameError,
    },
    /// No path follows from the content.
    #[error(transparent)]
    ContentPath(#[from] ContentPathError),
    /// A hash in the database or in a request.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The content is not what was registered.
    #[error("hash of path '{path}' has changed from '{expected}' to '{found}'!")]
    HashChanged {
        /// The full path.
        path: String,
        /// The registered hash.
        expected: String,
        /// The real one.
        found: String,
    },
    /// A `.drv` file that cannot be read.
    #[error("error parsing derivation '{path}': {reason}")]
    Derivation {
        /// The full path.
        path: String,
        /// Why.
        reason: AtermError,
    },
    /// A `.drv` file whose outputs do not follow from its inputs.
    #[error("while checking derivation '{path}': {reason}")]
    DerivationOutput {
        /// The full path.
        path: String,
        /// What does not follow.
        reason: OutputError,
    },
    /// A row of the database that breaks the format.
    #[error("the database says of '{path}': {message}")]
    Row {
        /// The full path, or what stands for it.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A row of the database that holds what cannot be there.
    #[error("the database is damaged: {row}: {message}")]
    Damaged {
        /// The table, the number of the row, and the path that it is of.
        row: String,
        /// What is wrong.
        message: String,
    },
    /// A row stands for a path that is gone, and there is one without a row
    /// whose name is nearly the same: one of its letters is wrong.
    #[error(
        "'{present}' has no row in the database, and '{row}', which has one, is gone: \
         that row is damaged, so nothing is deleted"
    )]
    Misnamed {
        /// The full path that is there.
        present: String,
        /// The full path that the database has.
        row: String,
    },
    /// SQLite.
    #[error("{action}: {reason} (in '{}')", .database.display())]
    Sqlite {
        /// What was being done.
        action: &'static str,
        /// The database file.
        database: PathBuf,
        /// SQLite's answer.
        reason: rusqlite::Error,
    },
    /// A file that is no database of a store, or no longer.
    #[error("the database '{}' cannot be used: {reason}", .database.display())]
    Unusable {
        /// The database file.
        database: PathBuf,
        /// SQLite's answer.
        reason: rusqlite::Error,
    },
    /// A store without its database.
    #[error("the database '{}' {why}", .database.display())]
    Lost {
        /// The database file.
        database: PathBuf,
        /// Gone, or empty.
        why: &'static str,
    },
    /// The schema file does not hold a number.
    #[error("\"{}\" is corrupt", .0.display())]
    SchemaFile(PathBuf),
    /// A newer format.
    #[error("current Nix store schema is version {0}, but I only support 10")]
    SchemaTooNew(u64),
    /// An older format.
    #[error(
        "the Nix store has schema version {}, and Nival works on version 10 only; {}", .0, what_upgrades(.0)
    )]
    SchemaTooOld(u64),
    /// There is nothing to open.
    #[error("database does not exist, and cannot be created in read-only mode")]
    NoDatabase,
    /// The store was opened for reading, by request or because the user may
    /// not write to it.
    #[error("cannot write to the store {0}")]
    ReadOnly(String),
    /// Behind a symlink, paths would have other names than elsewhere.
    #[error(
        "the path \"{}\" is a symlink; this is not allowed for the Nix store and its parent directories",
        .0.display()
    )]
    SymlinkedStore(PathBuf),
    /// A text that leads to no store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Two stores whose paths lie in different directories, where paths are to be copied.
    #[error(
        "'{source_uri}' has store directory '{source_dir}', and '{destination_uri}' has '{destination_dir}'"
    )]
    OtherStoreDir {
        /// The URI of the store that has the paths.
        source_uri: String,
        /// Its store directory.
        source_dir: String,
        /// The URI of the store that is to have them.
        destination_uri: String,
        /// Its store directory.
        destination_dir: String,
    },
    /// The store has nothing that could do this.
    #[error("operation '{operation}' is not supported by store '{store}'")]
    Unsupported {
        /// What it was asked for.
        operation: String,
        /// Its name.
        store: String,
    },
    /// The store cannot be collected.
    #[error("Garbage collection not supported by store '{0}'")]
    NoCollection(String),
    /// Something that cannot be a root of the collector.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Not registered, and another path with the same hash part is.
    #[error("path '{path}' is not valid; did you mean '{near}'?")]
    InvalidNear {
        /// The full path.
        path: String,
        /// The full path of the other.
        near: String,
    },
    /// `/proc` does not show the processes, which may use what a collection would delete.
    #[error("/proc does not tell what running programs use, so nothing is deleted")]
    NoProc,
    /// Something that may be a root cannot be read.
    #[error("{0}; it may be a root, so nothing is deleted until it can be read or is gone")]
    UnreadableRoot(PathError),
    /// What is damaged here can be had from nobody, because no other store is named.
    #[error("cannot repair path '{0}': there is no substituter to take it from")]
    NoSource(String),
    /// No other store has what is damaged here.
    #[error("cannot repair path '{path}': {reason}")]
    Unrepairable {
        /// The full path.
        path: String,
        /// What became of each store that was asked.
        reason: String,
    },
    /// A setting that an operation needs and that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// What a client asks a server for and does not get.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What is not valid and cannot be made valid.
    #[error(transparent)]
    Realise(#[from] RealiseError),
    /// A file in a store path that cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// No derivation is known that makes a path.
    #[error("deriver of path '{0}' is not known")]
    NoDeriver(String),
    /// A derivation without a variable.
    #[error("derivation '{drv}' has no environment binding named '{name}'")]
    NoBinding {
        /// The full path of the derivation.
        drv: String,
        /// The name of the variable.
        name: String,
    },
    /// A text that should be a content address.
    #[error("'{0}' is not a content address")]
    NotAContentAddress(String),
    /// An output that is to have another path than it has already.
    #[error("output '{output}' has another path in this store already, and cannot have '{path}' as well")]
    OutputTaken {
        /// The output.
        output: String,
        /// The full path that it cannot have.
        path: String,
    },
    /// Nobody trusted vouches for the path of an output.
    #[error(
        "that output '{output}' has the path '{path}' is not signed by any of the keys in 'trusted-public-keys'"
    )]
    UntrustedRealisation {
        /// The output.
        output: String,
        /// The base name of the path.
        path: String,
    },
    /// A path without a row that cannot have one again, because it may not be what its name says.
    #[error("{0}")]
    Suspect(String),
    /// What one store took in is given to another to be registered.
    #[error("a path was taken in by another store")]
    ForeignPath,
    /// The system starts no thread.
    #[error("no thread can be started: {}", crate::sys::errno_text(.0))]
    NoThread(std::io::Error),
    /// A thread panicked, and those that wait for it end.
    #[error("a thread has failed")]
    ThreadFailed,
    /// The system has no random numbers.
    #[error("{0}")]
    NoRandomness(String),
    /// A list of paths to register that breaks its format.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// An export stream that breaks its format.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// An experimental feature that is needed and not enabled.
    #[error(transparent)]
    FeatureDisabled(#[from] FeatureDisabled),
    /// A path would have more signatures than a path may have.
    #[error("'{path}' would have more than {most} signatures")]
    TooManySignatures {
        /// The full path.
        path: String,
        /// How many a path may have.
        most: usize,
    },
    /// A database that is to be made anew, and is not lost.
    #[error("the database '{}' {why}", .database.display())]
    NotLost {
        /// The file.
        database: PathBuf,
        /// What tells that it is not lost.
        why: String,
    },
    /// Its lock file would have the name of a valid path.
    #[error(
        "path '{path}' cannot be added, because the name of its lock file is that of the valid path '{occupied}'"
    )]
    LockOccupied {
        /// The full path.
        path: String,
        /// The full path of the other.
        occupied: String,
    },
    /// A file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An archive or a tree.
    #[error(transparent)]
    Nar(NarError),
    /// What arrives is not what was announced.
    #[error(
        "{what} mismatch importing path '{path}';\n         specified: {expected}\n         got:       {found}"
    )]
    Mismatch {
        /// `hash` or `size`.
        what: &'static str,
        /// The full path.
        path: String,
        /// What was announced.
        expected: String,
        /// What came.
        found: String,
    },
    /// Nobody trusted vouches for a path.
    #[error("cannot add path '{path}' because it lacks a signature by a trusted key\n{known}")]
    Untrusted {
        /// The full path.
        path: String,
        /// Which keys are trusted, and what is known of the signatures of the path.
        known: String,
    },
    /// A path whose content address is not that of its contents.
    #[error("path '{path}' is said to have the content address '{ca}', but its contents have not")]
    ContentAddress {
        /// The full path.
        path: String,
        /// The claim.
        ca: String,
    },
    /// Contents that are not those of their content address.
    #[error(
        "ca hash mismatch importing path '{path}';\n         specified: {expected}\n         got:       {found}"
    )]
    ContentMismatch {
        /// The full path.
        path: String,
        /// The claim.
        expected: String,
        /// What its contents are.
        found: String,
    },
    /// A cache is to name only what it has.
    #[error("cannot add '{path}' to the binary cache because the reference '{reference}' is not valid")]
    Reference {
        /// The full path.
        path: String,
        /// What it refers to.
        reference: String,
    },
    /// A binary cache.
    #[error(transparent)]
    Cache(CacheError),
    /// Something before it failed; that error tells why.
    #[error("another path could not be copied")]
    Overtaken,
    /// Somebody at the other end of a connection, or the connection itself.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The work was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What makes a database of ours from an older one.
fn what_upgrades(version: &u64) -> &'static str {
    match version {
        0..=5 => "Nix 1.11 upgrades it to one that any command of Nix 2 upgrades further",
        _ => "any command of Nix 2 upgrades it",
    }
}

/// Whether an archive is what the metadata of its path says.
///
/// # Errors
/// [`StoreError::Mismatch`].
pub fn check_nar(dir: &StoreDir, info: &ValidPathInfo, hash: Hash, size: u64) -> Result<()> {
    let mismatch = |what, expected: String, found: String| StoreError::Mismatch {
        what,
        path: dir.print(&info.path),
        expected,
        found,
    };
    if hash != info.nar_hash {
        return Err(mismatch("hash", info.nar_hash.to_string(), hash.to_string()));
    }
    // Old databases do not know the sizes.
    if info.nar_size != 0 && size != info.nar_size {
        return Err(mismatch("size", info.nar_size.to_string(), size.to_string()));
    }
    Ok(())
}

impl StoreError {
    /// The error for an operation that a store does not have.
    pub fn unsupported(operation: &str, store: &str) -> Self {
        Self::Unsupported { operation: operation.to_owned(), store: store.to_owned() }
    }

    /// Whether the store cannot be reached, or no longer: nothing else can be had from it then.
    pub fn is_lost_connection(&self) -> bool {
        match self {
            Self::Remote(error) => error.is_lost_connection(),
            Self::Cache(error) => error.is_dead(),
            _ => false,
        }
    }

    /// The kinds of a failure to build, for exit statuses.
    pub fn failure_kinds(&self) -> FailureKinds {
        match self {
            Self::Realise(RealiseError::Build(failure)) => failure.kinds,
            Self::Realise(RealiseError::Several { kinds, .. }) => *kinds,
            Self::Realise(RealiseError::Conflicts(_) | RealiseError::Failed(_)) => FailureKinds::BUILDER,
            _ => FailureKinds::default(),
        }
    }

    /// Whether a signal is the cause.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted(_)
                | Self::Lock(LockError::Interrupted(_))
                | Self::Nar(NarError::Interrupted(_))
        )
    }
}

impl From<CacheError> for StoreError {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Path(error) => Self::Path(error),
            CacheError::Interrupted(error) => Self::Interrupted(error),
            error => Self::Cache(error),
        }
    }
}

impl From<NarError> for StoreError {
    fn from(error: NarError) -> Self {
        match error {
            // A failure of the store's own that passed through the archive code.
            NarError::Sink(inner) => match inner.downcast::<Self>() {
                Ok(error) => *error,
                Err(inner) => Self::Nar(NarError::Sink(inner)),
            },
            error => Self::Nar(error),
        }
    }
}

/// The result of an operation on a store.
pub type Result<T> = std::result::Result<T, StoreError>;
