//! What a long operation tells its caller. The library never prints: it
//! calls this trait, and a program decides what becomes of it.

use std::sync::Arc;

/// What the numbers of a running task count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Paths, rows, files.
    Items,
}

/// Something that goes on for a while, for a caller that follows it step by step.
#[derive(Debug, Clone, Copy)]
pub struct Activity<'a> {
    /// What it is.
    pub kind: ActivityKind,
    /// In words, without dots at the end; empty if nobody need read of it.
    pub text: &'a str,
    /// What it is about: paths and URIs, as the kind has them.
    pub fields: &'a [&'a str],
    /// The activity that it is part of.
    pub parent: ActivityId,
}

/// The number of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityId(pub u64);

impl ActivityId {
    /// No activity.
    pub const NONE: Self = Self(0);
}

/// The kinds of activities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityKind {
    /// One path: path, source, destination.
    CopyPath,
    /// Several.
    CopyPaths,
    /// Making paths valid, by building and fetching.
    Realise,
    /// Building several derivations.
    Builds,
    /// Building one: derivation, machine (empty for this one).
    Build,
    /// Asking a store about a path: path, store.
    QueryPathInfo,
    /// A download or upload: URL.
    FileTransfer,
}

impl ActivityKind {
    /// The original's number for it.
    pub fn number(self) -> u64 {
        match self {
            Self::CopyPath => 100,
            Self::FileTransfer => 101,
            Self::Realise => 102,
            Self::CopyPaths => 103,
            Self::Builds => 104,
            Self::Build => 105,
            Self::QueryPathInfo => 109,
        }
    }

    /// The verbosity from which on it is told of.
    pub fn level(self) -> u64 {
        match self {
            Self::Realise | Self::Builds => 0,
            Self::CopyPath | Self::CopyPaths | Self::Build => 3,
            Self::FileTransfer | Self::QueryPathInfo => 4,
        }
    }
}

/// The original's numbers for what an activity results in.
pub mod result_kind {
    /// A line that a builder prints.
    pub const BUILD_LOG_LINE: u64 = 101;
    /// How far it is: done, expected, running, failed.
    pub const PROGRESS: u64 = 105;
    /// A kind, and how much of it is expected.
    pub const SET_EXPECTED: u64 = 106;
    /// The phase that a build is in.
    pub const SET_PHASE: u64 = 104;
    /// A line that is printed after a build.
    pub const POST_BUILD_LOG_LINE: u64 = 107;
}

/// How far an activity is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Done.
    pub done: u64,
    /// To be done in all.
    pub expected: u64,
    /// Being done.
    pub running: u64,
    /// Not done, and not going to be.
    pub failed: u64,
}

/// A part of what an activity elsewhere is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

/// What a daemon tells of its activities, in its own numbers: those of kinds and
/// results are the original's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One begins.
    Start {
        /// Its number.
        id: u64,
        /// The verbosity from which on it is told of.
        level: u64,
        /// Its kind.
        kind: u64,
        /// In words.
        text: String,
        /// What it is about.
        fields: Vec<Field>,
        /// What it is part of.
        parent: u64,
    },
    /// One ends.
    Stop(u64),
    /// Something of one.
    Result {
        /// Its number.
        id: u64,
        /// The kind of result.
        kind: u64,
        /// What it is.
        fields: Vec<Field>,
    },
}

