//! Installables: what an argument of `nix` stands for.
//!
//! ```text
//! PATH          a path with a slash at or below a store path, or a symlink to one
//! PATH^NAMES    outputs of a derivation, comma-separated; `*` for all
//! ```
//!
//! Anything else would be a flake.

use std::path::Path;

use nival::model::{Derivation, DerivedPath, Outputs, StoreDir, StorePath};
use nival::ops::realise::output_paths;
use nival::progress::Progress as _;
use nival::store::api::Store;
use nival::sys::PathError;

use crate::cli::context::Context;

/// Longest chain of symlinks that is followed.
const MAX_LINKS: usize = 64;

/// The names and paths of the outputs of `drv`; no path where it follows from
/// the build and nobody has built it.
///
/// # Errors
/// A name that is no output, and those of the store.
pub fn outputs_of(
    store: &dyn Store,
    outputs: &Outputs,
    path: &StorePath,
    drv: &Derivation,
) -> anyhow::Result<Vec<(String, Option<StorePath>)>> {
    match outputs.missing(drv) {
        Some(missing) => Err(no_output(store.dir(), path, missing)),
        None => Ok(output_paths(store, path, drv, outputs)?),
    }
}

/// The error for an output that a derivation does not have.
pub fn no_output(dir: &StoreDir, path: &StorePath, name: &str) -> anyhow::Error {
    anyhow::anyhow!("the derivation '{}' doesn't have an output named '{name}'", dir.display(path))
}

/// Finds out what an argument stands for.
///
/// # Errors
/// Anything but a store path, in the words of the original where it refuses it
/// too.
pub fn parse(context: &Context, dir: &StoreDir, text: &str) -> anyhow::Result<DerivedPath> {
    let (base, outputs) = match text.rsplit_once('^') {
        None => (text, None),
        Some((base, names)) => {
            let outputs = Outputs::parse_strictly(names);
            let outputs =
                outputs.ok_or_else(|| anyhow::anyhow!("invalid extended outputs specifier '{text}'"))?;
            (base, Some(outputs))
        }
    };
    match store_path(context, dir, base) {
        Some(path) => Ok(DerivedPath { path, outputs }),
        None => Err(no_store_path(context, base)),
    }
}

/// The store path at or above `text`, or the one that `text`, a symlink, leads to.
fn store_path(context: &Context, dir: &StoreDir, text: &str) -> Option<StorePath> {
    if !text.contains('/') {
        return None;
    }
    let below = format!("{}/", dir.as_str());
    let mut path = context.absolute(Path::new(text));
    for _ in 0..MAX_LINKS {
        if path.to_str()?.starts_with(&below) {
            return dir.parse_below(path.to_str()?).ok().map(|(path, _)| path);
        }
        // Only the last component is looked at: a symlink on the way to it is
        // not followed by the original either.
        let target = std::fs::read_link(&path).ok()?;
        path = context.absolute(&path.parent()?.join(target));
    }
    None
}

/// Why `text` is nothing that can be used.
fn no_store_path(context: &Context, text: &str) -> anyhow::Error {
    let name = text.split(['#', '?']).next().unwrap_or(text);
    let missing =
        || anyhow::anyhow!("'{text}' is a flake, and flakes are not available in this version of Nival");
    if is_reference(name) {
        return match context.settings.require_feature(Some("flakes")) {
            Ok(()) => missing(),
            Err(error) => error.into(),
        };
    }
    let path = context.absolute(Path::new(name));
    match std::fs::metadata(&path) {
        Err(error) => PathError::new("getting status of", path, error).into(),
        Ok(meta) if !meta.is_dir() => {
            anyhow::anyhow!("path \"{}\" is not a flake (because it's not a directory)", path.display())
        }
        Ok(_) if has_flake(&path) => missing(),
        Ok(_) => {
            let shown = path.display();
            context.ui.notice(&format!("path \"{shown}\" does not contain a 'flake.nix', searching up"));
            match path.ancestors().skip(1).any(has_flake) {
                true => missing(),
                false => anyhow::anyhow!("could not find a flake.nix file"),
            }
        }
    }
}

fn has_flake(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir.join("flake.nix")).is_ok()
}

/// Whether it is a name from the registry or a URL, and not a path.
fn is_reference(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    let identifier = first.starts_with(|c: char| c.is_ascii_alphabetic())
        && first.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let scheme = name.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    identifier || scheme
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_and_paths() {
        for reference in ["nixpkgs", "foo/bar", "github:foo/bar", "git+ssh://x", "d"] {
            assert!(is_reference(reference), "{reference}");
        }
        for path in ["", ".", "./x", "/x", "../x", "hello.txt", "1x"] {
            assert!(!is_reference(path), "{path}");
        }
    }
}
