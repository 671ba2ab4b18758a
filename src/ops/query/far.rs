//! The same questions to a store that a daemon works on: many of its small
//! answers make one of ours.

use std::collections::BTreeSet;

use crate::model::{StorePath, ValidPathInfo};
use crate::ops::copy;
use crate::store::error::Result;
use crate::store::local::db::graph::Graph;
use crate::store::local::roots::Roots;
use crate::store::managed::ManagedStore;

/// What is known of valid paths.
fn infos(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Vec<ValidPathInfo>> {
    let items = store.items(paths)?;
    paths
        .iter()
        .zip(items)
        .map(|(path, item)| item.map(|item| item.info).ok_or_else(|| store.invalid(path)))
        .collect()
}

/// What is known of those of the paths that are valid.
fn valid(store: &dyn ManagedStore, paths: BTreeSet<StorePath>) -> Result<Graph> {
    let paths: Vec<StorePath> = paths.into_iter().collect();
    let infos: Vec<ValidPathInfo> =
        store.items(&paths)?.into_iter().flatten().map(|item| item.info).collect();
    Ok(Graph::of_infos(&infos))
}

pub(super) fn closure(store: &dyn ManagedStore, paths: &[StorePath], include_outputs: bool) -> Result<Graph> {
    let mut roots = paths.to_vec();
    loop {
        let items = copy::closure(store, &roots)?;
        let infos: Vec<&ValidPathInfo> = items.iter().map(|item| &item.info).collect();
        if !include_outputs {
            return Ok(Graph::of_infos(infos));
        }
        let known: BTreeSet<&StorePath> = infos.iter().map(|info| &info.path).collect();
        let mut outputs = Vec::new();
        for drv in known.iter().filter(|path| path.is_derivation()) {
            let of = store.derivation_outputs(drv)?.into_iter().map(|(_, path)| path);
            outputs.extend(of.filter(|path| !known.contains(path)));
        }
        let mut more = store.valid(&outputs)?;
        // Nothing else, or this might never end.
        more.retain(|path| outputs.contains(path));
        if more.is_empty() {
            return Ok(Graph::of_infos(infos));
        }
        roots.extend(more);
    }
}

pub(super) fn referrers_closure(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    let mut seen: BTreeSet<StorePath> = store.valid(paths)?;
    let mut frontier: Vec<StorePath> = seen.iter().cloned().collect();
    while !frontier.is_empty() {
        let above = store.referrers(&frontier)?;
        frontier = above.into_iter().filter(|path| seen.insert(path.clone())).collect();
    }
    valid(store, seen)
}

pub(super) fn references(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    let below = infos(store, paths)?.into_iter().flat_map(|info| info.references);
    valid(store, below.collect())
}

pub(super) fn referrers(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    valid(store, store.referrers(paths)?)
}

pub(super) fn among(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    Ok(Graph::of_infos(&infos(store, paths)?))
}

/// What keeps paths besides references is the daemon's to say, and it does not.
pub(super) fn roots_of(
    store: &dyn ManagedStore,
    paths: &[StorePath],
    all: &Roots,
) -> Result<BTreeSet<(String, StorePath)>> {
    let above = referrers_closure(store, paths)?;
    let mut found = BTreeSet::new();
    for (path, holders) in all {
        if above.find(path).is_some() {
            found.extend(holders.iter().map(|holder| (holder.to_string(), path.clone())));
        }
    }
    Ok(found)
}
