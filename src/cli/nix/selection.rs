//! The store paths that a subcommand works on, and the flags that choose them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use nival::model::{StoreDir, StorePath};
use nival::ops::query;
use nival::store::ManagedStore;
use nival::store::local::db::graph::{Graph, Node};

use super::installable::{Wanted, no_output, outputs_of};
use super::plan::Plan;
use super::words::Words;
use crate::cli::args;
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::ui::read_stdin;

/// Flags of the language and of flakes, with the number of their values. None
/// has an effect on store paths.
const LANGUAGE_FLAGS: &[(&str, usize)] = &[
    ("--arg", 2),
    ("--arg-from-file", 2),
    ("--arg-from-stdin", 1),
    ("--argstr", 2),
    ("--commit-lock-file", 0),
    ("--debugger", 0),
    ("--eval-store", 1),
    ("--impure", 0),
    ("-I", 1),
    ("--include", 1),
    ("--inputs-from", 1),
    ("--no-registries", 0),
    ("--no-update-lock-file", 0),
    ("--no-write-lock-file", 0),
    ("--output-lock-file", 1),
    ("--override-flake", 2),
    ("--override-input", 2),
    ("--recreate-lock-file", 0),
    ("--reference-lock-file", 1),
    ("--repair", 0),
    ("--update-input", 1),
];

/// Those of them that are told to be old.
const DEPRECATED_FLAGS: &[(&str, &str)] = &[
    ("--no-registries", "is deprecated; use '--no-use-registries'"),
    (
        "--recreate-lock-file",
        "is deprecated and will be removed in a future version; use 'nix flake update' instead.",
    ),
    ("--update-input", "is a deprecated alias for 'flake update' and will be removed in a future version."),
];

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
    pub fn flag(&mut self, flag: &str, words: &mut Words) -> anyhow::Result<bool> {
        match flag {
            "-r" | "--recursive" => self.recursive = true,
            "--all" => self.all = true,
            "--stdin" => self.stdin = true,
            "--derivation" => self.derivation = true,
            _ => return self.installable_flag(flag, words),
        }
        Ok(true)
    }

    /// Takes the flags that go with any installable; false for any other.
    ///
    /// # Errors
    /// A missing value.
    pub fn installable_flag(&mut self, flag: &str, words: &mut Words) -> anyhow::Result<bool> {
        let language = match flag {
            "-f" | "--file" => "--file",
            "--expr" => "--expr",
            _ => {
                let Some((_, count)) = LANGUAGE_FLAGS.iter().find(|(name, _)| *name == flag) else {
                    return Ok(false);
                };
                if let Some((_, about)) = DEPRECATED_FLAGS.iter().find(|(name, _)| *name == flag) {
                    words.warn(format!("'{flag}' {about}"));
                }
                match count {
                    0 => {}
                    1 => drop(words.values::<1>(flag)?),
                    _ => drop(words.values::<2>(flag)?),
                }
                return Ok(true);
            }
        };
        drop(words.values::<1>(flag)?);
        if self.language.is_some_and(|other| other != language) {
            return usage("'--file' and '--expr' are exclusive");
        }
        self.language = Some(language);
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
        let mut texts = arguments.iter().map(|word| args::text(word)).collect::<anyhow::Result<Vec<_>>>()?;
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
