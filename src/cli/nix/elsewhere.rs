//! What subcommands do with stores that are not local: binary caches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;

use nival::model::{DerivedPath, StorePath};
use nival::ops::copy;
use nival::store::api::Item;
use nival::store::{Store, StoreError};

use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::{Selection, look_up};
use crate::cli::realiser;

/// `--from` and `--to`: the stores that something is copied from and to.
#[derive(Default)]
pub struct Between {
    from: Option<String>,
    to: Option<String>,
}

impl Between {
    /// Takes one of the flags; false for any other.
    ///
    /// # Errors
    /// A missing value.
    pub fn flag(&mut self, given: &Given) -> anyhow::Result<bool> {
        match given.name() {
            "--from" => self.from = Some(given.text()?),
            "--to" => self.to = Some(given.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Makes sure that one of them was given.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self) -> anyhow::Result<()> {
        match (&self.from, &self.to) {
            (None, None) => usage("you must pass '--from' and/or '--to'"),
            _ => Ok(()),
        }
    }

    /// Opens the store that something is copied from.
    pub fn open_source(&self, context: &Context) -> anyhow::Result<Box<dyn Store>> {
        context.open_any(self.from.as_deref().unwrap_or(context.settings.store_uri()))
    }

    /// The URI of the store that something is copied to.
    pub fn destination<'b>(&'b self, context: &'b Context) -> &'b str {
        self.to.as_deref().unwrap_or(context.settings.store_uri())
    }

    /// Opens both; the one that was not named is that of the settings.
    pub fn open(&self, context: &Context) -> anyhow::Result<(Box<dyn Store>, Box<dyn Store>)> {
        Ok((self.open_source(context)?, context.open_to_write(self.destination(context))?))
    }
}

/// What the arguments stand for in a store that is not local.
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

/// The sizes of the closures of some paths.
#[derive(Default)]
pub struct ClosureSizes(HashMap<StorePath, Sizes>);

/// Of one closure.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sizes {
    /// Bytes of its archives.
    pub unpacked: u64,
    /// Bytes of the stored files.
    pub download: u64,
}

impl ClosureSizes {
    /// Asks the store for everything that the paths refer to.
    pub fn of(store: &dyn Store, items: &[Item]) -> anyhow::Result<Self> {
        let roots: Vec<StorePath> = items.iter().map(|item| item.info.path.clone()).collect();
        let all: BTreeMap<StorePath, Item> =
            copy::closure(store, &roots)?.into_iter().map(|item| (item.info.path.clone(), item)).collect();
        let mut sizes = HashMap::with_capacity(roots.len());
        for root in roots {
            let (mut seen, mut waiting) = (BTreeSet::from([&root]), vec![&root]);
            let mut total = Sizes::default();
            while let Some(item) = waiting.pop().and_then(|path| all.get(path)) {
                total.unpacked = total.unpacked.saturating_add(item.info.nar_size);
                let download = item.file.as_ref().and_then(|file| file.size).unwrap_or(0);
                total.download = total.download.saturating_add(download);
                waiting.extend(item.info.references.iter().filter(|path| seen.insert(path)));
            }
            sizes.insert(root, total);
        }
        Ok(Self(sizes))
    }

    /// Of the closure of one of them.
    pub fn get(&self, path: &StorePath) -> Sizes {
        self.0.get(path).copied().unwrap_or_default()
    }
}
