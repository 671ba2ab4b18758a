//! Questions about paths.

use std::collections::BTreeSet;

use crate::model::{StoreDir, StorePath};
use crate::store::api::Store;
use crate::store::api::collect::Keep;
use crate::store::api::roots::Roots;
use crate::store::error::{RealiseError, Result, StoreError};
use crate::store::graph::Graph;

/// The paths that a derivation makes, sorted by path; any other path itself.
///
/// # Errors
/// For a derivation that is not valid.
pub fn outputs(store: &dyn Store, path: &StorePath) -> Result<Vec<StorePath>> {
    if !path.is_derivation() {
        return Ok(vec![path.clone()]);
    }
    require_derivation(store, path)?;
    let known = store.queries().derivation_outputs(path)?;
    // Also where the store does know them: the question is about the derivation.
    if let Ok(drv) = store.queries().read_derivation(path)
        && drv.outputs.values().any(|output| output.path().is_none())
    {
        store.check_features(&drv)?;
        return Err(RealiseError::UnknownOutput.into());
    }
    let mut paths: Vec<StorePath> = known.into_iter().map(|(_, path)| path).collect();
    paths.sort();
    Ok(paths)
}

/// Checks that a derivation is there to be looked at.
///
/// # Errors
/// When it is not valid.
pub fn require_derivation(store: &dyn Store, path: &StorePath) -> Result<()> {
    if store.is_valid(path)? {
        return Ok(());
    }
    Err(RealiseError::NoSubstituter(store.dir().print(path)).into())
}

/// The closure of valid paths: everything they lead to, themselves included.
/// With `include_outputs` the valid outputs of derivations in it belong to it.
///
/// # Errors
/// [`StoreError::Invalid`] and those of the store.
pub fn closure(store: &dyn Store, paths: &[StorePath], include_outputs: bool) -> Result<Graph> {
    store.queries().closure(paths, include_outputs)
}

/// The roots because of which one of the given paths is kept.
///
/// # Errors
/// Errors of the database.
pub fn roots_of(
    store: &dyn Store,
    paths: &[StorePath],
    all: &Roots,
    keep: Keep,
) -> Result<BTreeSet<(String, StorePath)>> {
    let above = store.queries().keepers(paths, keep)?;
    let mut found = BTreeSet::new();
    for (path, holders) in all {
        if above.find(path).is_some() {
            found.extend(holders.iter().map(|holder| (holder.to_string(), path.clone())));
        }
    }
    Ok(found)
}

/// The value of a variable of a derivation, or of the deriver of a path.
///
/// # Errors
/// When there is no such variable or no such derivation.
pub fn binding(store: &dyn Store, path: &StorePath, name: &str) -> Result<Vec<u8>> {
    let drv_path = if path.is_derivation() {
        path.clone()
    } else {
        let info = store.path_info(path)?;
        info.deriver.ok_or_else(|| StoreError::NoDeriver(store.dir().print(path)))?
    };
    require_derivation(store, &drv_path)?;
    let drv = store.queries().read_derivation(&drv_path)?;
    drv.env
        .get(name.as_bytes())
        .cloned()
        .ok_or_else(|| StoreError::NoBinding { drv: store.dir().print(&drv_path), name: name.to_owned() })
}

/// What follows from the arguments of a command that takes paths or, in their
/// place, the paths that derivations make.
///
/// # Errors
/// See [`outputs`].
pub fn with_outputs(store: &dyn Store, paths: Vec<StorePath>, use_outputs: bool) -> Result<Vec<StorePath>> {
    if !use_outputs {
        return Ok(paths);
    }
    let mut out = Vec::with_capacity(paths.len());
    for path in paths {
        out.extend(outputs(store, &path)?);
    }
    Ok(out)
}

/// The full text of a path in a graph, without building it from parts.
pub fn print_node(dir: &StoreDir, graph: &Graph, node: u32) -> String {
    format!("{}/{}", dir.as_str(), graph.base_name(node))
}
