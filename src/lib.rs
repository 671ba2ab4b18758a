//! Nival: a local store that shares its directory, database and formats with
//! the original, and everything a program embedding a store needs.
//!
//! | floor | what it holds |
//! |---|---|
//! | [`ops`] | verbs over stores: copying, querying, profiles, serving |
//! | [`fetch`] | files and archives from elsewhere |
//! | [`store`] | the local store, binary caches, stores behind a daemon or ssh |
//! | [`nar`] | the archive format of the store: dump and restore |
//! | [`settings`] | the settings, and where they come from |
//! | [`model`] | pure values and text formats: hashes, store paths, derivations |
//! | [`progress`] | what a long operation tells its caller |
//! | [`sys`] | directory handles, locks, interruption |
pub mod fetch;
pub mod model;
pub mod nar;
pub mod ops;
pub mod progress;
pub mod settings;
pub mod store;
pub mod sys;
