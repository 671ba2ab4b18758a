//! What the programs tell on standard error: messages, and the row of the running task.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};

use nival::progress::result_kind::{BUILD_LOG_LINE, POST_BUILD_LOG_LINE, PROGRESS, SET_EXPECTED, SET_PHASE};
use nival::progress::{Activity, ActivityId, ActivityKind, Advice, Counts, Event, Field, Progress, Unit};
use nival::sys::threads::locked;

use crate::cli::output::task::Task;

/// How much is told, from errors only to everything.
pub mod level {
    /// Errors.
    pub const ERROR: i32 = 0;
    /// And warnings.
    pub const WARN: i32 = 1;
    /// And what was done; the default.
    pub const INFO: i32 = 3;
    /// And details (`-v`).
    pub const TALKATIVE: i32 = 4;
}

/// The forms messages can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LogFormat {
    /// Lines, and on a terminal a bar.
    Bar = 0,
    /// Lines only.
    Raw = 1,
    /// One JSON object a line, each after `@nix `.
    InternalJson = 2,
}

impl LogFormat {
    /// The form with a name on the command line.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "bar" | "bar-with-logs" | "multiline" | "multiline-with-logs" => Some(Self::Bar),
            "raw" | "raw-with-logs" => Some(Self::Raw),
            "internal-json" => Some(Self::InternalJson),
            _ => None,
        }
    }

    /// The name of the form on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bar => "bar",
            Self::Raw => "raw",
            Self::InternalJson => "internal-json",
        }
    }
}

/// What becomes of the lines that builders print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Logs {
    /// They are shown as they are.
    Plain = 0,
    /// They are shown after the name of what is built.
    Named = 1,
    /// They are not shown.
    Hidden = 2,
}

impl Logs {
    /// What becomes of them in the form of messages with a name on the command line.
    pub fn of_format(name: &str) -> Self {
        match name {
            "bar-with-logs" | "multiline-with-logs" => Self::Named,
            "raw-with-logs" => Self::Plain,
            _ => Self::Hidden,
        }
    }
}

/// The two output streams and how they are used.
pub struct Ui {
    verbosity: AtomicI32,
    format: AtomicU8,
    terminal: bool,
    colour: bool,
    /// A terminal that knows no escape sequences.
    dumb: bool,
    /// The running task, where a row shows it.
    task: Mutex<Option<Task>>,
    /// What becomes of the lines that builders print.
    logs: AtomicU8,
    /// Activities that are copies of several paths.
    copies: Mutex<BTreeSet<u64>>,
    /// Builds, and the names of what they build.
    builds: Mutex<BTreeMap<u64, String>>,
    /// A copy of everything as JSON (`json-log-path`).
    log: Mutex<Option<Box<dyn io::Write + Send>>>,
    logged: AtomicBool,
    /// Activities begun.
    activities: AtomicU64,
}

impl Ui {
    /// With the defaults; colours only on a terminal and unless NO_COLOR is set;
    /// `term` is the kind of terminal.
    pub fn new(no_colour: bool, term: Option<&std::ffi::OsStr>) -> Self {
        let terminal = io::stderr().is_terminal();
        let dumb = term.is_none_or(|term| term.is_empty() || term == "dumb");
        Self {
            verbosity: AtomicI32::new(level::INFO),
            format: AtomicU8::new(LogFormat::Bar as u8),
            terminal,
            colour: terminal && !no_colour && !dumb,
            dumb,
            task: Mutex::new(None),
            logs: AtomicU8::new(Logs::Plain as u8),
            copies: Mutex::new(BTreeSet::new()),
            builds: Mutex::new(BTreeMap::new()),
            log: Mutex::new(None),
            logged: AtomicBool::new(false),
            activities: AtomicU64::new(0),
        }
    }

    /// Tells so much more (or less).
    pub fn change_verbosity(&self, by: i32) {
        self.verbosity.fetch_add(by, Ordering::Relaxed);
    }

    /// How much is told.
    pub fn verbosity(&self) -> i32 {
        self.verbosity.load(Ordering::Relaxed)
    }

    /// Chooses the form of messages.
    pub fn set_format(&self, format: LogFormat) {
        self.format.store(format as u8, Ordering::Relaxed);
    }

