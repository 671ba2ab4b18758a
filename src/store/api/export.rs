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

use crate::model::{Hash, StoreDir, StorePath, ValidPathInfo};
use crate::nar::input::Input;
use crate::nar::writer::Output;
use crate::store::error::{ImportError, Result, StoreError};

/// The number between an archive and its path.
pub const EXPORT_MAGIC: u64 = 0x4558_494e;
/// Longest path in a stream, in bytes.
const MAX_PATH_LEN: usize = 4096;
/// Most references of one item.
const MAX_REFERENCES: u64 = 1 << 20;
/// Longest signature, in bytes.
const MAX_SIGNATURE_LEN: usize = 65_000;

/// Adds several paths of a stream at a time, where a store can.
pub trait ImportStore {
    /// Adds every item of an export stream that is not valid yet, and gives
    /// all their paths in the order of the stream. What comes before a bad item stays.
    ///
    /// # Errors
    /// [`StoreError`].
    fn import(&self, stream: &mut dyn Read) -> Result<Vec<StorePath>>;
}

/// What follows an archive.
pub struct Tail {
    /// The path.
    pub path: StorePath,
    /// What it refers to.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it.
    pub deriver: Option<StorePath>,
}

/// Whether there is another item; its archive comes next then.
pub fn read_head<R: Read>(input: &mut Input<R>) -> Result<bool> {
    match input.number()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ImportError::NotAnExport.into()),
    }
}

/// Reads what follows an archive.
pub fn read_tail<R: Read>(input: &mut Input<R>, dir: &StoreDir) -> Result<Tail> {
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
pub fn begin_item(output: &mut impl Output) -> Result<()> {
    Ok(number(output, 1)?)
}

/// Ends an item whose archive has this hash.
///
/// # Errors
/// [`StoreError::HashChanged`].
pub fn end_item(dir: &StoreDir, info: &ValidPathInfo, hash: Hash, output: &mut impl Output) -> Result<()> {
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
