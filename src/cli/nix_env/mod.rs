//! `nix-env`: one operation on a profile, its flags and its arguments, in any
//! order.

mod generation;
mod install;
mod packages;
mod query;

use std::ffi::OsString;
use std::path::PathBuf;

use nival::ops::profile::Profile;
use nival::ops::user_env::upgrade::Mode;
use nival::progress::Progress as _;
use nival::store::ManagedStore;

use super::args::{Args, Word, text};
use super::context::Context;
use super::error::usage;
use super::flag_table;
use super::ui::Out;

/// What an operation is called with.
pub struct Call {
    /// Settings, surroundings, messages.
    pub context: Context,
    /// Words that begin with a dash and that only some operations know, in order.
    pub flags: Vec<String>,
    /// All other words, in order.
    pub arguments: Vec<OsString>,
    /// The value of `--profile`.
    profile: Option<OsString>,
    /// Nothing is to be changed.
    pub dry_run: bool,
    /// The value of `--from-profile`.
    pub from_profile: Option<OsString>,
    /// Only what need not be built is to be listed.
    pub prebuilt: bool,
    /// The value of `--force-name`.
    pub force_name: Option<String>,
    /// Flags were given that only make sense with an expression.
    pub expression: bool,
    /// Which offers an upgrade takes.
    pub mode: Mode,
}

type Operation = fn(Call) -> anyhow::Result<()>;

/// Every operation and its spellings.
const OPERATIONS: &[(&[&str], Operation)] = &[
    (&["--install", "-i"], install::install),
    (&["--upgrade", "-u"], install::upgrade),
    (&["--uninstall", "-e"], install::uninstall),
    (&["--set-flag"], install::set_flag),
    (&["--set"], install::set),
    (&["--query", "-q"], query::query),
    (&["--switch-profile", "-S"], generation::switch_profile),
    (&["--switch-generation", "-G"], generation::switch_generation),
    (&["--rollback"], generation::rollback),
    (&["--list-generations"], generation::list),
    (&["--delete-generations"], generation::delete),
];

/// Runs it.
///
/// # Errors
/// Usage errors, and those of the operation.
pub fn run(context: Context, mut args: Args) -> anyhow::Result<()> {
    let mut operation: Option<(&[&str], Operation)> = None;
    // Flags that only some operations have.
    let mut given: Vec<String> = Vec::new();
    let mut call = Call {
        context,
        flags: Vec::new(),
        arguments: Vec::new(),
        profile: None,
        dry_run: false,
        from_profile: None,
        prebuilt: false,
        force_name: None,
        expression: false,
        mode: Mode::Higher,
    };
    while let Some(word) = args.next() {
        let flag = match word {
            Word::Argument(argument) => {
                call.arguments.push(argument);
                continue;
            }
            Word::Flag(flag) => flag,
        };
        if let Some((names, run)) = OPERATIONS.iter().find(|(names, _)| names.contains(&flag.as_str())) {
            if operation.is_some_and(|(other, _)| other != *names) {
                return usage("only one operation may be specified");
            }
            operation = Some((names, *run));
            continue;
        }
        given.push(flag.clone());
        let value = |args: &mut Args| match args.value(&flag) {
            Ok(value) => Ok(value),
            Err(_) => usage(format!("'{flag}' requires an argument")),
        };
        match flag.as_str() {
            "--profile" | "-p" => call.profile = Some(value(&mut args)?),
            "--prebuilt-only" | "-b" => call.prebuilt = true,
            "--from-profile" => call.from_profile = Some(value(&mut args)?),
            "--force-name" => call.force_name = Some(text(&value(&mut args)?)?),
            "--dry-run" => {
                call.context.ui.notice("(dry run; not doing anything)");
                call.dry_run = true;
            }
            "--file" | "-f" => {
                let file = call.context.absolute(std::path::Path::new(&value(&mut args)?));
                anyhow::ensure!(
                    file.to_string_lossy().contains("://") || std::fs::symlink_metadata(&file).is_ok(),
                    "path '{}' does not exist",
                    file.display()
                );
                call.expression = true;
            }
            "--attr" | "-A" | "--from-expression" | "-E" => call.expression = true,
            "--arg" | "--argstr" => {
                value(&mut args)?;
                value(&mut args)?;
                call.expression = true;
            }
            // Of evaluation, which these only guide.
            "-I" | "--system-filter" => drop(value(&mut args)?),
            "--lt" => call.mode = Mode::Higher,
            "--leq" => call.mode = Mode::HigherOrSame,
            "--eq" => call.mode = Mode::Same,
            "--always" => call.mode = Mode::Any,
            // Here a column, elsewhere a setting.
            "--system" => call.flags.push(flag),
            "-K" | "--keep-failed" | "-k" | "--keep-going" | "-Q" | "--no-build-output" => {}
            _ if call.context.common_flag(&flag, &mut args)? => {}
            _ => call.flags.push(flag),
        }
    }
    call.context.end_of_args()?;
    if call.context.version_wanted {
        return call.context.print_version();
    }
    if call.context.help_wanted {
        return help(operation.map(|(names, _)| names[0]));
    }
    let Some((names, run)) = operation else {
        let near = call.flags.iter().find_map(|flag| flag_table::suggestion("nix-env", flag));
        let hint = near.map_or(String::new(), |near| format!("\n       Did you mean '{near}'?"));
        return usage(format!("no operation specified{hint}"));
    };
    refuse_strange(names, &given)?;
    let named = matches!(names[0], "--install" | "--set");
    if call.force_name.is_some() && !named {
        call.context.ui.warn(&format!("'--force-name' has no effect with '{}'", names[0]));
    }
    run(call)
}

