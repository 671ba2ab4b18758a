//! Comparing the contents of paths with what is registered, in any store.
//!
//! Where the files of a store can be seen from this machine they are read, elsewhere
//! the archives that the store gives; both on several threads.

use std::sync::Arc;

use super::selected::Selected;
use crate::model::{HashAlgorithm, StorePath, ValidPathInfo};
use crate::nar::NarError;
use crate::nar::hashing::HashPipe;
use crate::nar::writer::NarWriter;
use crate::progress::{Progress, Unit};
use crate::store::api::query::items;
use crate::store::api::{Item, NarSource, Store};
use crate::store::error::Result;
pub use crate::store::local::verify::{Damage, Expected};
use crate::sys::{interrupt, threads};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Options {
    /// Contents are read and compared; otherwise only the metadata are handed on.
    pub contents: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { contents: true }
    }
}

/// Verifies the selected paths, and tells `found` of each, in their order: its
/// metadata, and what is wrong with its contents.
///
/// # Errors
/// [`crate::store::StoreError`], a lost connection for one, which says nothing of the contents;
/// and the errors of `found`.
pub fn verify(
    selected: &Selected<'_>,
    options: Options,
    progress: &Arc<dyn Progress>,
    mut found: impl FnMut(&ValidPathInfo, Option<Damage>) -> Result<()>,
) -> Result<()> {
    let expected = selected.expected()?;
    let total = expected.iter().map(|expected| expected.size).fold(0, u64::saturating_add);
    let mut nodes = selected.order.iter().zip(1..);
    let mut tell = |damage| {
        let Some((node, number)) = nodes.next() else { return Ok(()) };
        progress.count(number, selected.order.len() as u64);
        found(&*selected.info(*node)?, damage)
    };
    progress.begin("verifying", Some(total), Unit::Bytes);
    let result = match (options.contents, selected.store().files()) {
        (false, _) => expected.iter().try_for_each(|_| {
            interrupt::check()?;
            tell(None)
        }),
        (true, Some(files)) => files.verify_contents(&expected, progress, |_, damage| tell(damage)),
        (true, None) => {
            let items = selected.order.iter().map(|node| Ok(selected.item(*node)?.into_owned()));
            let items = items.collect::<Result<Vec<Item>>>()?;
            verify_archives(selected.store(), &items, progress, |_, damage| tell(damage))
        }
    };
    progress.end();
    result
}

/// Compares the contents of valid paths with what is registered, and tells `found` of
/// each, in this order, with `None` where all is well.
///
/// # Errors
/// [`crate::store::StoreError::Invalid`]; errors of the store, and those of `found`.
pub fn verify_paths(
    store: &dyn Store,
    paths: &[StorePath],
    progress: &Arc<dyn Progress>,
    found: impl FnMut(&StorePath, Option<Damage>) -> Result<()>,
) -> Result<()> {
    let items = items(store, paths)?;
    match store.files() {
        Some(files) => {
            let expected: Vec<Expected> = items.iter().map(|item| Expected::of(&item.info)).collect();
            files.verify_contents(&expected, progress, found)
        }
        None => verify_archives(store, &items, progress, found),
    }
}

/// Reads the archives that a store gives.
fn verify_archives(
    store: &dyn Store,
    items: &[Item],
    progress: &Arc<dyn Progress>,
    mut found: impl FnMut(&StorePath, Option<Damage>) -> Result<()>,
) -> Result<()> {
    let source = store.source(items)?;
    let threads = store.parallel().min(items.len());
    threads::in_order(
        threads,
        items.len(),
        |number| damage(&*source, &items[number], progress),
        |number, damage| found(&items[number].info.path, damage?),
    )
}

/// What is wrong with the archive of a path, if anything is.
fn damage(source: &dyn NarSource, item: &Item, progress: &Arc<dyn Progress>) -> Result<Option<Damage>> {
    let pipe = HashPipe::without_thread(HashAlgorithm::Sha256).watched(Arc::clone(progress));
    let mut writer = NarWriter::new(pipe)?;
    match source.read(item, &mut writer) {
        Ok(()) => {}
        Err(error) if error.is_interruption() || error.is_lost_connection() => return Err(error),
        Err(error) => return Ok(Some(Damage::Unreadable(NarError::Sink(Box::new(error))))),
    }
    let (found, _) = writer.into_output().finish();
    let expected = item.info.nar_hash;
    Ok((found != expected).then_some(Damage::Modified { expected, found }))
}
