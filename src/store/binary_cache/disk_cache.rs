//! What caches elsewhere answered, remembered in a database of the user's that
//! is shared with the original (`binary-cache-v7.sqlite`).
//!
//! | table | row |
//! |---|---|
//! | BinaryCaches | a cache: URL without slash at the end, store directory, priority, when it was asked |
//! | NARs | a path: `present` 0 if the cache has it not, else what its narinfo says |
//! | Realisations | (of the original's; not used here) |
//! | LastPurge | when old rows were removed last |
//!
//! It is a memory only: where it cannot be used, everything is asked again. What
//! is dated in the future does not count: the clock was wrong then, or is now.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::cache_info::CacheInfo;
use crate::model::{Hash, NarFile, NarInfo, StoreDir, StorePath, ValidPathInfo};
use crate::sys::clock::now;
use crate::sys::threads::locked;

const SCHEMA: &str = "
create table if not exists BinaryCaches (
    id        integer primary key autoincrement not null,
    url       text unique not null,
    timestamp integer not null,
    storeDir  text not null,
    wantMassQuery integer not null,
    priority  integer not null
);
create table if not exists NARs (
    cache            integer not null,
    hashPart         text not null,
    namePart         text,
    url              text,
    compression      text,
    fileHash         text,
    fileSize         integer,
    narHash          text,
    narSize          integer,
    refs             text,
    deriver          text,
    sigs             text,
    ca               text,
    timestamp        integer not null,
    present          integer not null,
    primary key (cache, hashPart),
    foreign key (cache) references BinaryCaches(id) on delete cascade
);
create table if not exists Realisations (
    cache integer not null,
    outputId text not null,
    content blob,
    timestamp        integer not null,
    primary key (cache, outputId),
    foreign key (cache) references BinaryCaches(id) on delete cascade
);
create table if not exists LastPurge (
    dummy            text primary key,
    value            integer
);
";
/// Seconds between two removals of old rows.
const PURGE: i64 = 24 * 3600;
/// Answers that are written together.
const BATCH: usize = 1000;

/// For how long answers count, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// `nix-cache-info`.
    pub meta: u64,
    /// A narinfo.
    pub positive: u64,
    /// That there is none.
    pub negative: u64,
}

/// The user's memory of one cache.
pub struct DiskCache {
    inner: Mutex<Inner>,
    lifetimes: Lifetimes,
    dir: StoreDir,
    url: String,
}

struct Inner {
    db: Connection,
    /// The cache's row.
    id: Option<i64>,
    /// Answers that were not written yet: hash part, narinfo.
    pending: Vec<(String, Option<NarInfo>)>,
}

/// What is remembered of a path.
pub enum Remembered {
    /// Nothing that still counts.
    Nothing,
    /// The cache has it not.
    Absent,
    /// Its narinfo.
    Present(Box<NarInfo>),
}

impl DiskCache {
    /// Opens the memory in the directory `cache_dir`; `None` where it cannot be
    /// used, with a word why.
    ///
    /// # Errors
    /// That word.
    pub fn open(cache_dir: &Path, url: &str, dir: &StoreDir, lifetimes: Lifetimes) -> Result<Self, String> {
        let file = cache_dir.join("binary-cache-v7.sqlite");
        let failed = |error: &dyn std::fmt::Display| {
            format!("'{}' cannot be used, so every cache is asked again: {error}", file.display())
        };
        std::fs::create_dir_all(cache_dir).map_err(|error| failed(&error))?;
        let db = set_up(&file).map_err(|error| failed(&error))?;
        let inner = Inner { db, id: None, pending: Vec::new() };
        Ok(Self { inner: Mutex::new(inner), lifetimes, dir: dir.clone(), url: url.to_owned() })
    }

