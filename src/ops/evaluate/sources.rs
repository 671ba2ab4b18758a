//! Trees that become store paths, remembered between evaluations: what is as it was when it was read need not be
//! read again.
//!
//! A fingerprint is a hash of the names in a tree and of the stamps of its files (see [`seen`](super::seen)): inode,
//! size and time of change of each. It is taken before the tree is read. A file that changes after that gets
//! another stamp, so that the fingerprint is never seen again; where it would not (it has changed just now already, or
//! lies on a file system that does not keep such times) there is no fingerprint. It is taken once more when
//! the tree was read, with the stamps of directories: no other tree was in the place of this one meanwhile. What is
//! remembered is the hash of the archive, in a database of the user's, `read-trees-v1.sqlite` in the cache directory:
//!
//! | column | |
//! |---|---|
//! | fingerprint | of names and stamps, 32 bytes |
//! | hash | SHA-256 of the archive, 32 bytes |
//! | used | when it was used last, in seconds since 1970, give or take a day |
//!
//! Several processes may use it at once. It is a memory only: where it cannot be used, everything is read.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::add::Source;
use super::seen::stamp::Stamp;
use crate::model::{Hash, HashAlgorithm};
use crate::nar::case_hack;
use crate::progress::Progress;
use crate::sys::clock::now;
use crate::sys::filesystem::keeps_change_times;
use crate::sys::walk;

const SCHEMA: &str = "
create table if not exists ReadTrees (
    fingerprint blob primary key not null,
    hash        blob not null,
    used        integer not null
) without rowid;
";
const DAY: i64 = 24 * 3600;
/// Seconds after which a row that nobody used is removed.
const OLD: i64 = 90 * DAY;
/// To read less than this many files and bytes takes no longer than to ask the database.
const FEW_FILES: u64 = 16;
const FEW_BYTES: u64 = 64 << 10;

/// What tells a tree from every other state of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    files: [u8; 32],
    /// The same with the stamps of directories, which change with files that a filter leaves out, too.
    all: [u8; 32],
}

/// Collects a fingerprint, entry by entry.
struct Collector {
    taken: SystemTime,
    hasher: blake3::Hasher,
    directories: blake3::Hasher,
    files: u64,
    bytes: u64,
    /// Whether a device keeps times of change.
    devices: HashMap<u64, bool>,
}

