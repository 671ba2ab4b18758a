//! What operations do with stores whose files are not on this machine.

use nival::model::{HashAlgorithm, StorePath};
use nival::nar::hashing::HashPipe;
use nival::nar::writer::NarWriter;
use nival::progress::Progress as _;
use nival::store::api::Store;
use nival::sys::interrupt;

use crate::cli::context::Context;
use crate::cli::error::Exit;

/// Reads the archives of paths and compares their hashes.
///
/// # Errors
/// A path that is not valid or cannot be read; a status where one has changed.
pub fn verify_paths(context: &Context, store: &dyn Store, paths: &[StorePath]) -> anyhow::Result<()> {
    let mut items = Vec::with_capacity(paths.len());
    for (path, item) in paths.iter().zip(store.items(paths)?) {
        items.push(item.ok_or_else(|| store.invalid(path))?);
    }
    let source = store.source(&items)?;
    let mut status = 0;
    for item in &items {
        interrupt::check()?;
        let mut writer = NarWriter::new(HashPipe::new(HashAlgorithm::Sha256))?;
        source.read(item, &mut writer)?;
        let (found, _) = writer.into_output().finish();
        if found != item.info.nar_hash {
            context.ui.problem(&format!(
                "path '{}' was modified! expected hash '{}', got '{found}'",
                store.dir().display(&item.info.path),
                item.info.nar_hash
            ));
            status = 1;
        }
    }
    if status == 0 { Ok(()) } else { Err(Exit(status).into()) }
}
