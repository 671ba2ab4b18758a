//! Pure values and text formats: no file, no clock, no environment.
//!
//! Each file holds one format of the store, begins with its grammar and its
//! limits, and can be used alone by a program that embeds Nival.

pub mod base32;
pub mod content_address;
pub mod derivation;
pub mod derived_path;
pub mod flake_ref;
pub mod hash;
pub mod input;
pub mod json;
pub mod manifest_nix;
pub mod nar_info;
pub mod nearest;
pub mod package_name;
pub mod path_info;
pub mod realisation;
pub mod references;
pub mod rewriting;
pub mod shell;
pub mod signature;
pub mod store_path;

pub use content_address::{ContentAddress, ContentAddressMethod};
pub use derivation::Derivation;
pub use derived_path::{DerivedPath, Outputs};
pub use hash::{Hash, HashAlgorithm, HashFormat, Hasher};
pub use nar_info::{NarFile, NarInfo};
pub use path_info::ValidPathInfo;
pub use realisation::{DrvOutput, Realisation};
pub use store_path::{StoreDir, StorePath};
