//! `nix eval`: prints the value of an expression.

use std::ffi::OsString;

use nival::eval::coerce::STRICT;
use nival::eval::error::Error;
use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::eval::print::Style;
use nival::eval::sources::Origin;
use nival::eval::value::Position;

use super::command::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::evaluation::{self, Stopped, Wanted};
use crate::cli::flags;
use crate::cli::flags::parse::{Given, text};
use crate::cli::installables::expression;
use crate::cli::output::messages::{self, Out};

/// Where the expression comes from.
enum Source {
    Text(String),
    File(String),
}

/// `nix eval`.
#[derive(Default)]
pub struct Eval {
    source: Option<Source>,
    apply: Option<String>,
    raw: bool,
    read_only: bool,
    wanted: Wanted,
}

/// The error for a flag of something that comes later.
fn later(given: &Given) -> anyhow::Error {
    anyhow::anyhow!("'{}' is not available for 'nix eval' in this version of Nival", given.spelled())
}

impl Command for Eval {
    fn arity(&self) -> Arity {
        Arity::at_most(1)
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--expr" => self.source = Some(Source::Text(given.text()?)),
            "--file" => {
                self.source = Some(Source::File(given.text()?));
                self.wanted.impure = true;
            }
            "--apply" => self.apply = Some(given.text()?),
            "--raw" => self.raw = true,
            "--read-only" => self.read_only = true,
            "--pretty" | "--no-pretty" | "--json" | "--write-to" => return Err(later(given)),
            name if flags::find(&[&flags::nix::DEBUGGING, &flags::nix::FLAKES], name).is_some() => {
                return Err(later(given));
            }
            _ => return self.wanted.flag(given, context),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let path = arguments.first().map(|path| text(path)).transpose()?.unwrap_or_default();
        let Some(source) = &self.source else {
            anyhow::bail!("'{path}' is a flake, and flakes are not available in this version of Nival");
        };
        if matches!(source, Source::File(_))
            && context.given.contains("pure-eval")
            && context.settings.pure_eval()
        {
            return usage("'--file' is not compatible with '--pure-eval'");
        }
        let stdin = match source {
            Source::File(file) if file == "-" => Some(messages::read_stdin_bytes()?),
            _ => None,
        };
        evaluation::run(context, &self.wanted, self.read_only, |worker, arguments| {
            let value = self.value(worker, source, stdin.as_deref())?;
            let mut value = expression::selected(worker, value, &path, arguments)?;
            if let Some(function) = &self.apply {
                let here = worker.shared.world.current_dir();
                let function = worker.evaluate_text(Origin::Text, function.as_bytes(), &here)?;
                value = worker.call(function, &[value], Position::NONE)?;
            }
            self.print(worker, value)
        })
    }
}

impl Eval {
    fn value<'e>(
        &self,
        worker: &Worker<'e>,
        source: &Source,
        stdin: Option<&[u8]>,
    ) -> Result<Value<'e>, Error> {
        let here = worker.shared.world.current_dir();
        match (source, stdin) {
            (_, Some(text)) => worker.evaluate_text(Origin::Stdin, text, &here),
            (Source::Text(text), None) => worker.evaluate_text(Origin::Text, text.as_bytes(), &here),
            (Source::File(word), None) => worker.import(&expression::file(worker, word)?),
        }
    }

    fn print<'e>(&self, worker: &Worker<'e>, value: Value<'e>) -> Result<(), Stopped> {
        let mut out = Out::new();
        let value = worker.force(value)?;
        if self.raw {
            let text =
                worker.coerce(value, STRICT, Position::NONE, "while generating the eval command output")?;
            out.raw(text.0)?;
        } else {
            out.raw(&worker.print(value, Style::Eval)?)?;
            out.raw(b"\n")?;
        }
        Ok(out.finish()?)
    }
}
