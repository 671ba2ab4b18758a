//! Temporary roots: paths that a running process needs and no collector may
//! delete meanwhile.
//!
//! ```text
//! STATE/temproots/PID = { full store path, NUL }     locked exclusively for the process's life
//! ```
//!
//! A root is written while `gc.lock` is held shared, so that no collection
//! begins in between. While a collection runs, it is announced instead on
//! `STATE/gc-socket/socket` as the full path and a newline; the collector
//! answers with the byte `1` once the path is safe (or completely gone).
//! Whether a path is valid may be asked only after it is a root.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::model::StorePath;
use crate::store::error::{Result, RootError};
use crate::store::layout::Layout;
use crate::sys::lock::{self, LockKind};
use crate::sys::{PathError, interrupt, socket};

/// How long to wait before asking again for a collector that is not ready.
const RETRY: Duration = Duration::from_millis(100);
/// The byte with which a collector grants a root.
const GRANTED: u8 = b'1';

/// The temporary roots of one open store.
pub struct TempRoots {
    layout: Layout,
    state: RefCell<State>,
    /// How many there may be.
    most: Cell<usize>,
}

/// Roots that are written and announced together.
const TOGETHER: usize = 1024;

#[derive(Default)]
struct State {
    file: Option<(File, PathBuf)>,
    gc_lock: Option<File>,
    /// What is protected already: two hashes of each path stand for it, since
    /// there may be very many.
    known: HashSet<[u64; 2]>,
    keys: [RandomState; 2],
    /// To the running collector. It keeps what was announced for as long as
    /// this side stays connected.
    connection: Option<UnixStream>,
}

impl State {
    /// What stands for a path; nobody can find two with the same one.
    fn mark(&self, path: &StorePath) -> [u64; 2] {
        [self.keys[0].hash_one(path), self.keys[1].hash_one(path)]
    }
}

impl TempRoots {
    /// None yet; the file is made with the first one.
    pub fn new(layout: Layout) -> Self {
        Self { layout, state: RefCell::default(), most: Cell::new(usize::MAX) }
    }

    /// Lets no more than so many paths be protected.
    pub fn limit(&self, most: usize) {
        self.most.set(most);
    }

    /// Protects paths, valid or not, until the store is closed.
    ///
    /// # Errors
    /// A lock or file that cannot be used; a signal while waiting.
    pub fn add(&self, paths: &[&StorePath]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let state = &mut *self.state.borrow_mut();
        let new: Vec<&StorePath> =
            paths.iter().copied().filter(|path| !state.known.contains(&state.mark(path))).collect();
        if state.known.len().saturating_add(new.len()) > self.most.get() {
            return Err(RootError::TooMany(self.most.get()).into());
        }
        for together in new.chunks(TOGETHER) {
            self.add_new(state, together)?;
            for path in together {
                state.known.insert(state.mark(path));
            }
        }
        Ok(())
    }

    fn add_new(&self, state: &mut State, paths: &[&StorePath]) -> Result<()> {
        if state.file.is_none() {
            state.file = Some(create_file(&self.layout)?);
        }
        let gc_lock_path = self.layout.gc_lock();
        if state.gc_lock.is_none() {
            state.gc_lock = Some(lock::open_lock_file(&gc_lock_path)?);
        }
        let (Some((file, path)), Some(gc_lock)) = (&mut state.file, &state.gc_lock) else { return Ok(()) };
        let texts: Vec<String> = paths.iter().map(|path| self.layout.store_dir.print(path)).collect();
        // Written first: a collection that begins after the one that grants
        // the root finds it in the file. A root too many does no harm.
        append(file, path, &texts)?;
        loop {
            interrupt::check()?;
            if lock::try_lock(gc_lock, &gc_lock_path, LockKind::Shared)? {
                rustix::fs::flock(gc_lock, rustix::fs::FlockOperation::Unlock)
                    .map_err(PathError::at("releasing lock", &gc_lock_path))?;
                return Ok(());
            }
            if announce(&self.layout, &mut state.connection, &texts)? {
                return Ok(());
            }
        }
    }
}

