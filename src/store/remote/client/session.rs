//! The client's side of both protocols: requests and their answers.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::nar::NarError;
use crate::progress::Progress;
use crate::store::error::{Result, StoreError};
use crate::store::remote::RemoteError;
use crate::store::remote::channel::connection::{Carrier, Connection, Incoming, Outgoing};
use crate::store::remote::protocol::serve;
use crate::store::remote::protocol::wire::MAX_HELLO;
use crate::store::remote::protocol::worker::message::Message;
use crate::store::remote::protocol::worker::{CLIENT_HELLO, SERVER_HELLO, Version, op, trust};
use crate::sys::interrupt::Interruptible;
use crate::sys::threads::locked;

/// Requests that may be on their way. All of them fit in what the system holds
/// for a pipe, so that nobody waits for each other.
pub(in crate::store) const DEPTH: usize = 128;
/// Bytes of a message at most, with all its parts.
const MAX_WHOLE_MESSAGE: u64 = 4 << 20;
/// Bytes of an answer at most: a list of ten million paths.
const MAX_ANSWER: u64 = 1 << 30;

/// What a client wants of a daemon.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How much is to be told.
    pub verbosity: u64,
    /// What builds print is to be told.
    pub build_output: bool,
    /// Failed builds stay on disk.
    pub keep_failed: bool,
    /// Others are built after one failed.
    pub keep_going: bool,
    /// What cannot be fetched is built.
    pub fallback: bool,
    /// Builds at the same time.
    pub max_jobs: u64,
    /// Seconds without output after which a build ends.
    pub max_silent_time: u64,
    /// Cores for each build.
    pub cores: u64,
    /// Missing paths may be fetched.
    pub substitute: bool,
    /// Other settings of the user's.
    pub overrides: Vec<(String, String)>,
}

/// What is spoken, in the lower of both sides' versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Protocol {
    /// The daemon's.
    Worker(Version),
    /// That of `nix-store --serve`.
    Serve(Version),
}

/// An open connection to a store.
pub(in crate::store) struct Link {
    uri: String,
    pub protocol: Protocol,
    /// The name of the server's own version, where it says it.
    pub server: Option<String>,
    /// Whether the server trusts this user, where it says it.
    pub trusted: Option<bool>,
    pub reader: Mutex<Incoming>,
    pub writer: Mutex<Outgoing>,
    carrier: Option<Box<dyn Carrier>>,
    progress: Arc<dyn Progress>,
    broken: AtomicBool,
}

impl Link {
    fn new(connection: Connection, uri: &str, protocol: Protocol, progress: Arc<dyn Progress>) -> Self {
        let Connection { reader, writer, carrier } = connection;
        Self {
            uri: uri.to_owned(),
            protocol,
            server: None,
            trusted: None,
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            carrier,
            progress,
            broken: AtomicBool::new(false),
        }
    }

    /// Begins to speak with a daemon over a connection.
    ///
    /// # Errors
    /// [`RemoteError`]; the server's refusal for one.
    pub fn to_worker(
        connection: Connection,
        uri: &str,
        options: Option<&ClientOptions>,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let mut link = Self::new(connection, uri, Protocol::Worker(Version::NEWEST), progress);
        let hello = link.hello();
        let (version, server, trusted) = hello.map_err(|error| link.failed(error))?;
        (link.protocol, link.server, link.trusted) = (Protocol::Worker(version), server, trusted);
        if let Some(options) = options {
            link.set_options(options)?;
        }
        Ok(link)
    }

