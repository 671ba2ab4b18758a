//! `--realise`: paths that are there already or can be fetched, and roots for
//! them. Nothing is built yet.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nival::model::StorePath;
use nival::ops::realise;
use nival::ops::realise::Outputs;
use nival::ops::substitute::Fetch;
use nival::progress::Progress as _;
use nival::store::managed::Kind;
use nival::store::remote::daemon_store::DaemonStore;
use nival::store::remote::protocol::worker::build_mode;
use nival::store::{ManagedStore, Store as _};

use super::{Call, store_path};
use crate::cli::context::Context;
use crate::cli::flags::parse::text;
use crate::cli::nix::plan::Plan;
use crate::cli::output::messages::Out;

/// An argument.
struct Request {
    path: StorePath,
    outputs: Outputs,
}

/// What an argument stands for.
#[derive(Default)]
struct Resolved {
    /// Output names and paths, in the order of the paths.
    outputs: Vec<(String, StorePath)>,
    /// Every one of them is there.
    complete: bool,
}

impl Request {
    /// `PATH` or `DRV!NAME,NAME`.
    fn parse(call: &Call, store: &dyn ManagedStore, word: &std::ffi::OsStr) -> anyhow::Result<Self> {
        let word = text(word)?;
        let (path, names) = match word.split_once('!') {
            Some((path, names)) => (path, Some(names)),
            None => (word.as_str(), None),
        };
        let path = store_path(&call.context, store, path)?;
        let outputs = match names {
            Some(names) => Outputs::Named(names.split(',').map(str::to_owned).collect()),
            None => Outputs::All,
        };
        Ok(Self { path, outputs })
    }

    /// What it stands for; what is missing is noted in the plan.
    fn resolve(&self, store: &dyn ManagedStore, plan: &mut Plan, fetch: &Fetch) -> anyhow::Result<Resolved> {
        let dir = store.dir();
        store.add_temp_roots(&[&self.path])?;
        let valid = store.is_there(&self.path)?;
        if !valid {
            plan.add_unknown(&self.path);
            return Ok(Resolved::default());
        }
        if !self.path.is_derivation() {
            return Ok(Resolved { outputs: vec![("out".to_owned(), self.path.clone())], complete: true });
        }
        let derivation = store.read_derivation(&self.path)?;
        if let Some(name) = self.outputs.missing(&derivation) {
            anyhow::bail!("derivation '{}' does not have output '{name}'", dir.display(&self.path));
        }
        let mut resolved = Resolved { outputs: Vec::new(), complete: true };
        for (name, path) in self.outputs.of(store, &self.path, &derivation)? {
            let Some(path) = path else {
                resolved.complete = false;
                continue;
            };
            store.add_temp_roots(&[&path])?;
            resolved.complete &= store.is_there(&path)?;
            resolved.outputs.push((name, path));
        }
        let mut comes = true;
        for (_, path) in &resolved.outputs {
            comes &= fetch.has(path) || store.is_there(path)?;
        }
        if !comes || resolved.outputs.is_empty() {
            plan.add_outputs(store, &self.path, &self.outputs)?;
        }
        resolved.outputs.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(resolved)
    }
}

type All<'r> = Vec<(&'r Request, Resolved)>;

/// What all arguments stand for, and what has to be done for it if so much is
/// fetched.
fn resolve_all<'r>(
    store: &dyn ManagedStore,
    requests: &'r [Request],
    ignore_unknown: bool,
    fetch: &Fetch,
) -> anyhow::Result<(All<'r>, Plan)> {
    let mut plan = Plan::default();
    let mut resolved = Vec::new();
    for request in requests {
        if ignore_unknown && !request.path.is_derivation() && !store.is_there(&request.path)? {
            continue;
        }
        resolved.push((request, request.resolve(store, &mut plan, fetch)?));
    }
    Ok((resolved, plan))
}

/// The paths that are wanted and not valid.
fn missing(store: &dyn ManagedStore, plan: &Plan, all: &All<'_>) -> anyhow::Result<Vec<StorePath>> {
    let mut missing: BTreeSet<StorePath> = plan.unknown().cloned().collect();
    for (_, path) in all.iter().flat_map(|(_, resolved)| &resolved.outputs) {
        if !store.is_there(path)? {
            missing.insert(path.clone());
        }
    }
    Ok(missing.into_iter().collect())
}

