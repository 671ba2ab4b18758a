//! Building derivations.

pub mod settings;
