//! Saying for whom we wait when the database is locked for long.
//!
//! SQLite asks a plain function whether to go on waiting, which knows neither
//! the file nor who watches; both are kept for the thread, which is the only
//! one that works on the databases it opened.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::progress::Progress;
use crate::sys::lock;

/// Bytes of the log's index that a writer locks: for writing, copying back and
/// recovery.
const LOG_LOCKS: std::ops::Range<u64> = 120..123;
/// Bytes of the database file that stand for its locks, where there is no log.
const FILE_LOCKS: std::ops::Range<u64> = 0x4000_0000..0x4000_0200;

thread_local! {
    static WATCHED: RefCell<Vec<(PathBuf, Weak<dyn Progress>)>> = const { RefCell::new(Vec::new()) };
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// From now on `progress` is told when a database is locked for long.
pub(super) fn watch(database: &Path, progress: &Arc<dyn Progress>) {
    WATCHED.with_borrow_mut(|watched| {
        watched.retain(|(_, progress)| progress.strong_count() > 0);
        watched.push((database.to_owned(), Arc::downgrade(progress)));
    });
}

/// To be called at each step of waiting, with the number of those before.
pub(super) fn step(count: i32) {
    if count == 0 {
        BEGAN.set(Some(Instant::now()));
        return;
    }
    if BEGAN.get().is_some_and(|began| began.elapsed() >= lock::LONG) {
        // Once for each wait.
        BEGAN.set(None);
        tell();
    }
}

/// Tells for whom we wait.
pub(super) fn tell() {
    WATCHED.with_borrow(|watched| {
        let mut told: Vec<&Path> = Vec::new();
        for (database, progress) in watched {
            let Some(progress) = progress.upgrade() else { continue };
            if told.contains(&&**database) {
                continue;
            }
            told.push(database);
            let mut index = database.as_os_str().to_owned();
            index.push("-shm");
            let holders = lock::holders_of(Path::new(&index), &LOG_LOCKS)
                .into_iter()
                .chain(lock::holders_of(database, &FILE_LOCKS))
                .filter(|pid| *pid != std::process::id().to_string());
            if let Some(holders) = lock::describe(holders.collect()) {
                progress.notice(&format!(
                    "waiting for the database \"{}\", which is locked by {holders}",
                    database.display()
                ));
            }
        }
    });
}
