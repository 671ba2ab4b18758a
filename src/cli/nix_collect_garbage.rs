//! `nix-collect-garbage`: old generations of all profiles, then garbage.

use std::collections::HashSet;
use std::path::PathBuf;

use nival::ops::profile::{Doomed, parse_days, profiles_below};
use nival::progress::Progress as _;
use nival::settings::flags::parse_unit_number;

use super::args::{Args, Word};
use super::collect;
use super::context::Context;
use super::error::{Usage, usage};
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
                let age = parse_days(&value(&mut args)?).map_err(|error| Usage(error.to_string()))?;
                request.doomed = Some(Doomed::OlderThan(age));
            }
            "--dry-run" => request.dry_run = true,
            "--max-freed" => {
                let number = parse_unit_number(&value(&mut args)?);
                request.max_freed = Some(number.map_err(|error| Usage(error.to_string()))?);
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
    let gone = match &request.doomed {
        Some(doomed) => delete_generations(&context, doomed, request.dry_run)?,
        None => HashSet::new(),
    };
    if request.dry_run {
        return collect::dry_run(&context, &gone);
    }
    collect::collect(&context, request.max_freed, None)
}

/// Deletes generations of every profile; gives their links if that is only to
/// be told.
fn delete_generations(context: &Context, doomed: &Doomed, dry_run: bool) -> anyhow::Result<HashSet<PathBuf>> {
    let options = context.local_options()?;
    let state = options.layout.state_dir.join("profiles");
    let mut seen = HashSet::new();
    let mut gone = HashSet::new();
    for dir in context.profiles_dir().into_iter().chain([state]) {
        for profile in profiles_below(&dir)? {
            if !seen.insert(profile.link().to_owned()) {
                continue;
            }
            context.ui.notice(&format!("removing old generations of profile {}", profile.link().display()));
            let numbers = match profile.delete_generations(doomed, dry_run, &*context.ui) {
                Ok(numbers) => numbers,
                Err(error) if error.is_denied() => {
                    context.ui.warn(&format!("its generations stay: {error}"));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            gone.extend(numbers.into_iter().map(|number| profile.generation_link(number)));
        }
    }
    Ok(gone)
}

fn help() -> anyhow::Result<()> {
    let mut out = Out::new();
    for line in [
        "Usage: nix-collect-garbage [-d | --delete-older-than DAYS] [--max-freed BYTES | --dry-run]",
        "",
        "  -d, --delete-old             first delete all generations of profiles but the current ones",
        "      --delete-older-than 30d  first delete those that were not current any more so long ago",
        "      --max-freed N            stop once more than N bytes (K, M, G, T) came free",
        "      --dry-run                only say what would be deleted, and how much that would free",
        "",
        "Every setting of nix.conf is a flag too.",
    ] {
        out.line(line)?;
    }
    out.finish()
}
