//! What comes after builds: their outputs are checked, signed, and registered together.

use std::collections::BTreeMap;
use std::path::Path;

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
use crate::store::open::secret_key;

/// Reads a key for signing.
pub(super) fn key(path: &Path) -> Result<SecretKey> {
    secret_key(path)
}

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
    let (mut results, mut new, mut realisations) = (Vec::new(), Vec::new(), Vec::new());
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
        match goal.mode {
            RealiseMode::Normal => {}
            RealiseMode::Check => {
                let same = compare(context, goal, built.made)?;
                results.push((node, same.map(|()| paths)));
                continue;
            }
            RealiseMode::Repair => {
                replace(context, goal, keys, built.made)?;
                results.push((node, Ok(paths)));
                continue;
            }
        }
        for taken in built.made.outputs {
            realisations.extend(realisation(context, goal, &taken)?);
            new.push(new_output(context, goal, keys, taken)?);
        }
        let mismatch = built.made.mismatch.map(|error| failure::of_error(context, goal, &error.into()));
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
fn compare(context: &RealiseContext<'_>, goal: &Goal, made: outputs::Outcome) -> Result<Result<()>> {
    let store = context.store;
    let known: BTreeMap<String, StorePath> = output_paths(store, &goal.path, &goal.drv, &Outputs::All)?
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)))
        .collect();
    let mut made: Vec<TakenOutput> = made.outputs;
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

/// Puts outputs in the places of those that are damaged.
fn replace(
    context: &RealiseContext<'_>,
    goal: &mut Goal,
    keys: &[SecretKey],
    made: outputs::Outcome,
) -> Result<()> {
    for taken in made.outputs {
        if goal.damaged.contains(&taken.info.path) {
            let output = new_output(context, goal, keys, taken)?;
            context.store.replace_output(output)?;
        }
    }
    Ok(())
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
