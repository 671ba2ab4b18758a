//! Copies of paths that are addressed by their contents: each is named by its
//! archive, in which the names of what it refers to are replaced by their new
//! ones, and its own by zeros for the hash and by the new one then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use super::copy;
use crate::model::content_address::ContentReferences;
use crate::model::rewriting::{Rewriter, Rewrites};
use crate::model::{ContentAddress, ContentAddressMethod, HashAlgorithm, Hasher, StorePath, ValidPathInfo};
use crate::nar::NarError;
use crate::nar::hashing::HashedOutput;
use crate::nar::writer::{FileOutput, NarWriter, Output};
use crate::progress::Progress;
use crate::store::api::add::take;
use crate::store::api::{Item, Store};
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

/// Adds such copies of paths and of what they refer to, and gives their names,
/// by the old ones.
///
/// # Errors
/// [`StoreError::Invalid`] for a path that `source` lacks, and those of the stores.
pub fn make(
    source: &dyn Store,
    destination: &dyn Store,
    roots: &[StorePath],
    progress: &dyn Progress,
) -> Result<BTreeMap<StorePath, StorePath>> {
    let items = copy::in_reference_order(copy::closure(source, roots)?);
    let reader = source.source(&items)?;
    let mut renamed = BTreeMap::new();
    for item in &items {
        interrupt::check()?;
        let archive = temporary()?;
        let mut spool = FileOutput::new(&archive);
        let mut writer = NarWriter::new(HashedOutput::new(&mut spool))?;
        reader.read(item, &mut writer)?;
        let (hash, size) = writer.into_output().finish();
        crate::store::error::check_nar(source.dir(), &item.info, hash, size)?;
        spool.flush()?;
        drop(spool);
        let (new, rewritten) = rewritten(destination, item, &archive, &renamed)?;
        let (old, shown) = (&item.info.path, destination.dir().print(&new.path));
        progress.notice(&format!("rewriting '{}' to '{shown}'", destination.dir().display(old)));
        renamed.insert(old.clone(), new.path.clone());
        if destination.valid(std::slice::from_ref(&new.path))?.is_empty() {
            take(destination, &Item { info: new, file: None }, &rewritten)?;
        }
    }
    Ok(renamed)
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Nar(NarError::Write(error))
}

fn temporary() -> Result<File> {
    tempfile::tempfile().map_err(failed)
}

/// The archive of a path as it is under its new name, and what is to be known of
/// it.
fn rewritten(
    destination: &dyn Store,
    item: &Item,
    archive: &File,
    renamed: &BTreeMap<StorePath, StorePath>,
) -> Result<(ValidPathInfo, File)> {
    let old = &item.info.path;
    let mut references = ContentReferences::default();
    let mut parts = Rewrites::default();
    for reference in &item.info.references {
        if reference == old {
            references.itself = true;
            continue;
        }
        // What comes before is renamed, but in a circle.
        let new = renamed.get(reference).unwrap_or(reference);
        references.others.insert(new.clone());
        parts.replace(reference, new);
    }
    if references.itself {
        parts.blank(old);
    }
    let mut hasher = Hasher::new(HashAlgorithm::Sha256);
    rewrite(archive, &parts, &mut hasher).map_err(failed)?;
    let ca = ContentAddress { method: ContentAddressMethod::NixArchive, hash: hasher.finish() };
    let path = destination.dir().content_path(old.name(), &ca, &references)?;
    if references.itself {
        parts.replace(old, &path);
    }
    let file = temporary()?;
    let mut spool = FileOutput::new(&file);
    let mut hashed = Hashed(HashedOutput::new(&mut spool));
    rewrite(archive, &parts, &mut hashed).map_err(failed)?;
    let (hash, size) = hashed.0.finish();
    spool.flush()?;
    drop(spool);
    (&file).seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut info = ValidPathInfo::new(path.clone(), hash, size);
    info.references = references.others;
    info.references.extend(references.itself.then_some(path));
    info.ca = Some(ca);
    Ok((info, file))
}

/// An output that is written to as a file is.
struct Hashed<'o, 'f>(HashedOutput<'o, FileOutput<'f>>);

impl Write for Hashed<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data).map_err(io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a file from its beginning with other hash parts in place of some.
fn rewrite(mut file: &File, parts: &Rewrites, output: &mut impl Write) -> io::Result<()> {
    /// Bytes that are looked at together.
    const CHUNK: usize = 64 * 1024;
    file.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; CHUNK];
    let mut rewriter = Rewriter::new(parts);
    loop {
        if interrupt::requested() {
            return Err(interrupt::io_error());
        }
        match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return output.write_all(rewriter.finish()),
            read => output.write_all(rewriter.push(&buffer[..read?]))?,
        }
    }
}

/// The names of those paths that were asked for.
pub fn of_roots<'r>(
    renamed: &'r BTreeMap<StorePath, StorePath>,
    roots: &BTreeSet<StorePath>,
) -> impl Iterator<Item = (&'r StorePath, &'r StorePath)> {
    renamed.iter().filter(move |(old, _)| roots.contains(*old))
}
