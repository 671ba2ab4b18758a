//! Export streams.
//!
//! ```text
//! stream = { 1 item } 0
//! item   = NAR "NIXE" path nrefs { reference } deriver ( 0 | 1 signature )
//! ```
//!
//! Numbers are 64-bit little-endian, `NIXE` is the number 0x4558494e, the rest
//! are length-prefixed strings (see [`crate::nar`]); no deriver is the empty
//! string. References are sorted; items come after what they refer to. The
//! signature is written by Guix and ignored.

use std::collections::BTreeSet;
use std::io::Read;

use super::LocalStore;
use super::batch::Batch;
use super::ingest::Hashes;
use crate::model::{Hash, StoreDir, StorePath, ValidPathInfo};
use crate::nar::hashing::HashedOutput;
use crate::nar::input::Input;
use crate::nar::writer::{NarWriter, Output};
use crate::nar::{dump, reader};
use crate::store::error::{ImportError, Result, StoreError};
use crate::sys::interrupt;

/// The number between an archive and its path.
pub const EXPORT_MAGIC: u64 = 0x4558_494e;
/// Longest path in a stream, in bytes.
const MAX_PATH_LEN: usize = 4096;
/// Most references of one item.
const MAX_REFERENCES: u64 = 1 << 20;
/// Longest signature, in bytes.
const MAX_SIGNATURE_LEN: usize = 65_000;

impl LocalStore {
    /// Adds every item of an export stream that is not valid yet, and gives
    /// all their paths in the order of the stream.
    ///
    /// Each item is complete and verified to be an archive before its path
    /// becomes visible. What comes before a bad item stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn import<R: Read>(&self, stream: R) -> Result<Vec<StorePath>> {
        self.import_from(&mut Input::new(stream))
    }

    /// As [`LocalStore::import`], from a stream after which something else
    /// comes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn import_from<R: Read>(&self, input: &mut Input<R>) -> Result<Vec<StorePath>> {
        let mut batch = self.batch();
        let mut imported = Vec::new();
        loop {
            match self.import_item(input, &mut batch) {
                Ok(Some(path)) => {
                    imported.push(path);
                }
                Ok(None) => break,
                Err(error) => {
                    if !error.is_interruption() {
                        batch.flush()?;
                    }
                    return Err(error);
                }
            }
        }
        batch.flush()?;
        Ok(imported)
    }

    fn import_item<R: Read>(&self, input: &mut Input<R>, batch: &mut Batch<'_>) -> Result<Option<StorePath>> {
        if !read_head(input)? {
            return Ok(None);
        }
        if self.is_read_only() {
            // What is there already needs nothing to be written.
            reader::read(input, &mut crate::nar::Discard)?;
            let tail = read_tail(input, self.dir())?;
            return match self.db().is_valid(&tail.path)? {
                true => Ok(Some(tail.path)),
                false => self.require_writable().map(|()| None),
            };
        }
        let (ingested, incoming, ()) =
            self.take_in(Hashes::new(None, self.watcher()), |sink| Ok(reader::read(input, sink)?))?;
        let tail = read_tail(input, self.dir())?;
        let mut info = ValidPathInfo::new(tail.path.clone(), ingested.nar_hash, ingested.nar_size);
        info.references = tail.references;
        info.deriver = tail.deriver;
        self.warn_of_depth(&tail.path, ingested.depth);
        batch.add(incoming, info)?;
        Ok(Some(tail.path))
    }

    /// Writes paths as an export stream, in the order given.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] before the item is begun;
    /// [`StoreError::HashChanged`] when a path is not what was registered,
    /// after it was written and before the stream is complete.
    pub fn export(&self, paths: &[StorePath], output: &mut impl Output) -> Result<()> {
        for path in paths {
            interrupt::check()?;
            let info = self.path_info(path)?;
            begin_item(output)?;
            let mut writer = NarWriter::new(HashedOutput::new(output))?;
            dump::walk(&self.real_path(path), &mut writer)?;
            let (hash, _) = writer.into_output().finish();
            end_item(self.dir(), &info, hash, output)?;
            self.progress().advance(1);
        }
        Ok(number(output, 0)?)
    }
}

/// What follows an archive.
pub(crate) struct Tail {
    pub path: StorePath,
    pub references: BTreeSet<StorePath>,
    pub deriver: Option<StorePath>,
}

/// Whether there is another item; its archive comes next then.
pub(crate) fn read_head<R: Read>(input: &mut Input<R>) -> Result<bool> {
    match input.number()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ImportError::NotAnExport.into()),
    }
}

/// Reads what follows an archive.
pub(crate) fn read_tail<R: Read>(input: &mut Input<R>, dir: &StoreDir) -> Result<Tail> {
    if input.number()? != EXPORT_MAGIC {
        return Err(ImportError::Format.into());
    }
    let path = read_path(input, dir)?;
    let mut references = BTreeSet::new();
    let count = input.number()?;
    if count > MAX_REFERENCES {
        return Err(ImportError::References { path: dir.print(&path), count }.into());
    }
    for _ in 0..count {
        references.insert(read_path(input, dir)?);
    }
    let deriver = text(input.string(MAX_PATH_LEN)?)?;
    let deriver = if deriver.is_empty() { None } else { Some(dir.parse(&deriver)?) };
    if input.number()? == 1 {
        input.string(MAX_SIGNATURE_LEN)?;
    }
    Ok(Tail { path, references, deriver })
}

fn read_path<R: Read>(input: &mut Input<R>, dir: &StoreDir) -> Result<StorePath> {
    let path = text(input.string(MAX_PATH_LEN)?)?;
    Ok(dir.parse(&path)?)
}

/// Begins an item; its archive is to follow.
pub(crate) fn begin_item(output: &mut impl Output) -> Result<()> {
    Ok(number(output, 1)?)
}

/// Ends an item whose archive has this hash.
///
/// # Errors
/// [`StoreError::HashChanged`].
pub(crate) fn end_item(
    dir: &StoreDir,
    info: &ValidPathInfo,
    hash: Hash,
    output: &mut impl Output,
) -> Result<()> {
    // An importer would take damaged contents for good.
    if hash != info.nar_hash {
        return Err(StoreError::HashChanged {
            path: dir.print(&info.path),
            expected: info.nar_hash.to_string(),
            found: hash.to_string(),
        });
    }
    number(output, EXPORT_MAGIC)?;
    string(output, &dir.print(&info.path))?;
    number(output, info.references.len() as u64)?;
    for reference in &info.references {
        string(output, &dir.print(reference))?;
    }
    string(output, &info.deriver.as_ref().map(|deriver| dir.print(deriver)).unwrap_or_default())?;
    Ok(number(output, 0)?)
}

fn text(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(ImportError::NotAPath(bytes[..bytes.len().min(80)].escape_ascii().to_string()).into()),
    }
}

fn number(output: &mut impl Output, value: u64) -> std::result::Result<(), crate::nar::NarError> {
    output.write(&value.to_le_bytes())
}

fn string(output: &mut impl Output, text: &str) -> std::result::Result<(), crate::nar::NarError> {
    number(output, text.len() as u64)?;
    output.write(text.as_bytes())?;
    // Below 8, so it fits.
    output.write(&[0; 8][..(text.len() as u64).wrapping_neg() as usize % 8])
}
