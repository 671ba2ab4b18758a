//! What a server tells a client while it works for it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::progress::result_kind::{BUILD_LOG_LINE, POST_BUILD_LOG_LINE, PROGRESS, SET_EXPECTED, SET_PHASE};
use crate::progress::{Activity, ActivityId, ActivityKind, Advice, Advise, Counts, Event, Field, Progress};
use crate::store::error::Result;
use crate::store::remote::protocol::wire::Writer;
use crate::store::remote::protocol::worker::Version;
use crate::store::remote::protocol::worker::message::Message;
use crate::sys::interrupt::Interruptible;
use crate::sys::threads::locked;

/// Where messages go: what cannot be written at once may wait.
pub trait Outlet: Write + Send {
    /// Writes what can be written within a time; gives how much that was.
    ///
    /// # Errors
    /// Errors of writing, but not that there was no room.
    fn write_within(&mut self, data: &[u8], time: Duration) -> io::Result<usize>;
}

impl Outlet for Interruptible<File> {
    fn write_within(&mut self, data: &[u8], time: Duration) -> io::Result<usize> {
        Interruptible::write_within(self, data, time)
    }
}

/// Bytes of messages that wait for the client at most.
const MAX_PENDING: usize = 1 << 20;
/// How long a client may take nothing before it hears no more messages: a client that
/// works for it may hold locks.
const PATIENCE: Duration = Duration::from_secs(2);

struct Out<W: Outlet> {
    writer: Writer<W>,
    /// Whole messages that the client did not take yet.
    pending: Vec<u8>,
    /// It takes none.
    deaf: bool,
}

impl<W: Outlet> Out<W> {
    fn add(&mut self, message: &Message, version: Version) {
        if self.deaf {
            return;
        }
        let mut bytes = Writer::new(&mut self.pending);
        // Memory takes everything.
        let _ = message.write(&mut bytes, version).and_then(|()| bytes.flush());
        drop(bytes);
        let time = if self.pending.len() > MAX_PENDING { PATIENCE } else { Duration::ZERO };
        let written = self.writer.inner().write_within(&self.pending, time).unwrap_or(0);
        self.pending.drain(..written);
        self.deaf = self.pending.len() > MAX_PENDING && written == 0;
    }

    /// What follows is said whatever it takes: nobody is kept waiting by it.
    fn ready(&mut self) -> Result<&mut Writer<W>> {
        self.deaf = false;
        let pending = std::mem::take(&mut self.pending);
        self.writer.raw(&pending)?;
        Ok(&mut self.writer)
    }
}

/// Messages to one client; those that come while it is not waiting for an
/// operation are dropped.
pub(super) struct Tunnel<W: Outlet> {
    out: Mutex<Out<W>>,
    version: AtomicU64,
    verbosity: AtomicU64,
    open: AtomicBool,
    activities: AtomicU64,
    advise: Advise,
}

impl<W: Outlet> Tunnel<W> {
    pub fn new(writer: Writer<W>, advise: Advise) -> Self {
        Self {
            advise,
            out: Mutex::new(Out { writer, pending: Vec::new(), deaf: false }),
            version: AtomicU64::new(Version::OLDEST.0),
            verbosity: AtomicU64::new(3),
            open: AtomicBool::new(false),
            // Unique among all servers of this machine.
            activities: AtomicU64::new(u64::from(std::process::id()) << 32),
        }
    }

    /// The version that both sides speak.
    pub fn version(&self) -> Version {
        Version(self.version.load(Ordering::Relaxed))
    }

    pub fn set_version(&self, version: Version) {
        self.version.store(version.0, Ordering::Relaxed);
    }

    pub fn set_verbosity(&self, verbosity: u64) {
        self.verbosity.store(verbosity, Ordering::Relaxed);
    }