    /// The form of messages.
    pub fn format(&self) -> LogFormat {
        let chosen = self.format.load(Ordering::Relaxed);
        let all = [LogFormat::Bar, LogFormat::Raw, LogFormat::InternalJson];
        all.into_iter().find(|format| *format as u8 == chosen).unwrap_or(LogFormat::Bar)
    }

    /// Chooses what becomes of the lines that builders print.
    pub fn set_logs(&self, logs: Logs) {
        self.logs.store(logs as u8, Ordering::Relaxed);
    }

    fn logs(&self) -> Logs {
        let chosen = self.logs.load(Ordering::Relaxed);
        let all = [Logs::Plain, Logs::Named, Logs::Hidden];
        all.into_iter().find(|logs| *logs as u8 == chosen).unwrap_or(Logs::Plain)
    }

    /// Shows a line of a builder's.
    fn show_log(&self, id: ActivityId, line: &str) {
        match self.logs() {
            Logs::Plain => self.show(level::ERROR, "", "", line),
            Logs::Named => {
                let name = locked(&self.builds).get(&id.0).cloned().unwrap_or_default();
                self.show(level::ERROR, "", "", &format!("{name}> {line}"));
            }
            Logs::Hidden => {}
        }
    }

    fn result(&self, id: ActivityId, kind: u64, text: &str) {
        self.event(&serde_json::json!({"action": "result", "fields": [text], "id": id.0, "type": kind}));
    }

    /// Whether a person reads the messages.
    pub fn is_terminal(&self) -> bool {
        self.terminal && !self.is_json()
    }

    /// Writes a copy of everything as JSON to a file or a socket.
    pub fn log_to(&self, path: &std::path::Path) -> io::Result<()> {
        use std::os::unix::fs::FileTypeExt as _;
        let is_socket = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        let log: Box<dyn io::Write + Send> = if is_socket {
            Box::new(std::os::unix::net::UnixStream::connect(path)?)
        } else {
            Box::new(std::fs::OpenOptions::new().append(true).create(true).open(path)?)
        };
        if let Ok(mut current) = self.log.lock() {
            *current = Some(log);
            self.logged.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_logged(&self) -> bool {
        self.logged.load(Ordering::Relaxed)
    }

    /// An event, for who follows them: in one write, so that lines of several
    /// threads do not mix.
    fn event(&self, event: &serde_json::Value) {
        if self.is_json() {
            let _ = io::stderr().write_all(format!("@nix {event}\n").as_bytes());
        }
        self.log(event);
    }

    fn log(&self, event: &serde_json::Value) {
        if !self.is_logged() {
            return;
        }
        if let Ok(mut log) = self.log.lock()
            && let Some(writer) = &mut *log
            && writer.write_all(format!("{event}\n").as_bytes()).is_err()
        {
            // Nobody listens any more; the work goes on.
            *log = None;
        }
    }

    fn is_json(&self) -> bool {
        self.format.load(Ordering::Relaxed) == LogFormat::InternalJson as u8
    }

    fn line(&self, at: i32, prefix: &str, colour: &str, text: &str) {
        if self.verbosity() >= at && self.is_logged() {
            let text = printable(text);
            self.log(&serde_json::json!({"action": "msg", "level": at, "msg": format!("{prefix}{text}")}));
        }
        self.show(at, prefix, colour, text);
    }

    /// As [`Ui::line`], of what the log has as an event.
    fn show(&self, at: i32, prefix: &str, colour: &str, text: &str) {
        if self.verbosity() < at {
            return;
        }
        let text = &printable(text);
        let line = if self.is_json() {
            let message = serde_json::json!({"action": "msg", "level": at, "msg": format!("{prefix}{text}")});
            format!("@nix {message}\n")
        } else if self.colour && !prefix.is_empty() {
            let blank = if prefix.ends_with(' ') { " " } else { "" };
            format!("\x1b[{colour}m{}\x1b[0m{blank}{text}\n", prefix.trim_end())
        } else {
            format!("{prefix}{text}\n")
        };
        let print = || {
            // In one write, so that lines of several processes do not mix;
            // there is nobody to tell that standard error is closed.
            let _ = io::stderr().write_all(line.as_bytes());
        };
        match &*locked(&self.task) {
            Some(task) => task.suspend(print),
            None => print(),
        }
    }

    /// Whether a row shows the running task.
    fn has_rows(&self) -> bool {
        let bars = self.format.load(Ordering::Relaxed) == LogFormat::Bar as u8;
        self.terminal && !self.dumb && bars && self.verbosity() >= level::INFO
    }

    /// Whether lines about single paths are left out, because a row counts the paths.
    fn leaves_out_lines(&self) -> bool {
        self.has_rows() && self.verbosity() < level::TALKATIVE
    }

    fn with_task(&self, tell: impl FnOnce(&Task)) {
        if let Some(task) = &*locked(&self.task) {
            tell(task);
        }
    }

    /// A failure.
    pub fn error(&self, text: &str) {
        // Nothing but what it is part of stands on the first line then.
        let prefix = if text.starts_with('\n') { "error:" } else { "error: " };
        self.line(level::ERROR, prefix, "31;1", text);
    }

    /// A line under an error.
    pub fn hint(&self, text: &str) {
        self.line(level::ERROR, "", "", text);
    }
}

/// A message without anything a terminal would act on: texts from outside may
/// be part of it.
fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return text.into();
    }
    let escaped =
        text.chars().map(|c| if harmless(c) { c.to_string() } else { c.escape_default().to_string() });
    escaped.collect::<String>().into()
}

