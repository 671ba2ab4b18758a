//! What comes after builds: their outputs are checked, signed, and registered together.

use std::collections::{BTreeMap, BTreeSet};

use super::failure;
use super::graph::{Goal, Node};
use crate::build::outputs::{self, OutputPlan, OutputsError, TakenOutput};
use crate::build::steps::Built;
use crate::model::derived_path::Outputs;
use crate::model::signature::SecretKey;
use crate::model::{DrvOutput, Realisation, StorePath};
use crate::ops::realise::context::{RealiseContext, output_paths};
use crate::store::api::Store as _;
use crate::store::api::realise::RealiseMode;
use crate::store::error::{Result, StoreError};
use crate::store::local::outputs::NewOutput;

/// Registers what builds have made. What is not as its derivation says is not registered, but for
/// what was promised to be something else: that is there then as what it is. Gives the outputs of each
/// in the order of their paths.
///
/// # Errors
/// Errors of the store, for all of them.
pub(super) fn register(
    context: &RealiseContext<'_>,
    goals: &mut [Goal],
    keys: &[SecretKey],
    built: Vec<(Node, Built)>,
) -> Result<Vec<(Node, Result<Vec<StorePath>>)>> {
    let (mut results, mut realisations) = (Vec::new(), Vec::new());
    let mut new: Vec<NewOutput> = Vec::new();
    let being_built = being_built(goals);
    for (node, built) in built {
        let goal = &mut goals[node];
        // What is something else than was promised need not be checked.
        if built.made.mismatch.is_none()
            && let Err(error) = check(context, goal, &built)
        {
            results.push((node, Err(failure::of_error(context, goal, &error.into()))));
            continue;
        }
        let mut paths: Vec<StorePath> =
            built.made.outputs.iter().map(|taken| taken.info.path.clone()).collect();
        paths.sort();
        let mismatch = built.made.mismatch.map(|error| failure::of_error(context, goal, &error.into()));
        let made = built.made.outputs;
        match goal.mode {
            RealiseMode::Normal => {}
            RealiseMode::Check | RealiseMode::Repair if mismatch.is_some() => {
                results.push((node, mismatch.map_or(Ok(paths), Err)));
                continue;
            }
            RealiseMode::Check => {
                let same = compare(context, goal, made)?;
                results.push((node, same.map(|()| paths)));
                continue;
            }
            RealiseMode::Repair => {
                let replaced = replace(context, goal, keys, made)?;
                results.push((node, replaced.map(|()| paths)));
                continue;
            }
        }
        for taken in made {
            let path = &taken.info.path;
            let is_promised = goal.drv.output_paths().any(|(_, known)| known == path);
            if !is_promised && mismatch.is_some() && being_built.contains(path) {
                // Another build is about to make it, and holds its lock.
                continue;
            }
            realisations.extend(realisation(context, goal, &taken)?);
            // Two builds may find the same contents, at once or one after the other.
            let is_new = new.iter().all(|other| other.info.path != *path);
            if is_promised || is_new && !context.store.is_there(path)? {
                new.push(new_output(context, goal, keys, taken)?);
            }
        }
        results.push((node, mismatch.map_or(Ok(paths), Err)));
    }
    if !new.is_empty() {
        context.store.register_outputs(new, &realisations)?;
    }
    for (node, _) in &results {
        goals[*node].locks.clear();
    }
    Ok(results)
}

/// The paths that builds of this process are at work on, whose locks they hold.
fn being_built(goals: &[Goal]) -> BTreeSet<StorePath> {
    let locked = goals.iter().filter(|goal| !goal.locks.is_empty());
    locked.flat_map(|goal| goal.drv.output_paths().map(|(_, path)| path.clone())).collect()
}

/// Checks outputs as their derivation wants it.
fn check(context: &RealiseContext<'_>, goal: &Goal, built: &Built) -> std::result::Result<(), OutputsError> {
    let store = context.store;
    let redirect = |_: &StorePath| false;
    let plan = OutputPlan::new(store.dir(), &goal.path, &goal.drv, &built.options, &built.inputs, redirect)?;
    let infos = built.made.outputs.iter().map(|taken| (taken.name.clone(), &taken.info)).collect();
    outputs::check(&plan, &built.options, &infos, &|paths| {
        let paths: Vec<StorePath> = paths.iter().cloned().collect();
        let graph = store.queries().closure(&paths, false)?;
        graph.nodes().map(|node| Ok((graph.path(node)?, graph.nar_size(node)))).collect()
    })
}

/// Compares outputs with those that are there. The first that differs is kept beside the other, if
/// failed builds are kept.
fn compare(context: &RealiseContext<'_>, goal: &Goal, mut made: Vec<TakenOutput>) -> Result<Result<()>> {
    let store = context.store;
    let known: BTreeMap<String, StorePath> = output_paths(store, &goal.path, &goal.drv, &Outputs::All)?
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)))
        .collect();
    made.sort_by(|one, other| one.name.cmp(&other.name));
    for taken in made {
        let Some(path) = known.get(&taken.name) else { continue };
        if !store.is_there(path)? || store.path_info(path)?.nar_hash == taken.info.nar_hash {
            continue;
        }
        let beside = match context.builds.keep_failed {
            true => Some(store.put_beside(taken.incoming, path)?),
            false => None,
        };
        return Ok(Err(failure::of_difference(context, goal, path, beside)));
    }
    Ok(Ok(()))
}

/// Puts outputs in the places of those that are damaged, which must all be among them.
fn replace(
    context: &RealiseContext<'_>,
    goal: &mut Goal,
    keys: &[SecretKey],
    made: Vec<TakenOutput>,
) -> Result<Result<()>> {
    for taken in made {
        if goal.damaged.remove(&taken.info.path) {
            let output = new_output(context, goal, keys, taken)?;
            context.store.replace_output(output)?;
        }
    }
    let left = goal.damaged.first().map(|path| super::no_substituter(context.store.dir(), path));
    Ok(left.map_or(Ok(()), Err))
}

fn new_output(
    context: &RealiseContext<'_>,
    goal: &mut Goal,
    keys: &[SecretKey],
    taken: TakenOutput,
) -> Result<NewOutput> {
    let TakenOutput { name, incoming, mut info, .. } = taken;
    info.deriver = Some(goal.path.clone());
    // What another machine made is not vouched for.
    if info.ultimate {
        let fingerprint = info.fingerprint(context.store.dir());
        info.signatures.extend(keys.iter().map(|key| key.sign(fingerprint.as_bytes())));
    }
    let is_known = goal.drv.outputs.get(&name).is_some_and(|output| output.path() == Some(&info.path));
    let lock = goal.locks.remove(&name).filter(|_| is_known);
    let lock = match lock {
        Some(lock) => lock,
        // Its path is known only now.
        None => context.store.lock(&info.path)?,
    };
    Ok(NewOutput { incoming, info, lock })
}

/// The realisation of an output whose path does not follow from its derivation.
fn realisation(
    context: &RealiseContext<'_>,
    goal: &Goal,
    taken: &TakenOutput,
) -> Result<Option<Realisation>> {
    let store = context.store;
    if !store.uses_realisations() {
        return Ok(None);
    }
    let Some(hash) = store.hash_for_realisations(&goal.drv)? else { return Ok(None) };
    let id = DrvOutput::new(&hash, &taken.name).map_err(|error| StoreError::Setting(error.to_string()))?;
    Ok(Some(Realisation::new(id, taken.info.path.clone())))
}