/// Refuses flags that belong to other operations only.
fn refuse_strange(names: &[&str], given: &[String]) -> anyhow::Result<()> {
    let has = |operation: &flag_table::Operation, flag: &str| {
        operation.flags.iter().any(|known| known.names.contains(&flag))
    };
    for flag in given {
        let strange = flag_table::operations("nix-env").any(|operation| has(operation, flag));
        let own = flag_table::operations("nix-env").any(|operation| {
            (operation.names.is_empty() || operation.names == names) && has(operation, flag)
        });
        if strange && !own {
            return usage(format!("unknown flag '{flag}'"));
        }
    }
    Ok(())
}

fn help(operation: Option<&str>) -> anyhow::Result<()> {
    let mut out = Out::new();
    flag_table::help("nix-env", operation).iter().try_for_each(|line| out.line(line))?;
    out.line("")?;
    out.line("Packages are named by store paths, or come from another profile (--from-profile);")?;
    out.line("choosing them from a Nix expression is not available yet.")?;
    out.finish()
}

/// The error for whatever would need an evaluator.
pub fn needs_language(what: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{what} needs the Nix language, which this version of Nival does not have yet; \
         packages can be given as store paths or with --from-profile"
    )
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

    /// Takes a flag in any of its spellings, however often it was given.
    pub fn take_flag(&mut self, names: &[&str]) -> bool {
        let before = self.flags.len();
        self.flags.retain(|flag| !names.contains(&flag.as_str()));
        self.flags.len() < before
    }

    /// The arguments as texts.
    ///
    /// # Errors
    /// One that is not UTF-8.
    pub fn texts(&self) -> anyhow::Result<Vec<String>> {
        self.arguments.iter().map(|argument| text(argument)).collect()
    }

    /// The store, and the user's links to profiles and channels.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open_store(&self) -> anyhow::Result<Box<dyn ManagedStore>> {
        let store = self.context.open_store()?;
        if !store.is_read_only() {
            self.context.make_user_links(self.profile.is_none(), true)?;
        }
        Ok(store)
    }

    /// The profile to work on.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn profile(&self) -> anyhow::Result<Profile> {
        let link: PathBuf = match &self.profile {
            Some(link) => self.context.absolute(std::path::Path::new(link)),
            None => self.context.default_profile()?,
        };
        Ok(Profile::new(link))
    }
}