impl Drop for TempRoots {
    fn drop(&mut self) {
        if let Some((file, path)) = self.state.borrow_mut().file.take()
            && lock::is_same(&file, &path)
        {
            // A file left behind is unlocked and therefore stale.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn create_file(layout: &Layout) -> Result<(File, PathBuf)> {
    /// How many such files this process has made: the first has its bare number.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    loop {
        let name = match COUNT.fetch_add(1, Ordering::Relaxed) {
            0 => pid.to_string(),
            count => format!("{pid}-{count}"),
        };
        let path = layout.temp_roots_dir().join(name);
        let file = lock::open_lock_file(&path)?;
        // It may be there, left by a dead process, or held by a living one
        // that has our number in another container: then it is not ours.
        if !lock::try_lock(&file, &path, LockKind::Exclusive)? {
            continue;
        }
        // A collector takes an unlocked file for a stale one, removes it and
        // marks it with a byte.
        if !lock::is_same(&file, &path) {
            continue;
        }
        file.set_len(0).map_err(PathError::at("truncating", &path))?;
        return Ok((file, path));
    }
}

fn append(file: &mut File, path: &std::path::Path, texts: &[String]) -> Result<()> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    // In one call, so that a reader sees whole paths.
    Ok(file.write_all(&bytes).map_err(PathError::at("writing to", path))?)
}

/// Asks the running collector; false when there is none (any more).
fn announce(layout: &Layout, connection: &mut Option<UnixStream>, texts: &[String]) -> Result<bool> {
    let path = layout.gc_socket();
    let fresh = connection.is_none();
    if fresh {
        match socket::connect(&path) {
            Ok(stream) => {
                let timeout = stream.set_read_timeout(Some(RETRY));
                timeout.map_err(PathError::at("connecting to", &path))?;
                *connection = Some(stream);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
                ) =>
            {
                // It has the lock, but does not listen yet, or no more.
                std::thread::sleep(RETRY);
                return Ok(false);
            }
            Err(error) => return Err(PathError::new("connecting to", path, error).into()),
        }
    }
    let Some(stream) = connection else { return Ok(false) };
    for text in texts {
        if stream.write_all(format!("{text}\n").as_bytes()).is_err() || !granted(stream, &path)? {
            *connection = None;
            if fresh {
                // It has no place for us, or has ended; asking at once again would
                // only keep it busy.
                std::thread::sleep(RETRY);
            }
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits for the answer, however long the collector needs; false when it ends.
fn granted(stream: &mut UnixStream, path: &std::path::Path) -> Result<bool> {
    let mut answer = [0];
    loop {
        interrupt::check()?;
        match stream.read(&mut answer) {
            Ok(0) => return Ok(false),
            Ok(_) if answer[0] == GRANTED => return Ok(true),
            Ok(_) => return Err(RootError::NoGrant(path.to_owned()).into()),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock
                        | std::io::ErrorKind::TimedOut
                        | std::io::ErrorKind::Interrupted
                ) => {}
            Err(_) => return Ok(false),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::StoreDir;
    use crate::store::local::{LocalOptions, LocalStore};

    /// A collector that has no place for anybody is not asked without a pause.
    #[test]
    fn who_is_turned_away_waits_before_asking_again() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout {
            store_dir: StoreDir::default(),
            real_store_dir: root.path().join("store"),
            state_dir: root.path().join("state"),
            log_dir: root.path().join("log"),
        };
        let socket = layout.gc_socket();
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            assert!(!announce(&layout, &mut None, &["x".to_owned()]).unwrap());
        }
        assert!(begun.elapsed() >= RETRY * 3);
    }

    #[test]
    fn there_may_be_so_many_and_no_more() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout {
            store_dir: StoreDir::default(),
            real_store_dir: root.path().join("store"),
            state_dir: root.path().join("state"),
            log_dir: root.path().join("log"),
        };
        let store = LocalStore::open(LocalOptions::new(layout), crate::progress::silent()).unwrap();
        let path = |name: &str| StorePath::from_parts(&[7; 20], name).unwrap();
        let (a, b, c) = (path("a"), path("b"), path("c"));
        store.limit_temp_roots(2);
        store.add_temp_roots(&[&a, &b]).unwrap();
        // What is protected already is not counted again.
        store.add_temp_roots(&[&b, &a]).unwrap();
        assert!(store.add_temp_roots(&[&c]).is_err());
        store.limit_temp_roots(3);
        store.add_temp_roots(&[&c]).unwrap();
        let file = std::fs::read_dir(store.layout().temp_roots_dir()).unwrap().next().unwrap().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap().iter().filter(|byte| **byte == 0).count(), 3);
    }
}
