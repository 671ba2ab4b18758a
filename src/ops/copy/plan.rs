//! What is to be copied, and in which order.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{CopyOptions, Plan};
use crate::model::StorePath;
use crate::store::api::query::{self, CHUNK, items};
use crate::store::api::{Item, Store};
use crate::store::error::Result;

pub(super) fn plan(
    source: &dyn Store,
    destination: &dyn Store,
    roots: &[StorePath],
    options: &CopyOptions,
) -> Result<Plan> {
    let valid = |paths: &[StorePath]| valid(destination, paths, options.fetch);
    let items = if options.only_named {
        let valid = valid(roots)?;
        let missing: Vec<StorePath> = roots.iter().filter(|path| !valid.contains(*path)).cloned().collect();
        items(source, &missing)?
    } else if destination.is_closed() && (destination.is_direct() || !source.is_direct()) {
        // What such a store has it has with all references.
        closure(source, roots, &mut |paths| valid(paths))?
    } else if source.is_direct() {
        let graph = source.queries().closure(roots, false)?;
        let paths: Vec<StorePath> = graph.nodes().map(|node| graph.path(node)).collect::<Result<_>>()?;
        // One question is better than one for each generation of references.
        let valid = valid(&paths)?;
        let missing: Vec<StorePath> = paths.into_iter().filter(|path| !valid.contains(path)).collect();
        items(source, &missing)?
    } else {
        let mut all = closure(source, roots, &mut |_| Ok(BTreeSet::new()))?;
        let paths: Vec<StorePath> = all.iter().map(|item| item.info.path.clone()).collect();
        let valid = valid(&paths)?;
        all.retain(|item| !valid.contains(&item.info.path));
        all
    };
    Ok(Plan { better_signed: better_signed(source, destination, roots, &items)?, items: in_order(items) })
}

/// A local store takes signatures over for what it was asked for and has.
fn better_signed(
    source: &dyn Store,
    destination: &dyn Store,
    roots: &[StorePath],
    copied: &[Item],
) -> Result<Vec<Item>> {
    if !destination.is_direct() || destination.is_read_only() {
        return Ok(Vec::new());
    }
    let copied: HashSet<&StorePath> = copied.iter().map(|item| &item.info.path).collect();
    let present: Vec<StorePath> = roots.iter().filter(|path| !copied.contains(path)).cloned().collect();
    let mut better = Vec::new();
    for (theirs, ours) in source.items(&present)?.into_iter().zip(destination.items(&present)?) {
        let (Some(theirs), Some(mut ours)) = (theirs, ours) else { continue };
        let new = new_signatures(&theirs, &ours);
        if !new.is_empty() {
            ours.info.signatures.extend(new);
            better.push(ours);
        }
    }
    Ok(better)
}

/// Signatures that one store has for the very same path and another has not.
pub(super) fn new_signatures(theirs: &Item, ours: &Item) -> Vec<String> {
    let same = theirs.info.nar_hash == ours.info.nar_hash
        && theirs.info.nar_size == ours.info.nar_size
        && theirs.info.references == ours.info.references;
    match same {
        true => theirs.info.signatures.difference(&ours.info.signatures).cloned().collect(),
        false => Vec::new(),
    }
}

fn valid(store: &dyn Store, paths: &[StorePath], fetch: bool) -> Result<BTreeSet<StorePath>> {
    let mut valid = BTreeSet::new();
    for chunk in paths.chunks(CHUNK) {
        valid.append(&mut store.valid_or_fetched(chunk, fetch)?);
    }
    Ok(valid)
}

/// What `roots` refer to and `skip` does not name.
pub(super) fn closure(
    store: &dyn Store,
    roots: &[StorePath],
    skip: &mut dyn FnMut(&[StorePath]) -> Result<BTreeSet<StorePath>>,
) -> Result<Vec<Item>> {
    query::closure(store.queries(), roots, skip)
}

/// By the longest way down to a path without references among them, then by
/// name: what nothing is waited for comes first.
pub(super) fn in_order(items: Vec<Item>) -> Vec<Item> {
    let index: HashMap<StorePath, usize> =
        items.iter().enumerate().map(|(number, item)| (item.info.path.clone(), number)).collect();
    // None while it is not known; a circle, which no honest store has, ends
    // where it is met again.
    let mut levels: Vec<Option<u32>> = vec![None; items.len()];
    for start in 0..items.len() {
        let mut stack = vec![(start, false)];
        while let Some((number, below_done)) = stack.pop() {
            if levels[number].is_some_and(|_| !below_done) {
                continue;
            }
            let references = || {
                let own = &items[number].info;
                own.references.iter().filter(|path| **path != own.path).filter_map(|path| index.get(path))
            };
            if below_done {
                let below = references().filter_map(|other| levels[*other]).max();
                levels[number] = Some(below.map_or(0, |level| level + 1));
                continue;
            }
            levels[number] = Some(0);
            stack.push((number, true));
            stack.extend(references().filter(|other| levels[**other].is_none()).map(|other| (*other, false)));
        }
    }
    let mut ordered: Vec<(Option<u32>, Item)> = levels.into_iter().zip(items).collect();
    ordered.sort_by(|a, b| (a.0, &a.1.info.path).cmp(&(b.0, &b.1.info.path)));
    ordered.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Hash, ValidPathInfo};
    use proptest::prelude::*;

    fn path(number: usize) -> StorePath {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        StorePath::from_parts(&hash, "x").unwrap()
    }

    proptest! {
        #[test]
        fn references_come_first(edges in proptest::collection::vec((0usize..30, 0usize..30), 0..90)) {
            let items: Vec<Item> = (0..30).map(|number| {
                let mut info = ValidPathInfo::new(path(number), Hash::sha256(b""), 1);
                let below = edges.iter().filter(|(from, to)| *from == number && to <= from);
                info.references = below.map(|(_, to)| path(*to)).collect();
                Item { info, file: None }
            }).collect();
            let ordered = in_order(items);
            for (place, item) in ordered.iter().enumerate() {
                for reference in &item.info.references {
                    let at = ordered.iter().position(|other| other.info.path == *reference).unwrap();
                    prop_assert!(at <= place);
                }
            }
            prop_assert_eq!(ordered.len(), 30);
        }
    }

    #[test]
    fn a_circle_ends() {
        let items = (0..3).map(|number| {
            let mut info = ValidPathInfo::new(path(number), Hash::sha256(b""), 1);
            info.references = [path((number + 1) % 3)].into();
            Item { info, file: None }
        });
        assert_eq!(in_order(items.collect()).len(), 3);
    }
}
