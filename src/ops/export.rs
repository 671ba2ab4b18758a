//! Export streams, between any stores (see [`crate::store::api::export`] for the
//! format).

use std::io::{Read, Seek as _, SeekFrom};

use crate::model::{Hash, StorePath, ValidPathInfo};
use crate::nar::hashing::HashedOutput;
use crate::nar::input::Input;
use crate::nar::writer::{FileOutput, NarWriter, Output};
use crate::nar::{NarError, reader};
use crate::store::api::export::{begin_item, end_item, read_head, read_tail};
use crate::store::api::{Item, Store};
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

/// Paths that are asked about together.
const CHUNK: usize = 512;

/// Writes paths as an export stream, in the order given.
///
/// # Errors
/// [`StoreError::Invalid`] before the item is begun; [`StoreError::HashChanged`] when a
/// path is not what was registered, after it was written and before the stream is complete.
pub fn export(store: &dyn Store, paths: &[StorePath], output: &mut impl Output) -> Result<()> {
    for chunk in paths.chunks(CHUNK) {
        let known = store.items(chunk)?;
        // What comes before a path that is not valid is written.
        let end = known.iter().position(Option::is_none);
        let items: Vec<Item> = known.into_iter().map_while(|item| item).collect();
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
        if let Some(path) = end.and_then(|end| chunk.get(end)) {
            return Err(store.invalid(path));
        }
    }
    Ok(output.write(&0u64.to_le_bytes())?)
}

/// Adds every item of an export stream that is not valid yet, and gives all
/// their paths in the order of the stream.
///
/// # Errors
/// See [`crate::store::api::export::ImportStore::import`].
pub fn import(store: &dyn Store, mut stream: impl Read) -> Result<Vec<StorePath>> {
    if let Some(importer) = store.importer() {
        return importer.import(&mut stream);
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
