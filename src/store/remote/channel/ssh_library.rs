//! The client that is used where there is no program `ssh`: keys from an agent
//! or from files, machines by `known_hosts` only.
//!
//! A thread moves what is read and written between the encrypted connection and
//! a pair of sockets, so that the rest sees what it sees of a program.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, CheckResult, KnownHostFileKind, Session};

use crate::store::error::Result;
use crate::store::remote::RemoteError;
use crate::store::remote::channel::connection::{Carrier, Connection};
use crate::store::remote::channel::ssh_program::{Ssh, quoted};
use crate::sys::errno_text;
use crate::sys::threads::locked;

/// How long a machine may take to answer at all.
const CONNECT: Duration = Duration::from_secs(30);
/// Seconds between signs of life.
const ALIVE: u32 = 15;
/// Bytes moved at a time.
const PIECE: usize = 64 * 1024;
/// Bytes that are kept of what the program there complains of.
const COMPLAINTS: usize = 4096;
/// Keys that are tried when none is named.
const USUAL_KEYS: &[&str] = &["id_ed25519", "id_ecdsa", "id_rsa"];

/// Starts a program on another machine.
///
/// # Errors
/// [`RemoteError::Ssh`].
pub(super) fn connect(target: &Ssh) -> Result<Connection> {
    let failed = |reason: String| RemoteError::Ssh { host: target.host.clone(), reason };
    if !target.options.is_empty() {
        let words = target.options.join(" ");
        return Err(failed(format!(
            "no program 'ssh' was found, and the words '{words}' (NIX_SSHOPTS) are for it"
        ))
        .into());
    }
    let port = target.port.unwrap_or(22);
    let stream = dial(&target.host, port).map_err(|error| failed(errno_text(&error)))?;
    let session = begin(target, port, stream.try_clone().map_err(|error| failed(errno_text(&error)))?)
        .map_err(failed)?;
    let command = target.program.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let start = || {
        let mut channel = session.channel_session()?;
        channel.exec(&command)?;
        Ok::<_, ssh2::Error>(channel)
    };
    let channel = start().map_err(|error| failed(error.message().to_owned()))?;
    let make = || {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let complaints = Arc::<Mutex<Vec<u8>>>::default();
        let mover = Mover { session, channel, stream, local: ours, complaints: Arc::clone(&complaints) };
        std::thread::Builder::new().spawn(move || mover.run())?;
        let other = theirs.try_clone()?;
        Connection::over(OwnedFd::from(theirs), OwnedFd::from(other), Some(Box::new(Complaints(complaints))))
    };
    Ok(make().map_err(|error: io::Error| failed(errno_text(&error)))?)
}

fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// An encrypted session with the right machine, logged in.
fn begin(target: &Ssh, port: u16, stream: TcpStream) -> std::result::Result<Session, String> {
    let text = |error: ssh2::Error| error.message().to_owned();
    let mut session = Session::new().map_err(text)?;
    session.set_timeout(u32::try_from(CONNECT.as_millis()).unwrap_or(0));
    session.set_compress(target.compress);
    session.set_tcp_stream(stream);
    session.handshake().map_err(text)?;
    check_machine(target, port, &session)?;
    log_in(target, &session)?;
    session.set_timeout(0);
    session.set_keepalive(true, ALIVE);
    Ok(session)
}

/// Makes sure that the machine has a key that is known to be its own.
fn check_machine(target: &Ssh, port: u16, session: &Session) -> std::result::Result<(), String> {
    use base64::Engine as _;
    let (key, _) = session.host_key().ok_or("the machine shows no key")?;
    let shown = base64::engine::general_purpose::STANDARD.encode(key);
    if let Some(wanted) = &target.host_key {
        return match wanted.split_ascii_whitespace().nth(1) == Some(&shown) {
            true => Ok(()),
            false => Err("its key is not the one of 'base64-ssh-public-host-key'".to_owned()),
        };
    }
    let mut known = session.known_hosts().map_err(|error| error.message().to_owned())?;
    let files = [target.home.as_ref().map(|home| home.join(".ssh/known_hosts")), Some(PathBuf::from(SYSTEM))];
    let mut authorities = None;
    for file in files.into_iter().flatten().filter(|file| file.exists()) {
        known
            .read_file(&file, KnownHostFileKind::OpenSSH)
            .map_err(|error| format!("reading \"{}\": {}", file.display(), error.message()))?;
        let marked = Marked::read(&file, &shown)?;
        if marked.revokes {
            return Err(format!("its key is marked as revoked in \"{}\"", file.display()));
        }
        authorities = authorities.or(marked.names_authorities.then_some(file));
    }
    match known.check_port(&target.host, port, key) {
        CheckResult::Match => Ok(()),
        CheckResult::Mismatch => Err("its key is another one than 'known_hosts' has for it".to_owned()),
        _ => Err(unknown_key(authorities.as_deref())),
    }
}

/// What is said about a machine whose key is not known; `authorities` is a file that names
/// authorities for certificates.
fn unknown_key(authorities: Option<&Path>) -> String {
    let mut text = "its key is not known: add it to '~/.ssh/known_hosts' (ssh-keyscan prints it)".to_owned();
    if let Some(file) = authorities {
        text += &format!(
            "; certificates of machines, for which \"{}\" names an authority ('@cert-authority'), are understood by the \
             program 'ssh' only",
            file.display()
        );
    }
    text
}

/// What the lines of a file of known machines say that begin with a mark: the library
/// reads no such lines.
struct Marked {
    /// The key of the machine is revoked. For which machine is not asked, as names may be
    /// hashed: a key that is revoked is good for none.
    revokes: bool,
    /// There are authorities whose certificates machines may show.
    names_authorities: bool,
}

