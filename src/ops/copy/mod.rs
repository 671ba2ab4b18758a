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
pub(super) mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

pub use trust::{Trust, unsigned_realisation};
use watch::{Watch, Way};

use crate::model::{Realisation, StorePath};
use crate::progress::{Progress, Unit, size_text};
use crate::store::api::{Item, Store};
use crate::store::error::{Result, StoreError};

/// How to copy. Made by `default`, and changed field by field.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Only the paths themselves, not what they refer to.
    pub only_named: bool,
    /// Whose signatures the destination trusts; `None` if it needs none.
    pub trust: Option<Trust>,
    /// A destination that checks signatures by itself is to do so.
    pub check_signatures: bool,
    /// The destination is to fetch by itself what it can, if it can.
    pub fetch: bool,
}

/// What came of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// Paths that were copied.
    pub paths: u64,
    /// Bytes of their archives.
    pub bytes: u64,
}

impl CopyReport {
    /// For people: what was done, and in what time.
    pub fn summary(&self, time: Duration) -> String {
        let noun = if self.paths == 1 { "path" } else { "paths" };
        let size = size_text(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        format!("copied {} {noun}, {size}, in {:.1} s", self.paths, time.as_secs_f64())
    }
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
        return Err(StoreError::OtherStoreDir {
            source_uri: source.uri(),
            source_dir: source.dir().as_str().to_owned(),
            destination_uri: destination.uri(),
            destination_dir: destination.dir().as_str().to_owned(),
        });
    }
    plan::plan(source, destination, roots, options)
}

/// Whether the destination may have what was planned; part of [`copy`].
///
/// # Errors
/// [`StoreError::Untrusted`], or a reference to what it would lack.
pub fn check(source: &dyn Store, destination: &dyn Store, plan: &Plan, options: &CopyOptions) -> Result<()> {
    if let Some(trust) = &options.trust {
        trust.check(destination, &source.uri(), &plan.items)?;
    }
    if options.only_named {
        check_references(destination, &plan.items)?;
    }
    Ok(())
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
    let text = format!("copying {} paths", plan.items.len());
    let ways = vec![way(source, destination)];
    let watch = Watch::new(progress, &text, source.dir().clone(), &plan.items, ways, |_| 0);
    check(source, destination, &plan, options)?;
    let total = plan.items.iter().map(|item| item.info.nar_size).fold(0, u64::saturating_add);
    if !plan.items.is_empty() {
        warn_of_room(destination, total, progress);
        progress.begin("copying", Some(total), Unit::Bytes);
        let reader = source.source(&plan.items)?;
        let result = engine::run(
            &*reader,
            source.parallel(),
            destination,
            &plan.items,
            options.check_signatures,
            &watch,
        );
        progress.end();
        result.map_err(|failed| {
            if failed.kept > 0 {
                progress.notice(&format!(
                    "{} of {} paths are copied and stay; the same command goes on from there",
                    failed.kept,
                    plan.items.len()
                ));
            }
            failed.error
        })?;
    }
    if !plan.better_signed.is_empty() {
        destination.add_signatures(&plan.better_signed)?;
    }
    Ok(CopyReport { paths: plan.items.len() as u64, bytes: total })
}

/// What is copied alone must refer to nothing that the destination lacks.
fn check_references(destination: &dyn Store, items: &[Item]) -> Result<()> {
    let copied: BTreeSet<&StorePath> = items.iter().map(|item| &item.info.path).collect();
    let all = items.iter().flat_map(|item| &item.info.references);
    let others: BTreeSet<StorePath> = all.filter(|path| !copied.contains(path)).cloned().collect();
    let valid = destination.valid(&others.iter().cloned().collect::<Vec<_>>())?;
    let is_missing = |path: &&StorePath| !copied.contains(path) && !valid.contains(*path);
    for item in items {
        let Some(missing) = item.info.references.iter().find(is_missing) else { continue };
        let (path, reference) = (destination.dir().print(&item.info.path), destination.dir().print(missing));
        return Err(match destination.is_direct() {
            true => StoreError::Invalid(reference),
            false => StoreError::Reference { path, reference },
        });
    }
    Ok(())
}

/// Says so if there is probably not enough room. It is no error: a file system
/// that compresses or shares may take more than it says.
fn warn_of_room(destination: &dyn Store, total: u64, progress: &dyn Progress) {
    let Some(files) = destination.files().filter(|_| destination.is_direct()) else { return };
    let dir = &files.real_store_dir;
    let Ok(stat) = rustix::fs::statvfs(dir) else { return };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if total > free {
        let size = |bytes: u64| size_text(i64::try_from(bytes).unwrap_or(i64::MAX));
        progress.warn(&format!(
            "what is copied takes about {}, and {} are free in '{}'",
            size(total),
            size(free),
            dir.display()
        ));
    }
}

/// The way of all paths.
pub(super) fn way(source: &dyn Store, destination: &dyn Store) -> Way {
    let (from, to) = (source.uri(), destination.uri());
    // Which store of this machine it is goes without saying.
    let is_here = |store: &dyn Store, uri: &str| store.is_direct() || uri == "daemon";
    let shown = match (is_here(source, &from), is_here(destination, &to)) {
        (true, _) => format!("to '{to}'"),
        (false, true) => format!("from '{from}'"),
        (false, false) => format!("from '{from}' to '{to}'"),
    };
    Way { from, to, shown }
}

/// Adds signatures that `source` has for paths of `destination`; gives their
/// number.
///
/// # Errors
/// Errors of the stores.
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

/// Tells `destination` the paths of outputs that were copied to it.
///
/// # Errors
/// [`unsigned_realisation`], and those of the destination.
pub fn copy_realisations(
    destination: &dyn Store,
    realisations: &[Realisation],
    trust: Option<&Trust>,
) -> Result<()> {
    for realisation in realisations {
        if trust.is_some_and(|trust| !trust.accepts_realisation(realisation)) {
            // What is there already needs no signature again.
            match destination.realisation(&realisation.id)?.as_ref() == Some(realisation) {
                true => continue,
                false => return Err(unsigned_realisation(realisation)),
            }
        }
        destination.register_realisation(realisation)?;
    }
    Ok(())
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
