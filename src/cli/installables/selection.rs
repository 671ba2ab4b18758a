//! The store paths that a subcommand works on, and the flags that choose them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use nival::model::{DerivedPath, StoreDir, StorePath};
use nival::ops::query;
use nival::ops::realise::Outcome;
use nival::store::api::Store;
use nival::store::graph::{Graph, Node};

use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags;
use crate::cli::flags::parse;
use crate::cli::flags::parse::Given;
use crate::cli::installables::store_path::{self, no_output, outputs_of};
use crate::cli::output::messages::read_stdin;
use crate::cli::realiser;

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
    pub fn wanted(
        &self,
        context: &Context,
        dir: &StoreDir,
        arguments: &[OsString],
    ) -> anyhow::Result<Vec<DerivedPath>> {
        let texts = self.texts(arguments)?;
        let names_nothing = arguments.is_empty() && !self.stdin && self.language.is_none();
        if names_nothing && !in_flake(&context.current_dir) {
            return usage("no paths are given, and there is no flake in this directory or above it");
        }
        if let Some(flag) = self.language {
            anyhow::bail!("'{flag}' needs the Nix language, which is not available in this version of Nival");
        }
        texts.iter().map(|text| store_path::parse(context, dir, text)).collect()
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
    pub fn resolve(
        &self,
        context: &Context,
        store: &dyn Store,
        arguments: &[OsString],
    ) -> anyhow::Result<Selected> {
        let wanted = self.wanted(context, store.dir(), arguments)?;
        let (selected, sound) = self.look_up(store, &wanted)?;
        realiser::tell_missing(context, store, &sound)?;
        selected
    }

    /// As [`Selection::resolve`]; what is not valid is fetched, or built by a
    /// daemon, if that can be.
    pub fn resolve_or_fetch(
        &self,
        context: &Context,
        store: &dyn Store,
        wanted: &[DerivedPath],
    ) -> anyhow::Result<Selected> {
        let (selected, sound) = self.look_up(store, wanted)?;
        let outcomes = realiser::realise(context, store, &sound)?;
        for (request, outcome) in sound.iter().zip(outcomes) {
            match outcome {
                Outcome::Failed(error) if request.outputs.is_some() => return Err(error.into()),
                _ => {}
            }
        }
        match &selected {
            Ok(selected) if selected.invalid.is_empty() => {}
            _ => return self.look_up(store, wanted)?.0,
        }
        selected
    }

    /// What the arguments stand for, and those among them that make sense.
    fn look_up(
        &self,
        store: &dyn Store,
        wanted: &[DerivedPath],
    ) -> anyhow::Result<(anyhow::Result<Selected>, Vec<DerivedPath>)> {
        let mut paths = BTreeMap::new();
        let mut sound = Vec::new();
        let mut failure = None;
        for wanted in wanted {
            if self.derivation {
                let drv = deriver(store, &wanted.path)?;
                let valid = store.is_valid(&drv)?;
                paths.insert(drv, valid);
                continue;
            }
            if makes_sense(store, wanted)? {
                sound.push(wanted.clone());
            }
            failure = failure.or(look_up(store, wanted, &mut paths).err());
        }
        let selected = match failure {
            Some(error) => Err(error),
            None => Ok(Selected::new(paths)),
        };
        Ok((selected, sound))
    }

    /// The selected paths in an order in which references come first, as nodes
    /// of a graph, and those that are not valid. With `closed` the graph holds
    /// everything they refer to.
    pub fn graph(
        &self,
        context: &Context,
        store: &dyn Store,
        arguments: &[OsString],
        closed: bool,
    ) -> anyhow::Result<(Graph, Vec<Node>, Vec<StorePath>)> {
        if self.all {
            self.expect_nothing_else(arguments)?;
            let graph = store.queries().whole_graph()?;
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
            store.queries().graph_among(&selected.valid)?
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

/// Whether an argument can stand for something: not for an output that there is
/// not.
fn makes_sense(store: &dyn Store, wanted: &DerivedPath) -> anyhow::Result<bool> {
    let DerivedPath { path: drv, outputs: Some(outputs) } = wanted else { return Ok(true) };
    if !drv.is_derivation() || !store.is_valid(drv)? {
        return Ok(drv.is_derivation());
    }
    Ok(outputs.missing(&store.queries().read_derivation(drv)?).is_none())
}

/// Finds the paths that an argument stands for, and whether they are valid.
///
/// # Errors
/// A derivation that is not valid, has no such output, or does not say which path it has, and those of
/// the store.
pub fn look_up(
    store: &dyn Store,
    wanted: &DerivedPath,
    paths: &mut BTreeMap<StorePath, bool>,
) -> anyhow::Result<()> {
    let DerivedPath { path: drv, outputs: Some(outputs) } = wanted else {
        let valid = store.is_valid(&wanted.path)?;
        paths.insert(wanted.path.clone(), valid);
        return Ok(());
    };
    if !drv.is_derivation() {
        return Err(no_output(store.dir(), drv, "out"));
    }
    if !store.is_valid(drv)? {
        return Err(store.invalid(drv).into());
    }
    let derivation = store.queries().read_derivation(drv)?;
    for (name, path) in outputs_of(store, outputs, drv, &derivation)? {
        let path = path.ok_or_else(|| not_known(store, &name, drv))?;
        let valid = store.is_valid(&path)?;
        paths.insert(path, valid);
    }
    Ok(())
}

/// The error for an output whose path nobody knows.
pub fn not_known(store: &dyn Store, output: &str, drv: &StorePath) -> anyhow::Error {
    let drv = store.dir().display(drv);
    anyhow::anyhow!("cannot operate on output '{output}' of the unbuilt derivation '{drv}'")
}

/// The derivation that made a path; a derivation itself.
///
/// # Errors
/// When nobody knows it.
pub fn deriver(store: &dyn Store, path: &StorePath) -> anyhow::Result<StorePath> {
    if path.is_derivation() {
        return Ok(path.clone());
    }
    if let Some(deriver) = store.queries().valid_derivers(path)?.into_iter().next() {
        return Ok(deriver);
    }
    let recorded =
        store.items(std::slice::from_ref(path))?.pop().flatten().and_then(|item| item.info.deriver);
    match recorded {
        Some(deriver) if store.is_valid(&deriver)? => Ok(deriver),
        _ => anyhow::bail!("'{}' does not have a known deriver", store.dir().display(path)),
    }
}
