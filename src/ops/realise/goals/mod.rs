//! What becomes of a request once everything is here that could be fetched. A
//! derivation that would have to be built is built here one day; today only
//! environments and the trees of channels, which need no builder, are made.

use std::collections::BTreeSet;

use super::{Outcome, RealiseContext, no_output, output_paths};
use crate::model::derived_path::DerivedPath;
use crate::model::{Derivation, StoreDir, StorePath};
use crate::ops::channel::tree::ChannelTree;
use crate::ops::user_env::environment::Environment;
use crate::ops::user_env::error::UserEnvError;
use crate::store::api::Store;
use crate::store::api::realise::RealiseMode;
use crate::store::error::{RealiseError, Result, StoreError};
use crate::store::local::LocalStore;
use crate::store::local::add::Adder;

/// The error for a path that nobody has.
pub fn no_substituter(dir: &StoreDir, path: &StorePath) -> StoreError {
    RealiseError::NoSubstituter(dir.print(path)).into()
}

fn no_derivation(dir: &StoreDir, drv: &StorePath) -> StoreError {
    RealiseError::NoDerivation(dir.print(drv)).into()
}

fn no_builder(dir: &StoreDir, drv: &StorePath) -> StoreError {
    RealiseError::NoBuilder(dir.print(drv)).into()
}

/// Makes sure that requests can be fulfilled in a way: building again what is there
/// needs a builder, which this process is not yet.
///
/// # Errors
/// [`RealiseError::NotAvailable`].
pub fn require_mode(mode: RealiseMode) -> Result<()> {
    match mode {
        RealiseMode::Normal => Ok(()),
        RealiseMode::Repair | RealiseMode::Check => Err(RealiseError::NotAvailable("building again").into()),
    }
}

/// Builds a derivation that a client sends in place of a path; nothing here builds, so
/// that it is refused.
///
/// # Errors
/// [`RealiseError::NotAvailable`].
pub fn build_sent() -> Result<Outcome> {
    Err(RealiseError::NotAvailable("building").into())
}

/// Fulfils one request, which was fulfilled before anything was fetched if it
/// `was_valid`.
pub(super) fn fulfil(
    context: &RealiseContext<'_>,
    request: &DerivedPath,
    was_valid: bool,
) -> Result<Outcome> {
    let result = goal(context, request, was_valid);
    match result {
        Err(error) if error.is_interruption() => Err(error),
        Err(error) => Ok(Outcome::Failed(error)),
        outcome => outcome,
    }
}

fn goal(context: &RealiseContext<'_>, request: &DerivedPath, was_valid: bool) -> Result<Outcome> {
    let store = context.store;
    let there = || Ok(if was_valid { Outcome::Valid } else { Outcome::Fetched });
    store.add_temp_roots(&[&request.path])?;
    let is_there = store.is_there(&request.path)?;
    let Some(outputs) = &request.outputs else {
        return if is_there { there() } else { Err(no_substituter(store.dir(), &request.path)) };
    };
    if !is_there {
        return Err(no_derivation(store.dir(), &request.path));
    }
    let drv = store.queries().read_derivation(&request.path)?;
    if let Some(name) = outputs.missing(&drv) {
        return Err(no_output(store.dir(), &request.path, name));
    }
    let (mut complete, mut is_open) = (true, false);
    for (_, path) in output_paths(store, &request.path, &drv, outputs)? {
        complete &= match path {
            Some(path) => {
                store.add_temp_roots(&[&path])?;
                store.is_there(&path)?
            }
            None => {
                is_open = true;
                false
            }
        };
    }
    if complete {
        return there();
    }
    if is_open {
        store.require_realisations()?;
    }
    build(context, &request.path, &drv)
}

/// Builds a derivation, or says that it cannot be built.
fn build(context: &RealiseContext<'_>, path: &StorePath, drv: &Derivation) -> Result<Outcome> {
    let store = context.store;
    if let Some(tree) = ChannelTree::of(store.dir(), path, drv)? {
        store.check_features(drv)?;
        tree.make(store, drv, context.trusted)?;
        return Ok(Outcome::Made);
    }
    let Some(environment) = Environment::of(store.dir(), path, drv).map_err(environment_error)? else {
        return Err(no_builder(store.dir(), path));
    };
    store.check_features(drv)?;
    environment.make(store, drv, context.trusted).map_err(environment_error)?;
    Ok(Outcome::Made)
}

/// Builds a derivation that `adder` adds, whose output becomes valid together with it.
/// `references` are those of its sources, which `adder` adds, too.
///
/// # Errors
/// [`RealiseError`], and those of the store.
pub fn build_added(
    store: &LocalStore,
    adder: &mut Adder<'_>,
    path: &StorePath,
    drv: &Derivation,
    references: BTreeSet<StorePath>,
) -> Result<()> {
    match Environment::of(store.dir(), path, drv).map_err(environment_error)? {
        Some(environment) => environment.add_with(store, adder, references).map_err(environment_error),
        None => Err(no_builder(store.dir(), path)),
    }
}

fn environment_error(error: UserEnvError) -> StoreError {
    match error {
        UserEnvError::Store(error) => error,
        error => RealiseError::Environment(error.to_string()).into(),
    }
}

/// What becomes of a request to a store that nothing is fetched or built for.
pub(super) fn without_realiser(store: &dyn Store, request: &DerivedPath) -> Result<Outcome> {
    let dir = store.dir();
    if super::is_complete(store, request, true)? {
        return Ok(Outcome::Valid);
    }
    Ok(Outcome::Failed(match (&request.outputs, store.is_valid(&request.path)?) {
        (None, _) => no_substituter(dir, &request.path),
        (Some(_), false) => no_derivation(dir, &request.path),
        (Some(_), true) => no_builder(dir, &request.path),
    }))
}
