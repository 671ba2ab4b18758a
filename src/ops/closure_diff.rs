//! What differs between two closures, package by package.

use std::collections::{BTreeMap, BTreeSet};

use super::query;
use crate::model::{StorePath, package_name};
use crate::store::api::Store;
use crate::store::error::Result;

/// Smaller differences of size are not worth a word.
const LEAST_BYTES: u64 = 8 * 1024;

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The package.
    pub name: String,
    /// Its versions that are gone.
    pub gone: BTreeSet<String>,
    /// Its versions that are new.
    pub new: BTreeSet<String>,
    /// By how many bytes of NARs it grew, if that is worth a word.
    pub size: Option<i64>,
}

#[derive(Default)]
struct Package {
    versions: BTreeSet<String>,
    size: u64,
}

fn packages(store: &dyn Store, path: &StorePath) -> Result<BTreeMap<String, Package>> {
    let graph = query::closure(store, std::slice::from_ref(path), false)?;
    let mut found: BTreeMap<String, Package> = BTreeMap::new();
    for node in graph.nodes() {
        let path = graph.path(node)?;
        let (name, version) = package_name::split(without_output(path.name()));
        let package = found.entry(name.to_owned()).or_default();
        package.versions.insert(version.to_owned());
        package.size = package.size.saturating_add(graph.nar_size(node));
    }
    Ok(found)
}

/// A name without that of an output at its end: small letters only.
fn without_output(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((before, output))
            if !before.is_empty()
                && !output.is_empty()
                && output.bytes().all(|byte| byte.is_ascii_lowercase()) =>
        {
            before
        }
        _ => name,
    }
}

/// The packages that differ, in the order of their names.
///
/// # Errors
/// Errors of the database.
pub fn diff(store: &dyn Store, before: &StorePath, after: &StorePath) -> Result<Vec<Difference>> {
    let (mut old, mut new) = (packages(store, before)?, packages(store, after)?);
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let mut found = Vec::new();
    for name in names {
        let (old, new) = (old.remove(&name).unwrap_or_default(), new.remove(&name).unwrap_or_default());
        let size = i64::try_from(new.size).unwrap_or(i64::MAX) - i64::try_from(old.size).unwrap_or(i64::MAX);
        let size = (size.unsigned_abs() >= LEAST_BYTES).then_some(size);
        if old.versions != new.versions || size.is_some() {
            let without = |these: &BTreeSet<String>, others| these.difference(others).cloned().collect();
            let gone = without(&old.versions, &new.versions);
            let new = without(&new.versions, &old.versions);
            found.push(Difference { name, gone, new, size });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::without_output;

    #[test]
    fn outputs_are_taken_off() {
        for (name, without) in [
            ("hello-1.0-man", "hello-1.0"),
            ("user-environment", "user"),
            ("a-b-c", "a-b"),
            ("z-1.0-man-page", "z-1.0-man"),
            ("x-1.0-rc1", "x-1.0-rc1"),
            ("x-4", "x-4"),
            ("x-Bin", "x-Bin"),
            ("x-", "x-"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_output(name), without);
        }
    }
}
