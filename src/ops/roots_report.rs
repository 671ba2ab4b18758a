//! What each root keeps: the size of its closure, and the part of it that
//! would go if only this root went.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::model::StorePath;
use crate::store::LocalStore;
use crate::store::api::collect::Keep;
use crate::store::api::roots::Holder;
use crate::store::error::Result;
use crate::store::graph::Node;
use crate::store::local::gc::Survey;
use crate::store::local::gc::liveness::Liveness;
use crate::sys::interrupt;

/// One root.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RootReport {
    /// What holds the path.
    pub holder: Holder,
    /// The path.
    pub path: StorePath,
    /// Seconds since its link was made, where it is one.
    pub age: Option<u64>,
    /// Bytes of the NARs of everything that the root keeps.
    pub closure_size: u64,
    /// Those that nothing else keeps.
    pub exclusive_size: u64,
}

/// By how many roots a node is kept: none, one, or more.
const NONE: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

/// Looks at every root, in the order of what holds them.
///
/// # Errors
/// Errors of the database, and a signal.
pub fn report(store: &LocalStore, keep: Keep) -> Result<Vec<RootReport>> {
    let survey: Survey = store.survey(keep, &std::collections::HashSet::new())?;
    let liveness = survey.liveness();
    let graph = liveness.graph();
    let mut sizes = vec![0u64; graph.len()];
    let ranks = graph.ranks();
    store.db().each_size(|id, size| {
        if let Some(node) = ranks.get(id) {
            sizes[node as usize] = size;
        }
    })?;
    let mut roots: Vec<(String, &Holder, &StorePath)> = survey
        .roots()
        .iter()
        .flat_map(|(path, holders)| holders.iter().map(move |holder| (holder.to_string(), holder, path)))
        .collect();
    roots.sort_unstable_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
    let owners = owners(liveness, roots.iter().map(|(_, _, path)| graph.find(path)))?;
    let mut exclusive = vec![0u64; roots.len()];
    for (node, owner) in owners.iter().enumerate() {
        if let Some(sum) = usize::try_from(*owner).ok().and_then(|owner| exclusive.get_mut(owner)) {
            *sum += sizes[node];
        }
    }
    let mut closures: std::collections::HashMap<Node, u64> = std::collections::HashMap::new();
    let mut seen = vec![NONE; graph.len()];
    let mut reports = Vec::with_capacity(roots.len());
    for (number, (_, holder, path)) in roots.into_iter().enumerate() {
        interrupt::check()?;
        let closure_size = match graph.find(path) {
            None => 0,
            Some(node) => *closures.entry(node).or_insert_with(|| {
                let mark = u32::try_from(number).unwrap_or(0);
                closure_size(liveness, node, &sizes, &mut seen, mark)
            }),
        };
        reports.push(RootReport {
            holder: holder.clone(),
            path: path.clone(),
            age: holder.link().map(PathBuf::from).and_then(|link| age(&link)),
            closure_size,
            exclusive_size: exclusive[number],
        });
    }
    Ok(reports)
}

/// For each node the number of the only root that keeps it, [`NONE`] or
/// [`SEVERAL`].
fn owners(liveness: &Liveness, roots: impl Iterator<Item = Option<Node>>) -> Result<Vec<u32>> {
    let mut owners = vec![NONE; liveness.graph().len()];
    let mut waiting: Vec<(Node, u32)> = Vec::new();
    for (number, root) in roots.enumerate() {
        waiting.extend(root.map(|node| (node, u32::try_from(number).unwrap_or(SEVERAL))));
    }
    // Each node changes twice at most: to one root, and to several.
    while let Some((node, owner)) = waiting.pop() {
        let known = &mut owners[node as usize];
        if *known == owner || *known == SEVERAL {
            continue;
        }
        *known = if *known == NONE { owner } else { SEVERAL };
        let now = *known;
        waiting.extend(liveness.kept_by(node).map(|kept| (kept, now)));
    }
    interrupt::check()?;
    Ok(owners)
}

fn closure_size(liveness: &Liveness, root: Node, sizes: &[u64], seen: &mut [u32], mark: u32) -> u64 {
    let mut sum = 0;
    let mut waiting = vec![root];
    seen[root as usize] = mark;
    while let Some(node) = waiting.pop() {
        sum += sizes[node as usize];
        for kept in liveness.kept_by(node) {
            if std::mem::replace(&mut seen[kept as usize], mark) != mark {
                waiting.push(kept);
            }
        }
    }
    sum
}

fn age(link: &std::path::Path) -> Option<u64> {
    let made = std::fs::symlink_metadata(link).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(made).map_or(0, |age| age.as_secs()))
}
