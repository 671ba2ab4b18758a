//! The collector's side of temporary roots: granting them while it runs.
//!
//! ```text
//! client: full store path, LF        collector: the byte "1"
//! ```
//!
//! A path is granted at once, unless it is just being deleted: then when it is
//! completely gone. What was granted stays for the whole collection, and so do
//! all entries of the store directory with the same hash part (locks and
//! scratch directories of the process that makes the path).
//!
//! Users other than root and our own have a limited share of connections and
//! roots: a user who asks for more waits for the end of the collection.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

use crate::model::store_path::HASH_LEN;
use crate::store::error::Result;
use crate::store::layout::Layout;
use crate::sys::{PathError, socket};

/// The byte that grants a root.
const GRANTED: &[u8] = b"1";
/// Longest line that may be a store path: directory, hash part, name.
const MAX_LINE: usize = 8192;
/// Clients served at once; more of them wait to be accepted.
const MAX_CLIENTS: usize = 4096;
/// Of these, those of one other user; all other users have half of all.
const MAX_OF_USER: usize = 64;
/// Roots of one other user in a collection.
const MAX_ROOTS: usize = 1 << 16;

/// As many of them as leave descriptors for everything else.
fn max_clients() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let share = limit.map_or(MAX_CLIENTS, |limit| usize::try_from(limit / 4).unwrap_or(MAX_CLIENTS));
    share.clamp(1, MAX_CLIENTS)
}

/// The hash part of a base name of the store directory, if it has one.
pub(super) fn hash_part(base: &[u8]) -> Option<HashPart> {
    base.first_chunk::<HASH_LEN>().copied()
}

/// The digits that all entries belonging to one path begin with.
pub(super) type HashPart = [u8; HASH_LEN];

#[derive(Default)]
pub(super) struct State {
    /// Hash parts of everything that is not to be deleted.
    pub(super) kept: HashSet<HashPart>,
    /// Of these, what was granted.
    granted: HashSet<HashPart>,
    /// Granted, and not yet looked at by the collector.
    pub(super) fresh: Vec<HashPart>,
    /// Being deleted just now, and by how many entries each.
    pub(super) pending: HashMap<HashPart, usize>,
}

impl State {
    /// What has a temporary root from before.
    pub(super) fn keep(&mut self, parts: impl Iterator<Item = HashPart>) {
        self.kept.extend(parts);
    }

    /// True if it was not granted before.
    fn grant(&mut self, part: HashPart) -> bool {
        let new = self.granted.insert(part);
        if new {
            self.kept.insert(part);
            self.fresh.push(part);
        }
        new
    }
}

