//! Evaluating for programs: settings, the store, and the flags that all of them have.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use nival::eval::error::{Error, Kind};
use nival::eval::heap::Arena;
use nival::eval::interpret::Worker;
use nival::eval::shared::Settings as Language;
use nival::eval::sources::Origin;
use nival::eval::syntax::Lint;
use nival::fetch::memory::Memory;
use nival::http::settings::HttpSettings;
use nival::model::{DerivedPath, StoreDir};
use nival::ops::copy::Trust;
use nival::ops::evaluate::access::Freedom;
use nival::ops::evaluate::seen::Said;
pub use nival::ops::evaluate::selection::Arguments;
use nival::ops::evaluate::{self, Asked, Backing, Options, search_path};
use nival::ops::realise::Outcome;
use nival::progress::Progress;
use nival::store::api::Store;
use nival::store::open::http_settings;
use nival::sys::{PathError, interrupt, read_whole};

use crate::cli::context::Context;
use crate::cli::error::{self, Unevaluated};
use crate::cli::flags::parse::{Given, text};
use crate::cli::output::streams;
use crate::cli::realiser;

/// An argument for the functions that are called on the way to a value.
enum Argument {
    Expression(String),
    Text(Vec<u8>),
    File(PathBuf),
    Stdin,
}

/// What the flags of [`crate::cli::flags::EXPRESSIONS`] ask for.
#[derive(Default)]
pub struct Wanted {
    arguments: Vec<(String, Argument)>,
    included: Vec<String>,
    store: Option<String>,
    /// Whether everything may be read, whatever the settings say.
    pub impure: bool,
}

impl Wanted {
    /// Of programs that may read everything unless a flag says otherwise.
    pub fn impure() -> Self {
        Self { impure: true, ..Self::default() }
    }

