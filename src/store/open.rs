//! From a store's URI to the store: the one place that knows all kinds.

use std::path::Path;
use std::sync::Arc;

use super::binary_cache::{BinaryCache, CacheOptions};
use super::compression::Compression;
use super::error::{Result, StoreError};
use super::local::LocalStore;
use super::transfer::Store;
use super::uri::{self, StoreKind, StoreUri, Surroundings};
use crate::model::StoreDir;
use crate::model::signature::SecretKey;
use crate::progress::Progress;
use crate::sys::PathError;

/// Opens the store that `uri` names, with warnings for the user.
///
/// # Errors
/// [`StoreError::Uri`] for what cannot be opened, and those of the store.
pub fn open(
    uri: &StoreUri,
    around: &Surroundings<'_>,
    progress: Arc<dyn Progress>,
) -> Result<(Box<dyn Store>, Vec<String>)> {
    let StoreKind::Other(scheme, rest) = &uri.kind else {
        let (options, warnings) = uri::local_options(uri, around)?;
        return Ok((Box::new(LocalStore::open(options, progress)?), warnings));
    };
    match scheme.as_str() {
        "file" => {
            let root = uri::path_in(rest, Path::new("/"));
            let shown = format!("file://{}", root.display());
            let (dir, options, warnings) = cache_options(uri, around, &[])?;
            let cache = BinaryCache::open_directory(root, shown, dir, options, progress)?;
            Ok((Box::new(cache), warnings))
        }
        _ => Err(uri::unopenable(scheme)),
    }
}

/// The parameters that all caches have; `others` are those of one kind.
fn cache_options(
    uri: &StoreUri,
    around: &Surroundings<'_>,
    others: &[&str],
) -> Result<(StoreDir, CacheOptions, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut options = CacheOptions { sync: around.settings.sync_store_paths(), ..CacheOptions::default() };
    let dirs = around.environment.directories().map_err(|error| StoreError::Uri(error.to_string()))?;
    let mut store = dirs.store.to_string_lossy().into_owned();
    for (name, value) in &uri.parameters {
        let invalid = || StoreError::Uri(format!("setting '{name}' has invalid value '{value}'"));
        match name.as_str() {
            "compression" => {
                options.compression = Compression::parse(value).ok_or_else(|| {
                    StoreError::Uri(format!("option 'compression' has invalid value '{value}'"))
                })?;
            }
            "compression-level" => {
                let level: i64 = value.parse().map_err(|_| invalid())?;
                // Negative: the default.
                options.level = (level >= 0).then(|| u32::try_from(level).unwrap_or(u32::MAX));
            }
            "parallel-compression" => options.parallel = uri::boolean(name, value)?,
            "write-nar-listing" => options.listing = uri::boolean(name, value)?,
            "index-debug-info" => options.debug_info = uri::boolean(name, value)?,
            "secret-key" if value.is_empty() => {}
            "secret-key" => options.secret_keys.push(secret_key(value)?),
            "secret-keys" => {
                for file in value.split(',').filter(|file| !file.is_empty()) {
                    options.secret_keys.push(secret_key(file)?);
                }
            }
            "store" => store = uri::absolute(value)?.to_string_lossy().into_owned(),
            "priority" => options.priority = Some(value.parse().map_err(|_| invalid())?),
            "want-mass-query" => options.want_mass_query = Some(uri::boolean(name, value)?),
            "trusted" => options.trusted = uri::boolean(name, value)?,
            "local-nar-cache" if !value.is_empty() => {
                warnings.push("'local-nar-cache' is not used by this version of Nival".to_owned());
            }
            "local-nar-cache" | "path-info-cache-size" | "system-features" => {}
            other if others.contains(&other) => {}
            _ => warnings.push(format!("unknown setting '{name}'")),
        }
    }
    let dir = StoreDir::new(&store)
        .map_err(|dir| StoreError::Uri(format!("'{dir}' cannot be a store directory")))?;
    Ok((dir, options, warnings))
}

fn secret_key(file: &str) -> Result<SecretKey> {
    /// Keys are a line.
    const MAX_KEY: u64 = 64 * 1024;
    let text = std::fs::read(file).map_err(PathError::at("opening file", file))?;
    if text.len() as u64 > MAX_KEY {
        return Err(StoreError::Uri(format!("'{file}' is too long for a key")));
    }
    SecretKey::parse(&String::from_utf8_lossy(&text))
        .map_err(|error| StoreError::Uri(format!("{error} (in '{file}')")))
}
