//! What the commands do.

use std::path::Path;

use nival::eval::error::Error;
use nival::eval::heap::Value;
use nival::eval::sources::Origin;
use nival::eval::symbols::known;
use nival::eval::value::{Attrs, Position, View};
use nival::model::derived_path::Outputs;
use nival::model::{DerivedPath, StorePath};
use nival::ops::realise::output_paths;
use nival::progress::Progress as _;

use super::command::{self, Word};
use super::input::Input;
use super::scope::Source;
use super::{Next, Session};
use crate::cli::error::{self, Usage};
use crate::cli::evaluation::Stopped;
use crate::cli::nix::copy_out;

/// The failure of a command that is used in the wrong way.
fn misused(message: String) -> Stopped {
    Stopped::Other(Usage(message).into())
}

impl<'e> Session<'_, 'e> {
    /// Does what a command asks for.
    pub fn act(&self, word: Word, rest: &str, input: &mut Input<'_, '_, 'e>) -> Result<Next, Stopped> {
        match word {
            Word::Add => self.take(self.evaluate(rest)?)?,
            Word::Build => self.build(rest, input)?,
            Word::Document => self.document(rest, input)?,
            Word::Edit => self.edit(rest)?,
            Word::Help => input.say(&command::help())?,
            Word::Last => input.say(&self.last_loaded()?.join("\n"))?,
            Word::Load => self.load(Source::File(rest.to_owned()))?,
            Word::Log => self.log(rest)?,
            Word::Print => {
                let value = self.evaluate(rest)?;
                match value.view() {
                    View::String(text, _) => input.say_raw(text)?,
                    _ => input.say_raw(&self.printed(value, None, input.has_colours())?)?,
                }
            }
            Word::Quit => return Ok(Next::End),
            Word::Reload => self.reload(),
            Word::Traces => self.show_traces(rest, input)?,
            Word::Type => input.say(&self.worker.type_of(self.evaluate(rest)?))?,
            Word::Flake => return Err(later(":lf", "flakes")),
            Word::Install => return Err(later(":i", "installations")),
            Word::Link => return Err(later(":bl", "links to outputs")),
            Word::Shell => return Err(later(":sh", "shells")),
            Word::Use => return Err(later(":u", "shells")),
        }
        Ok(Next::Line)
    }

    fn show_traces(&self, rest: &str, input: &Input<'_, '_, 'e>) -> Result<(), Stopped> {
        self.trace.set(match rest {
            "" => !self.trace.get(),
            "true" => true,
            "false" => false,
            other => return Err(misused(format!("unexpected argument '{other}' to :te"))),
        });
        Ok(input.say(if self.trace.get() { "showing error traces" } else { "not showing error traces" })?)
    }

    /// The path of a derivation.
    fn derivation(&self, text: &str) -> Result<StorePath, Error> {
        let no = || Error::new("expression does not evaluate to a derivation, so I can't build it");
        let value = self.evaluate(text)?;
        let View::Attrs(attrs) = value.view() else { return Err(no()) };
        if !self.worker.is_derivation(attrs)? {
            return Err(no());
        }
        let path = attrs.get(known::DRV_PATH).ok_or_else(no)?;
        let (path, _) = self.worker.force_text(path.value, path.position, "")?;
        let dir = &self.asked.options().store_dir;
        dir.parse(&String::from_utf8_lossy(path)).map_err(|error| Error::new(error.to_string()))
    }

    /// Makes the outputs of a derivation valid, and shows where they are.
    fn build(&self, text: &str, input: &Input<'_, '_, 'e>) -> Result<(), Stopped> {
        let path = self.derivation(text)?;
        self.asked.make_valid(vec![DerivedPath::built(path.clone(), Outputs::All)])?;
        let outputs = self.asked.with_store(move |store| {
            let failed = |error: nival::store::StoreError| Error::new(error::store_text(&error));
            let derivation = store.queries().read_derivation(&path).map_err(failed)?;
            output_paths(store, &path, &derivation, &Outputs::All).map_err(failed)
        })?;
        let dir = &self.asked.options().store_dir;
        input.say("\nThis derivation produced the following outputs:")?;
        for (name, path) in outputs {
            let path = path.map_or_else(|| "(not known)".to_owned(), |path| dir.print(&path));
            input.say(&format!("  {name} -> {path}"))?;
        }
        Ok(())
    }

    fn log(&self, text: &str) -> Result<(), Stopped> {
        let path = self.derivation(text)?;
        let shown = self.asked.options().store_dir.print(&path);
        let ui = std::sync::Arc::clone(&self.ui);
        self.asked.with_store(move |store| {
            let failed = |error: anyhow::Error| Error::new(error::text(&error));
            let Some(mut log) = store.log(&path).map_err(|error| failed(error.into()))? else {
                return Err(Error::new(format!("build log of '{shown}' is not available")));
            };
            ui.notice(&format!("got build log for '{shown}' from '{}'", store.uri()));
            copy_out(&mut log, Path::new(&shown)).map_err(failed)
        })?;
        Ok(())
    }

    /// Says what a builtin function does, or where another one is.
    fn document(&self, text: &str, input: &Input<'_, '_, 'e>) -> Result<(), Stopped> {
        let value = self.evaluate(text)?;
        match value.view() {
            View::Builtin(builtin) => {
                input.say(&format!("builtins.{}: {} argument(s)", builtin.name, builtin.arity))?;
                input.say(&format!("\n{}", builtin.doc))?;
            }
            View::Lambda(closure) => {
                let place = self.worker.shared.place_text(closure.code.position);
                let name = closure.code.name.map_or_else(String::new, |name| self.worker.name(name) + " ");
                input.say(&format!("Function {name}defined at {place}"))?;
            }
            _ => return Err(Error::new("value does not have documentation").into()),
        }
        Ok(())
    }

    /// Opens where a value is defined in an editor, and reads all files again.
    fn edit(&self, text: &str) -> Result<(), Stopped> {
        let value = self.evaluate(text)?;
        let (file, line) = self.place(text, value)?;
        let editor = self.environment.non_empty("EDITOR").map(|editor| editor.to_string_lossy().into_owned());
        let editor = editor.unwrap_or_else(|| "nano".to_owned());
        let mut words = editor.split_whitespace();
        let program = words.next().unwrap_or("nano");
        let mut command = std::process::Command::new(program);
        command.args(words);
        // Editors that are known to understand the number of a line.
        let has_lines = ["emacs", "nano", "vim", "nvim", "vi", "kak"];
        if let Some(line) = line
            && has_lines.iter().any(|name| Path::new(program).ends_with(name))
        {
            command.arg(format!("+{line}"));
        }
        let status = command.arg(&file).status();
        let failed = |error: std::io::Error| Error::new(format!("running '{program}': {error}"));
        if !status.map_err(failed)?.success() {
            self.ui.warn(&format!("'{program}' failed"));
        }
        self.reload();
        Ok(())
    }

    /// The file, and the line in it, where a value is defined.
    fn place(&self, text: &str, value: Value<'e>) -> Result<(String, Option<u32>), Error> {
        match value.view() {
            View::Lambda(closure) => match self.worker.shared.place(closure.code.position) {
                Some((Origin::File(file), line, _)) => {
                    Ok((String::from_utf8_lossy(&file).into_owned(), Some(line)))
                }
                _ => {
                    let place = self.worker.shared.place_text(closure.code.position);
                    Err(Error::new(format!("'{place}' cannot be shown in an editor")))
                }
            },
            View::Path(file) => Ok((String::from_utf8_lossy(file).into_owned(), None)),
            View::Attrs(attrs) => match self.position(attrs)? {
                Some(position) => {
                    let bad = || Error::new(format!("cannot parse 'meta.position' attribute '{position}'"));
                    let (file, line) = position.rsplit_once(':').ok_or_else(bad)?;
                    Ok((file.to_owned(), Some(line.parse().map_err(|_| bad())?)))
                }
                None => Err(no_place(text)),
            },
            _ => Err(no_place(text)),
        }
    }

    /// `meta.position` of a package.
    fn position(&self, attrs: Attrs<'e>) -> Result<Option<String>, Error> {
        let symbols = &self.worker.shared.symbols;
        let Some(meta) = attrs.get(symbols.intern(b"meta")) else { return Ok(None) };
        let meta = self.worker.force_attrs(meta.value, Position::NONE, "")?;
        let Some(position) = meta.get(symbols.intern(b"position")) else { return Ok(None) };
        let (text, _) = self.worker.force_text(position.value, Position::NONE, "")?;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }
}

fn no_place(text: &str) -> Error {
    Error::new(format!("package '{text}' has no source location information"))
}

fn later(command: &str, what: &str) -> Stopped {
    misused(format!("'{command}' is not available in this version of Nival: {what} come later"))
}
