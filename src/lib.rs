//! Nival: a local store that shares its directory, database and formats with
//! the original, and everything a program embedding a store needs.
//!
//! | floor | what it holds |
//! |---|---|
//! | [`model`] | pure values and text formats: hashes, store paths, derivations |
pub mod model;
