//! The store paths that a subcommand works on, and the flags that choose them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use nival::model::{DerivedPath, StoreDir, StorePath};
use nival::ops::realise::{Outcome, output_paths};
use nival::ops::selected::{Reach, Selected};
use nival::store::StoreError;
use nival::store::api::{Item, Store};

use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags;
use crate::cli::flags::parse;
use crate::cli::flags::parse::Given;
use crate::cli::installables::store_path::{self, no_output};
use crate::cli::output::streams::read_stdin_words;
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

/// What arguments stand for: paths, each once and sorted.
pub struct Resolved {
    /// Those that are valid.
    pub valid: Vec<StorePath>,
    /// Those that are not.
    pub invalid: Vec<StorePath>,
    /// What is known of the valid ones, where the store told it with the answer.
    known: Option<Vec<Item>>,
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
            return Ok(flags::find(&flags::nix::LANGUAGE, name).is_some());
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
            anyhow::bail!("'{flag}' is not available yet in this version of Nival");
        }
        texts.iter().map(|text| store_path::parse(context, dir, text)).collect()
    }

    fn texts(&self, arguments: &[OsString]) -> anyhow::Result<Vec<String>> {
        let mut texts = arguments.iter().map(|word| parse::text(word)).collect::<anyhow::Result<Vec<_>>>()?;
        if self.stdin {
            texts.extend(read_stdin_words()?);
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
    ) -> anyhow::Result<Resolved> {
        let wanted = self.wanted(context, store.dir(), arguments)?;
        let (resolved, sound) = self.look_up(store, &wanted)?;
        realiser::tell_missing(context, store, &sound)?;
        resolved
    }

    /// As [`Selection::resolve`]; what is not valid is fetched, or built by a
    /// daemon, if that can be.
    pub fn resolve_or_fetch(
        &self,
        context: &Context,
        store: &dyn Store,
        wanted: &[DerivedPath],
    ) -> anyhow::Result<Resolved> {
        let (resolved, sound) = self.look_up(store, wanted)?;
        let outcomes = realiser::realise(context, store, &sound)?;
        for (request, outcome) in sound.iter().zip(outcomes) {
            match outcome {
                Outcome::Failed(error) if request.outputs.is_some() => return Err(error.into()),
                _ => {}
            }
        }
        match &resolved {
            Ok(resolved) if resolved.invalid.is_empty() => {}
            _ => return self.look_up(store, wanted)?.0,
        }
        resolved
    }

    /// What the arguments stand for, and those among them that make sense.
    fn look_up(
        &self,
        store: &dyn Store,
        wanted: &[DerivedPath],
    ) -> anyhow::Result<(anyhow::Result<Resolved>, Vec<DerivedPath>)> {
        let mut paths = BTreeSet::new();
        let mut sound = Vec::new();
        let mut failure = None;
        for wanted in wanted {
            if self.derivation {
                paths.insert(deriver(store, &wanted.path)?);
                continue;
            }
            let unclear = paths_of(store, wanted, &mut paths)?;
            if unclear.as_ref().is_none_or(|unclear| unclear.makes_sense) {
                sound.push(wanted.clone());
            }
            failure = failure.or(unclear.map(|unclear| unclear.error));
        }
        let resolved = match failure {
            Some(error) => Err(error),
            None => Ok(Resolved::of(store, paths)?),
        };
        Ok((resolved, sound))
    }

    /// The selected paths, and those that are not valid. With `closed` the graph of the
    /// selected paths holds everything they refer to.
    pub fn select<'s>(
        &self,
        context: &Context,
        store: &'s dyn Store,
        arguments: &[OsString],
        closed: bool,
    ) -> anyhow::Result<(Selected<'s>, Vec<StorePath>)> {
        if self.all {
            self.expect_nothing_else(arguments)?;
            return Ok((Selected::all(store)?, Vec::new()));
        }
        self.select_resolved(store, self.resolve(context, store, arguments)?, closed)
    }

    /// As [`Selection::select`]; what is not valid is fetched, or built by a daemon, if
    /// that can be.
    pub fn select_or_fetch<'s>(
        &self,
        context: &Context,
        store: &'s dyn Store,
        arguments: &[OsString],
    ) -> anyhow::Result<(Selected<'s>, Vec<StorePath>)> {
        if self.all {
            return self.select(context, store, arguments, false);
        }
        let wanted = self.wanted(context, store.dir(), arguments)?;
        self.select_resolved(store, self.resolve_or_fetch(context, store, &wanted)?, false)
    }

    fn select_resolved<'s>(
        &self,
        store: &'s dyn Store,
        resolved: Resolved,
        closed: bool,
    ) -> anyhow::Result<(Selected<'s>, Vec<StorePath>)> {
        let Resolved { valid, invalid, known } = resolved;
        if self.recursive
            && let Some(path) = invalid.first()
        {
            return Err(store.invalid(path).into());
        }
        let reach = Reach { recursive: self.recursive, closed };
        Ok((Selected::named(store, &valid, known, reach)?, invalid))
    }

    /// As [`Selection::select`], where every path has to be valid.
    ///
    /// # Errors
    /// The first path that is not valid.
    pub fn select_valid<'s>(
        &self,
        context: &Context,
        store: &'s dyn Store,
        arguments: &[OsString],
    ) -> anyhow::Result<Selected<'s>> {
        let (selected, invalid) = self.select(context, store, arguments, false)?;
        match invalid.first() {
            None => Ok(selected),
            Some(path) => Err(store.invalid(path).into()),
        }
    }
}

