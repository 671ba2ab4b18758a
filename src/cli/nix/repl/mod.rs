//! `nix repl`: evaluates what is typed, line after line.
//!
//! ```text
//! command   what a line asks for
//! input     lines from a terminal or a pipe, the history
//! complete  what Tab offers
//! scope     the variables, and where they came from
//! print     values over several lines
//! act       what the commands do
//! ```

mod act;
mod command;
mod complete;
mod input;
mod print;
mod scope;

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use nival::eval::error::{Error, Kind};
use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::eval::load::Parsed;
use nival::eval::sources::Origin;
use nival::ops::evaluate::Asked;
use nival::progress::Progress as _;
use nival::settings::Environment;

use super::command::{Arity, Command};
use crate::cli::NIX_VERSION;
use crate::cli::context::Context;
use crate::cli::error::{self, usage};
use crate::cli::evaluation::{self, Arguments, Stopped, Wanted};
use crate::cli::flags;
use crate::cli::flags::parse::Given;
use crate::cli::output::messages::Ui;
use crate::cli::output::streams::read_stdin_words;
use crate::cli::signals;
use command::Line;
use input::{Input, Read};
use scope::{Scope, Source};

/// What stands in front of a first line, and of those that go on.
const PROMPT: &str = "nix-repl> ";
const GOES_ON: &str = "        > ";

/// `nix repl`.
pub struct Repl {
    text: Option<String>,
    file: Option<String>,
    /// More attributes come from standard input.
    stdin: bool,
    wanted: Wanted,
}

impl Default for Repl {
    /// Everything may be read, unless a flag says otherwise.
    fn default() -> Self {
        Self { text: None, file: None, stdin: false, wanted: Wanted::impure() }
    }
}

impl Command for Repl {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--expr" => self.text = Some(given.text()?),
            "--file" => self.file = Some(given.text()?),
            "--stdin" => self.stdin = true,
            name if flags::find(&[&flags::nix::DEBUGGING, &flags::nix::FLAKES], name).is_some() => {
                anyhow::bail!(
                    "'{}' is not available for 'nix repl' in this version of Nival",
                    given.spelled()
                );
            }
            _ => return self.wanted.flag(given, context),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let mut attributes = evaluation::texts(arguments)?;
        if self.stdin {
            attributes.extend(read_stdin_words()?);
        }
        let sources: Vec<Source> = match (&self.text, &self.file) {
            (Some(_), Some(_)) => return usage("'--file' and '--expr' are exclusive"),
            (None, None) => {
                if let Some(flake) = attributes.first() {
                    anyhow::bail!(
                        "'{flake}' is a flake, and flakes are not available in this version of Nival; --file \
                         begins with a file"
                    );
                }
                Vec::new()
            }
            (text, file) => {
                if attributes.is_empty() && !self.stdin {
                    attributes.push(String::new());
                }
                let source = |attribute: String| match (text, file) {
                    (Some(text), _) => Source::Text { text: text.clone(), attribute },
                    (None, file) => Source::Selected { file: file.clone().unwrap_or_default(), attribute },
                };
                attributes.into_iter().map(source).collect()
            }
        };
        let ui = Arc::clone(&context.ui);
        let environment = context.environment.clone();
        let trace = context.settings.show_trace();
        let history = input::history_file(context);
        context.ui.notice(&format!("Nival, like Nix {NIX_VERSION}; :? lists the commands."));
        let restore = input::terminal_restorer();
        signals::when_ended(restore)?;
        evaluation::run(context, &self.wanted, false, |worker, arguments, asked| {
            let session = Session {
                worker,
                arguments,
                asked,
                ui,
                environment,
                trace: Cell::new(trace),
                scope: RefCell::new(Scope::new(worker)),
            };
            session.run(sources, history)
        })
    }
}

/// One conversation.
struct Session<'s, 'e> {
    worker: &'s Worker<'e>,
    arguments: &'s Arguments<'e>,
    asked: &'s Asked,
    ui: Arc<Ui>,
    environment: Environment,
    /// Whether whole traces are shown.
    trace: Cell<bool>,
    scope: RefCell<Scope<'e>>,
}

/// Whether there is more to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Line,
    End,
}

impl<'e> Session<'_, 'e> {
    fn run(&self, sources: Vec<Source>, history: Option<PathBuf>) -> Result<(), Stopped> {
        self.begin(sources)?;
        let mut input = Input::new(history, self)?;
        let mut text = String::new();
        loop {
            let prompt = if text.is_empty() { PROMPT } else { GOES_ON };
            match input.line(prompt)? {
                Read::Line(line) => {
                    text.push_str(&line);
                    text.push('\n');
                }
                Read::Interrupted => {
                    text.clear();
                    continue;
                }
                Read::End => {
                    input.say("")?;
                    return Ok(());
                }
            }
            let done = self.one(&text, &mut input);
            // An interrupt ends one evaluation only.
            signals::forget();
            match done {
                Ok(Next::End) => return Ok(()),
                Ok(Next::Line) => {}
                Err(Stopped::Evaluation(error)) if is_incomplete(&error) => continue,
                Err(Stopped::Evaluation(error)) => self.tell(&error),
                Err(Stopped::Other(error)) if error.is::<error::Usage>() => self.ui.error(&error.to_string()),
                Err(Stopped::Other(error)) => return Err(error.into()),
            }
            input.remember(text.trim_end());
            text.clear();
            input.say("")?;
        }
    }

    /// Does what a whole text asks for.
    fn one(&self, text: &str, input: &mut Input<'_, '_, 'e>) -> Result<Next, Stopped> {
        match command::read(text)? {
            Line::Nothing => Ok(Next::Line),
            Line::Evaluate(expression) => {
                match self.bindings(expression)? {
                    Some(bindings) => self.scope.borrow_mut().add(self.worker, bindings),
                    None => {
                        let value = self.evaluate(expression)?;
                        input.say_raw(&self.printed(value, Some(1), input.has_colours())?)?;
                    }
                }
                Ok(Next::Line)
            }
            Line::Command(command, rest) => self.act(command, rest, input),
        }
    }

    /// The value of an expression.
    fn evaluate(&self, text: &str) -> Result<Value<'e>, Error> {
        let parsed = self.parse(text)?;
        self.worker.run(&parsed, Some(self.scope.borrow().attrs()))
    }

    fn parse(&self, text: &str) -> Result<Parsed, Error> {
        let here = self.worker.shared.world.current_dir();
        self.worker.parse(Origin::Text, text.trim_end().as_bytes(), &here)
    }

    /// Says what went wrong.
    fn tell(&self, error: &Error) {
        let told = evaluation::told(self.worker, error, self.trace.get());
        error::report(&told, "nix", &self.ui);
    }
}

/// Whether more lines may make an expression of a text that is none.
fn is_incomplete(error: &Error) -> bool {
    error.kind() == Kind::Syntax && error.to_string().contains("unexpected end of file")
}
