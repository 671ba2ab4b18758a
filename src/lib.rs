//! Nival: a local store that shares its directory, database and formats with
//! the original, and everything a program embedding a store needs.
//!
//! | floor | what it holds |
//! |---|---|
//! | [`ops`] | verbs over stores: copying, querying, profiles, serving |
//! | [`build`] | one derivation becomes its outputs, on this machine |
//! | [`flake`] | what the references of flakes lead to |
//! | [`fetch`] | files and archives from elsewhere |
//! | [`store`] | the local store, binary caches, stores behind a daemon or ssh |
//! | [`eval`] | the expression language, which asks the world through one trait |
//! | [`nar`] | the archive format of the store: dump and restore |
//! | [`settings`] | the settings, and where they come from |
//! | [`model`] | pure values and text formats: hashes, store paths, derivations |
//! | [`progress`] | what a long operation tells its caller |
//! | [`sys`] | directory handles, locks, interruption |
//!
//! The names that most programs need stand here as well; `tests/it/test_embedding.rs` has the
//! list of them. What is hidden in this documentation is for the programs of this package.
//!
//! ```
//! use nival::{CopyOptions, LocalStore, Settings, Store, copy, open_uri};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! // A store of one's own, below a directory; paths are named `/nix/store/…`.
//! let store: Box<dyn Store> = Box::new(LocalStore::at(dir.path().join("root"))?);
//! let path = store.add_text("hello.txt", b"hello\n", Default::default())?;
//! // Any other store by its URI: here a binary cache in a directory.
//! let uri = format!("file://{}", dir.path().join("cache").display());
//! let cache = open_uri(&uri, &Settings::built_in())?;
//! let options = CopyOptions::default();
//! let plan = copy::plan(&*store, &*cache, &[path.clone()], &options)?;
//! copy::copy(&*store, &*cache, plan, &options, &*nival::silent())?;
//! assert!(cache.valid(&[path.clone()])?.contains(&path));
//! # Ok(())
//! # }
//! ```
pub mod build;
pub mod eval;
pub mod fetch;
pub mod flake;
#[doc(hidden)]
pub mod http;
pub mod model;
pub mod nar;
pub mod ops;
pub mod progress;
pub mod settings;
pub mod store;
pub mod sys;

pub use model::{
    ContentAddress, ContentAddressMethod, Derivation, DerivedPath, Hash, HashAlgorithm, HashFormat, NarInfo,
    Outputs, Realisation, StoreDir, StorePath, ValidPathInfo,
};
pub use nar::{NarError, Sink};
pub use ops::copy::{self, CopyOptions};
pub use progress::{Progress, silent};
pub use settings::Settings;
pub use store::{LocalStore, Store, StoreError, open_uri};
pub use sys::PathError;
pub use sys::interrupt::CancelToken;