/// Fetches what is missing and tells of it, or only tells; a derivation that
/// was missing itself may have outputs that are.
fn fetch<'r>(
    context: &Context,
    store: &dyn ManagedStore,
    requests: &'r [Request],
    mut wanted: Vec<StorePath>,
    ignore_unknown: bool,
    dry_run: bool,
) -> anyhow::Result<All<'r>> {
    let local = match store.kind() {
        Kind::Local(local) => local,
        Kind::Daemon(daemon) => return fetch_by(context, daemon, requests, ignore_unknown, dry_run),
        Kind::Elsewhere => {
            let (resolved, plan) = resolve_all(store, requests, ignore_unknown, &Fetch::default())?;
            plan.tell(context, store);
            return Ok(resolved);
        }
    };
    let substituters = context.substituters();
    let trust = context.trust_for(local)?;
    loop {
        let fetch = match substituters.is_empty() {
            true => Fetch::default(),
            false => substituters.plan(local, &wanted, trust.as_ref(), &*context.ui)?,
        };
        let (resolved, mut plan) = resolve_all(store, requests, ignore_unknown, &fetch)?;
        plan.set_fetch(store.dir(), &fetch);
        plan.tell(context, store);
        if dry_run || fetch.is_empty() {
            return Ok(resolved);
        }
        substituters.fetch(local, &wanted, fetch, trust.as_ref(), &*context.ui)?;
        let (resolved, plan) = resolve_all(store, requests, ignore_unknown, &Fetch::default())?;
        let left = missing(store, &plan, &resolved)?;
        // Without progress, nobody has the rest.
        if left.is_empty() || left == wanted || left.iter().all(|path| wanted.contains(path)) {
            return Ok(resolved);
        }
        wanted = left;
    }
}

/// Requests in the words of a daemon.
fn words(daemon: &DaemonStore, requests: &[Request], ignore_unknown: bool) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    for request in requests {
        // Unknown paths are no reason to fail then.
        if ignore_unknown && !request.path.is_derivation() && !daemon.is_valid(&request.path)? {
            continue;
        }
        let outputs = request.path.is_derivation().then(|| request.outputs.clone());
        words.push(realise::Request { path: request.path.clone(), outputs }.print(daemon.dir()));
    }
    Ok(words)
}

/// Has a daemon fetch or build what is missing, and tells of it, or only tells.
fn fetch_by<'r>(
    context: &Context,
    daemon: &DaemonStore,
    requests: &'r [Request],
    ignore_unknown: bool,
    dry_run: bool,
) -> anyhow::Result<All<'r>> {
    let dir = daemon.dir();
    let words = words(daemon, requests, ignore_unknown)?;
    let mut plan = Plan::default();
    plan.set_missing(dir, &daemon.missing(&words)?);
    plan.tell(context, daemon);
    if !dry_run {
        daemon.build_paths(&words)?;
    }
    Ok(resolve_all(daemon, requests, ignore_unknown, &Fetch::default())?.0)
}

/// Prints what arguments stand for, and makes it roots.
pub fn realise(call: Call) -> anyhow::Result<()> {
    let dry_run = call.has("--dry-run");
    let ignore_unknown = call.has("--ignore-unknown");
    let mut again = None;
    for (flag, mode) in [("--check", build_mode::CHECK), ("--repair", build_mode::REPAIR)] {
        if call.has(flag) {
            again = Some((flag, mode));
        }
    }
    let store = &*call.context.open_store()?;
    let mut requests = Vec::new();
    for word in &call.arguments {
        requests.push(Request::parse(&call, store, word)?);
    }
    if let Some((flag, mode)) = again {
        let Kind::Daemon(daemon) = store.kind() else {
            anyhow::bail!("'--realise {flag}' needs a builder, which this version of Nival does not have");
        };
        if !dry_run {
            let words = words(daemon, &requests, ignore_unknown)?;
            daemon.build_paths_again(&words, mode)?;
        }
    }
    let (mut resolved, plan) = resolve_all(store, &requests, ignore_unknown, &Fetch::default())?;
    let missing = missing(store, &plan, &resolved)?;
    if missing.is_empty() {
        plan.tell(&call.context, store);
    } else {
        resolved = fetch(&call.context, store, &requests, missing, ignore_unknown, dry_run)?;
    }
    if dry_run {
        return Ok(());
    }
    refuse_missing(store, &resolved)?;
    if ignore_unknown {
        // The original says nothing of what is there either.
        return Ok(());
    }
    let mut out = Out::new();
    // Where no roots can be made, none are missed, and none are made.
    let with_roots = store.is_here();
    let mut warned = call.add_root.is_some() || call.context.no_gc_warning || !with_roots;
    for (number, (_, argument)) in resolved.iter().enumerate() {
        let mut lines = Vec::new();
        for (name, path) in &argument.outputs {
            if !std::mem::replace(&mut warned, true) {
                call.context.ui.warn(
                    "you did not specify '--add-root'; the result might be removed by the garbage collector",
                );
            }
            match call.add_root.as_ref().filter(|_| with_roots) {
                None => lines.push(store.dir().print(path)),
                Some(root) => {
                    let link = root_link(&call, root, number, name);
                    store.add_indirect_root(&link, path)?;
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

/// The first thing that would have to be made.
fn refuse_missing(store: &dyn ManagedStore, all: &All<'_>) -> anyhow::Result<()> {
    let dir = store.dir();
    for (request, resolved) in all {
        let shown = dir.display(&request.path);
        if !store.is_there(&request.path)? {
            if request.path.is_derivation() {
                anyhow::bail!("failed to obtain derivation of '{shown}'");
            }
            anyhow::bail!("path '{shown}' is required, but there is no substituter that can build it");
        }
        anyhow::ensure!(
            resolved.complete,
            "cannot build '{shown}': this version of Nival does not build yet"
        );
    }
    Ok(())
}
