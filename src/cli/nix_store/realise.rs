//! `--realise`: paths that are there already or can be fetched, and roots for
//! them.

use std::path::PathBuf;

use nival::model::{DerivedPath, Outputs, StorePath};
use nival::ops::realise::output_paths;
use nival::progress::Progress as _;
use nival::store::api::Store;
use nival::store::api::realise::RealiseMode;

use super::Call;
use crate::cli::flags::parse::text;
use crate::cli::installables::words::store_path;
use crate::cli::output::streams::Out;
use crate::cli::realiser;

/// Reads `PATH`, or `DRV!NAME,NAME`; a derivation alone stands for all of its
/// outputs.
fn parse(call: &Call, store: &dyn Store, word: &std::ffi::OsStr) -> anyhow::Result<DerivedPath> {
    let word = text(word)?;
    let (path, names) = match word.split_once('!') {
        Some((path, names)) => (path, Some(names)),
        None => (word.as_str(), None),
    };
    let path = store_path(&call.context, store, path)?;
    Ok(match path.is_derivation() {
        true => DerivedPath::built(path, names.map_or(Outputs::All, Outputs::parse)),
        false => DerivedPath::opaque(path),
    })
}

/// The output names and paths that a fulfilled request stands for, in the order
/// of the paths. An output that a derivation does not have is refused.
fn results(store: &dyn Store, request: &DerivedPath) -> anyhow::Result<Vec<(String, StorePath)>> {
    let DerivedPath { path, outputs: Some(outputs) } = request else {
        return Ok(vec![("out".to_owned(), request.path.clone())]);
    };
    let drv = store.queries().read_derivation(path)?;
    if let Some(name) = outputs.missing(&drv) {
        anyhow::bail!("derivation '{}' does not have output '{name}'", store.dir().display(path));
    }
    let known = output_paths(store, path, &drv, outputs)?.into_iter();
    let mut results: Vec<_> = known.filter_map(|(name, path)| Some((name, path?))).collect();
    results.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(results)
}

/// Prints what arguments stand for, and makes it roots.
pub fn realise(call: Call) -> anyhow::Result<()> {
    let dry_run = call.has("--dry-run");
    let ignore_unknown = call.has("--ignore-unknown");
    let mut again = None;
    for (flag, mode) in [("--check", RealiseMode::Check), ("--repair", RealiseMode::Repair)] {
        if call.has(flag) {
            again = Some(mode);
        }
    }
    let store = &*call.context.open_store()?;
    let mut requests = Vec::new();
    for word in &call.arguments {
        let request = parse(&call, store, word)?;
        store.add_temp_roots(&[&request.path])?;
        let is_there = store.is_there(&request.path)?;
        if is_there {
            // Before anything is fetched.
            results(store, &request)?;
        }
        // Unknown paths are no reason to fail then.
        if is_there || !ignore_unknown || request.outputs.is_some() {
            requests.push(request);
        }
    }
    if dry_run {
        return realiser::tell_missing(&call.context, store, &requests);
    }
    let outcomes = match again {
        Some(mode) => realiser::realise_again(&call.context, store, &requests, mode)?,
        None => realiser::realise(&call.context, store, &requests)?,
    };
    realiser::require(&call.context, store, &requests, outcomes)?;
    if ignore_unknown {
        // The original says nothing of what is there either.
        return Ok(());
    }
    print(&call, store, &requests)
}

fn print(call: &Call, store: &dyn Store, requests: &[DerivedPath]) -> anyhow::Result<()> {
    let mut out = Out::new();
    // Where no roots can be made, none are missed, and none are made.
    let with_roots = store.files().is_some();
    let mut warned = call.add_root.is_some() || call.context.no_gc_warning || !with_roots;
    for (number, request) in requests.iter().enumerate() {
        let mut lines = Vec::new();
        for (name, path) in results(store, request)? {
            if !std::mem::replace(&mut warned, true) {
                call.context.ui.warn(
                    "you did not specify '--add-root'; the result might be removed by the garbage collector",
                );
            }
            match call.add_root.as_ref().filter(|_| with_roots) {
                None => lines.push(store.dir().print(&path)),
                Some(root) => {
                    let link = root_link(call, root, number, &name);
                    store.require_root_links()?.add_indirect_root(&link, &path)?;
                    lines.push(link.display().to_string());
                }
            }
        }
        // Links are printed in the order of their own names.
        lines.sort();
        lines.into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}

/// The link for an output of the argument with a number: `L`, `L-2`, `L-2-dev`.
fn root_link(call: &Call, root: &std::ffi::OsStr, number: usize, output: &str) -> PathBuf {
    let mut link = root.to_owned();
    if number > 0 {
        link.push(format!("-{}", number + 1));
    }
    if output != "out" {
        link.push(format!("-{output}"));
    }
    call.context.absolute(std::path::Path::new(&link))
}