    /// What the cache said of itself, if that still counts.
    pub fn info(&self) -> Option<CacheInfo> {
        let mut inner = locked(&self.inner);
        let row = inner
            .db
            .query_row(
                "select id, storeDir, wantMassQuery, priority from BinaryCaches where url = ?1
                 and timestamp > ?2 and timestamp <= ?3",
                params![self.url, oldest(self.lifetimes.meta), now()],
                |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get(3)?)),
            )
            .optional()
            .ok()
            .flatten()?;
        let (id, store_dir, want_mass_query, priority) = row;
        if store_dir != self.dir.as_str() {
            return None;
        }
        inner.id = Some(id);
        Some(CacheInfo { store_dir: Some(store_dir), want_mass_query: want_mass_query != 0, priority })
    }

    /// Remembers what the cache says of itself.
    pub fn set_info(&self, info: &CacheInfo) {
        let mut inner = locked(&self.inner);
        let id = inner.db.query_row(
            "insert into BinaryCaches (url, timestamp, storeDir, wantMassQuery, priority)
             values (?1, ?2, ?3, ?4, ?5)
             on conflict (url) do update set timestamp = ?2, storeDir = ?3, wantMassQuery = ?4, priority = ?5
             returning id",
            params![self.url, now(), self.dir.as_str(), i64::from(info.want_mass_query), info.priority],
            |row| row.get(0),
        );
        inner.id = id.ok();
    }

    /// What is remembered of the path with a hash part.
    pub fn lookup(&self, hash_part: &str) -> Remembered {
        let inner = locked(&self.inner);
        if let Some((_, known)) = inner.pending.iter().rev().find(|(known, _)| known == hash_part) {
            return known.clone().map_or(Remembered::Absent, |info| Remembered::Present(Box::new(info)));
        }
        let Some(id) = inner.id else { return Remembered::Nothing };
        let found = inner.db.prepare_cached(
            "select present, namePart, url, compression, fileHash, fileSize, narHash, narSize, refs, deriver,
                    sigs, ca
             from NARs where cache = ?1 and hashPart = ?2 and timestamp <= ?5
             and ((present = 0 and timestamp > ?3) or (present = 1 and timestamp > ?4))",
        );
        let found = found.and_then(|mut statement| {
            let (negative, positive) = (oldest(self.lifetimes.negative), oldest(self.lifetimes.positive));
            statement
                .query_row(params![id, hash_part, negative, positive, now()], |row| Ok(read(row, hash_part)))
                .optional()
        });
        found.ok().flatten().unwrap_or(Remembered::Nothing)
    }

    /// Remembers an answer.
    pub fn set(&self, hash_part: &str, info: Option<&NarInfo>) {
        let mut inner = locked(&self.inner);
        inner.pending.push((hash_part.to_owned(), info.cloned()));
        if inner.pending.len() >= BATCH {
            inner.flush();
        }
    }

    /// Writes what was not written yet.
    pub fn flush(&self) {
        locked(&self.inner).flush();
    }

    /// Removes what is older than it may be, once a day.
    pub fn purge(&self) {
        let inner = locked(&self.inner);
        let last: Option<i64> =
            inner.db.query_row("select value from LastPurge", [], |row| row.get(0)).optional().ok().flatten();
        if last.is_some_and(|last| last > now() - PURGE) {
            return;
        }
        if last.is_some() {
            let _ = inner.db.execute(
                "delete from NARs where (present = 0 and timestamp < ?) or (present = 1 and timestamp < ?)",
                params![oldest(self.lifetimes.negative), oldest(self.lifetimes.positive)],
            );
        }
        let _ = inner.db.execute("insert or replace into LastPurge (dummy, value) values ('', ?)", [now()]);
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Inner {
    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let Some(id) = self.id.filter(|_| !pending.is_empty()) else { return };
        // What is not remembered is asked again.
        let _ = self.write(id, &pending);
    }

    fn write(&mut self, id: i64, pending: &[(String, Option<NarInfo>)]) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        {
            let mut absent = transaction.prepare_cached(
                "insert or replace into NARs (cache, hashPart, timestamp, present) values (?, ?, ?, 0)",
            )?;
            let mut present = transaction.prepare_cached(
                "insert or replace into NARs (cache, hashPart, namePart, url, compression, fileHash, fileSize,
                    narHash, narSize, refs, deriver, sigs, ca, timestamp, present)
                 values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            )?;
            for (hash_part, info) in pending {
                let Some(NarInfo { info, file }) = info else {
                    absent.execute(params![id, hash_part, now()])?;
                    continue;
                };
                let references: Vec<&str> = info.references.iter().map(StorePath::base_name).collect();
                let signatures: Vec<&str> = info.signatures.iter().map(String::as_str).collect();
                present.execute(params![
                    id,
                    hash_part,
                    info.path.name(),
                    file.url,
                    file.compression,
                    file.hash.map(|hash| hash.to_string()),
                    file.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(0),
                    info.nar_hash.to_string(),
                    i64::try_from(info.nar_size).unwrap_or(i64::MAX),
                    references.join(" "),
                    info.deriver.as_ref().map(StorePath::base_name),
                    signatures.join(" "),
                    info.ca.as_ref().map(ToString::to_string).unwrap_or_default(),
                    now(),
                ])?;
            }
        }
        transaction.commit()
    }
}

