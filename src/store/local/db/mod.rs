//! The SQLite database of valid paths.
//!
//! Every write is one `begin immediate` transaction, so that a writer waits
//! for its turn before it has read anything; waiting has no limit but a signal.

pub mod cells;
pub mod check;
pub mod graph;
pub mod read;
pub mod realisations;
pub mod schema;
mod waiting;
pub mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::model::StoreDir;
use crate::store::error::{Result, StoreError};
use crate::sys::{atomic, interrupt};

/// How the database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading and writing, created when missing.
    ReadWrite,
    /// For reading by somebody who may not write.
    ReadOnly,
    /// For reading without a trace, by somebody who could write. What others
    /// write meanwhile may be missed.
    Untouched,
}

/// What the settings say of the database.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DbOptions {
    /// Commits reach the disk in order (`fsync-metadata`).
    pub fsync: bool,
    /// A write-ahead log (`use-sqlite-wal`).
    pub wal: bool,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self { fsync: true, wal: true }
    }
}

/// Memory for pages, in negative KiB as SQLite wants it: the usual 2 MiB are
/// too little for a walk over the references of a large store.
const CACHE: i64 = -8192;

/// An open database.
pub struct Db {
    connection: Connection,
    path: PathBuf,
    dir: StoreDir,
    fsync: bool,
}

impl Db {
    /// Opens the database in `directory`, of the store `dir`. The caller holds
    /// the big lock where there is one to hold.
    ///
    /// # Errors
    /// [`StoreError`]; for a schema of another version before anything is written.
    pub fn open(directory: &Path, dir: &StoreDir, access: Access, options: DbOptions) -> Result<Self> {
        let path = directory.join("db.sqlite");
        let version = check_version(directory)?;
        if version.is_none() && access != Access::ReadWrite {
            return Err(StoreError::NoDatabase);
        }
        if version.is_some() {
            refuse_if_lost(&path)?;
        }
        let connection = match access {
            Access::ReadOnly | Access::Untouched => open_read_only(&path, access)?,
            Access::ReadWrite => open_read_write(&path, version.is_none())?,
        };
        let mut db = Self { connection, path, dir: dir.clone(), fsync: options.fsync };
        while let Err(error) = db.configure(access, options) {
            // The first to open the database looks through its log, for which
            // SQLite waits ten seconds, and asks nobody.
            let locked = error.sqlite_error_code() == Some(rusqlite::ErrorCode::FileLockingProtocolFailed);
            if !locked || interrupt::requested() {
                return Err(db.error("setting up the database")(error));
            }
            waiting::tell();
        }
        if version.is_none() {
            // Two who find an empty store create it one after the other.
            let batch = format!("begin immediate;{}commit;", schema::CREATE);
            db.connection.execute_batch(&batch).map_err(db.error("creating the database"))?;
            atomic::replace_file(&directory.join("schema"), schema::VERSION.to_string().as_bytes(), 0o644)?;
        }
        Ok(db)
    }

    fn configure(&mut self, access: Access, options: DbOptions) -> rusqlite::Result<()> {
        self.connection.busy_handler(Some(wait_for_turn))?;
        let c = &self.connection;
        c.set_prepared_statement_cache_capacity(32);
        c.pragma_update(None, "foreign_keys", true)?;
        c.pragma_update(None, "cache_size", CACHE)?;
        c.pragma_update(None, "temp_store", "memory")?;
        if access != Access::ReadWrite {
            return Ok(());
        }
        c.pragma_update(None, "synchronous", if options.fsync { "normal" } else { "off" })?;
        set_journal_mode(c, options.wal)?;
        if options.wal {
            // The log's file stays, but not its size.
            c.pragma_update_and_check(None, "journal_size_limit", 0, |_| Ok(()))?;
            crate::sys::sqlite::keep_wal_files(c);
        }
        Ok(())
    }

    /// The directory that paths are named by.
    pub fn dir(&self) -> &StoreDir {
        &self.dir
    }

