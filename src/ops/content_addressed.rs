//! Copies of paths that are addressed by their contents: each is named by its
//! archive, in which the names of what it refers to are replaced by their new
//! ones, and its own by zeros for the hash and by the new one then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use super::copy;
use crate::model::content_address::ContentReferences;
use crate::model::{ContentAddress, ContentAddressMethod, HashAlgorithm, Hasher, StorePath, ValidPathInfo};
use crate::model::{base32, store_path::HASH_LEN};
use crate::nar::NarError;
use crate::nar::hashing::HashedOutput;
use crate::nar::writer::{FileOutput, NarWriter, Output};
use crate::progress::Progress;
use crate::store::api::add::take;
use crate::store::api::{Item, Store};
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

type Part = [u8; HASH_LEN];
/// What hash parts are replaced by.
type Parts = HashMap<Part, Part>;

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
    let mut parts = Parts::new();
    for reference in &item.info.references {
        if reference == old {
            references.itself = true;
            continue;
        }
        // What comes before is renamed, but in a circle.
        let new = renamed.get(reference).unwrap_or(reference);
        references.others.insert(new.clone());
        parts.extend(part(reference).zip(part(new)));
    }
    let own = part(old).filter(|_| references.itself);
    parts.extend(own.map(|own| (own, [0; HASH_LEN])));
    let mut hasher = Hasher::new(HashAlgorithm::Sha256);
    rewrite(archive, &parts, &mut hasher).map_err(failed)?;
    let ca = ContentAddress { method: ContentAddressMethod::NixArchive, hash: hasher.finish() };
    let path = destination.dir().content_path(old.name(), &ca, &references)?;
    parts.extend(own.zip(part(&path)));
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

fn part(path: &StorePath) -> Option<Part> {
    path.hash_part().as_bytes().first_chunk().copied()
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
fn rewrite(mut file: &File, parts: &Parts, output: &mut impl Write) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    rewrite_stream(&mut file, parts, output)
}

fn rewrite_stream(input: &mut impl Read, parts: &Parts, output: &mut impl Write) -> io::Result<()> {
    /// Bytes that are looked at together.
    const CHUNK: usize = 64 * 1024;
    let mut buffer = vec![0; CHUNK];
    // Bytes that may be the beginning of a hash part, and new ones after them.
    let mut held = 0;
    loop {
        if interrupt::requested() {
            return Err(interrupt::io_error());
        }
        let count = match input.read(&mut buffer[held..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let filled = held + count;
        let done = replace(&mut buffer[..filled], parts);
        if count == 0 {
            return output.write_all(&buffer[..filled]);
        }
        // What was replaced must not be looked at again.
        let done = done.max(filled.saturating_sub(HASH_LEN - 1));
        output.write_all(&buffer[..done])?;
        buffer.copy_within(done..filled, 0);
        held = filled - done;
    }
}

/// Replaces what is whole, and gives the end of the last.
fn replace(data: &mut [u8], parts: &Parts) -> usize {
    let (mut at, mut end) = (0, 0);
    while let Some(window) = data.get_mut(at..at + HASH_LEN) {
        if let Some(bad) = window.iter().rposition(|byte| !base32::is_digit(*byte)) {
            at += bad + 1;
            continue;
        }
        match window.first_chunk::<HASH_LEN>().and_then(|part| parts.get(part)) {
            Some(new) => {
                window.copy_from_slice(new);
                at += HASH_LEN;
                end = at;
            }
            None => at += 1,
        }
    }
    end
}

/// The names of those paths that were asked for.
pub fn of_roots<'r>(
    renamed: &'r BTreeMap<StorePath, StorePath>,
    roots: &BTreeSet<StorePath>,
) -> impl Iterator<Item = (&'r StorePath, &'r StorePath)> {
    renamed.iter().filter(move |(old, _)| roots.contains(*old))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'d>(&'d [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn parts_are_replaced_however_they_are_cut() {
        let (a, b) = ([b'a'; HASH_LEN], [b'b'; HASH_LEN]);
        let parts = Parts::from([(a, b), (b, [0; HASH_LEN])]);
        let text = [&b"xa"[..], &a, &b"-"[..], &b, &b, &b"aa"[..], &a[..HASH_LEN - 1]].concat();
        // The first `a` belongs to the part that begins there.
        let expected = [&b"x"[..], &b, &b"a-"[..], &[0; 2 * HASH_LEN], &b, &b"a"[..]].concat();
        for step in [1, 2, 7, 31, 32, 33, 64, 1000] {
            let mut output = Vec::new();
            rewrite_stream(&mut Slow(&text, step), &parts, &mut output).unwrap();
            assert_eq!(output, expected, "{step}");
        }
    }
}