    /// Takes a flag; false if it is another one.
    ///
    /// # Errors
    /// A bad value, or a flag of something that is not there yet.
    pub fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--arg" => {
                let (name, expression) = given.texts()?;
                self.argument(name, Argument::Expression(expression));
            }
            "--argstr" => {
                let (name, text) = given.texts()?;
                self.argument(name, Argument::Text(text.into_bytes()));
            }
            "--arg-from-file" => {
                let (name, file) = given.texts()?;
                self.argument(name, Argument::File(file.into()));
            }
            "--arg-from-stdin" => self.argument(given.text()?, Argument::Stdin),
            "--include" => self.included.push(given.text()?),
            "--impure" => self.impure = true,
            "--eval-store" => self.store = Some(given.text()?),
            "--override-flake" => {
                context.settings.require_feature(Some("flakes"))?;
                anyhow::bail!(
                    "'{}' is about flakes, which are not available in this version of Nival",
                    given.spelled()
                )
            }
            "--repair" => anyhow::bail!(
                "'{}' is not available for expressions in this version of Nival",
                given.spelled()
            ),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether functions are called with anything.
    pub fn has_arguments(&self) -> bool {
        !self.arguments.is_empty()
    }

    /// A later argument replaces an earlier one of the same name.
    fn argument(&mut self, name: String, argument: Argument) {
        self.arguments.retain(|(known, _)| *known != name);
        self.arguments.push((name, argument));
    }

    /// Reads the files among the arguments.
    ///
    /// # Errors
    /// One of them cannot be read.
    fn read(&self, context: &Context) -> anyhow::Result<Vec<(String, Ready)>> {
        let read = |argument: &Argument| -> anyhow::Result<Ready> {
            Ok(match argument {
                Argument::Expression(text) => Ready::Expression(text.clone()),
                Argument::Text(text) => Ready::Text(text.clone()),
                Argument::Stdin => Ready::Text(streams::read_stdin_bytes()?),
                Argument::File(file) => {
                    let path = context.absolute(file);
                    let text = read_whole(&path);
                    interrupt::check()?;
                    Ready::Text(text.map_err(PathError::at("opening file", file))?)
                }
            })
        };
        self.arguments.iter().map(|(name, argument)| Ok((name.clone(), read(argument)?))).collect()
    }

    /// Where the files of the store lie, if that is elsewhere on this machine.
    fn real_store_dir(&self, context: &Context) -> anyhow::Result<Option<PathBuf>> {
        let uri = self.store.as_deref().unwrap_or_else(|| context.settings.store_uri());
        let Some(layout) = context.layout_of(uri)? else { return Ok(None) };
        let is_elsewhere = layout.real_store_dir != std::path::Path::new(layout.store_dir.as_str());
        Ok(is_elsewhere.then_some(layout.real_store_dir))
    }

    fn options(&self, context: &Context, backed: &Backed<'_>) -> anyhow::Result<Options> {
        let settings = &context.settings;
        let (home, _) = context.machine.home(&context.environment);
        let freedom = match (settings.pure_eval() && !self.impure, settings.restrict_eval()) {
            (true, _) => Freedom::Pure,
            (false, true) => Freedom::Restricted,
            (false, false) => Freedom::Free,
        };
        let system = match settings.eval_system() {
            "" => settings.system(),
            system => system,
        };
        let store_dir = match &self.store {
            None => context.store_dir()?,
            Some(_) => backed.opened()?.dir().clone(),
        };
        let (environment, current_dir) = (context.environment.clone(), context.current_dir.clone());
        let mut options = Options::new(language(context, freedom), store_dir, environment, current_dir);
        options.freedom = freedom;
        options.allowed_uris = settings.allowed_uris().to_vec();
        options.real_store_dir = self.real_store_dir(context)?;
        options.system = system.to_owned();
        options.search_path =
            search_path::entries(&self.included, settings, &context.environment, home.as_deref());
        options.import_from_derivation = settings.allow_import_from_derivation();
        options.trace_import_from_derivation = settings.trace_import_from_derivation();
        options.source_memory =
            context.environment.cache_home(home.as_deref()).filter(|_| settings.eval_cache());
        settings.flake_registry().clone_into(&mut options.flake_registry);
        options.access_tokens = settings.access_tokens().clone();
        options.git.cache_dir = context.environment.cache_home(home.as_deref());
        options.git.time_to_live = settings.tarball_ttl();
        options.git.allow_dirty = settings.allow_dirty();
        options.git.warn_dirty = settings.warn_dirty();
        Ok(options)
    }
}

/// More threads than this would wait for each other most of the time.
const MOST_CORES: usize = 64;

/// The threads that a setting asks for, within reason; 0 stands for all cores of the machine.
fn cores(wanted: u64) -> usize {
    let wanted = match usize::try_from(wanted) {
        Ok(0) => std::thread::available_parallelism().map_or(1, usize::from),
        Ok(wanted) => wanted,
        Err(_) => MOST_CORES,
    };
    wanted.min(MOST_CORES)
}

/// The settings of the language.
fn language(context: &Context, freedom: Freedom) -> Language {
    let settings = &context.settings;
    let lint = |text: &str| match text {
        "warn" => Lint::Warn,
        "fatal" => Lint::Fatal,
        _ => Lint::Ignore,
    };
    let (home, _) = context.machine.home(&context.environment);
    let mut language = Language::new();
    // What may be read can change with what was added before, so that the order would matter.
    language.cores = if freedom == Freedom::Free { cores(settings.eval_cores()) } else { 1 };
    language.max_call_depth = u32::try_from(settings.max_call_depth()).unwrap_or(u32::MAX);
    language.pure = freedom == Freedom::Pure;
    language.restricted = freedom == Freedom::Restricted;
    language.trace_verbose = settings.trace_verbose();
    language.abort_on_warn = settings.abort_on_warn() || context.environment.is_on("NIX_ABORT_ON_WARN");
    language.features = settings.experimental_features().iter().cloned().collect();
    language.home = home.map(|home| home.into_os_string().into_encoded_bytes());
    language.url_literals = lint(settings.lint_url_literals());
    language.short_path_literals = lint(settings.lint_short_path_literals());
    language.absolute_path_literals = lint(settings.lint_absolute_path_literals());
    language
}