    /// Runs `work` in a write transaction; it is undone when `work` fails.
    ///
    /// # Errors
    /// The errors of `work`, [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn write<T>(&mut self, work: impl FnOnce(&write::Writer<'_>) -> Result<T>) -> Result<T> {
        let path = self.path.clone();
        let error = |action| {
            let database = path.clone();
            move |source| sqlite_error(action, database, source)
        };
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(error("beginning a transaction"))?;
        let writer = write::Writer::new(&transaction, &self.path, &self.dir);
        let result = work(&writer)?;
        transaction.commit().map_err(error("committing a transaction"))?;
        Ok(result)
    }

    /// As [`Db::write`], for work that registers very many paths.
    ///
    /// Foreign keys are not looked up for each row: `work` must add references
    /// only between rows that it has found or made in this very transaction.
    /// In an empty database the indices of references are built at the end.
    ///
    /// # Errors
    /// See [`Db::write`].
    pub fn write_in_bulk<T>(&mut self, work: impl FnOnce(&write::Writer<'_>) -> Result<T>) -> Result<T> {
        self.set_bulk(true)?;
        let result = self.write(|writer| {
            let indices = writer.drop_indices_if_empty()?;
            // What it needed is free again before the indices are sorted.
            let result = work(writer)?;
            writer.create_indices(indices)?;
            Ok(result)
        });
        self.set_bulk(false)?;
        result
    }

    fn set_bulk(&self, bulk: bool) -> Result<()> {
        self.connection
            .pragma_update(None, "foreign_keys", !bulk)
            .map_err(self.error("setting up the database"))
    }

    /// Whether each commit reaches the disk before it returns, not only in
    /// order; for deleting what a row stood for. Without effect where nothing
    /// is synced at all (`fsync-metadata`).
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn set_durable(&self, durable: bool) -> Result<()> {
        if !self.fsync {
            return Ok(());
        }
        self.connection
            .pragma_update(None, "synchronous", if durable { "full" } else { "normal" })
            .map_err(self.error("setting up the database"))
    }

    /// Gives unused pages back to the file system if more than a quarter of the
    /// file is unused, there is room for the copy that this takes, and nobody
    /// else is writing; true if it was done.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`] if the pages cannot be counted.
    pub fn give_pages_back(&mut self) -> Result<bool> {
        /// Bytes that are not worth the trouble.
        const LITTLE: u64 = 1 << 20;
        let number = |name: &str| {
            let value: i64 = self
                .connection
                .pragma_query_value(None, name, |row| row.get(0))
                .map_err(self.error("looking at the pages"))?;
            Ok::<u64, StoreError>(value.cast_unsigned())
        };
        let (size, all, unused) = (number("page_size")?, number("page_count")?, number("freelist_count")?);
        if unused * 4 <= all || unused * size < LITTLE {
            return Ok(false);
        }
        // A copy in a temporary file, then all of it in the log, then the file.
        let needed = (all - unused) * size * 3;
        let room = |dir: &Path| rustix::fs::statvfs(dir).is_ok_and(|s| s.f_bavail * s.f_frsize > needed);
        if !self.path.parent().is_some_and(room) || !room(&std::env::temp_dir()) {
            return Ok(false);
        }
        let mut vacuum = || {
            // Not in memory, of which it would take as much as the file has.
            self.connection.pragma_update(None, "temp_store", "file")?;
            self.connection.busy_handler(None::<fn(i32) -> bool>)?;
            let done = self.connection.execute_batch("vacuum");
            self.connection.busy_handler(Some(wait_for_turn))?;
            self.connection.pragma_update(None, "temp_store", "memory")?;
            done
        };
        // Busy, or no room after all: another time.
        Ok(vacuum().is_ok())
    }

    /// Runs `work` on one unchanging state of the database.
    ///
    /// # Errors
    /// The errors of `work`, [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn snapshot<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let transaction =
            self.connection.unchecked_transaction().map_err(self.error("beginning a transaction"))?;
        let result = work();
        // Nothing was written, so there is nothing that could be lost.
        drop(transaction);
        result
    }

    fn error(&self, action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError + use<> {
        let database = self.path.clone();
        move |source| sqlite_error(action, database, source)
    }
}

pub(crate) fn sqlite_error(action: &'static str, database: PathBuf, source: rusqlite::Error) -> StoreError {
    if interrupt::requested() {
        // The busy handler gave up because of a signal.
        return interrupt::Interrupted.into();
    }
    if is_unusable(&source) {
        return StoreError::Unusable { database, reason: source };
    }
    StoreError::Sqlite { action, database, reason: source }
}

/// Whether the file is no database of ours, or no longer.
fn is_unusable(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let rusqlite::Error::SqliteFailure(failure, message) = error else {
        return matches!(error, rusqlite::Error::SqlInputError { msg, .. } if msg.starts_with("no such table"));
    };
    matches!(failure.code, DatabaseCorrupt | NotADatabase)
        || message.as_deref().is_some_and(|text| text.starts_with("no such table"))
}

/// How many valid paths a database file has, whatever the schema file beside
/// it says; none where it has no such table.
///
/// # Errors
/// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
pub fn count_rows(path: &Path) -> Result<u64> {
    let connection = open_read_only(path, Access::ReadOnly)?;
    let error = |source| sqlite_error("counting paths", path.to_owned(), source);
    let table = "select count(*) from sqlite_master where type = 'table' and name = 'ValidPaths'";
    let tables: i64 = connection.query_row(table, [], |row| row.get(0)).map_err(error)?;
    if tables == 0 {
        return Ok(0);
    }
    let count: i64 =
        connection.query_row("select count(*) from ValidPaths", [], |row| row.get(0)).map_err(error)?;
    Ok(count.cast_unsigned())
}

