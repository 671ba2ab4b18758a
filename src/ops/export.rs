//! Export streams, between any stores (see [`crate::store::local::import`] for
//! the format).

use std::io::{Read, Seek as _, SeekFrom};

use crate::model::{Hash, StorePath, ValidPathInfo};
use crate::nar::hashing::HashedOutput;
use crate::nar::input::Input;
use crate::nar::writer::{FileOutput, NarWriter, Output};
use crate::nar::{NarError, reader};
use crate::store::LocalStore;
use crate::store::api::{Item, Store};
use crate::store::error::{Result, StoreError};
use crate::store::local::import::{begin_item, end_item, read_head, read_tail};
use crate::sys::interrupt;

/// Paths that are asked about together.
const CHUNK: usize = 512;

/// Writes paths as an export stream, in the order given.
///
/// # Errors
/// See [`crate::store::LocalStore::export`].
pub fn export(store: &dyn Store, paths: &[StorePath], output: &mut impl Output) -> Result<()> {
    if let Some(local) = store.downcast::<LocalStore>() {
        return local.export(paths, output);
    }
    for chunk in paths.chunks(CHUNK) {
        let items = store.items(chunk)?;
        let items: Vec<Item> = chunk
            .iter()
            .zip(items)
            .map(|(path, item)| item.ok_or_else(|| store.invalid(path)))
            .collect::<Result<_>>()?;
        let source = store.source(&items)?;
        for item in &items {
            interrupt::check()?;
            begin_item(output)?;
            let mut writer = NarWriter::new(HashedOutput::new(&mut *output))?;
            source.read(item, &mut writer)?;
            let (hash, _) = writer.into_output().finish();
            end_item(store.dir(), &item.info, hash, output)?;
            store.progress().advance(1);
        }
    }
    Ok(output.write(&0u64.to_le_bytes())?)
}

/// Adds every item of an export stream that is not valid yet, and gives all
/// their paths in the order of the stream.
///
/// # Errors
/// See [`crate::store::LocalStore::import`].
pub fn import(store: &dyn Store, stream: impl Read) -> Result<Vec<StorePath>> {
    if let Some(local) = store.downcast::<LocalStore>() {
        return local.import(stream);
    }
    let mut input = Input::new(stream);
    let mut imported = Vec::new();
    let failed = |error| StoreError::Nar(NarError::Write(error));
    while read_head(&mut input)? {
        // What it is comes after the archive, and the daemon wants it before.
        let mut file = tempfile::tempfile().map_err(failed)?;
        let mut spool = FileOutput::new(&file);
        let mut writer = NarWriter::new(HashedOutput::new(&mut spool))?;
        reader::read(&mut input, &mut writer)?;
        let (hash, size): (Hash, u64) = writer.into_output().finish();
        spool.flush()?;
        drop(spool);
        let tail = read_tail(&mut input, store.dir())?;
        let mut info = ValidPathInfo::new(tail.path.clone(), hash, size);
        info.references = tail.references;
        info.deriver = tail.deriver;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        add(store, &Item { info, file: None }, &file)?;
        imported.push(tail.path);
    }
    Ok(imported)
}

fn add(store: &dyn Store, item: &Item, archive: &std::fs::File) -> Result<()> {
    if store.is_there(&item.info.path)? {
        return Ok(());
    }
    crate::store::api::add::take(store, item, archive)
}
