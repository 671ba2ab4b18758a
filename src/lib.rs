//! Nival: a local store that shares its directory, database and formats with
//! the original, and everything a program embedding a store needs.
//!
//! | floor | what it holds |
//! |---|---|
//! | [`nar`] | the archive format of the store: dump and restore |
//! | [`model`] | pure values and text formats: hashes, store paths, derivations |
//! | [`sys`] | directory handles, locks, interruption |
pub mod model;
pub mod nar;
pub mod ops;
pub mod progress;
pub mod settings;
pub mod store;
pub mod sys;