fn oldest(lifetime: u64) -> i64 {
    now().saturating_sub(i64::try_from(lifetime).unwrap_or(i64::MAX))
}

fn set_up(file: &PathBuf) -> rusqlite::Result<Connection> {
    const PATIENCE: Duration = Duration::from_secs(60);
    // URLs may have passwords in them.
    let _ = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file);
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(suffix);
        keep_private(Path::new(&name));
    }
    let db = Connection::open(file)?;
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "synchronous", "off")?;
    db.query_row("pragma main.journal_mode", [], |row| row.get::<_, String>(0)).and_then(|mode| {
        if mode == "wal" { Ok(()) } else { db.pragma_update(None, "journal_mode", "wal") }
    })?;
    let tables: i64 =
        db.query_row("select count(*) from sqlite_master where name = 'LastPurge'", [], |row| row.get(0))?;
    if tables == 0 {
        db.execute_batch(SCHEMA)?;
    }
    Ok(db)
}

/// Others make it readable for everybody.
fn keep_private(file: &Path) {
    let Ok(meta) = std::fs::symlink_metadata(file) else { return };
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        // Where it is somebody else's, they answer for it.
        let _ = std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600));
    }
}

/// A row of NARs; one that makes no sense is none.
fn read(row: &rusqlite::Row<'_>, hash_part: &str) -> Remembered {
    match row.get::<_, i64>(0) {
        Ok(0) => Remembered::Absent,
        Ok(_) => {
            present(row, hash_part).map_or(Remembered::Nothing, |info| Remembered::Present(Box::new(info)))
        }
        Err(_) => Remembered::Nothing,
    }
}

fn present(row: &rusqlite::Row<'_>, hash_part: &str) -> Option<NarInfo> {
    let text = |column: usize| row.get::<_, Option<String>>(column).ok().flatten();
    let number = |column: usize| row.get::<_, Option<i64>>(column).ok().flatten();
    let hash = |column: usize| text(column).and_then(|text| Hash::parse(&text, None).ok());
    let path = StorePath::from_base_name(&format!("{hash_part}-{}", text(1)?)).ok()?;
    let mut info = ValidPathInfo::new(path, hash(6)?, u64::try_from(number(7)?).ok()?);
    let words =
        |text: String| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    info.references = words(text(8)?)
        .iter()
        .map(|name| StorePath::from_base_name(name).ok())
        .collect::<Option<BTreeSet<StorePath>>>()?;
    info.deriver = match text(9).filter(|name| !name.is_empty()) {
        Some(name) => Some(StorePath::from_base_name(&name).ok()?),
        None => None,
    };
    info.signatures = words(text(10).unwrap_or_default()).into_iter().collect();
    info.ca = match text(11).filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    let file = NarFile {
        url: text(2)?,
        compression: text(3).filter(|name| !name.is_empty()).unwrap_or_else(|| "bzip2".to_owned()),
        hash: hash(4),
        size: number(5).and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0),
    };
    Some(NarInfo { info, file })
}
