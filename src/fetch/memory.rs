//! What was behind URLs when they were looked at last: a database of the user's,
//! `fetched-v2.sqlite` in the cache directory.
//!
//! | column | |
//! |---|---|
//! | url | as it was asked for |
//! | kind | `file`; `node` for a file that is hashed as an archive is; `tree` for what an archive holds |
//! | store | the directory of the store that has it |
//! | name, hash | the store path's name, and the hash of its contents (SHA-256) |
//! | etag, origin | what the server calls this version, and where it came from after all redirections |
//! | immutable | where the same will always be, if the server told |
//! | newest | the time of the newest entry of an archive, in seconds since 1970 |
//! | timestamp | when the server was asked, in seconds since 1970 |
//!
//! Several processes may use it at once. It is a memory only: where it cannot be
//! used, everything is fetched again. Whether the store still has a path, the store
//! has to be asked. What is dated in the future does not count.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::url::Version;
use crate::model::Hash;
use crate::sys::clock::now;

const SCHEMA: &str = "
create table if not exists Fetched (
    url       text not null,
    kind      text not null,
    store     text not null,
    name      text not null,
    hash      text not null,
    etag      text,
    origin    text not null,
    immutable text,
    newest    integer,
    timestamp integer not null,
    primary key (url, kind, store, name)
);
";
/// Seconds after which a row that nobody renewed is removed.
const OLD: i64 = 90 * 24 * 3600;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The URL.
    pub url: &'q str,
    /// What of it is in the store.
    pub form: Form,
    /// The name of the store path.
    pub name: &'q str,
}

/// What of a download is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The file, as its hash is that of its contents.
    File,
    /// The file, as its hash is that of an archive with it.
    Node,
    /// What an archive holds.
    Tree,
}

impl Question<'_> {
    fn kind(&self) -> &'static str {
        match self.form {
            Form::File => "file",
            Form::Node => "node",
            Form::Tree => "tree",
        }
    }
}

/// What was behind a URL.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// The hash of the contents.
    pub hash: Hash,
    /// What the server said of it.
    pub version: Version,
    /// Whether the server need not be asked again yet.
    pub is_fresh: bool,
}

/// The user's memory of downloads, as far as one store is concerned.
pub struct Memory {
    db: Connection,
    store: String,
    lifetime: i64,
}

impl Memory {
    /// Opens the memory in the directory `cache_dir` for the store at `store`; answers
    /// count for `lifetime` seconds.
    ///
    /// # Errors
    /// A word why it cannot be used.
    pub fn open(cache_dir: &Path, store: &str, lifetime: u64) -> Result<Self, String> {
        let file = cache_dir.join("fetched-v2.sqlite");
        let failed = |error: &dyn std::fmt::Display| {
            format!("'{}' cannot be used, so everything is fetched again: {error}", file.display())
        };
        std::fs::create_dir_all(cache_dir).map_err(|error| failed(&error))?;
        let db = set_up(&file).map_err(|error| failed(&error))?;
        let lifetime = i64::try_from(lifetime).unwrap_or(i64::MAX);
        Ok(Self { db, store: store.to_owned(), lifetime })
    }

    /// What is remembered of a URL.
    pub fn lookup(&self, question: Question<'_>) -> Option<Remembered> {
        let row = self.db.query_row(
            "select hash, etag, origin, immutable, newest, timestamp from Fetched
             where url = ?1 and kind = ?2 and store = ?3 and name = ?4",
            params![question.url, question.kind(), self.store, question.name],
            |row| {
                let newest: Option<i64> = row.get(4)?;
                let version = Version {
                    etag: row.get(1)?,
                    url: row.get(2)?,
                    immutable: row.get(3)?,
                    newest: newest.and_then(|newest| u64::try_from(newest).ok()),
                };
                Ok((row.get::<_, String>(0)?, version, row.get::<_, i64>(5)?))
            },
        );
        // A row that makes no sense is none.
        let (hash, version, asked) = row.optional().ok().flatten()?;
        let now = now();
        let is_fresh = asked <= now && now.saturating_sub(asked) < self.lifetime;
        Some(Remembered { hash: Hash::parse(&hash, None).ok()?, version, is_fresh })
    }

    /// Remembers what is behind a URL now. What cannot be written is fetched again.
    pub fn remember(&self, question: Question<'_>, hash: Hash, version: &Version) {
        let now = now();
        let _ = self.db.execute("delete from Fetched where timestamp < ?1", [now - OLD]);
        let _ = self.db.execute(
            "insert or replace into Fetched (url, kind, store, name, hash, etag, origin, immutable, newest, timestamp)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                question.url,
                question.kind(),
                self.store,
                question.name,
                hash.to_string(),
                version.etag,
                version.url,
                version.immutable,
                version.newest.and_then(|newest| i64::try_from(newest).ok()),
                now
            ],
        );
    }
}

fn set_up(file: &Path) -> rusqlite::Result<Connection> {
    const PATIENCE: Duration = Duration::from_secs(60);
    // URLs may have passwords in them.
    let _ = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file);
    let db = Connection::open(file)?;
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    db.execute_batch(SCHEMA)?;
    Ok(db)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{HashAlgorithm, Hasher};

    #[test]
    fn answers_count_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::open(dir.path(), "/s", 100).unwrap();
        let question = Question { url: "http://h/a", form: Form::Tree, name: "source" };
        assert!(memory.lookup(question).is_none());
        let hash = Hasher::new(HashAlgorithm::Sha256).finish();
        let version = Version {
            etag: Some("\"x\"".to_owned()),
            url: "http://h/b".to_owned(),
            immutable: Some("http://h/c".to_owned()),
            newest: Some(5),
        };
        memory.remember(question, hash, &version);
        let found = memory.lookup(question).unwrap();
        assert_eq!((found.hash, &found.version, found.is_fresh), (hash, &version, true));
        assert!(memory.lookup(Question { form: Form::File, ..question }).is_none());
        assert!(memory.lookup(Question { name: "other", ..question }).is_none());
        // Another program, for which nothing stays fresh, or with another store.
        assert!(!Memory::open(dir.path(), "/s", 0).unwrap().lookup(question).unwrap().is_fresh);
        assert!(Memory::open(dir.path(), "/t", 100).unwrap().lookup(question).is_none());
        memory.db.execute("update Fetched set timestamp = timestamp + 50", []).unwrap();
        assert!(!memory.lookup(question).unwrap().is_fresh);
    }

    #[test]
    fn what_is_no_database_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fetched-v2.sqlite"), "x".repeat(5000)).unwrap();
        assert!(Memory::open(dir.path(), "/s", 100).err().unwrap().contains("fetched again"));
    }
}