    /// Begins to speak with `nix-store --serve` over a connection.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn to_serve(connection: Connection, uri: &str, progress: Arc<dyn Progress>) -> Result<Self> {
        let mut link = Self::new(connection, uri, Protocol::Serve(serve::NEWEST), progress);
        let hello = || {
            let (mut reader, mut writer) = (locked(&link.reader), locked(&link.writer));
            writer.number(serve::CLIENT_HELLO)?;
            writer.number(serve::NEWEST.0)?;
            writer.flush()?;
            reader.input.limit(MAX_HELLO);
            let first = link.patiently(|| reader.number())?;
            if first != serve::SERVER_HELLO {
                let what = "it is no 'nix-store --serve'";
                return Err(link.protocol(&stranger(what, first, reader.input.buffered())));
            }
            let theirs = Version(reader.number()?);
            reader.input.limit(u64::MAX);
            if theirs.major() != serve::NEWEST.major() || theirs < serve::OLDEST {
                return Err(link.protocol(&format!("it speaks version {theirs}, which is not known here")));
            }
            Ok(theirs.min(serve::NEWEST))
        };
        let hello = hello();
        let version = hello.map_err(|error| link.failed(error))?;
        link.protocol = Protocol::Serve(version);
        Ok(link)
    }

    /// The version of the protocol.
    pub fn version(&self) -> Version {
        match self.protocol {
            Protocol::Worker(version) | Protocol::Serve(version) => version,
        }
    }

    fn hello(&self) -> Result<(Version, Option<String>, Option<bool>)> {
        let (mut reader, mut writer) = (locked(&self.reader), locked(&self.writer));
        reader.input.limit(MAX_HELLO);
        writer.number(CLIENT_HELLO)?;
        writer.number(Version::NEWEST.0)?;
        writer.flush()?;
        let first = self.patiently(|| reader.number())?;
        if first != SERVER_HELLO {
            return Err(self.protocol(&stranger("it is no Nix daemon", first, reader.input.buffered())));
        }
        let theirs = Version(reader.number()?);
        if theirs.major() != Version::NEWEST.major() || theirs < Version::OLDEST {
            return Err(self.protocol(&format!("it speaks version {theirs}, which is not known here")));
        }
        let version = theirs.min(Version::NEWEST);
        if version.has(38) {
            writer.number(0)?;
        }
        // Of what very old servers wanted to know: no CPU, no reserved room. All
        // at once, for each answer takes as long as the line does.
        writer.number(0)?;
        writer.number(0)?;
        writer.flush()?;
        if version.has(38) {
            reader.words()?;
        }
        let server = if version.has(33) { Some(reader.word()?) } else { None };
        let trusted = if version.has(35) { reader.number()? } else { trust::UNKNOWN };
        let trusted = match trusted {
            trust::TRUSTED => Some(true),
            trust::NOT_TRUSTED => Some(false),
            _ => None,
        };
        self.messages_in(&mut reader, version)?;
        Ok((version, server, trusted))
    }

    /// Waits for the first word of the other side, and says so after a while: a
    /// machine that is not there or a program that hangs says nothing itself.
    fn patiently<T>(&self, wait: impl FnOnce() -> T) -> T {
        /// Time enough for a slow line, and for somebody who types a password.
        const PATIENCE: Duration = Duration::from_secs(5);
        let answered = (Mutex::new(false), Condvar::new());
        std::thread::scope(|scope| {
            let tell = || {
                let said = |answered: &mut bool| !*answered;
                let waited = answered.1.wait_timeout_while(locked(&answered.0), PATIENCE, said);
                if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
                    self.progress.notice(&format!("waiting for an answer from '{}'...", self.uri));
                }
            };
            // Without a thread nothing is told.
            let _ = std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, tell);
            let result = wait();
            *locked(&answered.0) = true;
            answered.1.notify_all();
            result
        })
    }

    fn set_options(&self, options: &ClientOptions) -> Result<()> {
        self.call(
            |writer| {
                let yes = u64::from;
                let numbers = [
                    op::SET_OPTIONS,
                    yes(options.keep_failed),
                    yes(options.keep_going),
                    yes(options.fallback),
                    options.verbosity,
                    options.max_jobs,
                    options.max_silent_time,
                    // Words without a meaning, but for how much builds tell.
                    1,
                    if options.build_output { 0 } else { 7 },
                    0,
                    0,
                    options.cores,
                    yes(options.substitute),
                    options.overrides.len() as u64,
                ];
                numbers.into_iter().try_for_each(|number| writer.number(number))?;
                for (name, value) in &options.overrides {
                    writer.text(name)?;
                    writer.text(value)?;
                }
                Ok(())
            },
            |_| Ok(()),
        )
    }

    /// Whether nothing more can be said.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Nothing more is to be said: what comes next would not be an answer.
    pub fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Hangs up, so that the other side ends, too.
    pub fn hang_up(&self) {
        self.give_up();
        let mut writer = locked(&self.writer);
        if let Ok(nowhere) = File::options().write(true).open("/dev/null") {
            writer.replace(Interruptible(nowhere)).shut_down();
        }
    }

    /// The error for a server that breaks the protocol.
    pub fn protocol(&self, what: &str) -> StoreError {
        RemoteError::Protocol { peer: self.uri.clone(), what: what.to_owned() }.into()
    }

    /// What an error means here; the connection is of no use after most.
    pub fn failed(&self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Remote(RemoteError::Peer(_))) {
            return error;
        }
        self.give_up();
        let lost = |reason: String| {
            let words = self.carrier.as_ref().and_then(|carrier| carrier.last_words());
            StoreError::Remote(RemoteError::Lost { uri: self.uri.clone(), reason: words.unwrap_or(reason) })
        };
        match error {
            StoreError::Nar(NarError::Eof) => lost("it was closed".to_owned()),
            StoreError::Nar(NarError::Read(source) | NarError::Write(source)) => {
                lost(crate::sys::errno_text(&source))
            }
            StoreError::Nar(NarError::TooLong) => self.protocol("it announces more than is sensible"),
            StoreError::Nar(NarError::Padding) => self.protocol("a string is not padded with zeros"),
            StoreError::Remote(RemoteError::Protocol { what, .. }) => self.protocol(&what),
            other => other,
        }
    }

    /// Passes on what the server tells, until the answer comes.
    ///
    /// # Errors
    /// [`RemoteError::Peer`] where the operation failed.
    pub fn messages(&self, reader: &mut Incoming) -> Result<()> {
        match self.protocol {
            Protocol::Worker(version) => self.messages_in(reader, version),
            // There are none.
            Protocol::Serve(_) => Ok(()),
        }
    }

    fn messages_in(&self, reader: &mut Incoming, version: Version) -> Result<()> {
        loop {
            reader.input.limit(MAX_WHOLE_MESSAGE);
            let message = Message::read(reader, version)?;
            reader.input.limit(u64::MAX);
            match message {
                Message::Last => return Ok(()),
                Message::Error(text) => {
                    return Err(peer_error(&text));
                }
                message => self.tell(message)?,
            }
        }
    }

    /// Passes a message on.
    pub fn tell(&self, message: Message) -> Result<()> {
        match message {
            Message::Next(text) => {
                // It comes with colours, whatever this is.
                let text = plain(text.trim_end_matches('\n'));
                self.progress.problem(&text);
            }
            Message::Event(event) => self.progress.forward(&event),
            Message::Read(_) | Message::Last | Message::Error(_) => {
                return Err(self.protocol("it asks for something that it was not offered"));
            }
        }
        Ok(())
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// [`RemoteError`], and those of the answer.
    pub fn call<T>(
        &self,
        request: impl FnOnce(&mut Outgoing) -> Result<()>,
        answer: impl FnOnce(&mut Incoming) -> Result<T>,
    ) -> Result<T> {
        let (mut reader, mut writer) = (locked(&self.reader), locked(&self.writer));
        let run = || {
            request(&mut writer)?;
            writer.flush()?;
            self.messages(&mut reader)?;
            limited(&mut reader, answer)
        };
        let result = run();
        if result.is_err() && reader.input.has_more() {
            // A server that did not understand says so twice, and hangs up.
            self.give_up();
        }
        result.map_err(|error| self.failed(error))
    }

    /// As many requests and answers as there are `subjects`, without waiting
    /// for one before the next is sent.
    ///
    /// # Errors
    /// The first of those of [`Link::call`].
    pub fn calls<S, T>(
        &self,
        subjects: &[S],
        mut request: impl FnMut(&mut Outgoing, &S) -> Result<()>,
        mut answer: impl FnMut(&mut Incoming, &S) -> Result<T>,
    ) -> Result<Vec<T>> {
        let (mut reader, mut writer) = (locked(&self.reader), locked(&self.writer));
        let mut answers = Vec::with_capacity(subjects.len());
        let mut refused = None;
        let mut sent = 0;
        let mut run = || {
            for (number, subject) in subjects.iter().enumerate() {
                if sent < subjects.len() && sent - number <= DEPTH / 2 {
                    while sent < subjects.len() && sent - number < DEPTH {
                        request(&mut writer, &subjects[sent])?;
                        sent += 1;
                    }
                    writer.flush()?;
                }
                match self.messages(&mut reader) {
                    Ok(()) => answers.push(limited(&mut reader, |reader| answer(reader, subject))?),
                    // The answers to the others come nevertheless.
                    Err(error @ StoreError::Remote(RemoteError::Peer(_))) => {
                        refused.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let run = run().map_err(|error| self.failed(error));
        // What the server said tells more than that it hung up afterwards.
        match refused {
            Some(refused) => Err(refused),
            None => run.map(|()| answers),
        }
    }
}

/// Reads an answer that is not longer than is sensible.
fn limited<T>(reader: &mut Incoming, answer: impl FnOnce(&mut Incoming) -> Result<T>) -> Result<T> {
    reader.input.limit(MAX_ANSWER);
    let answer = answer(reader);
    reader.input.limit(u64::MAX);
    answer
}

/// What is wrong with somebody whose first word is another: as far as it is text,
/// it is shown, since a shell over there may have printed it.
fn stranger(what: &str, first: u64, more: &[u8]) -> String {
    const SHOWN: usize = 200;
    let said: Vec<u8> = first.to_le_bytes().into_iter().chain(more.iter().copied()).take(SHOWN).collect();
    let text = String::from_utf8_lossy(&said);
    let odd = |c: char| c == '\u{fffd}' || (c.is_control() && !c.is_ascii_whitespace());
    if text.trim_end_matches('\u{fffd}').contains(odd) {
        return what.to_owned();
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{what}, it begins with '{text}' (which the shell's start-up files there may print)")
}

/// The error that a server told of; what follows its first line stands below it.
pub(in crate::store) fn peer_error(text: &str) -> StoreError {
    RemoteError::Peer(told(text)).into()
}

/// The text of an error that a server told of, as [`peer_error`] has it.
pub(in crate::store) fn told(text: &str) -> String {
    let text = plain(text);
    indented(text.strip_prefix("error: ").unwrap_or(&text))
}

/// A text of several lines, as it stands after `error: `.
fn indented(text: &str) -> String {
    let mut lines = text.lines();
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            out.push_str("       ");
            out.push_str(line);
        }
    }
    out
}

/// A text without the escape sequences that colour it.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\x1b[") {
        out.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let end = after.find(|c: char| c.is_ascii_alphabetic()).map_or(after.len(), |end| end + 1);
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_shell_prints_is_shown() {
        let first = u64::from_le_bytes(*b"Welcome ");
        let shown = crate::store::remote::client::session::stranger("no daemon", first, b"to\nexample\n");
        assert!(shown.starts_with("no daemon, it begins with 'Welcome to example' ("), "{shown}");
        assert_eq!(crate::store::remote::client::session::stranger("no daemon", 1, b"x"), "no daemon");
    }

    #[test]
    fn lines_stand_below_each_other() {
        assert_eq!(crate::store::remote::client::session::indented("a\nb\n\nc\n"), "a\n       b\n\n       c");
    }

    #[test]
    fn colours_go() {
        assert_eq!(crate::store::remote::client::session::plain("\x1b[35;1mwarning:\x1b[0m x"), "warning: x");
        assert_eq!(crate::store::remote::client::session::plain("a\x1b["), "a");
    }
}
