//! `nix-env`: one operation on a profile, its flags and its arguments, in any
//! order.

mod generation;
mod install;
mod listing;
mod offers;
mod packages;
mod parts;
mod past;
mod query;
mod upgrade;

use std::ffi::OsString;
use std::path::PathBuf;

use nival::ops::evaluate::search_path::archive_url;
use nival::ops::profile::Profile;
use nival::ops::user_env::upgrade::Mode;
use nival::progress::Progress as _;
use nival::store::api::Store;

use super::context::Context;
use super::evaluation;
use super::flags::parse::{Given, Reading, text};
use super::flags::{NIX_ENV, page};

/// What an operation is called with.
pub struct Call {
    /// Settings, surroundings, messages.
    pub context: Context,
    /// The flags of the operation, in order.
    pub flags: Vec<Given>,
    /// All words that are no flags, in order.
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
    /// The value of `--file`.
    pub file: Option<String>,
    /// The value of `--system-filter`.
    pub system_filter: Option<String>,
    /// How expressions are evaluated.
    pub evaluation: evaluation::Wanted,
    /// Which offers an upgrade takes.
    pub mode: Mode,
}

type Operation = fn(Call) -> anyhow::Result<()>;

/// What each operation does, by its name in [`NIX_ENV`].
const OPERATIONS: &[(&str, Operation)] = &[
    ("--install", install::install),
    ("--upgrade", upgrade::upgrade),
    ("--uninstall", install::uninstall),
    ("--set-flag", install::set_flag),
    ("--set", install::set),
    ("--query", query::query),
    ("--switch-profile", generation::switch_profile),
    ("--switch-generation", generation::switch_generation),
    ("--rollback", generation::rollback),
    ("--list-generations", generation::list),
    ("--delete-generations", generation::delete),
];

/// Whether the value of `--file` names no file of this machine: a URL, `<nixpkgs>`,
/// `channel:NAME` or `flake:REF`.
fn is_of_language(file: &str) -> bool {
    file.starts_with('<') && file.ends_with('>') || archive_url(file).is_some() || file.starts_with("flake:")
}

/// What the flags of all operations ask for.
#[derive(Default)]
struct Wanted {
    profile: Option<OsString>,
    dry_run: bool,
    prebuilt: bool,
    force_name: Option<String>,
    file: Option<String>,
    system_filter: Option<String>,
    evaluation: evaluation::Wanted,
}

impl Wanted {
    /// Refuses a file that is not there, for operations that would read it.
    fn check_file(&self, operation: &str, flags: &[Given], context: &Context) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let path = &context.absolute(std::path::Path::new(file));
        let reads = match operation {
            "--install" | "--upgrade" | "--set" => true,
            _ => flags.iter().any(|given| matches!(given.name(), "--available" | "--compare-versions")),
        };
        anyhow::ensure!(
            !reads || is_of_language(file) || std::fs::symlink_metadata(path).is_ok(),
            "path '{}' does not exist",
            path.display()
        );
        Ok(())
    }

    fn take(&mut self, given: &Given, context: &mut Context) -> anyhow::Result<()> {
        match given.name() {
            "--profile" => self.profile = Some(given.value()),
            "--prebuilt-only" => self.prebuilt = true,
            "--force-name" => self.force_name = Some(given.text()?),
            "--dry-run" => {
                context.ui.notice("(dry run; not doing anything)");
                self.dry_run = true;
            }
            "--file" => self.file = Some(given.text()?),
            "--system-filter" => self.system_filter = Some(given.text()?),
            name => {
                if self.evaluation.flag(given, context)? {
                    return Ok(());
                }
                return Err(page::not_taken(name));
            }
        }
        Ok(())
    }
}

/// Runs the operation that the words name.
///
/// # Errors
/// Usage errors, and those of the operation.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let mut wanted = Wanted::default();
    let reading = Reading::read(&NIX_ENV, &mut context, words, |given, context| wanted.take(given, context))?;
    if context.is_answered_by(|| page::of_operation(&NIX_ENV, reading.operation).print())? {
        return Ok(());
    }
    let Some(operation) = reading.operation else { return Err(reading.no_operation(&NIX_ENV)) };
    let flags = match reading.flags_of(operation) {
        Ok(flags) => flags?,
        Err(flag) => return Err(NIX_ENV.unknown(operation, &flag, format!("unknown flag '{flag}'"))),
    };
    wanted.check_file(operation.name(), &flags, &context)?;
    let named = matches!(operation.name(), "--install" | "--set");
    if wanted.force_name.is_some() && !named {
        context.ui.warn(&format!("'--force-name' has no effect with '{}'", operation.name()));
    }
    let Some((_, run)) = OPERATIONS.iter().find(|(name, _)| *name == operation.name()) else {
        return Err(page::not_taken(operation.name()));
    };
    let Wanted { profile, dry_run, prebuilt, force_name, file, system_filter, evaluation } = wanted;
    let (mut from_profile, mut mode) = (None, Mode::Higher);
    for given in &flags {
        match given.name() {
            "--from-profile" => from_profile = Some(given.value()),
            "--lt" => mode = Mode::Higher,
            "--leq" => mode = Mode::HigherOrSame,
            "--eq" => mode = Mode::Same,
            "--always" => mode = Mode::Any,
            _ => {}
        }
    }
    let arguments = reading.arguments;
    run(Call {
        context,
        flags,
        arguments,
        profile,
        dry_run,
        from_profile,
        prebuilt,
        force_name,
        file,
        system_filter,
        evaluation,
        mode,
    })
}

impl Call {
    /// Whether a flag was given, however often.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|given| given.name() == name)
    }

    /// The arguments as texts.
    ///
    /// # Errors
    /// One that is not UTF-8.
    pub fn texts(&self) -> anyhow::Result<Vec<String>> {
        self.arguments.iter().map(|argument| text(argument)).collect()
    }

    /// The store, and the user's links to profiles and channels.
    pub fn open_store(&self) -> anyhow::Result<Box<dyn Store>> {
        let store = self.context.open_store()?;
        if !store.is_read_only() {
            let unnamed =
                self.profile.is_none() && self.context.environment.non_empty("NIX_PROFILE").is_none();
            self.context.make_user_links(unnamed, true)?;
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
