//! `nix realisation`.

pub mod info;
