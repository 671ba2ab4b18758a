//! `nix-store`: one operation, its flags and its arguments, in any order.

mod add;
pub mod export;
mod gc;
mod key;
mod maintain;
mod query;
mod realise;
mod serve;
mod validity;

use std::ffi::OsString;
use std::io::IsTerminal as _;

use nival::model::StorePath;
use nival::store::api::Store;

use super::context::Context;
use super::error::usage;
use super::flags::parse::{Given, Reading, refuse_empty};
use super::flags::{NIX_STORE, page};
use super::installables::words::store_path;

/// What an operation is called with.
pub struct Call {
    /// Settings, surroundings, messages.
    pub context: Context,
    /// The flags of the operation, in order.
    pub flags: Vec<Given>,
    /// All words that are no flags, in order.
    pub arguments: Vec<OsString>,
    /// The value of `--add-root`.
    pub add_root: Option<OsString>,
}

type Operation = fn(Call) -> anyhow::Result<()>;

/// What each operation does, by its name in [`NIX_STORE`].
const OPERATIONS: &[(&str, Operation)] = &[
    ("--add", add::add),
    ("--add-fixed", add::add_fixed),
    ("--print-fixed-path", add::print_fixed_path),
    ("--query", query::run),
    ("--dump", export::dump),
    ("--restore", export::restore),
    ("--export", export::export),
    ("--import", export::import),
    ("--init", maintain::init),
    ("--verify", maintain::verify),
    ("--verify-path", maintain::verify_path),
    ("--read-log", maintain::read_log),
    ("--print-env", maintain::print_env),
    ("--dump-db", validity::dump_db),
    ("--load-db", validity::load_db),
    ("--register-validity", validity::register_validity),
    ("--check-validity", validity::check_validity),
    ("--rebuild-db", maintain::rebuild_db),
    ("--generate-binary-cache-key", key::generate),
    ("--realise", realise::realise),
    ("--gc", gc::gc),
    ("--delete", gc::delete),
    ("--optimise", gc::optimise),
    ("--repair-path", maintain::repair_path),
    ("--serve", serve::serve),
];

/// Runs the operation that the words name.
///
/// # Errors
/// Usage errors, and those of the operation.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let (mut from_stdin, mut add_root) = (false, None);
    let mut reading = Reading::read(&NIX_STORE, &mut context, words, |given, _| {
        match given.name() {
            "--stdin" => from_stdin = true,
            "--add-root" => add_root = Some(given.value()),
            // What the rows of these say: there is nothing to change.
            "--indirect" | "--no-output" => {}
            other => return Err(page::not_taken(other)),
        }
        Ok(())
    })?;
    if context.is_answered_by(|| page::of_operation(&NIX_STORE, reading.operation).print())? {
        return Ok(());
    }
    let Some(operation) = reading.operation else { return Err(reading.no_operation(&NIX_STORE)) };
    let flags = match reading.flags_of(operation) {
        Ok(flags) => flags?,
        Err(_) if operation.name() == "--optimise" => return usage("no arguments expected"),
        Err(flag) if operation.name() == "--gc" => {
            return Err(NIX_STORE.unknown(operation, &flag, format!("bad sub-operation '{flag}' in GC")));
        }
        Err(flag) => return Err(NIX_STORE.unknown(operation, &flag, format!("unknown flag '{flag}'"))),
    };
    if from_stdin && !std::io::stdin().is_terminal() {
        let words = crate::cli::output::streams::read_stdin_words()?;
        reading.arguments.extend(words.into_iter().map(OsString::from));
    }
    // The name of a binding may be anything, and stands before the paths.
    let names = usize::from(flags.iter().any(|given| given.name() == "--binding"));
    refuse_empty(reading.arguments.get(names..).unwrap_or_default())?;
    let Some((_, run)) = OPERATIONS.iter().find(|(name, _)| *name == operation.name()) else {
        return Err(page::not_taken(operation.name()));
    };
    run(Call { context, flags, arguments: reading.arguments, add_root })
}

impl Call {
    /// Refuses arguments.
    ///
    /// # Errors
    /// A usage error.
    pub fn no_arguments(&self) -> anyhow::Result<()> {
        if self.arguments.is_empty() { Ok(()) } else { usage("no arguments expected") }
    }

    /// Whether a flag was given, however often.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|given| given.name() == name)
    }

    /// The flag with a name that was given last.
    pub fn last(&self, name: &str) -> Option<&Given> {
        self.flags.iter().rfind(|given| given.name() == name)
    }

    /// All arguments as store paths.
    ///
    /// # Errors
    /// The first that is none.
    pub fn store_paths(&self, store: &dyn Store) -> anyhow::Result<Vec<StorePath>> {
        self.arguments.iter().map(|argument| store_path(&self.context, store, argument)).collect()
    }
}
