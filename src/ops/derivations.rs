//! Output paths of a derivation that is to be added, from its inputs in any
//! store.

use crate::model::derivation::modulo::{self, OutputError};
use crate::model::{Derivation, DrvOutput, Hash, Realisation, StorePath};
use crate::store::api::Store;
use crate::store::api::inputs::Inputs;
use crate::store::error::{Result, StoreError};

/// Gives the outputs of the derivation `name` (without `.drv`) that have no path
/// the one that follows, also in the environment where that says nothing else.
///
/// # Errors
/// Inputs that cannot be read, and a bad name.
pub fn work_out(store: &dyn Store, drv: &mut Derivation, name: &str) -> Result<()> {
    let mut known = Inputs::default();
    for input in drv.input_drvs.keys() {
        known.learn(store.dir(), input, |path| read(store, path))?;
    }
    let hash = |input: &StorePath| known.hash(store.dir(), input);
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
    Inputs::default().hash_for_realisations(store.dir(), drv, |path| read(store, path))
}

/// Reads a derivation that is an input of another.
fn read(store: &dyn Store, path: &StorePath) -> Result<Derivation> {
    match store.is_valid(path)? {
        true => store.queries().read_derivation(path),
        false => Err(StoreError::Missing(store.dir().print(path))),
    }
}