    /// The client waits from now on.
    pub fn begin(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// The work is done: what follows is the answer.
    pub fn answer(&self, answer: impl FnOnce(&mut Writer<W>) -> Result<()>) -> Result<()> {
        self.open.store(false, Ordering::Relaxed);
        let mut out = locked(&self.out);
        let writer = out.ready()?;
        Message::Last.write(writer, self.version())?;
        answer(writer)?;
        writer.flush()
    }

    /// The work has failed.
    pub fn fail(&self, error: &str) -> Result<()> {
        self.open.store(false, Ordering::Relaxed);
        let mut out = locked(&self.out);
        let writer = out.ready()?;
        Message::Error(error.to_owned()).write(writer, self.version())?;
        writer.flush()
    }

    /// Words of the protocol besides messages and answers.
    pub fn say(&self, words: impl FnOnce(&mut Writer<W>) -> Result<()>) -> Result<()> {
        let mut out = locked(&self.out);
        let writer = out.ready()?;
        words(writer)?;
        writer.flush()
    }

    fn send(&self, level: u64, message: &Message) {
        if !self.open.load(Ordering::Relaxed) || level > self.verbosity.load(Ordering::Relaxed) {
            return;
        }
        locked(&self.out).add(message, self.version());
    }

    fn result(&self, id: ActivityId, kind: u64, text: &str) {
        let fields = vec![Field::Text(text.to_owned())];
        self.send(0, &Message::Event(Event::Result { id: id.0, kind, fields }));
    }

    fn line(&self, level: u64, text: &str) {
        self.send(level, &Message::Next(format!("{text}\n")));
    }
}

const ERROR: u64 = 0;
const WARN: u64 = 1;
const INFO: u64 = 3;
const TALKATIVE: u64 = 4;

impl<W: Outlet> Progress for Tunnel<W> {
    fn notice(&self, text: &str) {
        self.line(INFO, text);
    }

    fn warn(&self, text: &str) {
        self.line(WARN, &format!("warning: {text}"));
    }

    fn problem(&self, text: &str) {
        self.line(ERROR, text);
    }

    fn advice(&self, advice: Advice<'_>) -> String {
        (self.advise)(advice)
    }

    fn detail(&self, text: &str) {
        self.line(TALKATIVE, text);
    }

    fn log_line(&self, id: ActivityId, line: &str) {
        self.result(id, BUILD_LOG_LINE, line);
    }

    fn phase(&self, id: ActivityId, name: &str) {
        self.result(id, SET_PHASE, name);
    }

    fn post_build_line(&self, line: &str) {
        self.result(ActivityId::NONE, POST_BUILD_LOG_LINE, line);
    }

    fn verbosity(&self) -> u64 {
        self.verbosity.load(Ordering::Relaxed)
    }

    fn start(&self, activity: &Activity<'_>) -> ActivityId {
        let (kind, level) = (activity.kind.number(), activity.kind.level());
        let id = self.activities.fetch_add(1, Ordering::Relaxed);
        let mut fields: Vec<_> = activity.fields.iter().map(|&field| Field::Text(field.to_owned())).collect();
        if activity.kind == ActivityKind::Build {
            // The first round of one, in the words of versions that built several times.
            fields.extend([Field::Number(1), Field::Number(1)]);
        }
        let (text, parent) = (activity.text.to_owned(), activity.parent.0);
        // Activities are sent whatever the verbosity: the client decides.
        self.send(0, &Message::Event(Event::Start { id, level, kind, text, fields, parent }));
        ActivityId(id)
    }

    fn report(&self, id: ActivityId, counts: Counts) {
        let fields = [counts.done, counts.expected, counts.running, counts.failed];
        let fields = fields.into_iter().map(Field::Number).collect();
        self.send(0, &Message::Event(Event::Result { id: id.0, kind: PROGRESS, fields }));
    }

    fn expect(&self, id: ActivityId, kind: ActivityKind, total: u64) {
        let fields = vec![Field::Number(kind.number()), Field::Number(total)];
        self.send(0, &Message::Event(Event::Result { id: id.0, kind: SET_EXPECTED, fields }));
    }

    fn stop(&self, id: ActivityId) {
        self.send(0, &Message::Event(Event::Stop(id.0)));
    }

    fn forward(&self, event: &Event) {
        self.send(0, &Message::Event(event.clone()));
    }
}