/// Puts the database into WAL mode, or leaves it in that of a rollback journal.
fn set_journal_mode(connection: &Connection, wal: bool) -> rusqlite::Result<()> {
    let wanted = if wal { "wal" } else { "delete" };
    let mut count = 0;
    loop {
        let current: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        // A database that others have in use cannot leave WAL mode, and need not.
        if current == wanted || (!wal && current == "wal") {
            return Ok(());
        }
        match connection.pragma_update_and_check(None, "journal_mode", wanted, |_| Ok(())) {
            // Of several who change the mode of a new database at once SQLite
            // refuses some without asking the busy handler: they hold a lock
            // already that the others wait for.
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && wait_for_turn(count) =>
            {
                count = count.saturating_add(1);
            }
            result => return result,
        }
    }
}

/// Called by SQLite when another connection holds a lock that is needed.
fn wait_for_turn(count: i32) -> bool {
    if interrupt::requested() {
        return false;
    }
    waiting::step(count);
    // Short at first; then up to 25 ms, different for each process, so that
    // many writers do not wake in step.
    let step = u64::from(count.unsigned_abs().min(10)) + 1;
    let jitter = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| u64::from(now.subsec_nanos()) / 1000 % 1500);
    std::thread::sleep(Duration::from_micros(step * (1000 + jitter)));
    true
}

/// Has `progress` told when somebody else locks the database in `directory` for
/// long, which may be so as soon as this thread opens it.
pub fn watch(directory: &Path, progress: &std::sync::Arc<dyn crate::progress::Progress>) {
    waiting::watch(&directory.join("db.sqlite"), progress);
}

/// The version of the database in `directory`, if there is one that can be used.
///
/// # Errors
/// [`StoreError`] for any other version.
pub fn check_version(directory: &Path) -> Result<Option<u64>> {
    match read_version(&directory.join("schema"))? {
        Some(version) if version > schema::VERSION => Err(StoreError::SchemaTooNew(version)),
        Some(version) if version < schema::VERSION => Err(StoreError::SchemaTooOld(version)),
        usable => Ok(usable),
    }
}

fn read_version(path: &Path) -> Result<Option<u64>> {
    /// A number is shorter.
    const LIMIT: u64 = 4096;
    let text = match crate::sys::read_configured(path, LIMIT) {
        Ok(text) => text,
        Err(error) if error.reason.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let number = std::str::from_utf8(&text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|text| text.parse().ok()) {
        // What an interrupted creation by others may leave.
        Some(0) => Ok(None),
        // Others create it in two steps, and may be between them.
        None if text.is_empty() => Ok(None),
        Some(version) => Ok(Some(version)),
        None => Err(StoreError::SchemaFile(path.to_owned())),
    }
}

/// A store has a database once it has a schema; without it everything in it
/// would look like rubbish.
fn refuse_if_lost(path: &Path) -> Result<()> {
    let why = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is gone",
        Ok(meta) if meta.len() == 0 && !has_log(path) => "is empty",
        _ => return Ok(()),
    };
    Err(StoreError::Lost { database: path.to_owned(), why })
}

/// Whether changes wait in a log beside the database.
fn has_log(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).is_ok_and(|meta| meta.len() > 0)
}

fn open_read_write(path: &Path, create: bool) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    Connection::open_with_flags(path, flags)
        .map_err(|source| sqlite_error("cannot open SQLite database", path.to_owned(), source))
}

/// Opens the database without writing anything, whether or not files may be
/// created beside it.
fn open_read_only(path: &Path, access: Access) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let error = |source| sqlite_error("cannot open SQLite database", path.to_owned(), source);
    let text = path.to_str().ok_or_else(|| error(rusqlite::Error::InvalidPath(path.to_owned())))?;
    let mut uri = String::from("file:");
    for byte in text.bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.push_str(&format!("%{byte:02x}")),
            _ => uri.push(char::from(byte)),
        }
    }
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    // Without a log, or with an empty one, everything is in the database file,
    // and a reader can go without the log's index.
    let log_is_empty = std::fs::metadata(&wal).map_or(true, |meta| meta.len() == 0);
    let immutable = || Connection::open_with_flags(format!("{uri}?immutable=1"), flags).map_err(error);
    if access == Access::Untouched {
        return match log_is_empty {
            true => immutable(),
            false => Connection::open_with_flags(format!("{uri}?readonly_shm=1"), flags).map_err(error),
        };
    }
    let connection = Connection::open_with_flags(&uri, flags).map_err(error)?;
    let readable = connection.query_row("select 1 from sqlite_master limit 1", [], |_| Ok(()));
    match readable {
        Err(rusqlite::Error::SqliteFailure(..)) if log_is_empty => immutable(),
        Err(source @ rusqlite::Error::SqliteFailure(..)) => Err(error(source)),
        _ => Ok(connection),
    }
}