impl Marked {
    fn read(file: &Path, key: &str) -> std::result::Result<Self, String> {
        let text = std::fs::read(file)
            .map_err(|error| format!("reading \"{}\": {}", file.display(), errno_text(&error)))?;
        let text = String::from_utf8_lossy(&text);
        let mut marked = Self { revokes: false, names_authorities: false };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("@revoked") => marked.revokes |= words.nth(2) == Some(key),
                Some("@cert-authority") => marked.names_authorities = true,
                _ => {}
            }
        }
        Ok(marked)
    }
}

/// The machines that everybody here knows.
const SYSTEM: &str = "/etc/ssh/ssh_known_hosts";

fn log_in(target: &Ssh, session: &Session) -> std::result::Result<(), String> {
    let user = target.user.as_deref().unwrap_or(&target.login);
    let mut tried = Vec::new();
    if target.key.is_none() {
        if session.userauth_agent(user).is_ok() && session.authenticated() {
            return Ok(());
        }
        tried.push("the agent".to_owned());
    }
    let usual = USUAL_KEYS.iter().filter_map(|name| Some(target.home.as_ref()?.join(".ssh").join(name)));
    let keys: Vec<PathBuf> = target.key.clone().map_or_else(|| usual.collect(), |key| vec![key]);
    for key in keys.iter().filter(|key| Path::new(key).exists()) {
        match session.userauth_pubkey_file(user, None, key, None) {
            Ok(()) if session.authenticated() => return Ok(()),
            Ok(()) => tried.push(format!("\"{}\"", key.display())),
            Err(error) => tried.push(format!("\"{}\" ({})", key.display(), error.message())),
        }
    }
    Err(format!("permission denied for user '{user}'; tried: {}", tried.join(", ")))
}

/// What the program there said at last.
struct Complaints(Arc<Mutex<Vec<u8>>>);

impl Carrier for Complaints {
    fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&locked(&self.0)).trim().to_owned();
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Moves bytes, until one of the sides is done.
struct Mover {
    session: Session,
    channel: Channel,
    stream: TcpStream,
    local: UnixStream,
    complaints: Arc<Mutex<Vec<u8>>>,
}

/// What was read on one side and not written on the other yet.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    at: usize,
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Fills it anew; false at the end, nothing where one has to wait.
    fn fill(&mut self, source: &mut impl Read) -> io::Result<Option<bool>> {
        self.bytes.resize(PIECE, 0);
        self.at = 0;
        let result = source.read(&mut self.bytes);
        self.bytes.truncate(*result.as_ref().unwrap_or(&0));
        match result {
            Ok(count) => Ok(Some(count > 0)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes what it can; true if that was something.
    fn drain(&mut self, sink: &mut impl Write) -> io::Result<bool> {
        let before = self.at;
        while !self.is_empty() {
            match sink.write(&self.bytes[self.at..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.at > before)
    }
}

impl Mover {
    fn run(mut self) {
        // The reader sees that it ended; why is in the complaints.
        if let Err(error) = self.work() {
            self.complain(error.to_string().as_bytes());
        }
        let _ = self.local.shutdown(std::net::Shutdown::Both);
        self.session.set_blocking(false);
        let _ = self.channel.close();
    }

    fn complain(&self, text: &[u8]) {
        let mut kept = locked(&self.complaints);
        kept.extend_from_slice(text);
        let excess = kept.len().saturating_sub(COMPLAINTS);
        kept.drain(..excess);
    }

    fn work(&mut self) -> io::Result<()> {
        self.session.set_blocking(false);
        let (mut to_us, mut to_them) = (Piece::default(), Piece::default());
        let (mut we_ended, mut told) = (false, false);
        let mut alive = Instant::now();
        loop {
            let mut moved = false;
            if to_us.is_empty() {
                moved |= to_us.fill(&mut self.channel)? == Some(true);
            }
            moved |= to_us.drain(&mut self.local)?;
            let mut complaint = Piece::default();
            if complaint.fill(&mut self.channel.stderr())? == Some(true) {
                self.complain(&complaint.bytes);
                moved = true;
            }
            if to_them.is_empty() && !we_ended {
                match to_them.fill(&mut self.local)? {
                    Some(true) => moved = true,
                    Some(false) => we_ended = true,
                    None => {}
                }
            }
            moved |= to_them.drain(&mut self.channel)?;
            if we_ended && to_them.is_empty() && !told {
                told = self.channel.send_eof().is_ok();
            }
            if self.channel.eof() && to_us.is_empty() {
                return Ok(());
            }
            if alive.elapsed() > Duration::from_secs(u64::from(ALIVE)) {
                let _ = self.session.keepalive_send();
                alive = Instant::now();
            }
            if !moved {
                self.wait(&to_us, &to_them, we_ended)?;
            }
        }
    }

    /// Until there is something to move.
    fn wait(&self, to_us: &Piece, to_them: &Piece, we_ended: bool) -> io::Result<()> {
        let mut wire = PollFlags::IN;
        if matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both) {
            wire |= PollFlags::OUT;
        }
        let mut local = PollFlags::empty();
        if to_them.is_empty() && !we_ended {
            local |= PollFlags::IN;
        }
        if !to_us.is_empty() {
            local |= PollFlags::OUT;
        }
        let mut watched = vec![PollFd::new(&self.stream, wire)];
        if !local.is_empty() {
            watched.push(PollFd::new(&self.local, local));
        }
        // Not for ever: signs of life are to be sent.
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
