//! `nix-store`: one operation, its flags and its arguments, in any order.

mod add;
mod far;
mod gc;
mod key;
pub mod maintain;
mod query;
mod realise;
mod serve;
mod transfer;
mod validity;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;

use nival::model::{StoreDir, StorePath};
use nival::store::ManagedStore;

pub use key::check_key_name;

use super::args::{Args, Word};
use super::context::{Context, not_in_store};
use super::error::usage;

/// What an operation is called with.
pub struct Call {
    /// Settings, surroundings, messages.
    pub context: Context,
    /// Words that begin with a dash and are no common flags, in order.
    pub flags: Vec<String>,
    /// All other words, in order.
    pub arguments: Vec<OsString>,
    /// The value of `--max-freed`.
    pub max_freed: Option<u64>,
    /// The value of `--max-links`.
    pub max_links: Option<u64>,
    /// The value of `--add-root`.
    pub add_root: Option<OsString>,
    /// Nobody is to be told that a result has no root.
    pub no_gc_warning: bool,
}

type Operation = fn(Call) -> anyhow::Result<()>;

/// Every operation: its spellings, and what it does; nothing for those that
/// have their place only.
const OPERATIONS: &[(&[&str], Option<Operation>)] = &[
    (&["--add", "-A"], Some(add::add)),
    (&["--add-fixed"], Some(add::add_fixed)),
    (&["--print-fixed-path"], Some(add::print_fixed_path)),
    (&["--query", "-q"], Some(query::run)),
    (&["--dump"], Some(transfer::dump)),
    (&["--restore"], Some(transfer::restore)),
    (&["--export"], Some(transfer::export)),
    (&["--import"], Some(transfer::import)),
    (&["--init"], Some(maintain::init)),
    (&["--verify"], Some(maintain::verify)),
    (&["--verify-path"], Some(maintain::verify_path)),
    (&["--read-log", "-l"], Some(maintain::read_log)),
    (&["--print-env"], Some(maintain::print_env)),
    (&["--dump-db"], Some(validity::dump_db)),
    (&["--load-db"], Some(validity::load_db)),
    (&["--register-validity"], Some(validity::register_validity)),
    (&["--check-validity"], Some(validity::check_validity)),
    (&["--rebuild-db"], Some(maintain::rebuild_db)),
    (&["--generate-binary-cache-key"], Some(key::generate)),
    (&["--realise", "--realize", "-r"], Some(realise::realise)),
    (&["--gc"], Some(gc::gc)),
    (&["--delete"], Some(gc::delete)),
    (&["--optimise", "--optimize"], Some(gc::optimise)),
    (&["--repair-path"], Some(maintain::repair_path)),
    (&["--serve"], Some(serve::serve)),
];

