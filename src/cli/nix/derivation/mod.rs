//! `nix derivation`.

pub mod add;
pub mod show;