impl Collector {
    /// Takes an entry; false if there is no fingerprint with it.
    fn take(&mut self, path: &Path, metadata: &Metadata) -> bool {
        let kind = metadata.file_type();
        let name = path.as_os_str().as_bytes();
        self.hasher.update(&(name.len() as u64).to_le_bytes());
        self.hasher.update(name);
        let stamp = Stamp::of(metadata);
        if kind.is_dir() {
            self.hasher.update(b"d");
            add_stamp(&mut self.directories, stamp);
            return true;
        }
        if !(kind.is_file() || kind.is_symlink()) {
            return false;
        }
        let device = || keeps_change_times(path.parent().unwrap_or(path));
        if !stamp.is_settled(self.taken) || !*self.devices.entry(stamp.device).or_insert_with(device) {
            return false;
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(stamp.size);
        self.hasher.update(if kind.is_file() { b"f" } else { b"l" });
        self.hasher.update(&metadata.mode().to_le_bytes());
        add_stamp(&mut self.hasher, stamp);
        true
    }

    fn finish(self) -> Option<Fingerprint> {
        let is_worth_it = self.files >= FEW_FILES || self.bytes >= FEW_BYTES;
        is_worth_it.then(|| {
            let files = *self.hasher.finalize().as_bytes();
            let mut directories = self.directories;
            let all = *directories.update(&files).finalize().as_bytes();
            Fingerprint { files, all }
        })
    }
}

fn add_stamp(hasher: &mut blake3::Hasher, stamp: Stamp) {
    let Stamp { device, inode, size, changed: (seconds, nanoseconds) } = stamp;
    for number in [device, inode, size, seconds.cast_unsigned(), nanoseconds.cast_unsigned()] {
        hasher.update(&number.to_le_bytes());
    }
}

impl Fingerprint {
    /// The fingerprint of a tree as it is now, if it is worth having and can be had.
    pub fn of(source: &Source) -> Option<Fingerprint> {
        let mut collector = Collector {
            taken: SystemTime::now(),
            hasher: blake3::Hasher::new(),
            directories: blake3::Hasher::new(),
            files: 0,
            bytes: 0,
            devices: HashMap::new(),
        };
        // Names in the archive depend on it.
        collector.hasher.update(&[u8::from(case_hack::is_enabled())]);
        let is_fit = match source {
            Source::Whole(path) => whole(path, &mut collector),
            Source::Filtered(tree) => tree.each(&mut |path, is_directory| {
                let metadata = path.symlink_metadata().ok();
                metadata
                    .filter(|metadata| metadata.is_dir() == is_directory)
                    .is_some_and(|metadata| collector.take(path, &metadata))
            }),
            Source::Told(_) => false,
        };
        if is_fit { collector.finish() } else { None }
    }
}

/// Takes everything at a path; false if there is no fingerprint.
fn whole(path: &Path, collector: &mut Collector) -> bool {
    let Ok((parent, name)) = crate::sys::dir::open_parent(path) else { return false };
    let mut is_fit = true;
    let walked = walk::walk(std::os::fd::AsFd::as_fd(&parent), &name, path, |entry| {
        is_fit = is_fit
            && entry.path().symlink_metadata().is_ok_and(|metadata| collector.take(entry.path(), &metadata));
        Ok::<(), crate::sys::PathError>(())
    });
    is_fit && walked.is_ok()
}

/// The user's memory of trees.
pub struct Sources(Connection);

/// The memory, which is opened when it is needed first.
#[derive(Default)]
pub enum Opened {
    /// It was not needed yet.
    #[default]
    Not,
    /// It is there.
    Open(Sources),
    /// It cannot be used.
    Failed,
}

impl Opened {
    /// The memory in the directory `cache_dir`. Why it cannot be used is told to `progress`, once.
    pub fn get(&mut self, cache_dir: &Path, progress: &dyn Progress) -> Option<&Sources> {
        if let Opened::Not = self {
            *self = match Sources::open(cache_dir) {
                Ok(sources) => Opened::Open(sources),
                Err(why) => {
                    progress.detail(&format!("trees are not remembered: {why}"));
                    Opened::Failed
                }
            };
        }
        match self {
            Opened::Open(sources) => Some(sources),
            _ => None,
        }
    }
}

impl Sources {
    /// Opens the memory in the directory `cache_dir`.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn open(cache_dir: &Path) -> Result<Sources, String> {
        let file = cache_dir.join("read-trees-v1.sqlite");
        std::fs::create_dir_all(cache_dir)
            .map_err(|error| error.to_string())
            .and_then(|()| set_up(&file).map_err(|error| error.to_string()))
            .map(Sources)
            .map_err(|why| format!("'{}' cannot be used: {why}", file.display()))
    }

    /// The hash of the archive of a tree with a fingerprint.
    pub fn look_up(&self, fingerprint: &Fingerprint) -> Option<Hash> {
        let row = self.0.query_row(
            "select hash, used from ReadTrees where fingerprint = ?1",
            [&fingerprint.files[..]],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)),
        );
        // A row that makes no sense is none.
        let (hash, used) = row.optional().ok().flatten()?;
        let hash = Hash::from_bytes(HashAlgorithm::Sha256, &hash)?;
        if (now() - used).abs() > DAY {
            self.remember(fingerprint, &hash);
        }
        Some(hash)
    }

    /// Remembers the hash of the archive of a tree whose fingerprint was taken before it was read.
    pub fn remember(&self, fingerprint: &Fingerprint, hash: &Hash) {
        // What cannot be written is read again.
        let _ = self.0.execute("delete from ReadTrees where used < ?1", [now() - OLD]);
        let _ = self.0.execute(
            "insert or replace into ReadTrees (fingerprint, hash, used) values (?1, ?2, ?3)",
            params![&fingerprint.files[..], hash.as_bytes(), now()],
        );
    }
}

fn set_up(file: &Path) -> rusqlite::Result<Connection> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let _ = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file);
    let db = Connection::open(file)?;
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    // What a crash takes is read again.
    db.pragma_update(None, "synchronous", "normal")?;
    db.execute_batch(SCHEMA)?;
    Ok(db)
}