/// Runs it.
///
/// # Errors
/// Usage errors, and those of the operation.
pub fn run(mut context: Context, mut args: Args) -> anyhow::Result<()> {
    let mut operation: Option<(&str, Option<Operation>)> = None;
    let (mut flags, mut arguments) = (Vec::new(), Vec::new());
    let mut from_stdin = false;
    let (mut max_freed, mut max_links) = (None, None);
    let (mut add_root, mut no_gc_warning) = (None, false);
    while let Some(word) = args.next() {
        let flag = match word {
            Word::Argument(argument) => {
                arguments.push(argument);
                continue;
            }
            Word::Flag(flag) => flag,
        };
        if let Some((names, run)) = OPERATIONS.iter().find(|(names, _)| names.contains(&flag.as_str())) {
            // The same one may be repeated.
            if operation.is_some_and(|(name, _)| name != names[0]) {
                return usage("only one operation may be specified");
            }
            operation = Some((names[0], *run));
            continue;
        }
        match flag.as_str() {
            "--stdin" => from_stdin = true,
            "--max-freed" => {
                let Ok(value) = args.text(&flag) else { return usage("'--max-freed' requires an argument") };
                max_freed = Some(super::collect::parse_limit(&value)?);
                flags.push(flag);
            }
            "--max-links" => {
                let Ok(value) = args.text(&flag) else { return usage("'--max-links' requires an argument") };
                let number = nival::settings::flags::parse_unit_number(&value);
                max_links = Some(number.map_err(|error| super::error::Usage(error.to_string()))?);
                flags.push(flag);
            }
            // Of realisation; the other operations make no links.
            "--add-root" => match args.value(&flag) {
                Ok(value) => add_root = Some(value),
                Err(_) => return usage("'--add-root' requires an argument"),
            },
            "--no-gc-warning" => no_gc_warning = true,
            // Roots are always indirect; of building, which nothing here does.
            "--indirect" | "--no-output" | "-Q" | "--no-build-output" | "-K" | "--keep-failed" | "-k"
            | "--keep-going" | "--readonly-mode" => {}
            _ if context.common_flag(&flag, &mut args)? => {}
            _ => flags.push(flag),
        }
    }
    if context.is_answered_by(|| help(operation.map(|(name, _)| name)))? {
        return Ok(());
    }
    let Some((name, run)) = operation else {
        let near = flags.iter().find_map(|flag| super::flag_table::suggestion("nix-store", flag));
        let hint = near.map_or(String::new(), |near| format!("\n       Did you mean '{near}'?"));
        return usage(format!("no operation specified{hint}"));
    };
    if from_stdin && !std::io::stdin().is_terminal() {
        let text = super::ui::read_stdin()?;
        arguments.extend(text.split_ascii_whitespace().map(OsString::from));
    }
    // The name of a binding may be anything, and stands before the paths.
    let names = usize::from(flags.iter().any(|flag| matches!(flag.as_str(), "--binding" | "-b")));
    super::args::refuse_empty(arguments.get(names..).unwrap_or_default())?;
    let Some(run) = run else {
        anyhow::bail!("'nix-store {name}' is not available in this version of Nival");
    };
    run(Call { context, flags, arguments, max_freed, max_links, add_root, no_gc_warning })
}

fn help(operation: Option<&str>) -> anyhow::Result<()> {
    let mut out = super::ui::Out::new();
    super::flag_table::help("nix-store", operation).iter().try_for_each(|line| out.line(line))?;
    out.finish()
}

impl Call {
    /// Refuses flags that the operation does not know.
    ///
    /// # Errors
    /// A usage error naming the first.
    pub fn no_flags(&self) -> anyhow::Result<()> {
        match self.flags.first() {
            Some(flag) => usage(format!("unknown flag '{flag}'")),
            None => Ok(()),
        }
    }

    /// Refuses arguments.
    ///
    /// # Errors
    /// A usage error.
    pub fn no_arguments(&self) -> anyhow::Result<()> {
        if self.arguments.is_empty() { Ok(()) } else { usage("no arguments expected") }
    }

    /// Takes a flag, however often it was given.
    pub fn take_flag(&mut self, name: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|flag| flag != name);
        self.flags.len() < before
    }

    /// All arguments as store paths.
    ///
    /// # Errors
    /// The first that is none.
    pub fn store_paths(&self, store: &dyn ManagedStore) -> anyhow::Result<Vec<StorePath>> {
        self.arguments.iter().map(|argument| store_path(&self.context, store, argument)).collect()
    }
}

/// The store path that an argument means: at or below one, or a symlink to one.
///
/// # Errors
/// When it is none.
pub fn store_path(
    context: &Context,
    store: &dyn ManagedStore,
    argument: impl AsRef<Path>,
) -> anyhow::Result<StorePath> {
    store_path_in(context, store.dir(), argument)
}

/// As [`store_path`], of the store with a directory.
///
/// # Errors
/// When it is none.
pub fn store_path_in(
    context: &Context,
    dir: &StoreDir,
    argument: impl AsRef<Path>,
) -> anyhow::Result<StorePath> {
    /// Symlinks followed at most, as the system does.
    const MAX_LINKS: usize = 40;
    let mut path = context.absolute(argument.as_ref());
    for links in 1..=MAX_LINKS {
        let inside = path
            .to_str()
            .filter(|text| text.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/')));
        if let Some(text) = inside {
            return Ok(dir.parse_below(text)?.0);
        }
        // Only the argument itself may be a symlink, not what leads to it.
        let Ok(target) = std::fs::read_link(&path) else { break };
        let base = path.parent().unwrap_or(Path::new("/")).to_owned();
        path = context.absolute(&base.join(target));
        if links == MAX_LINKS {
            let argument = context.absolute(argument.as_ref());
            anyhow::bail!("too many levels of symbolic links at \"{}\"", argument.display());
        }
    }
    Err(not_in_store(&path).into())
}
