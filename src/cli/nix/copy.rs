//! `nix copy`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nival::model::{DerivedPath, Outputs, Realisation, StorePath};
use nival::ops::copy::{self, CopyOptions};
use nival::ops::derivations;
use nival::ops::profile::Profile;
use nival::ops::realise::no_substituter;
use nival::progress::Progress as _;
use nival::store::Store;

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection;
use crate::cli::installables::selection::Selection;
use crate::cli::installables::store_path::outputs_of;
use crate::cli::stores::Endpoints;

/// `nix copy`.
#[derive(Default)]
pub struct Copy {
    selection: Selection,
    between: Endpoints,
    only_named: bool,
    no_check_sigs: bool,
    fetch: bool,
    profile: Option<OsString>,
    out_link: Option<OsString>,
}

impl Command for Copy {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--no-recursive" => self.only_named = true,
            "--no-check-sigs" => self.no_check_sigs = true,
            "--substitute-on-destination" => self.fetch = true,
            "--profile" => self.profile = Some(given.value()),
            "--out-link" => self.out_link = Some(given.value()),
            _ => return Ok(self.between.flag(given)? || self.selection.flag(given)?),
        }
        Ok(true)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.between.check()
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let source = self.between.open_source(context)?;
        // What is not there is made once there is something to put into it.
        let to = self.between.destination(context);
        let unmade = context.unmade(to)?;
        let mut destination = if unmade.is_none() { Some(context.open_to_write(to)?) } else { None };
        let (results, realisations) = self.results(context, &*source, arguments)?;
        let mut roots: Vec<StorePath> = results.iter().flatten().map(|(_, path)| path.clone()).collect();
        if !self.selection.all {
            roots.sort_unstable();
            roots.dedup();
        }
        let trust = match (&destination, &unmade) {
            _ if self.no_check_sigs => None,
            (Some(destination), _) => context.trust_for(&**destination)?,
            (None, Some(unmade)) if unmade.require_sigs => Some(context.trust()?),
            (None, _) => None,
        };
        let mut options = CopyOptions::default();
        options.only_named = self.only_named;
        options.trust = trust;
        options.check_signatures = !self.no_check_sigs;
        options.fetch = self.fetch;
        let planned: &dyn Store = match (&destination, &unmade) {
            (Some(store), _) => &**store,
            (None, Some(unmade)) => &unmade.stand_in,
            (None, None) => return Ok(()),
        };
        let trust = options.trust.clone();
        let plan = copy::plan(&*source, planned, &roots, &options)?;
        if destination.is_none() {
            copy::check(&*source, planned, &plan, &options)?;
            options.trust = None;
            destination = Some(context.open_to_write(to)?);
        }
        let Some(destination) = destination else { return Ok(()) };
        let begun = Instant::now();
        let report = copy::copy(&*source, &*destination, plan, &options, &*context.ui)?;
        copy::copy_realisations(&*destination, &realisations, trust.as_ref())?;
        if report.paths > 0 {
            context.ui.summary(&report.summary(begun.elapsed()));
        } else {
            context.ui.summary("there is nothing to copy");
        }
        self.link(context, &*destination, &results)
    }
}

/// What an argument stands for: paths, and the names of the outputs that they
/// are.
type Results = Vec<(String, StorePath)>;

/// The feature with which realisations are copied.
const FEATURE: &str = "ca-derivations";

/// The realisations that `source` has of outputs of a derivation in `store`.
fn realisations_of(
    store: &dyn Store,
    source: &dyn Store,
    drv: &StorePath,
    results: &Results,
) -> anyhow::Result<Vec<Realisation>> {
    let names: Vec<String> = results.iter().map(|(name, _)| name.clone()).collect();
    let found = derivations::realisations(store, source, &store.queries().read_derivation(drv)?, &names)?;
    // Realisations of the paths that are copied.
    let is_copied = |found: &Realisation| results.iter().any(|(_, path)| *path == found.out_path);
    Ok(found.into_iter().filter(is_copied).collect())
}

fn out(path: StorePath) -> Results {
    vec![("out".to_owned(), path)]
}