impl Resolved {
    /// Finds out which of some paths are valid.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn of(store: &dyn Store, paths: BTreeSet<StorePath>) -> Result<Self, StoreError> {
        let mut resolved = Self { valid: Vec::new(), invalid: Vec::new(), known: None };
        if store.is_direct() {
            for path in paths {
                if store.is_valid(&path)? { resolved.valid.push(path) } else { resolved.invalid.push(path) }
            }
            return Ok(resolved);
        }
        // One question for all of them, the answers to which are of use later.
        let paths: Vec<StorePath> = paths.into_iter().collect();
        let mut known = Vec::with_capacity(paths.len());
        for (path, item) in paths.iter().zip(store.items(&paths)?) {
            let is_valid = item.is_some();
            if is_valid {
                resolved.valid.push(path.clone())
            } else {
                resolved.invalid.push(path.clone())
            }
            known.extend(item);
        }
        resolved.known = Some(known);
        Ok(resolved)
    }
}

/// Whether a directory lies in a flake.
fn in_flake(dir: &Path) -> bool {
    dir.ancestors().any(|dir| dir.join("flake.nix").exists())
}

/// Why it is not clear which paths an argument stands for.
pub struct Unclear {
    /// The reason.
    pub error: anyhow::Error,
    /// The argument can stand for something: a derivation that is not valid, say, and
    /// not an output that there is not.
    makes_sense: bool,
}

/// Finds the paths that an argument stands for, and adds them to `paths`.
///
/// # Errors
/// Errors of the store.
pub fn paths_of(
    store: &dyn Store,
    wanted: &DerivedPath,
    paths: &mut BTreeSet<StorePath>,
) -> anyhow::Result<Option<Unclear>> {
    let unclear = |error, makes_sense| Ok(Some(Unclear { error, makes_sense }));
    let DerivedPath { path: drv, outputs: Some(outputs) } = wanted else {
        paths.insert(wanted.path.clone());
        return Ok(None);
    };
    if !drv.is_derivation() {
        return unclear(no_output(store.dir(), drv, "out"), false);
    }
    if !store.is_valid(drv)? {
        return unclear(store.invalid(drv).into(), true);
    }
    let derivation = store.queries().read_derivation(drv)?;
    if let Some(missing) = outputs.missing(&derivation) {
        return unclear(no_output(store.dir(), drv, missing), false);
    }
    for (name, path) in output_paths(store, drv, &derivation, outputs)? {
        match path {
            Some(path) => drop(paths.insert(path)),
            None => return unclear(not_known(store, &name, drv), true),
        }
    }
    Ok(None)
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
