//! Evaluating expressions with the files of this machine and a store.
//!
//! ```text
//! access       which files and addresses may be read
//! files        reading files, with the wording of the language
//! selection    which value is meant: calls and attribute paths
//! search_path  where `<name>` is looked up
//! trees        trees that are fetched from elsewhere
//! tree         a tree of files of which a filter leaves some out
//! add          files and texts → store paths
//! closures     what binary caches have
//! desk         the thread that has the store: answers, and writes what is added
//! adding       what is added, on its way to that thread
//! world        what an evaluation asks for, answered
//! told         what it told the user and saw, for evaluations after it
//! noting       the same, with questions and answers noted
//! sources      trees that were read before
//! seen         what was noted, compared with the present
//! identity     what two evaluations with the same options have in common
//! ```
//!
//! An evaluation has threads of its own, and a store belongs to one thread: that
//! which called [`run`] answers what is asked of the store, and writes what is added
//! while the evaluation goes on.

pub mod access;
mod add;
mod adding;
mod closures;
mod desk;
mod files;
mod identity;
mod noting;
pub mod search_path;
pub mod seen;
pub mod selection;
mod sources;
mod told;
mod tree;
mod trees;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::eval;
use crate::eval::error::Error;
use crate::eval::heap::Arena;
use crate::eval::interpret::Worker;
use crate::eval::io::World;
use crate::eval::shared::Settings;
use crate::fetch::git;
use crate::fetch::memory::Memory;
use crate::http::settings::HttpSettings;
use crate::model::{DerivedPath, StoreDir};
use crate::ops::copy::Trust;
use crate::progress::Progress;
use crate::settings::Environment;
use crate::store::api::Store;
use crate::sys::interrupt::Bounds;
use access::Freedom;
use desk::Mail;
use noting::Noting;
use seen::Said;
use seen::notes::Notes;
pub use world::Asked;

/// How expressions are evaluated.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// How the language behaves.
    pub settings: Settings,
    /// What may be read.
    pub freedom: Freedom,
    /// The addresses that may be fetched where reading is restricted.
    pub allowed_uris: Vec<String>,
    /// The variables that `builtins.getEnv` gives.
    pub environment: Environment,
    /// The directory that relative paths are relative to.
    pub current_dir: PathBuf,
    /// The store directory.
    pub store_dir: StoreDir,
    /// Where the files of the store lie, if that is elsewhere.
    pub real_store_dir: Option<PathBuf>,
    /// `builtins.currentSystem`
    pub system: String,
    /// Where `<name>` is looked up.
    pub search_path: Vec<search_path::Entry>,
    /// The directory in which it is remembered which trees were read.
    pub source_memory: Option<PathBuf>,
    /// How trees of repositories are fetched.
    pub git: git::Settings,
    /// The path or URL of the registry of flakes that all users have; empty for none.
    pub flake_registry: String,
    /// What lets people in at forges, by `HOST`, `HOST/OWNER` or `HOST/OWNER/REPO`.
    pub access_tokens: BTreeMap<String, String>,
    /// Whether store paths are only computed, and nothing is written.
    pub read_only: bool,
    /// Whether an evaluation may wait for builds.
    pub import_from_derivation: bool,
    /// Whether each such build is told.
    pub trace_import_from_derivation: bool,
    /// Where it is noted what the evaluation sees, if that is wanted; only of one that may read everything.
    pub notes: Option<Arc<Notes>>,
    /// What the user was told already of what this evaluation tells: each once less is told again.
    pub told_before: Vec<Said>,
    /// Whether another evaluation may go on where this one was left. Then it is known afterwards what was said, and
    /// whether anything was done that is not the same a second time ([`Asked::is_repeatable`]).
    pub in_parts: bool,
}

impl Options {
    /// Everything may be read, nothing is written, and there is no search path and no current system.
    pub fn new(
        settings: Settings,
        store_dir: StoreDir,
        environment: Environment,
        current_dir: PathBuf,
    ) -> Self {
        Self {
            settings,
            freedom: Freedom::Free,
            source_memory: None,
            allowed_uris: Vec::new(),
            git: git::Settings::new(environment.clone()),
            flake_registry: String::new(),
            access_tokens: BTreeMap::new(),
            environment,
            current_dir,
            store_dir,
            real_store_dir: None,
            system: String::new(),
            search_path: Vec::new(),
            read_only: true,
            import_from_derivation: true,
            trace_import_from_derivation: false,
            notes: None,
            told_before: Vec::new(),
            in_parts: false,
        }
    }
}

/// What answers questions about a store, on the thread that called [`run`].
pub trait Backing {
    /// The store.
    ///
    /// # Errors
    /// It cannot be opened.
    fn store(&self) -> Result<&dyn Store, Error>;

    /// Makes everything valid that was asked for.
    ///
    /// # Errors
    /// Something cannot be made valid.
    fn realise(&self, requests: &[DerivedPath]) -> Result<(), Error>;

    /// Another store, and whose signatures count for what is copied from it.
    ///
    /// # Errors
    /// It cannot be opened.
    fn elsewhere(&self, uri: &str) -> Result<(Box<dyn Store>, Trust), Error>;

    /// How downloads are made.
    fn http(&self) -> HttpSettings;

    /// What was fetched before for a store, unless that is not remembered.
    fn memory(&self, dir: &StoreDir) -> Option<&Memory>;

    /// Hears of the work.
    fn progress(&self) -> Arc<dyn Progress>;
}

/// Runs `work` with a worker of a new evaluation and what answers its questions, of which `backing`
/// answers those about the store.
/// Everything that was added is valid once this returns.
///
/// # Errors
/// A thread cannot be started, or what was to be added at the end cannot be.
pub fn run<R: Send>(
    options: Options,
    backing: &dyn Backing,
    work: impl for<'e> FnOnce(&Worker<'e>, &Asked) -> R + Send,
) -> Result<R, Error> {
    run_in(&mut Arena::new(), options, backing, work)
}

/// The same in an arena that may have served another evaluation, whose memory is used again.
///
/// # Errors
/// See [`run`].
pub fn run_in<R: Send>(
    arena: &mut Arena,
    options: Options,
    backing: &dyn Backing,
    work: impl for<'e> FnOnce(&Worker<'e>, &Asked) -> R + Send,
) -> Result<R, Error> {
    let (mail, inbox) = Mail::new();
    let settings = options.settings.clone();
    let world = Asked::new(options, mail, backing.progress());
    let bounds = Bounds::current();
    let evaluation = move || -> io::Result<Result<R, Error>> {
        if let Err(error) = bounds.clone().enter(|| world.look_ahead()) {
            return Ok(Err(error));
        }
        let noting = world.notes.as_ref().map(|notes| Noting::new(&world, notes));
        let door: &dyn World = match &noting {
            Some(noting) => noting,
            None => &world,
        };
        let result =
            eval::evaluate_in(arena, settings, door, |worker| bounds.enter(|| work(worker, &world)))?;
        Ok(world.settle().map(|()| result))
    };
    std::thread::scope(|scope| {
        let evaluating = std::thread::Builder::new().spawn_scoped(scope, evaluation);
        let evaluating = evaluating.map_err(no_thread)?;
        inbox.serve(backing);
        match evaluating.join() {
            Ok(result) => result.map_err(no_thread)?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn no_thread(error: io::Error) -> Error {
    Error::new(format!("starting a thread: {}", crate::sys::errno_text(&error)))
}