/// Answers until it is dropped.
pub(super) struct RootsServer {
    state: Arc<Mutex<State>>,
    waker: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl RootsServer {
    /// Begins to answer; the collector's lock is held. Where no socket can be
    /// made (at a full disk), a process that wants a root waits for the end of the
    /// collection.
    ///
    /// # Errors
    /// When there are no descriptors or threads to be had.
    pub(super) fn start(layout: &Layout) -> Result<Self> {
        let path = layout.gc_socket();
        let error = |error| PathError::new("answering at", &path, error);
        let (waker, woken) = UnixStream::pair().map_err(error)?;
        for end in [&waker, &woken] {
            end.set_nonblocking(true).map_err(error)?;
        }
        let state = Arc::<Mutex<State>>::default();
        let thread = match listen(layout) {
            Ok(listener) => {
                let server = Server {
                    store_dir: layout.store_dir.clone(),
                    state: Arc::clone(&state),
                    listener,
                    woken,
                    clients: Vec::new(),
                    most: max_clients(),
                    roots: HashMap::new(),
                };
                let builder = std::thread::Builder::new().stack_size(256 * 1024);
                Some(builder.spawn(move || server.run()).map_err(error)?)
            }
            Err(_) => None,
        };
        Ok(Self { state, waker, thread })
    }

    /// What was granted and what is being deleted; nothing is granted until
    /// the guard is let go.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries that were being deleted are gone.
    pub(super) fn release(&self, parts: &[HashPart]) {
        if parts.is_empty() {
            return;
        }
        let mut state = self.state();
        for part in parts {
            match state.pending.get_mut(part) {
                Some(entries) if *entries > 1 => *entries -= 1,
                _ => drop(state.pending.remove(part)),
            }
        }
        drop(state);
        // A full pipe wakes the server as well.
        let _ = (&self.waker).write(b"r");
    }
}

impl Drop for RootsServer {
    fn drop(&mut self) {
        self.state().pending.clear();
        let _ = self.waker.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(layout: &Layout) -> io::Result<UnixListener> {
    let path = layout.gc_socket();
    if let Some(dir) = path.parent() {
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = socket::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Client {
    stream: UnixStream,
    /// What has come of the next line.
    line: Vec<u8>,
    /// Asked for, and being deleted; nothing is read meanwhile.
    waiting: Option<HashPart>,
    /// Whose share of roots it has a part in, if that is limited.
    user: Option<u32>,
    /// It asked for more than its share, and waits for the end.
    refused: bool,
}

/// What a client is served with.
struct Desk<'s> {
    dir: &'s crate::model::StoreDir,
    state: &'s Mutex<State>,
    roots: &'s mut HashMap<u32, usize>,
}

struct Server {
    store_dir: crate::model::StoreDir,
    state: Arc<Mutex<State>>,
    listener: UnixListener,
    woken: UnixStream,
    clients: Vec<Client>,
    most: usize,
    /// How many roots users with a limited share have.
    roots: HashMap<u32, usize>,
}

impl Server {
    fn run(mut self) {
        loop {
            let ready = {
                let full = self.clients.len() >= self.most;
                let accepting = if full { PollFlags::empty() } else { PollFlags::IN };
                let mut wanted = vec![
                    PollFd::from_borrowed_fd(self.woken.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(self.listener.as_fd(), accepting),
                ];
                wanted.extend(self.clients.iter().map(|client| {
                    let idle = client.waiting.is_some() || client.refused;
                    let flags = if idle { PollFlags::empty() } else { PollFlags::IN };
                    PollFd::from_borrowed_fd(client.stream.as_fd(), flags)
                }));
                match poll(&mut wanted, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                }
                wanted.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<bool>>()
            };
            if ready[0] && !self.wake() {
                return;
            }
            // Clients first: those accepted below have not been polled.
            let mut ready_clients = ready[2..].iter();
            let state = Arc::clone(&self.state);
            let mut desk = Desk { dir: &self.store_dir, state: &state, roots: &mut self.roots };
            self.clients.retain_mut(|client| {
                let ready = ready_clients.next().copied().unwrap_or(false);
                (!ready || client.read()) && client.serve(&mut desk)
            });
            if ready[1] {
                self.accept();
            }
        }
    }

    /// Takes in what woke us; false when the collection is over.
    fn wake(&mut self) -> bool {
        let mut bytes = [0; 64];
        loop {
            match self.woken.read(&mut bytes) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Whether one more client of a user has a place.
    fn has_place(&self, user: Option<u32>) -> bool {
        let others = self.clients.iter().filter(|client| client.user.is_some());
        let of_user = others.clone().filter(|client| client.user == user);
        of_user.count() < MAX_OF_USER && others.count() < self.most.div_ceil(2)
    }

    fn accept(&mut self) {
        while self.clients.len() < self.most {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // No descriptor left, say: the process that wants in waits a little.
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    return;
                }
            };
            // Whatever is wrong with a client, it asks again.
            let Ok(user) = socket::peer(&stream).map(|peer| peer.user) else { continue };
            let limited = user != 0 && user != rustix::process::geteuid().as_raw();
            let user = limited.then_some(user);
            if limited && !self.has_place(user) {
                continue;
            }
            if stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, line: Vec::new(), waiting: None, user, refused: false });
            }
        }
    }
}

impl Client {
    /// Reads what is there; false when the client is gone or talks nonsense.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.line.extend_from_slice(&buffer[..count]);
                self.line.len() <= MAX_LINE || self.line.contains(&b'\n')
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    /// Answers what was asked, as far as it can be answered now; false when
    /// the client is to be dropped.
    fn serve(&mut self, desk: &mut Desk<'_>) -> bool {
        let mut state = desk.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(part) = self.waiting {
                if state.pending.contains_key(&part) {
                    return true;
                }
                self.waiting = None;
                if self.stream.write_all(GRANTED).is_err() {
                    return false;
                }
            }
            if self.refused {
                return true;
            }
            let Some(end) = self.line.iter().position(|b| *b == b'\n') else { return true };
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let path = std::str::from_utf8(&line[..end]).ok().and_then(|text| desk.dir.parse(text).ok());
            let Some(path) = path else { return false };
            let Some(part) = hash_part(path.base_name().as_bytes()) else { return false };
            let share = self.user.map(|user| desk.roots.entry(user).or_default());
            if share.as_ref().is_some_and(|share| **share >= MAX_ROOTS) {
                self.refused = true;
                return true;
            }
            if state.grant(part)
                && let Some(share) = share
            {
                *share += 1;
            }
            self.waiting = Some(part);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(user: Option<u32>) -> (Client, UnixStream) {
        let (stream, other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        (Client { stream, line: Vec::new(), waiting: None, user, refused: false }, other)
    }

    fn line(number: usize) -> Vec<u8> {
        format!("/nix/store/{number:032}-x\n").into_bytes()
    }

    fn answers(other: &mut UnixStream) -> usize {
        let mut bytes = [0; 64];
        other.read(&mut bytes).unwrap_or(0)
    }

    #[test]
    fn strangers_get_their_share_of_roots_and_others_all_they_want() {
        let (state, mut roots) = (Mutex::new(State::default()), HashMap::from([(7, MAX_ROOTS - 2)]));
        let dir = crate::model::StoreDir::default();
        let mut desk = Desk { dir: &dir, state: &state, roots: &mut roots };
        let (mut stranger, mut hears) = client(Some(7));
        // One that has it already costs nothing.
        stranger.line = [line(1), line(1), line(2), line(3), line(4)].concat();
        assert!(stranger.serve(&mut desk));
        assert_eq!((answers(&mut hears), stranger.refused), (3, true));
        // Another connection changes nothing about that.
        let (mut again, mut hears) = client(Some(7));
        again.line = [line(1), line(5)].concat();
        assert!(again.serve(&mut desk));
        assert!(again.refused && answers(&mut hears) == 0);
        let (mut root, mut hears) = client(None);
        root.line = (10..20).flat_map(line).collect();
        assert!(root.serve(&mut desk));
        assert_eq!((answers(&mut hears), root.refused), (10, false));
        let state = state.lock().unwrap();
        // Each once, for the collector to look at.
        assert_eq!((state.kept.len(), state.fresh.len()), (12, 12));
    }

    #[test]
    fn strangers_never_take_all_places() {
        let root = tempfile::tempdir().unwrap();
        let (waker, woken) = UnixStream::pair().unwrap();
        let mut server = Server {
            store_dir: crate::model::StoreDir::default(),
            state: Arc::default(),
            listener: UnixListener::bind(root.path().join("socket")).unwrap(),
            woken,
            clients: Vec::new(),
            most: 200,
            roots: HashMap::new(),
        };
        let mut served = 0;
        for user in [1, 2, 3] {
            while server.has_place(Some(user)) {
                server.clients.push(client(Some(user)).0);
            }
            let of_user = server.clients.len() - served;
            served = server.clients.len();
            assert!(of_user <= MAX_OF_USER, "{of_user}");
        }
        assert_eq!(served, 100);
        drop(waker);
    }
}