impl Progress for Ui {
    fn notice(&self, text: &str) {
        self.line(level::INFO, "", "", text);
    }

    fn summary(&self, text: &str) {
        // Scripts read the words of the reference only.
        if self.is_terminal() {
            self.notice(text);
        }
    }

    fn warn(&self, text: &str) {
        self.line(level::WARN, "warning: ", "35;1", text);
    }

    fn problem(&self, text: &str) {
        self.line(level::ERROR, "", "", text);
    }

    fn advice(&self, advice: Advice<'_>) -> String {
        super::advice::words(advice)
    }

    fn detail(&self, text: &str) {
        self.line(level::TALKATIVE, "", "", text);
    }

    fn start(&self, activity: &Activity<'_>) -> ActivityId {
        let kind = activity.kind.number();
        let level = i32::try_from(activity.kind.level()).unwrap_or(level::INFO);
        let copies = matches!(activity.kind, ActivityKind::CopyPath | ActivityKind::CopyPaths);
        if !self.is_json() {
            if !(activity.text.is_empty() || copies && self.leaves_out_lines()) {
                self.show(level, "", "", &format!("{}...", activity.text));
            }
            let is_followed = copies && self.has_rows() || activity.kind == ActivityKind::Build;
            if !(self.is_logged() || is_followed) {
                return ActivityId::NONE;
            }
        }
        let number = self.activities.fetch_add(1, Ordering::Relaxed);
        let id = (u64::from(std::process::id()) << 32) + number;
        match activity.kind {
            ActivityKind::CopyPaths => drop(locked(&self.copies).insert(id)),
            ActivityKind::CopyPath => {
                let path = activity.fields.first().copied().unwrap_or_default();
                self.with_task(|task| task.start(id, short_name(path)));
            }
            ActivityKind::Build => {
                let name = short_name(activity.fields.first().copied().unwrap_or_default());
                let name = name.strip_suffix(".drv").unwrap_or(name).to_owned();
                locked(&self.builds).insert(id, name);
            }
            ActivityKind::QueryPathInfo
            | ActivityKind::FileTransfer
            | ActivityKind::Realise
            | ActivityKind::Builds => {}
        }
        let mut event = serde_json::json!({"action": "start"});
        if !activity.fields.is_empty() {
            event["fields"] = activity.fields.into();
        }
        if let (ActivityKind::Build, Some(fields)) = (activity.kind, event["fields"].as_array_mut()) {
            // The first round of one, in the words of versions that built several times.
            fields.extend([1.into(), 1.into()]);
        }
        event["id"] = id.into();
        event["level"] = level.into();
        event["parent"] = activity.parent.0.into();
        event["text"] = activity.text.into();
        event["type"] = kind.into();
        self.event(&event);
        ActivityId(id)
    }

    fn report(&self, id: ActivityId, counts: Counts) {
        if locked(&self.copies).contains(&id.0) {
            self.with_task(|task| task.count(counts.done, counts.expected));
        }
        if id != ActivityId::NONE {
            let fields = [counts.done, counts.expected, counts.running, counts.failed];
            self.event(
                &serde_json::json!({"action": "result", "fields": fields, "id": id.0, "type": PROGRESS}),
            );
        }
    }

