//! From texts to values: parse, compile, import.

use std::sync::PoisonError;

use super::bound;
use super::code::Code;
use super::compile::Compiler;
use super::error::{Error, Kind};
use super::heap::Value;
use super::interpret::{Evaluated, Worker};
use super::io::FileKind;
use super::sources::Origin;
use super::symbols::Symbol;
use super::syntax::tree::{Node, Tree};
use super::syntax::{self, ParseOptions};
use super::text::path;
use super::value::{Attrs, Position};

/// How many links are followed from one path.
const MOST_LINKS: usize = 64;

/// A text with its tree.
pub struct Parsed {
    /// The tree.
    pub tree: Tree,
    /// The number of the text's first byte, 0 for a text without places.
    pub base: u32,
}

impl<'e> Worker<'e> {
    /// Makes what every evaluation needs before its first text.
    pub(super) fn prepare(&self) {
        let globals = self.make_globals();
        // A second call would be a second evaluation, which has a `Shared` of its own.
        let _ = self.shared.globals.set(globals);
        self.finish_derivation();
    }

    /// Parses a text; relative paths in it are relative to `directory`.
    ///
    /// # Errors
    /// A syntax error, with its place.
    pub fn parse(&self, origin: Origin, text: &[u8], directory: &[u8]) -> Result<Parsed, Error> {
        let base = self.shared.sources.add(origin, text).unwrap_or(0);
        self.parse_at(base, text, directory)
    }

    /// Parses the bindings of a set without its braces; the `;` of the last one may be left out.
    ///
    /// # Errors
    /// A syntax error, with its place, or the text is something else.
    pub fn parse_bindings(&self, text: &[u8], directory: &[u8]) -> Result<Parsed, Error> {
        let base = self.shared.sources.add(Origin::Text, text).unwrap_or(0);
        let end: &[u8] = if text.trim_ascii_end().ends_with(b";") { b"\n}" } else { b"\n;}" };
        // The texts of the builtin functions come before this one, so there is a place in front.
        let parsed = self.parse_at(base.saturating_sub(1), &[b"{", text, end].concat(), directory)?;
        match parsed.tree.nodes.get(parsed.tree.root.0 as usize) {
            Some(Node::Set(_)) => Ok(parsed),
            _ => Err(Error::of(Kind::Syntax, "syntax error, expecting bindings")),
        }
    }

    fn parse_at(&self, base: u32, text: &[u8], directory: &[u8]) -> Result<Parsed, Error> {
        let place = |offset: u32| if base == 0 { Position::NONE } else { Position(base + offset) };
        let settings = &self.shared.settings;
        let options = ParseOptions {
            base: directory.to_vec(),
            home: settings.home.clone().filter(|_| !settings.pure),
            pipe_operators: settings.has("pipe-operators"),
            url_literals: settings.url_literals,
            short_path_literals: settings.short_path_literals,
            absolute_path_literals: settings.absolute_path_literals,
        };
        let warn = |warnings: &[(u32, String)], lints: &[(u32, String)]| -> Result<(), Error> {
            for (offset, text) in warnings {
                let at = self.shared.place_text(place(*offset));
                self.tell(&format!("warning: at {at}: {text}"))?;
            }
            for (offset, text) in lints {
                let mut lines = String::new();
                self.shared.place_lines(place(*offset), 7, &mut lines);
                self.tell(&format!("warning: {text}{}", lines.replace('\n', "\n  ")))?;
            }
            Ok(())
        };
        let tree = self.interning(|names| syntax::parse(text, names, &options)).map_err(|error| {
            if let Err(left) = warn(&error.warnings, &error.lints) {
                return left;
            }
            let other = error.other.map(|offset| self.shared.place_text(place(offset))).unwrap_or_default();
            Error::of(Kind::Syntax, error.message + &other).at(place(error.offset))
        })?;
        warn(&tree.warnings, &tree.lints)?;
        Ok(Parsed { tree, base })
    }

    /// Compiles a text that was parsed and evaluates it. `scoped` are names that hide the builtin ones.
    ///
    /// # Errors
    /// A free variable, or whatever evaluating the text meets.
    pub fn run(&self, parsed: &Parsed, scoped: Option<Attrs<'e>>) -> Evaluated<'e> {
        let code = self.compile(parsed, scoped)?;
        self.eval(code, self.heap.env(None, &[], 0))
    }

    /// A value that evaluates a text when it is needed.
    ///
    /// # Errors
    /// A free variable.
    pub fn suspended(&self, parsed: &Parsed) -> Evaluated<'e> {
        let code = self.compile(parsed, None)?;
        Ok(self.heap.suspend(code, self.heap.env(None, &[], 0)))
    }

    /// Checks that no variable of a text is free.
    ///
    /// # Errors
    /// That of [`Worker::suspended`].
    pub fn check(&self, parsed: &Parsed) -> Result<(), Error> {
        if bound::all_bound(&parsed.tree, self.global_names(), self.stack()) {
            return Ok(());
        }
        // The compiler knows which variable is told of.
        self.compile(parsed, None).map(drop)
    }

