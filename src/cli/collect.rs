//! What the programs that collect garbage have in common.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use nival::model::StorePath;
use nival::progress::{Progress as _, size_text};
use nival::settings::flags::{FlagError, parse_unit_number};
use nival::store::StoreError;
use nival::store::api::Store;
use nival::store::api::collect::{GcOptions, GcReport, WhyAlive};
use nival::store::api::roots::Holder;
use nival::store::remote::RemoteError;
use serde_json::{Value, json};

use super::context::Context;
use super::error::{Exit, Usage};
use crate::cli::output::streams::Out;

/// Reads how many bytes are to come free; none for less than nothing, which a
/// script may have worked out.
///
/// # Errors
/// A usage error.
pub fn parse_limit(text: &str) -> anyhow::Result<u64> {
    let number = |text: &str| {
        parse_unit_number(text).map_err(|error| match error {
            FlagError::Unit(_) => Usage(format!("{error}, expected K, M, G or T, as in 10G")),
            _ => Usage(error.to_string()),
        })
    };
    match text.strip_prefix('-') {
        Some(less) => Ok(number(less).map(|_| 0)?),
        None => Ok(number(text)?),
    }
}

/// Deletes everything that is dead and says how much it was.
pub fn collect(context: &Context, max_freed: Option<u64>, max_links: Option<u64>) -> anyhow::Result<()> {
    let store = context.open_any_to_collect()?;
    let mut options = GcOptions::new(context.keep());
    options.max_freed = max_freed.unwrap_or(u64::MAX);
    options.max_links = max_links;
    let mut report = GcReport::default();
    let result = store.require_collector()?.collect_garbage(&options, &mut report);
    finish(&report, result)
}

/// The last line, unless nothing could even begin; then the failure, if there
/// was one.
fn finish(report: &GcReport, result: Result<(), StoreError>) -> anyhow::Result<()> {
    let begun =
        !matches!(result, Err(StoreError::ReadOnly(_) | StoreError::Remote(RemoteError::Unusable { .. })));
    if begun || report.deleted > 0 {
        let freed = size_text(i64::try_from(report.freed).unwrap_or(i64::MAX));
        let mut out = Out::new();
        out.line(format_args!("{} store paths deleted, {freed} freed", report.deleted))?;
        out.finish()?;
    }
    result?;
    if report.failed > 0 || !report.alive.is_empty() { Err(Exit(1).into()) } else { Ok(()) }
}

/// Deletes paths if nothing keeps them, and says which are kept, why, and how
/// much came free.
pub fn delete(
    context: &Context,
    store: &dyn Store,
    paths: &[StorePath],
    ignore_liveness: bool,
) -> anyhow::Result<()> {
    let options = GcOptions::new(context.keep());
    let mut report = GcReport::default();
    let result = store.require_collector()?.delete_paths(paths, ignore_liveness, &options, &mut report);
    tell_alive(context, store, &report);
    finish(&report, result)
}

/// Says which paths were not deleted, and why.
fn tell_alive(context: &Context, store: &dyn Store, report: &GcReport) {
    for why in &report.alive {
        context.ui.error(&format!(
            "Cannot delete path '{}' since it is still alive. To find out why, use: nix-store --query --roots \
             and nix-store --query --referrers",
            store.dir().display(&why.path)
        ));
        explain(store, why).iter().for_each(|line| context.ui.hint(line));
    }
}

/// Says what would be deleted if the links of `without` were no roots, and
/// what that would free.
pub fn dry_run(context: &Context, without: &HashSet<PathBuf>) -> anyhow::Result<()> {
    let store = context.open_store()?;
    let tell = |path: &str| context.ui.notice(&format!("would delete '{path}'"));
    let dead = store.require_collector()?.dead_without(without, context.keep(), &mut |path| tell(path))?;
    if !dead.is_complete {
        context.ui.warn("what only the old generations keep is not among them: a daemon does not tell");
    }
    let mut out = Out::new();
    out.line(format_args!("{} store paths would be deleted", dead.count))?;
    out.finish()?;
    if let Some(bytes) = dead.bytes {
        context.ui.notice(&format!("{} would be freed", size_text(i64::try_from(bytes).unwrap_or(i64::MAX))));
    }
    Ok(())
}

