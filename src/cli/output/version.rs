//! The versions that programs print.

/// The version of Nival.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Nix that every program stands for: scripts compare the last
/// word of `--version`, and clients what a daemon says.
pub const NIX_VERSION: &str = "2.34.8";