    /// Compiles a text that was parsed.
    ///
    /// # Errors
    /// A free variable.
    fn compile(&self, parsed: &Parsed, scoped: Option<Attrs<'e>>) -> Result<&'e Code<'e>, Error> {
        let no_globals = super::compile::Globals::default();
        let compiler = Compiler {
            heap: &self.heap,
            tree: &parsed.tree,
            base: parsed.base,
            symbols: &self.shared.symbols,
            globals: self.shared.globals.get().unwrap_or(&no_globals),
            scoped,
            functors: &self.shared.functors,
            stack: self.stack(),
        };
        compiler.compile()
    }

    /// Parses and evaluates a text.
    ///
    /// # Errors
    /// As [`Worker::parse`] and [`Worker::run`].
    pub fn evaluate_text(&self, origin: Origin, text: &[u8], directory: &[u8]) -> Evaluated<'e> {
        let parsed = self.parse(origin, text, directory)?;
        self.run(&parsed, None)
    }

    /// The file that importing `path` reads: the target of a link in the last component, and of a directory its
    /// `default.nix`.
    ///
    /// # Errors
    /// Nothing is there, or links lead to each other.
    pub fn source_file(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let mut file = self.followed(path)?;
        if self.world.kind(&file)? == Some(FileKind::Directory) {
            file = self.followed(&path::canonical(&[&file[..], b"/default.nix"].concat()))?;
        }
        Ok(file)
    }

    /// `path` with links in its last component followed.
    ///
    /// # Errors
    /// As [`Worker::source_file`].
    pub fn followed(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let mut path = path.to_vec();
        for _ in 0..MOST_LINKS {
            if self.world.kind(&path)? != Some(FileKind::Symlink) {
                return Ok(path);
            }
            let target = self.world.read_link(&path)?;
            path = if target.starts_with(b"/") {
                path::canonical(&target)
            } else {
                path::canonical(&[path::dir_of(&path), b"/", &target[..]].concat())
            };
        }
        let shown = String::from_utf8_lossy(&path);
        Err(Error::new(format!("infinite symlink recursion in path '{shown}'")))
    }

    /// The value of a file; each file is evaluated once.
    ///
    /// # Errors
    /// It cannot be read, or as [`Worker::evaluate_text`].
    pub fn import(&self, path: &[u8]) -> Evaluated<'e> {
        let file = self.source_file(path)?;
        let imports = || self.shared.imports.lock().unwrap_or_else(PoisonError::into_inner);
        let known = imports().get(&file).copied();
        let value = known.unwrap_or_else(|| {
            let code = self.heap.alloc(Code::File(self.heap.slice(&file)));
            let new = self.heap.suspend(code, self.heap.env(None, &[], 0));
            *imports().entry(file.clone()).or_insert(new)
        });
        let result = self.force(value);
        if result.is_err() && !self.is_ahead() {
            // Who asks again has it read again.
            imports().remove(&file);
        }
        result
    }

    /// The names that every expression may use, in no order.
    pub fn global_names(&self) -> impl Iterator<Item = Symbol> {
        self.shared.globals.get().into_iter().flat_map(|globals| globals.keys().copied())
    }

    /// Forgets the values of files, so that importing them reads them again.
    pub fn forget_imports(&self) {
        self.shared.imports.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Reads and evaluates a file, whether or not it was before.
    ///
    /// # Errors
    /// As [`Worker::import`].
    pub fn evaluate_file(&self, file: &[u8], scoped: Option<Attrs<'e>>) -> Evaluated<'e> {
        // Text and tree are gone before other files are read.
        let code = {
            let text = self.world.read_file(file)?;
            let parsed = self.parse(Origin::File(file.to_vec()), &text, path::dir_of(file))?;
            drop(text);
            self.compile(&parsed, scoped)?
        };
        self.eval(code, self.heap.env(None, &[], 0))
    }

    /// Gives the value of `__curPos` and of attribute places: a set, or null for a text that is no file.
    pub fn position_value(&self, position: Position) -> Value<'e> {
        use super::symbols::known;
        match self.shared.place(position) {
            Some((Origin::File(file), line, column)) => self.new_set(vec![
                (known::FILE, self.new_string(&file)),
                (known::LINE, Value::int(i64::from(line))),
                (known::COLUMN, Value::int(i64::from(column))),
            ]),
            _ => Value::null(),
        }
    }

    /// The text of the failed condition of an `assert` at `position`, read and parsed again.
    #[cold]
    pub(super) fn assertion_text(&self, position: Position) -> Option<String> {
        let (source, offset) = self.shared.sources.find(position)?;
        let text = self.shared.text_of(&source)?;
        let directory = match &source.origin {
            Origin::File(file) => path::dir_of(file).to_vec(),
            _ => self.world.current_dir(),
        };
        let options = ParseOptions {
            base: directory,
            home: self.shared.settings.home.clone(),
            pipe_operators: self.shared.settings.has("pipe-operators"),
            ..ParseOptions::default()
        };
        let tree = self.interning(|names| syntax::parse(&text, names, &options)).ok()?;
        let found = tree.nodes.iter().zip(&tree.offsets).find_map(|(node, at)| match node {
            Node::Assert { condition, .. } if *at == offset => Some(*condition),
            _ => None,
        })?;
        let mut printed = Vec::new();
        syntax::print::print(&tree, &self.shared.symbols, found, &mut printed);
        Some(String::from_utf8_lossy(&printed).into_owned())
    }
}
