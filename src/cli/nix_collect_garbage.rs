//! `nix-collect-garbage`: old generations of all profiles, then garbage.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nival::ops::profile::{Obsolete, Profile, ProfileError, each_profile_below, parse_age};
use nival::progress::Progress as _;
use nival::sys::lock::LockError;

use super::collect;
use super::context::Context;
use super::error::{Exit, Usage, usage};
use super::flags::parse::{Item, Parser};
use super::flags::{NIX_COLLECT_GARBAGE, page};

/// What the words ask for.
#[derive(Default)]
struct Request {
    obsolete: Option<Obsolete>,
    dry_run: bool,
    max_freed: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// Usage errors, and those of the collection.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let mut request = Request::default();
    let mut parser = Parser::classic(&NIX_COLLECT_GARBAGE, words);
    while let Some(item) = parser.next(&mut context, &[])? {
        let given = match item {
            Item::Flag(given) => given,
            Item::Argument(argument) => {
                return usage(format!("unexpected argument '{}'", argument.to_string_lossy()));
            }
            Item::Unknown(flag) => return Err(NIX_COLLECT_GARBAGE.unrecognised(&flag)),
            Item::Operation(_) | Item::Taken => continue,
        };
        match given.name() {
            "--delete-old" => request.obsolete = Some(Obsolete::Old),
            "--delete-older-than" => {
                let age = parse_age(&given.text()?).map_err(|error| Usage(error.to_string()))?;
                request.obsolete = Some(age);
            }
            "--dry-run" => request.dry_run = true,
            "--max-freed" => request.max_freed = Some(collect::parse_limit(&given.text()?)?),
            other => return Err(page::not_taken(other)),
        }
    }
    if context.is_answered_by(|| page::of_program(&NIX_COLLECT_GARBAGE).print())? {
        return Ok(());
    }
    if request.dry_run && request.max_freed.is_some() {
        return usage("options --max-freed and --dry-run cannot be combined");
    }
    let mut old = Old::default();
    if let Some(obsolete) = &request.obsolete {
        old.delete(&context, obsolete, request.dry_run)?;
    }
    if request.dry_run {
        collect::dry_run(&context, &old.gone)?;
    } else {
        collect::collect(&context, request.max_freed, None)?;
    }
    if old.failed { Err(Exit(1).into()) } else { Ok(()) }
}

/// How long to wait for the lock of a profile that belongs to another user.
const PATIENCE: Duration = Duration::from_secs(5);

/// Old generations.
#[derive(Default)]
struct Old {
    /// Their links.
    gone: HashSet<PathBuf>,
    /// Profiles that were looked at, by their directories and names.
    seen: HashSet<((u64, u64), OsString)>,
    /// One of our own, or of the machine's, could not be changed.
    failed: bool,
}

impl Old {
    /// Deletes generations of every profile, or only says which.
    fn delete(&mut self, context: &Context, obsolete: &Obsolete, dry_run: bool) -> anyhow::Result<()> {
        for dir in directories(context)? {
            let ui = Arc::clone(&context.ui);
            each_profile_below(&dir, &*ui, &mut |profile| self.profile(context, profile, obsolete, dry_run))?;
        }
        Ok(())
    }

    fn profile(
        &mut self,
        context: &Context,
        profile: &Profile,
        obsolete: &Obsolete,
        dry_run: bool,
    ) -> anyhow::Result<()> {
        let Some((place, owner)) = profile.place()? else { return Ok(()) };
        let name = profile.link().file_name().unwrap_or_default().to_owned();
        if !self.seen.insert((place, name)) {
            return Ok(());
        }
        context.ui.notice(&format!("removing old generations of profile {}", profile.link().display()));
        let own = owner == 0 || owner == rustix::process::geteuid().as_raw();
        let patience = if own { None } else { Some(PATIENCE) };
        match profile.delete_within(patience, obsolete, dry_run, &*context.ui) {
            Ok(numbers) => {
                self.gone.extend(numbers.into_iter().map(|number| profile.generation_link(number)));
            }
            Err(ProfileError::Lock(LockError::Interrupted(interrupted))) => return Err(interrupted.into()),
            // One that somebody keeps from being changed keeps nobody from
            // collecting.
            Err(error) => {
                context.ui.warn(&format!("its generations stay: {error}"));
                self.failed |= own && !error.is_denied();
            }
        }
        Ok(())
    }
}

/// Where profiles are: those of the user, of the machine (or of the store below
/// another root directory), and what is beside the profile in use.
fn directories(context: &Context) -> anyhow::Result<Vec<PathBuf>> {
    let usual = context.environment.directories()?;
    let (state, store) = match context.local_options() {
        Ok(options) => (options.layout.state_dir, PathBuf::from(options.layout.store_dir.as_str())),
        // A daemon works on the store; the profiles are ours.
        Err(_) => (usual.state, usual.store),
    };
    let mut directories: Vec<PathBuf> = context.profiles_dir().into_iter().collect();
    directories.push(state.join("profiles"));
    if let Ok(link) = context.profile_link()
        && let Ok(target) = std::fs::read_link(&link)
    {
        let target = context.absolute(&link.parent().unwrap_or(Path::new("/")).join(target));
        let beside = target.parent().filter(|dir| dir.is_dir() && !dir.starts_with(&store));
        directories.extend(beside.map(Path::to_owned));
    }
    Ok(directories)
}
