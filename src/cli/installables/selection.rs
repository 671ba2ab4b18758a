//! The store paths that a subcommand works on, and the flags that choose them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use nival::model::{StoreDir, StorePath};
use nival::ops::query;
use nival::store::ManagedStore;
use nival::store::local::db::graph::{Graph, Node};

use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags;
use crate::cli::flags::parse;
use crate::cli::flags::parse::Given;
use crate::cli::installables::store_path::{Wanted, no_output, outputs_of};
use crate::cli::nix::plan::Plan;
use crate::cli::output::messages::read_stdin;

/// What the flags say about the paths to work on.
#[derive(Default)]
pub struct Selection {
    /// Everything that the paths refer to as well.
    pub recursive: bool,
    /// All valid paths.
    pub all: bool,
    /// More installables come from standard input.
    pub stdin: bool,
    /// The derivations in place of the paths they made.
    pub derivation: bool,
    /// `--file` or `--expr`.
    language: Option<&'static str>,
}

/// The selected paths, each once and sorted.
pub struct Selected {
    /// Those that are valid.
    pub valid: Vec<StorePath>,
    /// Those that are not.
    pub invalid: Vec<StorePath>,
}

impl Selection {
    /// Takes the flags of subcommands that work on store paths; false for any other.
    ///
    /// # Errors
    /// A missing value.
    pub fn flag(&mut self, given: &Given) -> anyhow::Result<bool> {
        match given.name() {
            "--recursive" => self.recursive = true,
            "--all" => self.all = true,
            "--stdin" => self.stdin = true,
            "--derivation" => self.derivation = true,
            _ => return self.installable_flag(given),
        }
        Ok(true)
    }

    /// Takes the flags that go with any installable; false for any other.
    ///
    /// # Errors
    /// A usage error when both `--file` and `--expr` are given.
    pub fn installable_flag(&mut self, given: &Given) -> anyhow::Result<bool> {
        let name = given.name();
        if !matches!(name, "--file" | "--expr") {
            // The others change nothing for store paths.
            return Ok(flags::find(&[&flags::nix::LANGUAGE], name).is_some());
        }
        if self.language.is_some_and(|other| other != name) {
            return usage("'--file' and '--expr' are exclusive");
        }
        self.language = Some(name);
        Ok(true)
    }

    /// What the arguments, and the words on standard input, stand for.
    ///
    /// # Errors
    /// Those of [`Wanted::parse`], and anything that needs the language.
    pub fn wanted(
        &self,
        context: &Context,
        dir: &StoreDir,
        arguments: &[OsString],
    ) -> anyhow::Result<Vec<Wanted>> {
        let texts = self.texts(arguments)?;
        let names_nothing = arguments.is_empty() && !self.stdin && self.language.is_none();
        if names_nothing && !in_flake(&context.current_dir) {
            return usage("no paths are given, and there is no flake in this directory or above it");
        }
        if let Some(flag) = self.language {
            anyhow::bail!("'{flag}' needs the Nix language, which is not available in this version of Nival");
        }
        texts.iter().map(|text| Wanted::parse(context, dir, text)).collect()
    }

    fn texts(&self, arguments: &[OsString]) -> anyhow::Result<Vec<String>> {
        let mut texts = arguments.iter().map(|word| parse::text(word)).collect::<anyhow::Result<Vec<_>>>()?;
        if self.stdin {
            let input = read_stdin()?;
            texts.extend(input.split_ascii_whitespace().map(str::to_owned));
        } else if texts.is_empty() && !self.all {
            // The flake of the current directory.
            texts.push(".".to_owned());
        }
        Ok(texts)
    }

    /// Makes sure that nothing is named beside `--all`.
    ///
    /// # Errors
    /// A usage error.
    pub fn expect_nothing_else(&self, arguments: &[OsString]) -> anyhow::Result<()> {
        if self.texts(arguments)?.is_empty() { Ok(()) } else { usage("'--all' does not expect arguments") }
    }

    /// Looks up what the arguments stand for, and tells what would have to be
    /// built or fetched of it. Not for `--all`.
    ///
    /// # Errors
    /// Those of [`Selection::wanted`] and of the store.
    pub fn resolve(
        &self,
        context: &Context,
        store: &dyn ManagedStore,
        arguments: &[OsString],
    ) -> anyhow::Result<Selected> {
        let wanted = self.wanted(context, store.dir(), arguments)?;
        let (selected, plan) = self.look_up(store, &wanted)?;
        plan.tell(context, store);
        selected
    }

    /// As [`Selection::resolve`]; what is not valid is fetched, if anybody has
    /// it.
    ///
    /// # Errors
    /// Those of [`Selection::resolve`].
    pub fn resolve_or_fetch(
        &self,
        context: &Context,
        store: &dyn ManagedStore,
        wanted: &[Wanted],
    ) -> anyhow::Result<Selected> {
        let (selected, mut plan) = self.look_up(store, wanted)?;
        let unknown: Vec<StorePath> = plan.unknown().cloned().collect();
        if unknown.is_empty() {
            plan.tell(context, store);
            return selected;
        }
        let obtainable = plan.ask(context, store, &unknown)?;
        plan.tell(context, store);
        if !obtainable.obtain(context, store, &unknown)? {
            return selected;
        }
        self.look_up(store, wanted)?.0
    }

