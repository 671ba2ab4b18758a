//! What installables stand for in any store, by what can be asked of each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use nival::model::{DerivedPath, StorePath};
use nival::ops::copy;
use nival::store::api::Item;
use nival::store::{Store, StoreError};

use super::selection::{Selection, look_up};
use crate::cli::context::Context;
use crate::cli::realiser;

/// What the arguments stand for in a store.
pub struct Found {
    /// Paths that it has, references first.
    pub items: Vec<Item>,
    /// Those that it has not.
    pub invalid: BTreeSet<StorePath>,
}

/// Looks up what the arguments stand for, and tells what is not there.
pub fn select(
    context: &Context,
    store: &dyn Store,
    selection: &Selection,
    arguments: &[OsString],
) -> anyhow::Result<Found> {
    if selection.all {
        selection.expect_nothing_else(arguments)?;
        let all = store.items(&store.all()?)?;
        let items = depth_first(all.into_iter().flatten().collect());
        return Ok(Found { items, invalid: BTreeSet::new() });
    }
    let mut paths = BTreeSet::new();
    let mut outputs = BTreeMap::new();
    let wanted = selection.wanted(context, store.dir(), arguments)?;
    for wanted in &wanted {
        match wanted {
            DerivedPath { path, .. } if selection.derivation => {
                let item = store.items(std::slice::from_ref(path))?.pop().flatten();
                let deriver = if path.is_derivation() { Some(path.clone()) } else { None };
                let deriver = deriver.or_else(|| item.and_then(|item| item.info.deriver));
                paths.insert(deriver.ok_or_else(|| {
                    anyhow::anyhow!("'{}' does not have a known deriver", store.dir().display(path))
                })?);
            }
            DerivedPath { path, outputs: None } => drop(paths.insert(path.clone())),
            _ => look_up(store, wanted, &mut outputs)?,
        }
    }
    paths.extend(outputs.into_keys());
    let paths: Vec<StorePath> = paths.into_iter().collect();
    let known = store.items(&paths)?;
    let is_missing = |(_, item): &(&StorePath, &Option<Item>)| item.is_none();
    let invalid: BTreeSet<StorePath> =
        paths.iter().zip(&known).filter(is_missing).map(|(path, _)| path.clone()).collect();
    if !selection.derivation {
        realiser::tell_missing(context, store, &wanted)?;
    }
    let items: Vec<Item> = match selection.recursive {
        false => known.into_iter().flatten().collect(),
        true => {
            if let Some(path) = invalid.first() {
                return Err(StoreError::Invalid(store.dir().print(path)).into());
            }
            copy::closure(store, &paths)?
        }
    };
    Ok(Found { items: depth_first(items), invalid })
}

/// Paths so that what one refers to comes before it: depth first, from each in
/// the order of their names, along its references.
fn depth_first(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by(|a, b| a.info.path.cmp(&b.info.path));
    let mut left: BTreeMap<StorePath, Item> =
        items.into_iter().map(|item| (item.info.path.clone(), item)).collect();
    let mut order = Vec::with_capacity(left.len());
    // Each path on the way down, with its references that were not followed yet.
    let mut stack: Vec<(Item, Vec<StorePath>)> = Vec::new();
    let begin = |item: Item| {
        let references = item.info.references.iter().rev().cloned().collect();
        (item, references)
    };
    while let Some((_, item)) = left.pop_first() {
        stack.push(begin(item));
        while let Some((_, references)) = stack.last_mut() {
            match references.pop() {
                Some(reference) => stack.extend(left.remove(&reference).map(begin)),
                None => order.extend(stack.pop().map(|(item, _)| item)),
            }
        }
    }
    order
}