impl Copy {
    /// What each of the arguments stands for, and the realisations of the outputs
    /// among that.
    fn results(
        &self,
        context: &Context,
        source: &dyn Store,
        arguments: &[OsString],
    ) -> anyhow::Result<(Vec<Results>, Vec<Realisation>)> {
        if self.selection.all {
            self.selection.expect_nothing_else(arguments)?;
            return Ok((source.all()?.into_iter().map(out).collect(), Vec::new()));
        }
        let wanted = self.selection.wanted(context, source.dir(), arguments)?;
        let is_here = source.files().is_some();
        if is_here {
            self.make_valid(context, source, &wanted)?;
        }
        let with_realisations = context.settings.feature_enabled(FEATURE);
        let (mut results, mut realisations) = (Vec::new(), Vec::new());
        for wanted in wanted {
            let (drv, outputs) = match wanted {
                DerivedPath { path, .. } if self.selection.derivation => {
                    results.push(out(selection::deriver(source, &path)?));
                    continue;
                }
                DerivedPath { path, outputs: None } => {
                    results.push(out(path));
                    continue;
                }
                DerivedPath { path, outputs: Some(outputs) } => (path, outputs),
            };
            let here;
            let store = match is_here || source.is_valid(&drv)? {
                true => source,
                // What is built from it may be known where it lies itself.
                false => {
                    here = context.open_store()?;
                    &*here
                }
            };
            let known = known_outputs(store, &drv, &outputs)?;
            if with_realisations {
                realisations.extend(realisations_of(store, source, &drv, &known)?);
            }
            results.push(known);
        }
        if !is_here {
            expect_all(context, source, &results)?;
        }
        Ok((results, realisations))
    }

    /// Fetches what is missing in a source on this machine, and keeps collectors away from all of it.
    fn make_valid(&self, context: &Context, store: &dyn Store, wanted: &[DerivedPath]) -> anyhow::Result<()> {
        let selected = self.selection.resolve_or_fetch(context, store, wanted)?;
        if let Some(path) = selected.invalid.first() {
            return Err(no_substituter(store.dir(), path).into());
        }
        // What was before this is found when the closure is looked up.
        if !store.is_read_only() {
            store.add_temp_roots(&selected.valid.iter().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Makes what was copied a root, if asked to.
    fn link(&self, context: &Context, destination: &dyn Store, results: &[Results]) -> anyhow::Result<()> {
        if self.profile.is_none() && self.out_link.is_none() {
            return Ok(());
        }
        if destination.files().is_none() {
            let flag = if self.out_link.is_some() { "--out-link" } else { "--profile" };
            anyhow::bail!("'{flag}' is not supported for this Nix store");
        }
        let store = destination;
        // The original has as many results of an argument as times it is named,
        // each time.
        let times = |result: &Results| results.iter().filter(|other| *other == result).count();
        let all = results.iter().flat_map(|result| std::iter::repeat_n(result, times(result)));
        let all: Vec<&Results> = all.collect();
        if let Some(link) = &self.out_link {
            let link = context.absolute(Path::new(link));
            for (number, result) in all.iter().enumerate() {
                for (output, path) in *result {
                    store.require_root_links()?.add_indirect_root(&numbered(&link, number, output), path)?;
                }
            }
        }
        if let Some(profile) = &self.profile {
            let paths: Vec<&StorePath> =
                all.iter().flat_map(|result| *result).map(|(_, path)| path).collect();
            let [path] = paths[..] else {
                return usage(format!(
                    "'--profile' requires that the arguments produce a single store path, but there are {}",
                    paths.len()
                ));
            };
            set_profile(store, &context.absolute(Path::new(profile)), path)?;
        }
        Ok(())
    }
}

fn set_profile(local: &dyn Store, link: &Path, path: &StorePath) -> anyhow::Result<()> {
    let profile = Profile::new(link);
    let _lock = profile.lock(local.progress())?;
    let generation = profile.add_generation(local, path)?;
    Ok(profile.switch(generation)?)
}

/// `L`, `L-1`, `L-2-dev`, …
fn numbered(link: &Path, number: usize, output: &str) -> PathBuf {
    let mut name = link.as_os_str().to_owned();
    if number > 0 {
        name.push(format!("-{number}"));
    }
    if output != "out" {
        name.push(format!("-{output}"));
    }
    name.into()
}

/// Refuses results that the source does not have, from which nothing can be fetched or built.
fn expect_all(context: &Context, source: &dyn Store, results: &[Results]) -> anyhow::Result<()> {
    let mut roots: Vec<StorePath> = results.iter().flatten().map(|(_, path)| path.clone()).collect();
    roots.sort_unstable();
    roots.dedup();
    let known = source.items(&roots)?;
    let missing: Vec<&StorePath> =
        roots.iter().zip(&known).filter(|(_, item)| item.is_none()).map(|(path, _)| path).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    context.ui.problem("don't know how to build these paths:");
    for path in &missing {
        context.ui.problem(&format!("  {}", source.dir().display(path)));
    }
    Err(no_substituter(source.dir(), first).into())
}

/// The outputs of a derivation, all of which have to be known.
fn known_outputs(store: &dyn Store, drv: &StorePath, outputs: &Outputs) -> anyhow::Result<Results> {
    if !store.is_valid(drv)? {
        return Err(store.invalid(drv).into());
    }
    let derivation = store.queries().read_derivation(drv)?;
    outputs_of(store, outputs, drv, &derivation)?
        .into_iter()
        .map(|(name, path)| match path {
            Some(path) => Ok((name, path)),
            None => Err(selection::not_known(store, &name, drv)),
        })
        .collect()
}