    fn expect(&self, id: ActivityId, kind: ActivityKind, total: u64) {
        if id != ActivityId::NONE {
            let fields = [kind.number(), total];
            self.event(
                &serde_json::json!({"action": "result", "fields": fields, "id": id.0, "type": SET_EXPECTED}),
            );
        }
    }

    fn stop(&self, id: ActivityId) {
        if id != ActivityId::NONE {
            locked(&self.copies).remove(&id.0);
            locked(&self.builds).remove(&id.0);
            self.with_task(|task| task.stop(id.0));
            self.event(&serde_json::json!({"action": "stop", "id": id.0}));
        }
    }

    fn log_line(&self, id: ActivityId, line: &str) {
        self.result(id, BUILD_LOG_LINE, line);
        if !self.is_json() {
            self.show_log(id, line);
        }
    }

    fn shows_logs(&self) -> bool {
        !self.is_json() && self.logs() != Logs::Hidden
    }

    fn phase(&self, id: ActivityId, name: &str) {
        self.result(id, SET_PHASE, name);
    }

    fn post_build_line(&self, line: &str) {
        self.result(ActivityId::NONE, POST_BUILD_LOG_LINE, line);
        if !self.is_json() {
            self.show(level::ERROR, "", "", &format!("post-build-hook: {line}"));
        }
    }

    fn verbosity(&self) -> u64 {
        u64::try_from(Self::verbosity(self)).unwrap_or(0)
    }

    fn forward(&self, event: &Event) {
        if self.is_json() || self.is_logged() {
            self.event(&event_json(event));
        }
        if self.is_json() {
            return;
        }
        match event {
            Event::Start { level, text, .. } if !text.is_empty() => {
                self.show(i32::try_from(*level).unwrap_or(i32::MAX), "", "", &format!("{text}..."));
            }
            // What a builder prints.
            Event::Result { id, kind: BUILD_LOG_LINE, fields } => {
                if let Some(Field::Text(line)) = fields.first() {
                    self.show_log(ActivityId(*id), line);
                }
            }
            Event::Result { kind: POST_BUILD_LOG_LINE, fields, .. } => {
                if let Some(Field::Text(line)) = fields.first() {
                    self.show(level::ERROR, "", "", &format!("post-build-hook: {line}"));
                }
            }
            _ => {}
        }
    }

    fn begin(&self, task: &str, total: Option<u64>, unit: Unit) {
        let task = self.has_rows().then(|| Task::begin(task, total, unit));
        // The one before ends here.
        drop(std::mem::replace(&mut *locked(&self.task), task));
    }

    fn advance(&self, amount: u64) {
        self.with_task(|task| task.advance(amount));
    }

    fn count(&self, done: u64, total: u64) {
        self.with_task(|task| task.count(done, total));
    }

    fn freed(&self, bytes: u64) {
        self.with_task(|task| task.freed(bytes));
    }

    fn item(&self, text: &str) {
        let is_shown = locked(&self.task).is_some() && self.leaves_out_lines();
        if !is_shown {
            self.notice(text);
        } else if self.is_logged() {
            let text = printable(text);
            self.log(&serde_json::json!({"action": "msg", "level": level::INFO, "msg": text}));
        }
    }

    fn end(&self) {
        drop(locked(&self.task).take());
    }
}

/// The name of a store path without its hash part.
fn short_name(path: &str) -> &str {
    let base = path.rsplit('/').next().unwrap_or_default();
    base.split_once('-').map_or(base, |(_, name)| name)
}

/// What a daemon tells, as the original shows it.
fn event_json(event: &Event) -> serde_json::Value {
    let list = |fields: &[Field]| -> serde_json::Value {
        let field = |field: &Field| match field {
            Field::Number(number) => serde_json::Value::from(*number),
            Field::Text(text) => text.as_str().into(),
        };
        fields.iter().map(field).collect()
    };
    match event {
        Event::Start { id, level, kind, text, fields, parent } => {
            let mut json = serde_json::json!({"action": "start"});
            if !fields.is_empty() {
                json["fields"] = list(fields);
            }
            json["id"] = (*id).into();
            json["level"] = (*level).into();
            json["parent"] = (*parent).into();
            json["text"] = text.as_str().into();
            json["type"] = (*kind).into();
            json
        }
        Event::Stop(id) => serde_json::json!({"action": "stop", "id": id}),
        Event::Result { id, kind, fields } => {
            serde_json::json!({"action": "result", "fields": list(fields), "id": id, "type": kind})
        }
    }
}
