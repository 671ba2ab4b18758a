//! Output paths of a derivation that is to be added, from its inputs in any
//! store.

use std::collections::{HashMap, HashSet};

use crate::model::derivation::modulo::{self, Modulo, OutputError};
use crate::model::{Derivation, DrvOutput, Hash, Realisation, StorePath};
use crate::store::api::Store;
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

/// Gives the outputs of the derivation `name` (without `.drv`) that have no path
/// the one that follows, also in the environment where that says nothing else.
///
/// # Errors
/// Inputs that cannot be read, and a bad name.
pub fn work_out(store: &dyn Store, drv: &mut Derivation, name: &str) -> Result<()> {
    let mut known = HashMap::new();
    for input in drv.input_drvs.keys() {
        learn(store, input, &mut known)?;
    }
    let hash = |input: &StorePath| known_hash(store, input, &known);
    let shown = format!("{name}.drv");
    modulo::work_out_outputs(drv, store.dir(), name, hash)?
        .map_err(|error| StoreError::DerivationOutput { path: shown, reason: OutputError::from(error) })
}

/// The realisations that `source` knows of some outputs of a derivation that lies
/// in `store`.
///
/// # Errors
/// [`StoreError::Missing`] for an input that is not there.
pub fn realisations(
    store: &dyn Store,
    source: &dyn Store,
    drv: &Derivation,
    outputs: &[String],
) -> Result<Vec<Realisation>> {
    let Some(hash) = hash_for_realisations(store, drv)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for output in outputs {
        let Ok(id) = DrvOutput::new(&hash, output) else { continue };
        found.extend(source.realisation(&id)?);
    }
    Ok(found)
}

/// The name of the realisation of an output, if it can have one.
///
/// # Errors
/// [`StoreError::Missing`] for an input that is not there.
pub fn output_id(store: &dyn Store, drv: &Derivation, output: &str) -> Result<Option<DrvOutput>> {
    Ok(hash_for_realisations(store, drv)?.and_then(|hash| DrvOutput::new(&hash, output).ok()))
}

fn hash_for_realisations(store: &dyn Store, drv: &Derivation) -> Result<Option<Hash>> {
    let mut known = HashMap::new();
    for input in drv.input_drvs.keys() {
        learn(store, input, &mut known)?;
    }
    modulo::hash_for_realisations(drv, store.dir(), |input| known_hash(store, input, &known))
}

type Known = HashMap<StorePath, Modulo>;

fn known_hash(store: &dyn Store, input: &StorePath, known: &Known) -> Result<Modulo> {
    known.get(input).copied().ok_or_else(|| store.invalid(input))
}

/// Computes the hash that a derivation has as an input of others. Chains can be as
/// long as somebody likes, so there is no recursion.
fn learn(store: &dyn Store, wanted: &StorePath, known: &mut Known) -> Result<()> {
    let mut waiting = vec![wanted.clone()];
    let mut begun = HashSet::new();
    while let Some(path) = waiting.last().cloned() {
        interrupt::check()?;
        if known.contains_key(&path) {
            waiting.pop();
            continue;
        }
        if !store.is_valid(&path)? {
            return Err(StoreError::Missing(store.dir().print(&path)));
        }
        let drv = store.queries().read_derivation(&path)?;
        let unknown: Vec<StorePath> =
            drv.input_drvs.keys().filter(|input| !known.contains_key(*input)).cloned().collect();
        if unknown.is_empty() {
            let hash = modulo::hash_as_input(&drv, store.dir(), |input| known_hash(store, input, known))?;
            known.insert(path, hash);
        } else if begun.insert(path.clone()) {
            waiting.extend(unknown);
        } else {
            return Err(StoreError::Row {
                path: store.dir().print(&path),
                message: "derivations refer to each other in a circle".to_owned(),
            });
        }
    }
    Ok(())
}