/// What helps against something that a message tells of. Which words of which program do it is
/// known to the program: see [`Progress::advice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice<'a> {
    /// Repairing the path with this full name.
    RepairPath(&'a str),
    /// Checking the store and repairing what is damaged.
    Repair,
    /// The same, with the contents of all paths.
    RepairContents,
    /// Repairing, where something else was asked for, which does not repair.
    RepairInstead,
    /// Naming a store to fetch from.
    NameSubstituter,
    /// Going back to a generation of a profile, given as it is shown, that `nix-env` can change.
    GoBack(&'a str),
}

/// How a program puts an advice into words.
pub type Advise = fn(Advice<'_>) -> String;

/// Somebody who watches. Every method does nothing unless it is overridden.
pub trait Progress: Send + Sync {
    /// Something every user should read, in one line.
    fn notice(&self, text: &str) {
        let _ = text;
    }

    /// What was done, in one line, for a person rather than for a script.
    fn summary(&self, text: &str) {
        let _ = text;
    }

    /// As [`Progress::notice`], of something that is not as it should be.
    fn warn(&self, text: &str) {
        let _ = text;
    }

    /// Something that is wrong with the store, of which the operation's result
    /// tells too.
    fn problem(&self, text: &str) {
        let _ = text;
    }

    /// The words in which this program gives an advice, as they follow a message; none, where it
    /// gives none.
    fn advice(&self, advice: Advice<'_>) -> String {
        let _ = advice;
        String::new()
    }

    /// Something only a curious user wants to read.
    fn detail(&self, text: &str) {
        let _ = text;
    }

    /// An activity begins. Who does not follow activities tells of it in a line.
    fn start(&self, activity: &Activity<'_>) -> ActivityId {
        match activity.kind {
            _ if activity.text.is_empty() => {}
            ActivityKind::CopyPath | ActivityKind::CopyPaths | ActivityKind::Build => {
                self.notice(&format!("{}...", activity.text));
            }
            ActivityKind::Realise | ActivityKind::Builds => {}
            ActivityKind::QueryPathInfo | ActivityKind::FileTransfer => {
                self.detail(&format!("{}...", activity.text));
            }
        }
        ActivityId::NONE
    }

    /// An activity is so far.
    fn report(&self, id: ActivityId, counts: Counts) {
        let _ = (id, counts);
    }

    /// So much of a kind is expected to be done for an activity.
    fn expect(&self, id: ActivityId, kind: ActivityKind, total: u64) {
        let _ = (id, kind, total);
    }

    /// An activity ends.
    fn stop(&self, id: ActivityId) {
        let _ = id;
    }

    /// A line of a builder's log, without what only a terminal would act on.
    fn log_line(&self, id: ActivityId, line: &str) {
        let _ = (id, line);
    }

    /// Whether lines of logs are shown as they come: what failed need not show them again.
    fn shows_logs(&self) -> bool {
        false
    }

    /// A build has come to a phase with this name.
    fn phase(&self, id: ActivityId, name: &str) {
        let _ = (id, name);
    }

    /// A line of the program that runs after a build.
    fn post_build_line(&self, line: &str) {
        let _ = line;
    }

    /// How much is told, in the original's numbers: 3 is usual.
    fn verbosity(&self) -> u64 {
        3
    }

    /// Something of an activity of a daemon's.
    fn forward(&self, event: &Event) {
        let _ = event;
    }

    /// A task begins; `total` is how much there is to do, where that is known.
    fn begin(&self, task: &str, total: Option<u64>, unit: Unit) {
        let _ = (task, total, unit);
    }

    /// So much more of the task is done.
    fn advance(&self, amount: u64) {
        let _ = amount;
    }

    /// So many of the things that the task is about are done, and so many there are. Told by tasks
    /// whose amounts are bytes.
    fn count(&self, done: u64, total: u64) {
        let _ = (done, total);
    }

    /// So many bytes came free by the task up to now.
    fn freed(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A line about one of many things that the task is about. A display that counts them may leave
    /// it out.
    fn item(&self, text: &str) {
        self.notice(text);
    }

    /// The task ends.
    fn end(&self) {}
}

/// Nobody watches.
pub struct Silent;

impl Progress for Silent {}

/// A shared [`Silent`].
pub fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

/// A number of bytes for people: one decimal, in KiB or a larger unit.
pub fn size_text(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // Only one digit after the point is shown, so rounding does no harm.
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // More than: exactly one MiB is "1024.0 KiB".
    while value.abs() > 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
