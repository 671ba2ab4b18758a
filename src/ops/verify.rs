//! Comparing the contents of paths with what is registered, in any store.

use crate::model::{Hash, HashAlgorithm, StorePath};
use crate::nar::hashing::HashPipe;
use crate::nar::writer::NarWriter;
use crate::store::api::query::items;
use crate::store::api::{Item, Store};
use crate::store::error::Result;
use crate::sys::interrupt;

/// Reads the archives of valid paths and tells of each that has another hash than
/// is registered.
///
/// # Errors
/// A path that is not valid or cannot be read; errors of the store.
pub fn verify_archives(
    store: &dyn Store,
    paths: &[StorePath],
    mut modified: impl FnMut(&Item, &Hash),
) -> Result<()> {
    let items = items(store, paths)?;
    let source = store.source(&items)?;
    for item in &items {
        interrupt::check()?;
        let mut writer = NarWriter::new(HashPipe::new(HashAlgorithm::Sha256))?;
        source.read(item, &mut writer)?;
        let (found, _) = writer.into_output().finish();
        if found != item.info.nar_hash {
            modified(item, &found);
        }
    }
    Ok(())
}