    /// What the arguments stand for, and what is missing of it.
    fn look_up(
        &self,
        store: &dyn ManagedStore,
        wanted: &[Wanted],
    ) -> anyhow::Result<(anyhow::Result<Selected>, Plan)> {
        let mut paths = BTreeMap::new();
        let mut plan = Plan::default();
        let mut failure = None;
        for wanted in wanted {
            if self.derivation {
                let drv = deriver(store, wanted.path())?;
                let valid = store.is_valid(&drv)?;
                paths.insert(drv, valid);
                continue;
            }
            if let Err(error) = look_up(store, wanted, &mut paths, &mut plan) {
                failure = failure.or(Some(error));
            }
        }
        let selected = match failure {
            Some(error) => Err(error),
            None => Ok(Selected::new(paths)),
        };
        Ok((selected, plan))
    }

    /// The selected paths in an order in which references come first, as nodes
    /// of a graph, and those that are not valid. With `closed` the graph holds
    /// everything they refer to.
    ///
    /// # Errors
    /// Those of [`Selection::resolve`]; with `--recursive` also a path that is
    /// not valid.
    pub fn graph(
        &self,
        context: &Context,
        store: &dyn ManagedStore,
        arguments: &[OsString],
        closed: bool,
    ) -> anyhow::Result<(Graph, Vec<Node>, Vec<StorePath>)> {
        if self.all {
            self.expect_nothing_else(arguments)?;
            let graph = query::all(store)?;
            let order = graph.topological(graph.nodes());
            return Ok((graph, order, Vec::new()));
        }
        let selected = self.resolve(context, store, arguments)?;
        if self.recursive
            && let Some(path) = selected.invalid.first()
        {
            return Err(store.invalid(path).into());
        }
        let graph = if self.recursive || closed {
            query::closure(store, &selected.valid, false)?
        } else {
            query::among(store, &selected.valid)?
        };
        let order = if self.recursive {
            graph.topological(graph.nodes())
        } else {
            graph.topological(selected.valid.iter().filter_map(|path| graph.find(path)))
        };
        Ok((graph, order, selected.invalid))
    }
}

impl Selected {
    fn new(paths: BTreeMap<StorePath, bool>) -> Self {
        let mut selected = Self { valid: Vec::new(), invalid: Vec::new() };
        for (path, valid) in paths {
            if valid { selected.valid.push(path) } else { selected.invalid.push(path) }
        }
        selected
    }
}

/// Whether a directory lies in a flake.
fn in_flake(dir: &Path) -> bool {
    dir.ancestors().any(|dir| dir.join("flake.nix").exists())
}

/// Finds the paths that an argument stands for, and whether they are valid; what
/// is missing is noted in the plan.
///
/// # Errors
/// A derivation that is not valid or has no such output, and those of the store.
pub fn look_up(
    store: &dyn ManagedStore,
    wanted: &Wanted,
    paths: &mut BTreeMap<StorePath, bool>,
    plan: &mut Plan,
) -> anyhow::Result<()> {
    let (drv, outputs) = match wanted {
        Wanted::Path(path) => {
            let valid = store.is_valid(path)?;
            if !valid {
                plan.add_unknown(path);
            }
            paths.insert(path.clone(), valid);
            return Ok(());
        }
        Wanted::Outputs(drv, outputs) => (drv, outputs),
    };
    if !drv.is_derivation() {
        return Err(no_output(store.dir(), drv, "out"));
    }
    if !store.is_valid(drv)? {
        plan.add_unknown(drv);
        return Err(store.invalid(drv).into());
    }
    let derivation = store.read_derivation(drv)?;
    plan.add_outputs(store, drv, outputs)?;
    for (name, path) in outputs_of(store, outputs, drv, &derivation)? {
        let Some(path) = path else {
            anyhow::bail!(
                "the path of output '{name}' of '{}' is known once it is built",
                store.dir().display(drv)
            );
        };
        let valid = store.is_valid(&path)?;
        paths.insert(path, valid);
    }
    Ok(())
}

/// The derivation that made a path; a derivation itself.
///
/// # Errors
/// When nobody knows it.
pub fn deriver(store: &dyn ManagedStore, path: &StorePath) -> anyhow::Result<StorePath> {
    if path.is_derivation() {
        return Ok(path.clone());
    }
    if let Some(deriver) = store.valid_derivers(path)?.into_iter().next() {
        return Ok(deriver);
    }
    let recorded =
        store.items(std::slice::from_ref(path))?.pop().flatten().and_then(|item| item.info.deriver);
    match recorded {
        Some(deriver) if store.is_valid(&deriver)? => Ok(deriver),
        _ => anyhow::bail!("'{}' does not have a known deriver", store.dir().display(path)),
    }
}