/// A root for people: what it is and who holds it.
pub fn describe(holder: &Holder) -> String {
    match (holder, holder.process()) {
        (Holder::Temporary(_), Some(pid)) => format!("temporary root of process {}", with_program(pid)),
        (Holder::Running(file), Some(pid)) => {
            format!("in use by process {}: {}", with_program(pid), file.display())
        }
        (Holder::Permanent(link), _) => format!("permanent root \"{}\"", link.display()),
        (Holder::Profile(link), _) => format!("profile \"{}\"", link.display()),
        (Holder::Indirect(link), _) => format!("indirect root \"{}\"", link.display()),
        (other, _) => format!("in use: {other}"),
    }
}

fn with_program(pid: &str) -> String {
    match program(pid) {
        Some(program) => format!("{pid} ({program})"),
        None => pid.to_owned(),
    }
}

/// The name of the program that a process runs.
fn program(pid: &str) -> Option<String> {
    let name = std::fs::read_to_string(Path::new("/proc").join(pid).join("comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The processes that hold the lock of a path.
pub fn lock_holders(store: &dyn Store, why: &WhyAlive) -> Vec<String> {
    let locked = store.files().map(|files| files.lock_path(&why.path));
    locked.map_or_else(Vec::new, |lock| nival::sys::lock::holders(&lock))
}

/// Why a path is alive, line by line.
pub fn explain(store: &dyn Store, why: &WhyAlive) -> Vec<String> {
    let dir = store.dir();
    let mut lines = Vec::new();
    if why.chain.is_empty() {
        lines.push(format!("nothing keeps '{}'", dir.display(&why.path)));
    } else {
        lines.push(format!("'{}' is alive because of", dir.display(&why.path)));
        lines.extend(why.holders.iter().map(|holder| format!("  {}", describe(holder))));
        for (depth, path) in why.chain.iter().enumerate() {
            let no_root = if depth == 0 && why.holders.is_empty() { "  (no root leads to it)" } else { "" };
            lines.push(format!("  {}→ {}{no_root}", "  ".repeat(depth), dir.display(path)));
        }
    }
    for pid in lock_holders(store, why) {
        lines.push(format!("  its lock is held by process {}", with_program(&pid)));
    }
    match why.other_roots {
        0 => {}
        1 => lines.push("  and of 1 other root".to_owned()),
        count => lines.push(format!("  and of {count} other roots")),
    }
    lines
}

/// A root as JSON.
pub fn holder_json(holder: &Holder) -> Value {
    let mut value = json!({"kind": holder.kind(), "root": holder.to_string()});
    if let (Some(pid), Some(object)) = (holder.process(), value.as_object_mut()) {
        object.insert("pid".to_owned(), pid.parse::<u64>().map_or(Value::Null, Value::from));
        object.insert("program".to_owned(), program(pid).map_or(Value::Null, Value::from));
    }
    value
}

/// As [`explain`], as JSON.
pub fn explain_json(store: &dyn Store, why: &WhyAlive) -> Value {
    let dir = store.dir();
    json!({
        "path": dir.print(&why.path),
        "alive": !why.chain.is_empty(),
        "roots": why.holders.iter().map(holder_json).collect::<Vec<_>>(),
        "chain": why.chain.iter().map(|path| dir.print(path)).collect::<Vec<_>>(),
        "otherRoots": why.other_roots,
        "lockHolders": lock_holders(store, why).iter().filter_map(|pid| pid.parse::<u64>().ok()).collect::<Vec<_>>(),
    })
}

/// Links equal files.
pub fn optimise(context: &Context) -> anyhow::Result<()> {
    let failed = context.open_store()?.require_maintainer("optimiseStore")?.link_equal_files()?;
    if failed > 0 { Err(Exit(1).into()) } else { Ok(()) }
}
