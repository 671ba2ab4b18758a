//! `nix eval`: prints the value of an expression.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nival::eval::builtins::json::JsonStyle;
use nival::eval::coerce::STRICT;
use nival::eval::crew::Purpose;
use nival::eval::error::{Error, Traced as _};
use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::eval::print;
use nival::eval::sources::Origin;
use nival::eval::value::{Position, View};
use nival::model::derived_path::Outputs;
use nival::sys::PathError;

use super::command::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::evaluation::{self, Stopped, Wanted};
use crate::cli::flags;
use crate::cli::flags::parse::{Given, text};
use crate::cli::installables::expression;
use crate::cli::output::json::{Style, indented};
use crate::cli::output::streams::{self, Out};

/// Where the expression comes from.
enum Source {
    Text(String),
    File(String),
}

/// `nix eval`.
#[derive(Default)]
pub struct Eval {
    text: Option<String>,
    file: Option<String>,
    apply: Option<String>,
    raw: bool,
    style: Style,
    write_to: Option<PathBuf>,
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
            "--expr" => self.text = Some(given.text()?),
            "--file" => {
                self.file = Some(given.text()?);
                self.wanted.impure = true;
            }
            "--apply" => self.apply = Some(given.text()?),
            "--raw" => self.raw = true,
            "--read-only" => self.read_only = true,
            "--write-to" => self.write_to = Some(given.value().into()),
            _ if self.style.flag(given) => {}
            name if flags::find(&[&flags::nix::DEBUGGING, &flags::nix::FLAKES], name).is_some() => {
                return Err(later(given));
            }
            _ => return self.wanted.flag(given, context),
        }
        Ok(true)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.raw && self.style.json {
            return usage("--raw and --json are mutually exclusive");
        }
        Ok(())
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let path = arguments.first().map(|path| text(path)).transpose()?.unwrap_or_default();
        let source = match (&self.text, &self.file) {
            (Some(_), Some(_)) => return usage("'--file' and '--expr' are exclusive"),
            (Some(text), None) => Source::Text(text.clone()),
            (None, Some(file)) => Source::File(file.clone()),
            (None, None) => {
                let flake = if path.is_empty() { "." } else { &path };
                anyhow::bail!("'{flake}' is a flake, and flakes are not available in this version of Nival");
            }
        };
        if self.file.is_some() && context.given.contains("pure-eval") && context.settings.pure_eval() {
            return usage("'--file' is not compatible with '--pure-eval'");
        }
        let stdin = match &source {
            Source::File(file) if file == "-" => Some(streams::read_stdin_bytes()?),
            _ => None,
        };
        // Outputs may be named, but values have none.
        let path = match path.rsplit_once('^') {
            Some((path, outputs)) if Outputs::parse_strictly(outputs).is_some() => path,
            Some(_) => anyhow::bail!("invalid extended outputs specifier '{path}'"),
            None => &path,
        };
        let target = self.write_to.as_deref().map(|shown| (shown, context.absolute(shown)));
        evaluation::run(context, &self.wanted, self.read_only, |worker, arguments, _| {
            let value = value(worker, &source, stdin.as_deref())?;
            let mut value = expression::selected(worker, value, path, arguments)?;
            if let Some(function) = &self.apply {
                let here = worker.shared.world.current_dir();
                let function = worker.evaluate_text(Origin::Text, function.as_bytes(), &here)?;
                value = worker.call(function, &[value], Position::NONE)?;
            }
            match &target {
                Some((shown, real)) if real.symlink_metadata().is_ok() => {
                    Err(Error::new(format!("path '{}' already exists", shown.display())).into())
                }
                Some((shown, real)) => Ok(write(worker, value, Position::NONE, shown, real)?),
                None => self.print(worker, value),
            }
        })
    }
}

fn value<'e>(worker: &Worker<'e>, source: &Source, stdin: Option<&[u8]>) -> Result<Value<'e>, Error> {
    let here = worker.shared.world.current_dir();
    match (source, stdin) {
        (_, Some(text)) => worker.evaluate_text(Origin::Stdin, text, &here),
        (Source::Text(text), None) => worker.evaluate_text(Origin::Text, text.as_bytes(), &here),
        (Source::File(word), None) => worker.import(&expression::file(worker, word)?),
    }
}

impl Eval {
    fn print<'e>(&self, worker: &Worker<'e>, value: Value<'e>) -> Result<(), Stopped> {
        let mut out = Out::new();
        let value = worker.force(value)?;
        if self.raw {
            let text =
                worker.coerce(value, STRICT, Position::NONE, "while generating the eval command output")?;
            out.raw(text.0)?;
            return Ok(out.finish()?);
        }
        let mut text = Vec::new();
        if self.style.json {
            let how = JsonStyle { strict: true, copies: false };
            worker.with_deep_crew(value, Purpose::Json, || {
                worker.write_json(value, how, Position::NONE, &mut text)
            })?;
            if self.style.is_pretty() {
                text = indented(&text);
            }
        } else {
            text =
                worker.with_deep_crew(value, Purpose::Printed, || worker.print(value, print::Style::Eval))?;
        }
        text.push(b'\n');
        out.raw(&text)?;
        Ok(out.finish()?)
    }
}

/// Writes a text to the new file `real`, or a set of texts and sets to a new directory; messages
/// have it as `shown`.
fn write<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    position: Position,
    shown: &Path,
    real: &Path,
) -> Result<(), Error> {
    let _deeper = worker.deeper()?;
    let failed = |operation: &'static str| {
        move |reason: io::Error| Error::new(PathError::new(operation, shown, reason).to_string())
    };
    match worker.force(value)?.view() {
        View::String(text, _) => {
            // Nothing that is there is written over, nor is a link followed.
            let file = File::options().write(true).create_new(true).open(real);
            let mut file = file.map_err(failed("opening file"))?;
            file.write_all(text).map_err(failed("writing file"))
        }
        View::Attrs(attrs) => {
            std::fs::create_dir(real).map_err(failed("creating directory"))?;
            for attr in worker.by_name(attrs) {
                let name = worker.text(attr.name);
                let written = match name {
                    b"" | b"." | b".." => Err(refused(name)),
                    _ if name.contains(&b'/') || name.contains(&0) => Err(refused(name)),
                    _ => {
                        let name = OsStr::from_bytes(name);
                        write(worker, attr.value, attr.position, &shown.join(name), &real.join(name))
                    }
                };
                written.during_at(attr.position, || {
                    format!("while evaluating the attribute '{}'", worker.name(attr.name))
                })?;
            }
            Ok(())
        }
        _ => {
            let place = match position {
                Position::NONE => "«none»:0".to_owned(),
                position => worker.shared.place_text(position),
            };
            Err(Error::new(format!("value at '{place}' is not a string or an attribute set")))
        }
    }
}

fn refused(name: &[u8]) -> Error {
    Error::new(format!("invalid file name '{}'", String::from_utf8_lossy(name)))
}
