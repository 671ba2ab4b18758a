//! Building again what is there: to compare it, or because it is damaged.

use std::collections::{BTreeSet, VecDeque};

use super::graph::Graph;
use super::outcomes;
use crate::model::derived_path::{DerivedPath, Outputs};
use crate::model::{Derivation, StorePath};
use crate::ops::realise::context::Outcome;
use crate::ops::realise::context::{RealiseContext, output_paths};
use crate::store::api::Store as _;
use crate::store::api::realise::RealiseMode;
use crate::store::error::{RealiseError, Result};
use crate::store::local::verify::Expected;

/// Builds what was asked for once more, and compares it with what is there.
///
/// # Errors
/// [`RealiseError::NotBuilt`] for a derivation with outputs that are not there, and errors of the store.
pub fn check(context: &RealiseContext<'_>, requests: &[DerivedPath]) -> Result<Vec<Outcome>> {
    let store = context.store;
    let mut inputs = Vec::new();
    for request in requests {
        let Some(outputs) = &request.outputs else { continue };
        store.add_temp_roots(&[&request.path])?;
        let drv = store.queries().read_derivation(&request.path)?;
        for (_, path) in output_paths(store, &request.path, &drv, outputs)? {
            let is_there = path.map_or(Ok(false), |path| {
                store.add_temp_roots(&[&path])?;
                store.is_there(&path)
            });
            if !is_there? {
                return Err(RealiseError::NotBuilt(store.dir().print(&request.path)).into());
            }
        }
        inputs.extend(inputs_of(&drv));
    }
    // What it needs may be gone, while it is there itself.
    require_all(context.realise(&inputs, &mut |_| ())?)?;
    let mut graph = Graph::again(store, requests, RealiseMode::Check)?;
    outcomes(context, requests, &mut graph, |_| true)
}

/// The first failure.
fn require_all(outcomes: Vec<Outcome>) -> Result<()> {
    outcomes.into_iter().try_for_each(|outcome| match outcome {
        Outcome::Failed(error) => Err(error),
        _ => Ok(()),
    })
}

fn inputs_of(drv: &Derivation) -> impl Iterator<Item = DerivedPath> {
    let built = drv.input_drvs.iter();
    built.map(|(path, names)| DerivedPath::built(path.clone(), Outputs::Named(names.clone())))
}

/// A derivation with outputs that are damaged.
struct Damaged {
    drv: StorePath,
    paths: BTreeSet<StorePath>,
}

/// Looks at what was asked for and at everything that it refers to, and builds anew what is damaged.
///
/// # Errors
/// Something damaged that nobody can make, and errors of the store.
pub fn repair(context: &RealiseContext<'_>, requests: &[DerivedPath]) -> Result<Vec<Outcome>> {
    let first = context.realise(requests, &mut |_| ())?;
    let mut damaged = Vec::new();
    for (request, outcome) in requests.iter().zip(&first) {
        if !matches!(outcome, Outcome::Failed(_)) {
            look(context, request, &mut damaged)?;
        }
    }
    // What was found later is what the others may need to be built.
    for Damaged { drv, paths } in damaged.into_iter().rev() {
        let again = [DerivedPath::built(drv, Outputs::All)];
        let mut graph = Graph::again(context.store, &again, RealiseMode::Repair)?;
        for goal in graph.goals.iter_mut().filter(|goal| goal.path == again[0].path) {
            goal.damaged.clone_from(&paths);
        }
        require_all(outcomes(context, &again, &mut graph, |_| true)?)?;
    }
    Ok(first)
}

/// Looks at the closure of one request, what was asked for first, and notes what is damaged by
/// the derivation that makes it.
fn look(context: &RealiseContext<'_>, request: &DerivedPath, damaged: &mut Vec<Damaged>) -> Result<()> {
    let store = context.store;
    let mut asked = BTreeSet::new();
    match &request.outputs {
        None => _ = asked.insert(request.path.clone()),
        Some(outputs) => {
            let drv = store.queries().read_derivation(&request.path)?;
            let found = output_paths(store, &request.path, &drv, outputs)?;
            asked.extend(found.into_iter().filter_map(|(_, path)| path));
        }
    }
    let mut seen = asked.clone();
    let mut waiting: VecDeque<StorePath> = asked.iter().cloned().collect();
    while let Some(path) = waiting.pop_front() {
        let info = store.path_info(&path)?;
        waiting.extend(info.references.iter().filter(|other| seen.insert((*other).clone())).cloned());
        let shown = store.dir().print(&path);
        context.progress.notice(&format!("checking path '{shown}'..."));
        let mut is_good = true;
        store.verify_contents(&[Expected::of(&info)], |_, damage| {
            is_good = damage.is_none();
            Ok(())
        })?;
        if is_good {
            continue;
        }
        context.progress.notice(&format!("path '{shown}' is corrupted or missing!"));
        let sources: Vec<_> = context.substituters.iter().collect();
        if !sources.is_empty() && store.repair_path(&path, &sources)? {
            continue;
        }
        let drv = match (&request.outputs, asked.contains(&path)) {
            (Some(_), true) => Some(request.path.clone()),
            _ => info.deriver,
        };
        let Some(drv) = drv else { return Err(super::no_substituter(store.dir(), &path)) };
        if !store.is_there(&drv)? {
            return Err(super::no_substituter(store.dir(), &path));
        }
        if !asked.contains(&path) {
            let of = store.dir().display(&request.path);
            context.progress.notice(&format!(
                "found corrupted or missing path '{shown}' in the output closure of '{of}'"
            ));
        }
        match damaged.iter_mut().find(|known| known.drv == drv) {
            Some(known) => _ = known.paths.insert(path),
            None => damaged.push(Damaged { drv, paths: [path].into() }),
        }
    }
    Ok(())
}
