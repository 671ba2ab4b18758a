//! Lines from a terminal, where they can be edited, or from a pipe, where they are shown again.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::PathBuf;

use nival::sys::interrupt::Interruptible;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{CompletionType, Config, Editor};

use super::Session;
use super::complete::Helper;
use crate::cli::context::Context;
use crate::cli::output::streams::{self, Out, stdout_file};

/// How many lines of old conversations are offered.
const MOST_REMEMBERED: usize = 10_000;

/// What came of reading a line.
pub enum Read {
    /// A line without its end.
    Line(String),
    /// The user took back what was typed.
    Interrupted,
    /// There is no more.
    End,
}

enum From<'w, 's, 'e> {
    Terminal(Box<Editor<Helper<'w, 's, 'e>, MemHistory>>),
    Pipe(BufReader<Interruptible<std::fs::File>>),
}

/// Where lines come from, and where answers go.
pub struct Input<'w, 's, 'e> {
    from: From<'w, 's, 'e>,
    history: Option<PathBuf>,
    colours: bool,
}

/// Where the lines of conversations are kept, one after the other.
pub fn history_file(context: &Context) -> Option<PathBuf> {
    let environment = &context.environment;
    if let Some(dir) = environment.non_empty("NIX_DATA_HOME") {
        return Some(PathBuf::from(dir).join("repl-history"));
    }
    let data = match environment.non_empty("XDG_DATA_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => context.machine.home(environment).0?.join(".local/share"),
    };
    Some(data.join("nix/repl-history"))
}

/// What gives a terminal back its state and ends the process, for when a signal does so.
pub fn terminal_restorer() -> impl FnOnce() + Send + 'static {
    let state = rustix::termios::tcgetattr(std::io::stdin()).ok();
    move || {
        if let Some(state) = state {
            let _ =
                rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &state);
        }
        std::process::exit(1);
    }
}

impl<'w, 's, 'e> Input<'w, 's, 'e> {
    /// The standard streams.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub fn new(history: Option<PathBuf>, session: &'w Session<'s, 'e>) -> anyhow::Result<Self> {
        let is_terminal = std::io::stdin().is_terminal() && stdout_file().is_terminal();
        let plain = session.environment.get("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let colours = stdout_file().is_terminal() && !plain && session.environment.get("NO_COLOR").is_none();
        if !is_terminal {
            return Ok(Self { from: From::Pipe(BufReader::new(streams::stdin())), history: None, colours });
        }
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .max_history_size(MOST_REMEMBERED)?
            .history_ignore_dups(true)?
            .build();
        let lines = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, lines)?;
        editor.set_helper(Some(Helper(session)));
        if let Some(text) = history.as_ref().and_then(|file| std::fs::read(file).ok()) {
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(MOST_REMEMBERED)..] {
                editor.add_history_entry(*line)?;
            }
        }
        Ok(Self { from: From::Terminal(Box::new(editor)), history, colours })
    }

    /// The next line.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn line(&mut self, prompt: &str) -> anyhow::Result<Read> {
        match &mut self.from {
            From::Terminal(editor) => match editor.readline(prompt) {
                Ok(line) => Ok(Read::Line(line)),
                Err(ReadlineError::Interrupted) => Ok(Read::Interrupted),
                Err(ReadlineError::Eof) => Ok(Read::End),
                Err(error) => Err(error.into()),
            },
            From::Pipe(reader) => {
                let mut line = Vec::new();
                self::show(prompt.as_bytes())?;
                if reader.read_until(b'\n', &mut line)? == 0 {
                    return Ok(Read::End);
                }
                let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                self::show(format!("{line}\n").as_bytes())?;
                Ok(Read::Line(line))
            }
        }
    }

    /// Keeps a text for this and later conversations.
    pub fn remember(&mut self, text: &str) {
        let From::Terminal(editor) = &mut self.from else { return };
        if text.trim().is_empty() {
            return;
        }
        let _ = editor.add_history_entry(text);
        let Some(file) = &self.history else { return };
        // A history that cannot be written is no reason to stop.
        if let Some(dir) = file.parent() {
            let _ = std::fs::create_dir_all(dir);
        }
        let opened = std::fs::File::options().append(true).create(true).open(file);
        let _ = opened.and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()));
    }

    /// Prints a line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn say(&self, line: &str) -> anyhow::Result<()> {
        show(format!("{line}\n").as_bytes())
    }

    /// Prints a text as it is, and a line end.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn say_raw(&self, text: &[u8]) -> anyhow::Result<()> {
        show(&[text, b"\n"].concat())
    }

    /// Whether colours can be seen where answers go.
    pub fn has_colours(&self) -> bool {
        self.colours
    }
}

fn show(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = Out::new();
    out.raw(bytes)?;
    out.finish()
}
