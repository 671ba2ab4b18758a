//! What a server tells a client while it works for it.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::progress::{Activity, ActivityId, ActivityKind, Counts, Event, Field, Progress};
use crate::store::error::Result;
use crate::store::remote::wire::Writer;
use crate::store::remote::worker::Version;
use crate::store::remote::worker::message::Message;
use crate::sys::threads::locked;

/// Messages to one client; those that come while it is not waiting for an
/// operation are dropped.
pub(super) struct Tunnel<W: Write> {
    writer: Mutex<Writer<W>>,
    version: AtomicU64,
    verbosity: AtomicU64,
    open: AtomicBool,
    activities: AtomicU64,
}

impl<W: Write> Tunnel<W> {
    pub fn new(writer: Writer<W>) -> Self {
        Self {
            writer: Mutex::new(writer),
            version: AtomicU64::new(Version::OLDEST.0),
            verbosity: AtomicU64::new(3),
            open: AtomicBool::new(false),
            activities: AtomicU64::new(1),
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
        let mut writer = locked(&self.writer);
        Message::Last.write(&mut writer, self.version())?;
        answer(&mut writer)?;
        writer.flush()
    }

    /// The work has failed.
    pub fn fail(&self, error: &str) -> Result<()> {
        self.open.store(false, Ordering::Relaxed);
        let mut writer = locked(&self.writer);
        Message::Error(error.to_owned()).write(&mut writer, self.version())?;
        writer.flush()
    }

    /// Words of the protocol besides messages and answers.
    pub fn say(&self, words: impl FnOnce(&mut Writer<W>) -> Result<()>) -> Result<()> {
        let mut writer = locked(&self.writer);
        words(&mut writer)?;
        writer.flush()
    }

    fn send(&self, level: u64, message: &Message) {
        if !self.open.load(Ordering::Relaxed) || level > self.verbosity.load(Ordering::Relaxed) {
            return;
        }
        let mut writer = locked(&self.writer);
        // A client that is gone is noticed by whoever answers it.
        let _ = message.write(&mut writer, self.version()).and_then(|()| writer.flush());
    }

    fn line(&self, level: u64, text: &str) {
        self.send(level, &Message::Next(format!("{text}\n")));
    }
}

const ERROR: u64 = 0;
const WARN: u64 = 1;
const INFO: u64 = 3;
const TALKATIVE: u64 = 4;
/// Kinds of results.
const PROGRESS: u64 = 105;
const SET_EXPECTED: u64 = 106;

/// The original's number for a kind, and from which verbosity on it is told of.
fn number(kind: ActivityKind) -> (u64, u64) {
    match kind {
        ActivityKind::CopyPath => (100, INFO),
        ActivityKind::FileTransfer => (101, TALKATIVE),
        ActivityKind::CopyPaths => (103, INFO),
        ActivityKind::QueryPathInfo => (109, TALKATIVE),
    }
}

impl<W: Write + Send> Progress for Tunnel<W> {
    fn notice(&self, text: &str) {
        self.line(INFO, text);
    }

    fn warn(&self, text: &str) {
        self.line(WARN, &format!("warning: {text}"));
    }

    fn problem(&self, text: &str) {
        self.line(ERROR, text);
    }

    fn detail(&self, text: &str) {
        self.line(TALKATIVE, text);
    }

    fn verbosity(&self) -> u64 {
        self.verbosity.load(Ordering::Relaxed)
    }

    fn start(&self, activity: &Activity<'_>) -> ActivityId {
        let (kind, level) = number(activity.kind);
        let id = self.activities.fetch_add(1, Ordering::Relaxed);
        let fields = activity.fields.iter().map(|&field| Field::Text(field.to_owned())).collect();
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
        let fields = vec![Field::Number(number(kind).0), Field::Number(total)];
        self.send(0, &Message::Event(Event::Result { id: id.0, kind: SET_EXPECTED, fields }));
    }

    fn stop(&self, id: ActivityId) {
        self.send(0, &Message::Event(Event::Stop(id.0)));
    }

    fn forward(&self, event: &Event) {
        self.send(0, &Message::Event(event.clone()));
    }
}
