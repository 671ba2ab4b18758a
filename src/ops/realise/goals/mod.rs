//! What becomes of requests once everything is here that could be fetched: derivations that have
//! to be built are goals, each after those that it needs.
//!
//! ```text
//! graph      which derivations have to be built
//! run        which is begun when, and what becomes of those that need it
//! prepare    one of them, before it is built: locks, user, inputs
//! elsewhere  is it built here, or on another machine?
//! register   and after it: checks, signatures, rows
//! again      building what is there already
//! own        those that are made here without a builder
//! failure    what is told of those that failed
//! ```

mod again;
mod elsewhere;
mod failure;
mod graph;
mod own;
mod prepare;
mod register;
mod run;

use std::collections::HashSet;

use super::context::{Outcome, RealiseContext, output_paths};
use crate::model::derived_path::DerivedPath;
use crate::model::{StoreDir, StorePath};
use crate::store::api::Store;
use crate::store::error::{RealiseError, Result, StoreError};
pub use again::{check, repair};
use graph::{Graph, State};
pub use own::build_added;
use run::Run;

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

/// Builds a derivation that a client sends in place of a path; that is not done yet.
///
/// # Errors
/// [`RealiseError::NotAvailable`].
pub fn build_sent() -> Result<Outcome> {
    Err(RealiseError::NotAvailable("building a derivation that is sent").into())
}

/// Fulfils requests; those among them that are `incomplete` were not fulfilled before anything
/// was fetched.
pub(super) fn fulfil(
    context: &RealiseContext<'_>,
    requests: &[DerivedPath],
    incomplete: &HashSet<DerivedPath>,
) -> Result<Vec<Outcome>> {
    let mut graph = Graph::of(context.store, requests)?;
    outcomes(context, requests, &mut graph, |request| !incomplete.contains(request))
}

/// Works off the goals of requests, and says what has become of each; `was_valid` knows what was
/// fulfilled before.
fn outcomes(
    context: &RealiseContext<'_>,
    requests: &[DerivedPath],
    graph: &mut Graph,
    was_valid: impl Fn(&DerivedPath) -> bool,
) -> Result<Vec<Outcome>> {
    if !graph.goals.is_empty() {
        Run::new(context, graph)?.work()?;
    }
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        outcomes.push(match graph.outcome(request) {
            Some(State::Done) => Outcome::Made,
            Some(State::Failed(error)) => Outcome::Failed(error),
            Some(State::Cancelled | State::Waiting | State::Running) => {
                Outcome::Failed(RealiseError::Cancelled(context.store.dir().print(&request.path)).into())
            }
            None => look(context, request, was_valid(request))?,
        });
    }
    Ok(outcomes)
}

/// What has become of a request for which nothing had to be built.
fn look(context: &RealiseContext<'_>, request: &DerivedPath, was_valid: bool) -> Result<Outcome> {
    match is_fulfilled(context, request) {
        Ok(()) if was_valid => Ok(Outcome::Valid),
        Ok(()) => Ok(Outcome::Fetched),
        Err(error) if error.is_interruption() => Err(error),
        Err(error) => Ok(Outcome::Failed(error)),
    }
}

fn is_fulfilled(context: &RealiseContext<'_>, request: &DerivedPath) -> Result<()> {
    let store = context.store;
    store.add_temp_roots(&[&request.path])?;
    let is_there = store.is_there(&request.path)?;
    let Some(outputs) = &request.outputs else {
        return if is_there { Ok(()) } else { Err(no_substituter(store.dir(), &request.path)) };
    };
    if !is_there {
        return Err(no_derivation(store.dir(), &request.path));
    }
    let drv = store.queries().read_derivation(&request.path)?;
    for (_, path) in output_paths(store, &request.path, &drv, outputs)? {
        let Some(path) = path else { return Err(RealiseError::UnknownOutput.into()) };
        store.add_temp_roots(&[&path])?;
        if !store.is_there(&path)? {
            return Err(store.invalid(&path));
        }
    }
    Ok(())
}

/// What becomes of a request to a store that nothing is fetched or built for.
pub(super) fn without_realiser(store: &dyn Store, request: &DerivedPath) -> Result<Outcome> {
    let dir = store.dir();
    if super::missing::is_complete(store, request, true)? {
        return Ok(Outcome::Valid);
    }
    Ok(Outcome::Failed(match (&request.outputs, store.is_valid(&request.path)?) {
        (None, _) => no_substituter(dir, &request.path),
        (Some(_), false) => no_derivation(dir, &request.path),
        (Some(_), true) => no_builder(dir, &request.path),
    }))
}
