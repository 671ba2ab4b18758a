//! How a binary cache is used: the parameters of its URI.

use std::path::PathBuf;

use super::disk_cache::Lifetimes;
use crate::model::signature::SecretKey;
use crate::store::compression::Compression;

/// The options of a cache.
#[non_exhaustive]
pub struct CacheOptions {
    /// Of archives that are stored.
    pub compression: Compression,
    /// The format's own default where there is none.
    pub level: Option<u32>,
    /// Of narinfos, as the server is told.
    pub narinfo_coding: Compression,
    /// Of listings.
    pub listing_coding: Compression,
    /// Of build logs.
    pub log_coding: Compression,
    /// Several threads for each archive.
    pub parallel: bool,
    /// A listing is stored beside each archive.
    pub listing: bool,
    /// Build ids of debug information are indexed.
    pub debug_info: bool,
    /// What is stored is signed with these.
    pub secret_keys: Vec<SecretKey>,
    /// Instead of what the cache says of itself.
    pub priority: Option<i64>,
    /// Likewise.
    pub want_mass_query: Option<bool>,
    /// As a substituter it needs no signatures.
    pub trusted: bool,
    /// Where answers are remembered and interrupted downloads kept, and for how
    /// long answers count.
    pub memory: Option<(PathBuf, Lifetimes)>,
    /// Where archives are kept of which single files are looked at.
    pub nar_cache: Option<PathBuf>,
    /// The cache is asked which paths outputs have (the feature `ca-derivations`).
    pub realisations: bool,
    /// Archives reach the disk before the narinfos that name them.
    pub sync: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Xz,
            level: None,
            narinfo_coding: Compression::None,
            listing_coding: Compression::None,
            log_coding: Compression::None,
            parallel: false,
            listing: false,
            debug_info: false,
            secret_keys: Vec::new(),
            priority: None,
            want_mass_query: None,
            trusted: false,
            memory: None,
            nar_cache: None,
            realisations: false,
            sync: true,
        }
    }
}
