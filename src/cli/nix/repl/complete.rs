//! What Tab offers: commands, variables, attributes, files.

use std::time::Duration;

use nival::eval::symbols::Symbol;
use nival::eval::text::quote::is_bare_name;
use nival::eval::value::View;
use nival::sys::interrupt::CancelToken;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;

use super::Session;
use super::command::TABLE;

/// How long the set in front of a dot may take to evaluate.
const PATIENCE: Duration = Duration::from_secs(3);
/// The commands whose argument is a file.
const OF_FILES: &[&str] = &[":l ", ":load "];

/// Completes lines of a conversation.
pub struct Helper<'w, 's, 'e>(pub &'w Session<'s, 'e>);

impl rustyline::Helper for Helper<'_, '_, '_> {}
impl Hinter for Helper<'_, '_, '_> {
    type Hint = String;
}
impl Highlighter for Helper<'_, '_, '_> {}
impl Validator for Helper<'_, '_, '_> {}

impl Completer for Helper<'_, '_, '_> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let line = line.get(..position).unwrap_or(line);
        if let Some(word) = line.strip_prefix(':')
            && !word.contains(' ')
        {
            let names = TABLE.iter().flat_map(|row| row.names);
            return Ok((
                0,
                names.filter(|name| name.starts_with(line)).map(|name| (*name).to_owned()).collect(),
            ));
        }
        if let Some(file) = OF_FILES.iter().find_map(|command| line.strip_prefix(command)) {
            return Ok((line.len() - file.len(), self.0.files(file)));
        }
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-'.".contains(letter);
        let word = line.rsplit(|letter| !is_part(letter)).next().unwrap_or_default();
        Ok(match word.rsplit_once('.') {
            Some((set, start)) => (line.len() - start.len(), self.0.attributes(set, start)),
            None => (line.len() - word.len(), self.0.names(word)),
        })
    }
}

impl Session<'_, '_> {
    /// The variables and builtin names that begin with `start`.
    fn names(&self, start: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        self.collect(self.scope.borrow().attrs().entries().iter().map(|attr| attr.name), start, &mut names);
        // Names with __ in front are offered to who asks for them only.
        let globals = self.worker.global_names();
        let globals =
            globals.filter(|name| start.starts_with('_') || !self.worker.text(*name).starts_with(b"__"));
        self.collect(globals, start, &mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The attributes of what `set` is that begin with `start`.
    fn attributes(&self, set: &str, start: &str) -> Vec<String> {
        // The terminal gives no Ctrl-C meanwhile, so this ends by itself.
        let token = CancelToken::new();
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let watched = token.clone();
        let watch = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                watched.cancel();
            }
        });
        let value = match &watch {
            Ok(_) => token.scope(|| self.evaluate(set)),
            Err(_) => return Vec::new(),
        };
        drop(ended);
        let mut names = Vec::new();
        if let Ok(value) = value
            && let View::Attrs(attrs) = value.view()
        {
            self.collect(attrs.entries().iter().map(|attr| attr.name), start, &mut names);
        }
        names.sort_unstable();
        names
    }

    fn collect(&self, all: impl Iterator<Item = Symbol>, start: &str, names: &mut Vec<String>) {
        let texts = all.map(|name| self.worker.text(name));
        let wanted = texts.filter(|text| text.starts_with(start.as_bytes()) && is_bare_name(text));
        names.extend(wanted.map(|text| String::from_utf8_lossy(text).into_owned()));
    }

    /// The files whose paths begin with `start`.
    fn files(&self, start: &str) -> Vec<String> {
        let (dir, name) = start.rsplit_once('/').map_or(("", start), |(dir, name)| (dir, name));
        let base = &self.asked.options().current_dir;
        let real = if start.starts_with('/') && dir.is_empty() { "/".into() } else { base.join(dir) };
        let prefix = &start[..start.len() - name.len()];
        let Ok(entries) = std::fs::read_dir(real) else { return Vec::new() };
        let mut found: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                let text = entry.file_name().into_string().ok()?;
                let end = if entry.path().is_dir() { "/" } else { "" };
                (text.starts_with(name) && (!text.starts_with('.') || name.starts_with('.')))
                    .then(|| format!("{prefix}{text}{end}"))
            })
            .collect();
        found.sort_unstable();
        found
    }
}
