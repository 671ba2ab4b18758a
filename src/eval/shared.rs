//! What all threads of an evaluation share.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use super::compile::Globals;
use super::crew::Crew;
use super::error::Error;
use super::heap::{Arena, Value};
use super::io::World;
use super::sources::{Origin, Sources};
use super::symbols::Symbols;
use super::syntax::Lint;
use super::text::regex::{Regex, RegexError};
use super::value::Position;
use crate::model::derivation::modulo::Modulo;
use crate::model::store_path::StorePath;

/// How an evaluation behaves; the settings of the language. There may be more of them in later versions, so they are
/// changed one by one from what [`Settings::new`] gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The greatest number of calls within each other, less one.
    pub max_call_depth: u32,
    /// Whether only what is given by hash may be read.
    pub pure: bool,
    /// Whether only the search path may be read.
    pub restricted: bool,
    /// Whether `traceVerbose` prints.
    pub trace_verbose: bool,
    /// Whether `warn` ends the evaluation.
    pub abort_on_warn: bool,
    /// The experimental features that are on.
    pub features: Vec<String>,
    /// The value of `$HOME`, for `~/…`.
    pub home: Option<Vec<u8>>,
    /// How many threads evaluate at most.
    pub cores: usize,
    /// What is done about URLs without quotes.
    pub url_literals: Lint,
    /// What is done about relative paths without `./` in front.
    pub short_path_literals: Lint,
    /// What is done about absolute paths.
    pub absolute_path_literals: Lint,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::new()
    }
}

impl Settings {
    /// The settings of somebody who has set nothing, on one thread.
    pub fn new() -> Settings {
        Settings {
            max_call_depth: 10_000,
            pure: false,
            restricted: false,
            trace_verbose: false,
            abort_on_warn: false,
            features: Vec::new(),
            home: None,
            cores: 1,
            url_literals: Lint::Ignore,
            short_path_literals: Lint::Ignore,
            absolute_path_literals: Lint::Ignore,
        }
    }

    /// Whether an experimental feature is on.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|other| other == feature)
    }
}

/// What users of a derivation need to know of it.
pub struct Made {
    /// Its hash as an input of another.
    pub modulo: Modulo,
    /// The names of its outputs.
    pub outputs: BTreeSet<String>,
}

/// Where sets with `__functor` are written. A value does not know it; but the place of that attribute belongs to
/// one set of the text, and what other sets have that attribute have mostly another number of attributes.
#[derive(Default)]
pub struct Functors(Mutex<HashMap<Position, (Position, usize)>>);

impl Functors {
    /// Notes a set of `count` attributes that is written at `set`. One that an attribute path implies, whose place is that of
    /// the attribute, has none.
    pub(super) fn add(&self, functor: Position, set: Position, count: usize) {
        if functor != set {
            lock(&self.0).insert(functor, (set, count));
        }
    }

    /// Where the set was written that has such an attribute, and so many of all.
    pub(super) fn place(&self, functor: Position, count: usize) -> Position {
        match lock(&self.0).get(&functor) {
            Some((set, written)) if *written == count => *set,
            _ => Position::NONE,
        }
    }
}

/// What all threads of an evaluation share.
pub struct Shared<'e> {
    /// The memory of the evaluation.
    pub arena: &'e Arena,
    /// The names.
    pub symbols: Symbols,
    /// The texts that were read.
    pub sources: Sources,
    /// How the evaluation behaves.
    pub settings: Settings,
    /// Files, stores, environment.
    pub world: &'e dyn World,
    /// What threads know that evaluate ahead.
    pub(super) crew: Crew<'e>,
    /// The builtin names.
    pub(super) globals: OnceLock<Globals<'e>>,
    /// The files that were imported, by path: thunks that read and evaluate them.
    pub(super) imports: Mutex<HashMap<Vec<u8>, Value<'e>>>,
    /// What is known of derivations, by their paths.
    pub(super) made: Mutex<HashMap<StorePath, Arc<Made>>>,
    /// Where sets are written that can be called.
    pub(super) functors: Functors,
    failures: Mutex<Vec<Error>>,
    copied: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    regexes: Mutex<Regexes>,
}