/// An argument whose text is there.
enum Ready {
    Expression(String),
    Text(Vec<u8>),
}

/// Why a program cannot go on.
pub enum Stopped {
    /// An evaluation failed.
    Evaluation(Error),
    /// Something else failed.
    Other(anyhow::Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Evaluation(error)
    }
}

impl From<anyhow::Error> for Stopped {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// An evaluation that is prepared: its options are known, and its arguments are read.
pub struct Evaluation<'c> {
    context: &'c Context,
    arguments: Vec<(String, Ready)>,
    backed: Backed<'c>,
    options: Options,
    arena: Arena,
}

impl<'c> Evaluation<'c> {
    /// Prepares an evaluation.
    ///
    /// # Errors
    /// Settings or arguments that cannot be read.
    pub fn new(context: &'c Context, wanted: &'c Wanted) -> anyhow::Result<Self> {
        let arguments = wanted.read(context)?;
        let backed =
            Backed { context, uri: wanted.store.as_deref(), store: OnceCell::new(), memory: OnceCell::new() };
        let options = wanted.options(context, &backed)?;
        Ok(Self { context, arguments, backed, options, arena: Arena::new() })
    }

    /// What other evaluations have in common with this one that would find the same in the same world, unless it
    /// works on a store of its own.
    pub fn identity(&self) -> Option<Vec<u8>> {
        if self.backed.uri.is_some() {
            return None;
        }
        let mut identity = self.options.identity().to_vec();
        identity.push(u8::from(self.context.settings.use_case_hack()));
        for (name, ready) in &self.arguments {
            let (kind, text) = match ready {
                Ready::Expression(text) => (0, text.as_bytes()),
                Ready::Text(text) => (1, &text[..]),
            };
            identity.push(kind);
            for part in [name.as_bytes(), text] {
                identity.extend_from_slice(&(part.len() as u64).to_le_bytes());
                identity.extend_from_slice(part);
            }
        }
        Some(identity)
    }

    /// Whether nothing is written to the store.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.options.read_only = read_only;
        self
    }

    /// The same, for what follows.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.options.read_only = read_only;
    }

    /// Has it noted what the evaluation sees.
    #[must_use]
    pub fn noted(mut self) -> Self {
        self.options.notes = Some(Arc::default());
        self
    }

    /// Prepares for several runs, each of which goes on where the one before was left.
    #[must_use]
    pub fn in_parts(mut self) -> Self {
        self.options.in_parts = true;
        self
    }

    /// Runs `work` with a worker of a new evaluation, the arguments that the user gave, and the door to the store.
    /// What is told that was `told_before` is not told again.
    ///
    /// # Errors
    /// Whatever `work` meets.
    pub fn run(
        &mut self,
        told_before: Vec<Said>,
        work: impl for<'e> FnOnce(&Worker<'e>, &Arguments<'e>, &Asked) -> Result<(), Stopped> + Send,
    ) -> anyhow::Result<()> {
        let Self { context, arguments, backed, options, arena } = self;
        let whole = context.settings.show_trace();
        let mut options = options.clone();
        options.told_before = told_before;
        let done = evaluate::run_in(arena, options, &*backed, |worker: &Worker<'_>, asked: &Asked| {
            let result = values(worker, arguments)
                .map_err(Stopped::from)
                .and_then(|values| work(worker, &values, asked));
            result.map_err(|stopped| match stopped {
                Stopped::Other(error) => error,
                Stopped::Evaluation(error) => told(worker, &error, whole),
            })
        });
        match done {
            Ok(result) => result,
            Err(error) => Err(anyhow::anyhow!("{error}")),
        }
    }
}

