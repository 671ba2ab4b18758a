//! What a derivation is made from, and the hashes of those derivations.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::super::super::context::{Context, Element};
use super::super::super::error::Error;
use super::super::super::interpret::Worker;
use super::super::super::shared::Made;
use crate::model::derivation::Derivation;
use crate::model::derivation::modulo::{self, Modulo};
use crate::model::store_path::{StoreDir, StorePath};

/// Reads a store path of a context.
fn parsed(dir: &StoreDir, path: &[u8]) -> Result<StorePath, Error> {
    dir.parse(&String::from_utf8_lossy(path)).map_err(|error| Error::new(error.to_string()))
}

/// Gives a derivation the inputs that its texts depend on.
pub fn fill_in(
    worker: &Worker<'_>,
    dir: &StoreDir,
    context: Option<&Context<'_>>,
    derivation: &mut Derivation,
) -> Result<(), Error> {
    for element in context.map_or(&[][..], |context| context.elements()) {
        match *element {
            Element::Plain(path) => {
                derivation.input_srcs.insert(parsed(dir, path)?);
            }
            Element::Output { derivation: path, output } => {
                let output = String::from_utf8_lossy(output).into_owned();
                derivation.input_drvs.entry(parsed(dir, path)?).or_default().insert(output);
            }
            Element::All(path) => add_closure(worker, dir, parsed(dir, path)?, derivation)?,
        }
    }
    Ok(())
}

/// Adds all that a derivation's file refers to, and all outputs of the derivations among that.
fn add_closure(
    worker: &Worker<'_>,
    dir: &StoreDir,
    path: StorePath,
    derivation: &mut Derivation,
) -> Result<(), Error> {
    let (mut open, mut seen) = (vec![path], BTreeSet::new());
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        for reference in worker.world.references(dir.print(&path).as_bytes())? {
            open.push(parsed(dir, &reference)?);
        }
        if path.is_derivation() {
            let outputs = known(worker, dir, &path)?.outputs.clone();
            derivation.input_drvs.entry(path.clone()).or_default().extend(outputs);
        }
        derivation.input_srcs.insert(path);
    }
    Ok(())
}

/// Keeps what users of a new derivation need to know of it.
pub fn keep(
    worker: &Worker<'_>,
    dir: &StoreDir,
    path: &StorePath,
    derivation: &Derivation,
) -> Result<(), Error> {
    let made = Made {
        modulo: modulo::hash_as_input(derivation, dir, |input| hash(worker, dir, input))?,
        outputs: derivation.outputs.keys().cloned().collect(),
    };
    worker.shared.made.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), Arc::new(made));
    Ok(())
}

/// Refuses a derivation, the one named `name`, that uses an output which an input does not have.
pub fn check(worker: &Worker<'_>, dir: &StoreDir, derivation: &Derivation, name: &str) -> Result<(), Error> {
    for (input, outputs) in &derivation.input_drvs {
        let made = known(worker, dir, input)?;
        if let Some(output) = outputs.iter().find(|output| !made.outputs.contains(*output)) {
            return Err(Error::new(format!("no hash for output '{output}' of derivation '{name}'")));
        }
    }
    Ok(())
}

/// The hash that a derivation has as an input of another.
pub fn hash(worker: &Worker<'_>, dir: &StoreDir, input: &StorePath) -> Result<Modulo, Error> {
    Ok(known(worker, dir, input)?.modulo)
}

/// What is known of a derivation that was made before, or lies in the store.
fn known(worker: &Worker<'_>, dir: &StoreDir, path: &StorePath) -> Result<Arc<Made>, Error> {
    let made = worker.shared.made.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    if let Some(made) = made {
        return Ok(made);
    }
    let _deeper = worker.deeper()?;
    if worker.stack().is_exhausted() {
        return Err(Error::new("derivations depend on each other through too many others"));
    }
    let full = dir.print(path);
    let text = worker.world.read_derivation(full.as_bytes())?;
    let derivation = Derivation::parse(dir, &text)
        .map_err(|error| Error::new(format!("error parsing derivation '{full}': {error}")))?;
    keep(worker, dir, path, &derivation)?;
    let made = worker.shared.made.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    made.ok_or_else(|| Error::new(format!("derivation '{full}' was read, but is not known")))
}
