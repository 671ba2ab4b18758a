//! Why a path is alive.

use std::collections::BTreeSet;

use super::liveness::Liveness;
use crate::model::StorePath;
use crate::store::api::collect::WhyAlive;
use crate::store::api::roots::Roots;
use crate::store::error::Result;
use crate::store::graph::Node;

/// Finds the shortest chain from a root to a path; if there is none, from a
/// path of `also`.
///
/// # Errors
/// [`StoreError::Row`](crate::store::StoreError::Row).
pub(super) fn why_alive(
    liveness: &Liveness,
    roots: &Roots,
    path: &StorePath,
    also: impl Fn(&StorePath) -> bool,
) -> Result<WhyAlive> {
    let graph = liveness.graph();
    let mut why = WhyAlive { path: path.clone(), holders: Vec::new(), chain: Vec::new(), other_roots: 0 };
    let Some(node) = graph.find(path) else {
        // Not valid: it has its own temporary root, or that of a path whose
        // lock or scratch directory it is.
        let holder = roots.iter().find(|(root, _)| root.hash_part() == path.hash_part());
        if let Some((root, holders)) = holder {
            why.holders = holders.iter().cloned().collect();
            why.chain = if root == path { vec![path.clone()] } else { vec![root.clone(), path.clone()] };
        }
        return Ok(why);
    };
    let start: BTreeSet<Node> = roots.keys().filter_map(|root| graph.find(root)).collect();
    let mut chain = liveness.chain(start.iter().copied(), node);
    if chain.is_some() {
        // Every node of the graph keeps the path, so every root does.
        why.other_roots = start.len().saturating_sub(1);
    } else {
        let others = graph.nodes().filter(|node| graph.path(*node).is_ok_and(|path| also(&path)));
        chain = liveness.chain(others, node);
    }
    for node in chain.unwrap_or_default() {
        why.chain.push(graph.path(node)?);
    }
    if let Some(holders) = why.chain.first().and_then(|first| roots.get(first)) {
        why.holders = holders.iter().cloned().collect();
    }
    Ok(why)
}
