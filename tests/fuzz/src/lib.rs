//! What the targets that need a store share.

use std::cell::RefCell;

use nival::model::{StoreDir, StorePath};
use nival::progress;
use nival::store::LocalStore;
use nival::store::local::{Layout, LocalOptions};
use tempfile::TempDir;

/// Runs that one store serves; its file of temporary roots grows with each.
const RUNS: u32 = 20_000;

/// A store in a directory of its own. Nothing in it is synced.
struct Opened {
    // Closed before its directory is removed.
    store: LocalStore,
    runs: u32,
    _dir: TempDir,
}

impl Opened {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout {
            store_dir: StoreDir::default(),
            real_store_dir: dir.path().join("store"),
            state_dir: dir.path().join("state"),
            log_dir: dir.path().join("log"),
        };
        let mut options = LocalOptions::new(layout);
        options.db.fsync = false;
        options.sync = false;
        options.reserved_space = 0;
        let store = LocalStore::open(options, progress::silent()).expect("a new store");
        Self { store, runs: 0, _dir: dir }
    }
}

/// Calls `run` with an empty store, the same one for many runs.
pub fn with_empty_store(run: impl FnOnce(&LocalStore)) {
    thread_local! {
        static STORE: RefCell<Option<Opened>> = const { RefCell::new(None) };
    }
    STORE.with_borrow_mut(|slot| {
        let mut opened = slot.take().filter(|opened| opened.runs < RUNS).unwrap_or_else(Opened::new);
        opened.runs += 1;
        run(&opened.store);
        *slot = clear(&opened.store).then_some(opened);
    });
}

/// The registered paths, in order.
pub fn registered(store: &LocalStore) -> Vec<StorePath> {
    let mut texts = Vec::new();
    let read = store.db().each_id(|_, path, _| texts.push(path.to_owned()));
    read.expect("a readable database");
    texts.iter().map(|text| store.dir().parse(text).expect("a registered path is a store path")).collect()
}

/// Takes every path out of the store; false if that is not possible.
pub fn clear(store: &LocalStore) -> bool {
    let mut paths = registered(store);
    for path in &paths {
        if nival::sys::remove::remove(&store.real_path(path)).is_err() {
            return false;
        }
    }
    // Referrers go before what they refer to; of a circle nothing can go.
    while !paths.is_empty() {
        let before = paths.len();
        paths.retain(|path| store.write(|writer| writer.invalidate(path)).is_err());
        if paths.len() == before {
            return false;
        }
    }
    true
}
