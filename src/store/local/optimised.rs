//! Which paths `--optimise` need not look into again: `STATE/optimised`.
//!
//! ```text
//! file   = "nival-optimised-1\n" device links count*entry
//! entry  = inode ctime
//! device, links (the inode of `.links`), inode, ctime (ns since 1970) = u64, little-endian
//! ```
//!
//! A path's contents never change, so a path whose files were all linked stays
//! linked for as long as it is the same inode with the same time of change: one
//! that was collected, added again or repaired has another. A file of `.links`
//! is not removed while a path has it. The record is only a memory: without it,
//! or with one that says too little, everything is looked at, and with one that
//! says too much (nobody writes such) some equal files stay apart.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Stat};

use super::Layout;
use crate::model::StorePath;
use crate::sys::{PathError, atomic};

const MAGIC: &[u8] = b"nival-optimised-1\n";
/// Longest record that is read: a million paths and more.
const MAX_FILE: u64 = 64 << 20;

type Entry = (u64, u64);

/// The record as it was found, and as it is to be.
pub(super) struct Optimised {
    file: PathBuf,
    device: u64,
    links: u64,
    /// Sorted.
    known: Vec<Entry>,
    done: Vec<Entry>,
}

impl Optimised {
    /// Reads the record; one that belongs to another directory of links, or
    /// that is no record, is an empty one.
    pub fn load(layout: &Layout, links: &OwnedFd) -> Result<Self, PathError> {
        let stat =
            rustix::fs::fstat(links).map_err(PathError::at("getting status of", layout.links_dir()))?;
        let mut record = Self {
            file: layout.state_dir.join("optimised"),
            device: stat.st_dev,
            links: stat.st_ino,
            known: Vec::new(),
            done: Vec::new(),
        };
        let contents = crate::sys::read_regular(&record.file, MAX_FILE).unwrap_or_default();
        record.known = record.parse(&contents).unwrap_or_default();
        record.known.sort_unstable();
        Ok(record)
    }

    fn parse(&self, contents: &[u8]) -> Option<Vec<Entry>> {
        let (numbers, rest) = contents.strip_prefix(MAGIC)?.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().copied().map(u64::from_le_bytes).collect();
        let (header, entries) = numbers.split_first_chunk::<2>()?;
        let (entries, half) = entries.as_chunks::<2>();
        let whole = rest.is_empty() && half.is_empty() && *header == [self.device, self.links];
        whole.then(|| entries.iter().map(|&[inode, changed]| (inode, changed)).collect())
    }

    /// Whether a path was linked before; it is then kept in the record.
    pub fn knows(&mut self, store: &OwnedFd, path: &StorePath) -> bool {
        let entry = entry(store, path).filter(|entry| self.known.binary_search(entry).is_ok());
        self.done.extend(entry);
        entry.is_some()
    }

    /// Notes that all of a path is linked.
    pub fn add(&mut self, store: &OwnedFd, path: &StorePath) {
        self.done.extend(entry(store, path));
    }

    /// Writes the record anew, if it says something else than before. A store
    /// where it cannot be written does without.
    pub fn save(mut self) {
        self.done.sort_unstable();
        self.done.dedup();
        if self.done == self.known {
            return;
        }
        let numbers = [self.device, self.links].into_iter();
        let numbers = numbers.chain(self.done.iter().flat_map(|&(inode, changed)| [inode, changed]));
        let contents: Vec<u8> = MAGIC.iter().copied().chain(numbers.flat_map(u64::to_le_bytes)).collect();
        let _ = atomic::replace_file(&self.file, &contents, 0o644);
    }
}

fn entry(store: &OwnedFd, path: &StorePath) -> Option<Entry> {
    let name = CString::new(path.base_name()).ok()?;
    let stat: Stat = rustix::fs::statat(store, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let seconds = u64::try_from(stat.st_ctime).ok()?;
    Some((stat.st_ino, seconds.checked_mul(1_000_000_000)?.checked_add(stat.st_ctime_nsec)?))
}
