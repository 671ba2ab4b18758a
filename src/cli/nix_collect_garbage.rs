//! `nix-collect-garbage`: old generations of all profiles, then garbage.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nival::ops::profile::{Doomed, Profile, ProfileError, each_profile_below, parse_age};
use nival::progress::Progress as _;
use nival::sys::lock::LockError;

use super::args::{Args, Word};
use super::collect;
use super::context::Context;
use super::error::{Exit, Usage, usage};
use super::ui::Out;

/// What the words ask for.
#[derive(Default)]
struct Request {
    doomed: Option<Doomed>,
    dry_run: bool,
    max_freed: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// Usage errors, and those of the collection.
pub fn run(mut context: Context, mut args: Args) -> anyhow::Result<()> {
    let mut request = Request::default();
    while let Some(word) = args.next() {
        let flag = match word {
            Word::Argument(argument) => {
                return usage(format!("unexpected argument '{}'", argument.to_string_lossy()));
            }
            Word::Flag(flag) => flag,
        };
        let value = |args: &mut Args| match args.text(&flag) {
            Ok(value) => Ok(value),
            Err(_) => usage(format!("'{flag}' requires an argument")),
        };
        match flag.as_str() {
            "-d" | "--delete-old" => request.doomed = Some(Doomed::Old),
            "--delete-older-than" => {
                let age = parse_age(&value(&mut args)?).map_err(|error| Usage(error.to_string()))?;
                request.doomed = Some(age);
            }
            "--dry-run" => request.dry_run = true,
            "--max-freed" => {
                request.max_freed = Some(collect::parse_limit(&value(&mut args)?)?);
            }
            _ if context.common_flag(&flag, &mut args)? => {}
            _ => return usage(format!("unrecognised flag '{flag}'")),
        }
    }
    if context.is_answered_by(help)? {
        return Ok(());
    }
    if request.dry_run && request.max_freed.is_some() {
        return usage("options --max-freed and --dry-run cannot be combined");
    }
    let mut old = Old::default();
    if let Some(doomed) = &request.doomed {
        old.delete(&context, doomed, request.dry_run)?;
    }
    if request.dry_run {
        collect::dry_run(&context, &old.gone)?;
    } else {
        collect::collect(&context, request.max_freed, None)?;
    }
    if old.failed { Err(Exit(1).into()) } else { Ok(()) }
}

/// How long to wait for whoever holds the lock of a profile that is somebody
/// else's.
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
    fn delete(&mut self, context: &Context, doomed: &Doomed, dry_run: bool) -> anyhow::Result<()> {
        for dir in directories(context)? {
            let ui = Arc::clone(&context.ui);
            each_profile_below(&dir, &*ui, &mut |profile| self.profile(context, profile, doomed, dry_run))?;
        }
        Ok(())
    }

    fn profile(
        &mut self,
        context: &Context,
        profile: &Profile,
        doomed: &Doomed,
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
        match profile.delete_within(patience, doomed, dry_run, &*context.ui) {
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

fn help() -> anyhow::Result<()> {
    let mut out = Out::new();
    for line in [
        "Usage: nix-collect-garbage [-d | --delete-older-than DAYS] [--max-freed BYTES | --dry-run]",
        "",
        "  -d, --delete-old             first delete all generations of profiles but the current ones",
        "      --delete-older-than 30d  first delete those that were not current any more so long ago",
        "      --delete-older-than +5   first delete all but the last five up to the current ones",
        "      --max-freed N            stop once more than N bytes (K, M, G, T) came free",
        "      --dry-run                only say what would be deleted, and how much that would free",
        "",
        "Every setting of nix.conf is a flag too.",
    ] {
        out.line(line)?;
    }
    out.finish()
}
