//! The paths of a derivation's outputs.

use super::super::super::error::Error;
use super::super::super::interpret::Worker;
use super::attributes::Asked;
use super::inputs;
use crate::model::content_address::{ContentAddress, ContentAddressMethod};
use crate::model::derivation::{DerivationOutput, modulo, placeholder};
use crate::model::hash::{Hash, HashAlgorithm};
use crate::model::store_path::StoreDir;

/// Gives a derivation its outputs, in `outputs` and in its environment.
pub fn fill_in(worker: &Worker<'_>, dir: &StoreDir, name: &str, asked: &mut Asked<'_>) -> Result<(), Error> {
    if let Some(hash) = asked.hash.take() {
        return fixed(worker, dir, name, &hash, asked);
    }
    if asked.content_addressed || asked.impure {
        return floating(asked);
    }
    let derivation = &mut asked.derivation;
    for output in &asked.outputs {
        derivation.env.insert(output.clone().into_bytes(), Vec::new());
        derivation.outputs.insert(output.clone(), DerivationOutput::Deferred);
    }
    inputs::check(worker, dir, derivation, name)?;
    modulo::work_out_outputs(derivation, dir, name, |input| inputs::hash(worker, dir, input))?
        .map_err(|error| Error::new(error.to_string()))
}

/// The one output of which the content is promised.
fn fixed(
    worker: &Worker<'_>,
    dir: &StoreDir,
    name: &str,
    hash: &[u8],
    asked: &mut Asked<'_>,
) -> Result<(), Error> {
    if !asked.outputs.iter().map(String::as_str).eq(["out"]) {
        return Err(Error::new("multiple outputs are not supported in fixed-output derivations"));
    }
    let hash = match asked.algorithm {
        Some(algorithm) => worker.hash_or_zeros(hash, algorithm)?,
        None if hash.is_empty() => return Err(Error::new("empty hash requires explicit hash algorithm")),
        None => Hash::parse(&String::from_utf8_lossy(hash), None)
            .map_err(|error| Error::new(error.to_string()))?,
    };
    let ca = ContentAddress { method: asked.method.unwrap_or(ContentAddressMethod::Flat), hash };
    let path =
        dir.content_path(name, &ca, &Default::default()).map_err(|error| Error::new(error.to_string()))?;
    asked.derivation.env.insert(b"out".to_vec(), dir.print(&path).into_bytes());
    asked.derivation.outputs.insert("out".to_owned(), DerivationOutput::Fixed { path, ca });
    Ok(())
}

/// Outputs whose paths are known once they are built.
fn floating(asked: &mut Asked<'_>) -> Result<(), Error> {
    if asked.content_addressed && asked.impure {
        return Err(Error::new("derivation cannot be both content-addressed and impure"));
    }
    let method = asked.method.unwrap_or(ContentAddressMethod::NixArchive);
    let algorithm = asked.algorithm.unwrap_or(HashAlgorithm::Sha256);
    for output in &asked.outputs {
        let kind = if asked.impure { DerivationOutput::Impure } else { DerivationOutput::Floating };
        let stand_in = placeholder::of_output(output.as_bytes());
        asked.derivation.env.insert(output.clone().into_bytes(), stand_in);
        asked.derivation.outputs.insert(output.clone(), kind(method, algorithm));
    }
    Ok(())
}