/// Runs `work` with a worker of a new evaluation, the arguments that the user gave, and the door
/// to the store. With `read_only` nothing is written to the store.
///
/// # Errors
/// Whatever `work` meets, and settings or arguments that cannot be read.
pub fn run(
    context: &Context,
    wanted: &Wanted,
    read_only: bool,
    work: impl for<'e> FnOnce(&Worker<'e>, &Arguments<'e>, &Asked) -> Result<(), Stopped> + Send,
) -> anyhow::Result<()> {
    Evaluation::new(context, wanted)?.read_only(read_only).run(Vec::new(), work)
}

/// What is told of a failed evaluation, with its trace: the `whole` of it, or what usually helps.
pub fn told(worker: &Worker<'_>, error: &Error, whole: bool) -> anyhow::Error {
    let status = match error.kind() {
        Kind::World(status) => status,
        _ => 1,
    };
    let text = match error.kind() {
        Kind::Interrupted => format!(" {error}"),
        _ => worker.shared.report(error, whole),
    };
    Unevaluated { text, status, usage: error.kind() == Kind::Usage }.into()
}

fn values<'e>(worker: &Worker<'e>, arguments: &[(String, Ready)]) -> Result<Arguments<'e>, Error> {
    let value = |ready: &Ready| match ready {
        Ready::Text(text) => Ok(worker.new_string(text)),
        Ready::Expression(text) => {
            let directory = worker.shared.world.current_dir();
            let parsed = worker.parse(Origin::Text, text.as_bytes(), &directory)?;
            worker.suspended(&parsed)
        }
    };
    let symbol = |name: &str| worker.shared.symbols.intern(name.as_bytes());
    arguments.iter().map(|(name, ready)| Ok((symbol(name), value(ready)?))).collect()
}

/// The texts of arguments on the command line.
///
/// # Errors
/// A usage error when one is not UTF-8.
pub fn texts(words: &[std::ffi::OsString]) -> anyhow::Result<Vec<String>> {
    words.iter().map(|word| text(word)).collect()
}

/// The store of an evaluation; it is opened when it is needed first.
struct Backed<'c> {
    context: &'c Context,
    uri: Option<&'c str>,
    store: OnceCell<Box<dyn Store>>,
    memory: OnceCell<Option<Memory>>,
}

impl Backed<'_> {
    fn opened(&self) -> anyhow::Result<&dyn Store> {
        if let Some(store) = self.store.get() {
            return Ok(&**store);
        }
        let store = match self.uri {
            Some(uri) => self.context.open_any(uri)?,
            None => self.context.open_store_to_add()?,
        };
        Ok(&**self.store.get_or_init(|| store))
    }
}

impl Backing for Backed<'_> {
    fn store(&self) -> Result<&dyn Store, Error> {
        self.opened().map_err(|error| Error::new(error::text(&error)))
    }

    fn realise(&self, requests: &[DerivedPath]) -> Result<(), Error> {
        let failed = |error: anyhow::Error| Error::new(error::text(&error));
        let outcomes = realiser::realise(self.context, self.store()?, requests).map_err(failed)?;
        match outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        }) {
            Some(error) => Err(Error::new(error::store_text(&error))),
            None => Ok(()),
        }
    }

    fn elsewhere(&self, uri: &str) -> Result<(Box<dyn Store>, Trust), Error> {
        let opened = || Ok((self.context.open_any(uri)?, self.context.trust()?));
        opened().map_err(|error: anyhow::Error| Error::new(error::text(&error)))
    }

    fn http(&self) -> HttpSettings {
        http_settings(&self.context.surroundings())
    }

    fn memory(&self, dir: &StoreDir) -> Option<&Memory> {
        self.memory.get_or_init(|| self.context.memory_of_downloads(dir)).as_ref()
    }

    fn progress(&self) -> Arc<dyn Progress> {
        self.context.progress()
    }
}
