//! Copying paths and what they refer to from one store to another.
//!
//! ```text
//! plan    which paths the destination lacks, in an order in which references come first
//! trust   whether it may have them
//! engine  moves them, many at a time
//! ```

pub(super) mod engine;
mod plan;
mod trust;

use std::collections::BTreeSet;

pub use trust::Trust;

use crate::model::{StoreDir, StorePath};
use crate::progress::{Progress, Unit};
use crate::store::error::{Result, StoreError};
use crate::store::transfer::{Item, Store};

/// How to copy.
#[derive(Debug, Default)]
pub struct CopyOptions {
    /// Only the paths themselves, not what they refer to.
    pub only_named: bool,
    /// Whose signatures the destination trusts; `None` if it needs none.
    pub trust: Option<Trust>,
}

/// What came of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CopyReport {
    /// Paths that were copied.
    pub paths: u64,
    /// Bytes of their archives.
    pub bytes: u64,
}

/// What is to be copied.
pub struct Plan {
    items: Vec<Item>,
    /// Paths that the destination has, of which the source knows more
    /// signatures.
    better_signed: Vec<Item>,
}

impl Plan {
    /// The paths, in the order in which they are copied.
    pub fn items(&self) -> &[Item] {
        &self.items
    }
}

/// Finds out what is to be copied so that `roots` are valid at the destination.
///
/// # Errors
/// [`StoreError::Invalid`] for a path that the source does not have, and those
/// of the stores.
pub fn plan(
    source: &dyn Store,
    destination: &dyn Store,
    roots: &[StorePath],
    options: &CopyOptions,
) -> Result<Plan> {
    if source.dir() != destination.dir() {
        return Err(StoreError::Uri(format!(
            "'{}' has store directory '{}', and '{}' has '{}'",
            source.uri(),
            source.dir().as_str(),
            destination.uri(),
            destination.dir().as_str()
        )));
    }
    plan::plan(source, destination, roots, options)
}

/// Copies what was planned.
///
/// # Errors
/// The first that occurs; what was complete by then stays.
pub fn copy(
    source: &dyn Store,
    destination: &dyn Store,
    plan: Plan,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CopyReport> {
    progress.notice(&format!("copying {} paths...", plan.items.len()));
    if let Some(trust) = &options.trust {
        trust.check(destination, &source.uri(), &plan.items)?;
    }
    let total = plan.items.iter().map(|item| item.info.nar_size).fold(0, u64::saturating_add);
    if !plan.items.is_empty() {
        let shown = Shown::new(source, destination);
        progress.begin("copying", Some(total), Unit::Bytes);
        let (reader, tell) = (source.source(), |item: &Item| progress.notice(&shown.line(item)));
        let result = engine::run(&*reader, source.parallel(), destination, &plan.items, &tell);
        progress.end();
        result.map_err(|failed| failed.error)?;
    }
    if !plan.better_signed.is_empty() {
        destination.add_signatures(&plan.better_signed)?;
    }
    Ok(CopyReport { paths: plan.items.len() as u64, bytes: total })
}

/// The messages about single paths.
struct Shown {
    dir: StoreDir,
    places: String,
}

impl Shown {
    fn new(source: &dyn Store, destination: &dyn Store) -> Self {
        let places = match (source.local(), destination.local()) {
            (Some(_), _) => format!("to '{}'", destination.uri()),
            (None, Some(_)) => format!("from '{}'", source.uri()),
            (None, None) => format!("from '{}' to '{}'", source.uri(), destination.uri()),
        };
        Self { dir: source.dir().clone(), places }
    }

    fn line(&self, item: &Item) -> String {
        format!("copying path '{}' {}...", self.dir.display(&item.info.path), self.places)
    }
}

/// Adds signatures that `source` has for paths of `destination`; gives their
/// number.
///
/// # Errors
/// Those of the stores.
pub fn copy_signatures(source: &dyn Store, destination: &dyn Store, paths: &[StorePath]) -> Result<u64> {
    let mut added = 0;
    for chunk in paths.chunks(512) {
        let (theirs, ours) = (source.items(chunk)?, destination.items(chunk)?);
        let mut better = Vec::new();
        for (theirs, ours) in theirs.into_iter().zip(ours) {
            let (Some(theirs), Some(mut ours)) = (theirs, ours) else { continue };
            let new = plan::new_signatures(&theirs, &ours);
            if !new.is_empty() {
                added += new.len() as u64;
                ours.info.signatures.extend(new);
                better.push(ours);
            }
        }
        if !better.is_empty() {
            destination.add_signatures(&better)?;
        }
    }
    Ok(added)
}

/// Paths in the order in which they are copied: references first.
pub fn in_reference_order(items: Vec<Item>) -> Vec<Item> {
    plan::in_order(items)
}

/// What a set of paths refers to, themselves among it, as a store knows it.
///
/// # Errors
/// [`StoreError::Invalid`] for a path that the store does not have.
pub fn closure(store: &dyn Store, roots: &[StorePath]) -> Result<Vec<Item>> {
    plan::closure(store, roots, &mut |_| Ok(BTreeSet::new()))
}