/// Regular expressions that were read, by their patterns.
#[derive(Default)]
struct Regexes {
    read: HashMap<Vec<u8>, Arc<Regex>>,
    /// The sizes of all of them and their patterns.
    size: usize,
}

/// The size of the regular expressions that are kept, some tens of megabytes; then all are forgotten.
const MOST_REGEXES: usize = 1 << 20;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<'e> Shared<'e> {
    /// A new evaluation in `arena`, which asks `world`.
    pub fn new(arena: &'e Arena, settings: Settings, world: &'e dyn World) -> Shared<'e> {
        Shared {
            arena,
            symbols: Symbols::new(),
            sources: Sources::new(),
            settings,
            world,
            crew: Crew::new(world),
            globals: OnceLock::new(),
            imports: Mutex::new(HashMap::new()),
            made: Mutex::new(HashMap::new()),
            functors: Functors::default(),
            failures: Mutex::new(Vec::new()),
            copied: Mutex::new(HashMap::new()),
            regexes: Mutex::default(),
        }
    }

    /// Keeps a failure for those who force the same thunk again, and gives its number.
    pub(super) fn keep_failure(&self, error: &Error) -> u32 {
        let mut failures = lock(&self.failures);
        failures.push(error.clone());
        failures.len() as u32 - 1
    }

    /// A failure that was kept.
    pub(super) fn failure(&self, number: u32) -> Error {
        lock(&self.failures)
            .get(number as usize)
            .cloned()
            .unwrap_or_else(|| Error::new("an evaluation failed"))
    }

    /// The store path of a file that was copied before.
    pub(super) fn copied(&self, file: &[u8]) -> Option<Vec<u8>> {
        lock(&self.copied).get(file).cloned()
    }

    /// Keeps the store path of a file that was copied.
    pub(super) fn keep_copied(&self, file: &[u8], path: &[u8]) {
        lock(&self.copied).insert(file.to_vec(), path.to_vec());
    }

    /// A regular expression, which is read once.
    ///
    /// # Errors
    /// The pattern is none, or too large.
    pub(super) fn regex(&self, pattern: &[u8]) -> Result<Arc<Regex>, RegexError> {
        if let Some(regex) = lock(&self.regexes).read.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = Arc::new(Regex::new(pattern)?);
        let mut regexes = lock(&self.regexes);
        if regexes.size >= MOST_REGEXES {
            *regexes = Regexes::default();
        }
        regexes.size += regex.size() + pattern.len();
        regexes.read.insert(pattern.to_vec(), regex.clone());
        Ok(regex)
    }

    /// The text around a place, read again if it is that of a file.
    pub fn text_of(&self, source: &super::sources::Source) -> Option<std::sync::Arc<[u8]>> {
        match (&source.text, &source.origin) {
            (Some(text), _) => Some(text.clone()),
            (None, Origin::File(path)) => self.world.read_file(path).ok().map(std::sync::Arc::from),
            _ => None,
        }
    }

    /// Whether selecting the attribute of a place is told in traces: that of what `derivation` gives is not.
    pub(super) fn is_told(&self, position: Position) -> bool {
        self.sources.find(position).is_some_and(|(source, _)| !matches!(source.origin, Origin::Internal(_)))
    }

    /// A place as `FILE:LINE:COLUMN`.
    pub fn place_text(&self, position: Position) -> String {
        match self.place(position) {
            Some((origin, line, column)) => format!("{}:{line}:{column}", origin.name()),
            None => "«none»".to_owned(),
        }
    }

    /// The text, line and column of a place.
    pub fn place(&self, position: Position) -> Option<(Origin, u32, u32)> {
        let (source, offset) = self.sources.find(position)?;
        let (line, column) = source.line_and_column(offset, || self.text_of(&source))?;
        Some((source.origin.clone(), line, column))
    }
}
