//! `--gc`, `--delete`, `--optimise`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use nival::ops::roots_report;
use nival::store::api::roots::RootSearch;
use serde_json::{Value, json};

use super::Call;
use crate::cli::collect;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::output::streams::Out;

/// What `--gc` is to do; of several, those that come first here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    WhyAlive,
    Roots,
    Live,
    Dead,
    DryRun,
    Delete,
}

/// Collects garbage, or says what it would find.
pub fn gc(call: Call) -> anyhow::Result<()> {
    let mut mode = Mode::Delete;
    let as_json = call.has("--json");
    let max_freed = call.last("--max-freed").map(|given| collect::parse_limit(&given.text()?)).transpose()?;
    let max_links = call.last("--max-links").map(Given::number).transpose()?;
    for given in &call.flags {
        let wanted = match given.name() {
            "--print-roots" => Mode::Roots,
            "--print-live" => Mode::Live,
            "--print-dead" => Mode::Dead,
            "--dry-run" => Mode::DryRun,
            "--why-alive" => Mode::WhyAlive,
            _ => continue,
        };
        // Questions about roots come first; else the last word counts.
        if !matches!(mode, Mode::Roots | Mode::WhyAlive) {
            mode = wanted;
        }
    }
    if mode != Mode::WhyAlive {
        call.no_arguments()?;
    }
    if as_json && !matches!(mode, Mode::Roots | Mode::WhyAlive) {
        return usage("--json goes with --print-roots and --why-alive");
    }
    if max_freed.is_some() && mode != Mode::Delete {
        return usage(match mode {
            Mode::DryRun => "options --max-freed and --dry-run cannot be combined",
            Mode::WhyAlive => "option --max-freed cannot be combined with --why-alive",
            _ => "option --max-freed cannot be combined with --print-live, --print-dead, or --print-roots",
        });
    }
    if max_links.is_some() && mode != Mode::Delete {
        return usage("option --max-links only goes with a collection");
    }
    match mode {
        Mode::Delete => collect::collect(&call.context, max_freed, max_links),
        Mode::DryRun => collect::dry_run(&call.context, &HashSet::new()),
        Mode::Roots if as_json => print_roots_json(&call),
        Mode::Roots => print_roots(&call),
        Mode::Live | Mode::Dead => print_paths(&call, mode == Mode::Live),
        Mode::WhyAlive => why_alive(&call, as_json),
    }
}

fn print_roots(call: &Call) -> anyhow::Result<()> {
    let store = &*call.context.open_store()?;
    let mut search = RootSearch::default();
    search.clean = true;
    let roots = store.require_roots()?.find_roots(search)?;
    let mut lines: Vec<(String, String)> = Vec::new();
    for (path, holders) in &roots {
        lines.extend(holders.iter().map(|holder| (holder.to_string(), store.dir().print(path))));
    }
    lines.sort_unstable();
    let mut out = Out::new();
    for (holder, path) in lines {
        let known = holder == "{censored}" || holder.starts_with("{temp:");
        match known {
            // These are no files.
            true => out.line(format_args!("\"{holder}\" -> {path}"))?,
            false => out.line(format_args!("{holder:?} -> {path}"))?,
        }
    }
    out.finish()
}

fn print_roots_json(call: &Call) -> anyhow::Result<()> {
    let store = &call.context.open_local_store()?;
    let reports = roots_report::report(store, call.context.keep())?;
    let roots: Vec<Value> = reports
        .into_iter()
        .map(|report| {
            let mut value = collect::holder_json(&report.holder);
            if let Some(object) = value.as_object_mut() {
                object.insert("path".to_owned(), json!(store.dir().print(&report.path)));
                object.insert("age".to_owned(), json!(report.age));
                object.insert("closureSize".to_owned(), json!(report.closure_size));
                object.insert("exclusiveSize".to_owned(), json!(report.exclusive_size));
            }
            value
        })
        .collect();
    print_json(&Value::Array(roots))
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    let mut out = Out::new();
    out.line(value)?;
    out.finish()
}

fn print_paths(call: &Call, alive: bool) -> anyhow::Result<()> {
    let store = &*call.context.open_store()?;
    let mut out = Out::new();
    let mut written = Ok(());
    store.require_collector()?.survey(alive, call.context.keep(), &mut |path| {
        written = out.line(path);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    out.finish()
}

fn why_alive(call: &Call, as_json: bool) -> anyhow::Result<()> {
    if call.arguments.is_empty() {
        return usage("'--why-alive' expects the paths to ask about");
    }
    let store = &call.context.open_local_store()?;
    let mut out = Out::new();
    let mut values = Vec::new();
    for path in call.store_paths(store)? {
        let why = store.why_alive(&path, call.context.keep())?;
        if as_json {
            values.push(collect::explain_json(store, &why));
        } else {
            collect::explain(store, &why).into_iter().try_for_each(|line| out.line(line))?;
        }
    }
    if as_json {
        return print_json(&Value::Array(values));
    }
    out.finish()
}

/// Deletes paths that nothing keeps.
pub fn delete(call: Call) -> anyhow::Result<()> {
    let ignore_liveness = call.has("--ignore-liveness");
    let store = &*call.context.open_any_to_collect()?;
    let paths = call.store_paths(store)?;
    collect::delete(&call.context, store, &paths, ignore_liveness)
}

/// Links equal files.
pub fn optimise(call: Call) -> anyhow::Result<()> {
    call.no_arguments()?;
    collect::optimise(&call.context)
}
