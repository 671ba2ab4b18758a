//! What comes after builds: their outputs are checked, signed, and registered together.

use std::path::Path;

use super::failure;
use super::graph::{Goal, Node};
use crate::build::outputs::{self, OutputPlan, OutputsError, TakenOutput};
use crate::build::steps::Built;
use crate::model::signature::SecretKey;
use crate::model::{DrvOutput, Realisation, StorePath};
use crate::ops::realise::RealiseContext;
use crate::store::api::Store as _;
use crate::store::error::{Result, StoreError};
use crate::store::local::outputs::NewOutput;
use crate::store::open::secret_key;

/// Reads a key for signing.
pub(super) fn key(path: &Path) -> Result<SecretKey> {
    secret_key(path)
}

/// Registers what builds have made. What is not as its derivation says is not registered, but for
/// what was promised to be something else: that is there then as what it is.
///
/// # Errors
/// Errors of the store, for all of them.
pub(super) fn register(
    context: &RealiseContext<'_>,
    goals: &mut [Goal],
    keys: &[SecretKey],
    built: Vec<(Node, Built)>,
) -> Result<Vec<(Node, Result<()>)>> {
    let (mut results, mut new, mut realisations) = (Vec::new(), Vec::new(), Vec::new());
    for (node, built) in built {
        let goal = &mut goals[node];
        if let Err(error) = check(context, goal, &built) {
            results.push((node, Err(failure::of_error(context, goal, &error.into()))));
            continue;
        }
        for taken in built.made.outputs {
            realisations.extend(realisation(context, goal, &taken)?);
            new.push(new_output(context, goal, keys, taken)?);
        }
        let mismatch = built.made.mismatch.map(|error| failure::of_error(context, goal, &error.into()));
        results.push((node, mismatch.map_or(Ok(()), Err)));
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

fn new_output(
    context: &RealiseContext<'_>,
    goal: &mut Goal,
    keys: &[SecretKey],
    taken: TakenOutput,
) -> Result<NewOutput> {
    let TakenOutput { name, incoming, mut info, .. } = taken;
    info.deriver = Some(goal.path.clone());
    info.ultimate = true;
    let fingerprint = info.fingerprint(context.store.dir());
    info.signatures.extend(keys.iter().map(|key| key.sign(fingerprint.as_bytes())));
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
