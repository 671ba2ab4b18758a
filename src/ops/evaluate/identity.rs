//! What two evaluations have in common that have the same options.

use std::os::unix::ffi::OsStrExt as _;

use super::Options;
use super::seen::stamp::{Digest, digest};
use crate::eval::shared::Settings;

impl Options {
    /// The hash of everything that the result of an evaluation depends on by these options. Variables and the
    /// working directory are left out: an evaluation asks for those that matter to it.
    pub fn identity(&self) -> Digest {
        // A new option is to be thought about here.
        let Options {
            settings,
            freedom,
            allowed_uris,
            environment: _,
            current_dir: _,
            store_dir,
            real_store_dir,
            system,
            search_path,
            read_only: _,
            import_from_derivation,
            trace_import_from_derivation,
            // What they change is never remembered.
            git: _,
            // These change nothing.
            source_memory: _,
            notes: _,
            flake_registry: _,
            access_tokens: _,
            told_before: _,
            in_parts: _,
        } = self;
        // On how many cores it is evaluated makes no difference.
        let settings = Settings { cores: 1, ..settings.clone() };
        let real = real_store_dir.as_ref().map(|dir| dir.as_os_str().as_bytes());
        digest([
            // All of its fields, by their names.
            format!("{settings:?}").as_bytes(),
            format!("{freedom:?} {allowed_uris:?} {search_path:?}").as_bytes(),
            store_dir.as_str().as_bytes(),
            real.unwrap_or_default(),
            system.as_bytes(),
            format!("{import_from_derivation} {trace_import_from_derivation}").as_bytes(),
        ])
    }
}
