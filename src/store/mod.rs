//! Stores: the local one, and how a text names one.

pub mod error;
pub mod local;
pub mod uri;

pub use error::StoreError;
pub use local::LocalStore;
