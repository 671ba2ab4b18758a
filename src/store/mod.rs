//! Stores: the local one, binary caches, and how a text names one.

pub mod api;
pub mod binary_cache;
pub mod compression;
pub mod empty;
pub mod error;
pub mod graph;
pub mod layout;
pub mod local;
pub mod open;
pub mod remote;

pub use crate::store::api::Store;
pub use error::StoreError;
pub use local::LocalStore;
pub use open::open_uri;
