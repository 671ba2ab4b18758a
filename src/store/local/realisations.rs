//! The output paths of derivations that do not say so themselves: their realisations.

use super::LocalStore;
use crate::model::{Derivation, DrvOutput, Hash, Realisation, StorePath};
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;

/// The experimental feature without which nothing is asked about realisations.
const FEATURE: &str = "ca-derivations";

impl LocalStore {
    /// Whether realisations count: whether their feature is enabled.
    pub fn uses_realisations(&self) -> bool {
        self.options.features.contains(&FEATURE)
    }

    /// Refuses to look for realisations while their feature is not enabled.
    ///
    /// # Errors
    /// [`StoreError::FeatureDisabled`].
    pub fn require_realisations(&self) -> Result<()> {
        self.require_feature(FEATURE, "")
    }

    /// The hash that names the realisations of a derivation; none where each
    /// build has a result of its own.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for an input that is not there.
    pub fn hash_for_realisations(&self, drv: &Derivation) -> Result<Option<Hash>> {
        let read = |path: &StorePath| self.read_derivation(path);
        self.known_inputs.borrow_mut().hash_for_realisations(self.dir(), drv, read)
    }

    /// The realisation of an output, if it is known and the feature is enabled.
    pub fn known_realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        if self.uses_realisations() { self.db().realisation(id) } else { Ok(None) }
    }

    /// Registers the realisation of an output; its path is valid.
    ///
    /// # Errors
    /// See [`LocalStore::require_realisations`] and
    /// [`Writer::register_realisation`](super::db::write::Writer::register_realisation).
    pub fn add_realisation(&self, realisation: &Realisation) -> Result<()> {
        self.require_realisations()?;
        self.write(|writer| writer.register_realisation(realisation))
    }

    /// The outputs of a derivation of which the paths are known, by name.
    pub fn known_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        let recorded = self.db().derivation_outputs(drv)?;
        let asks = recorded.is_empty() && self.uses_realisations() && self.db().has_realisations()?;
        if !asks || !self.db().is_valid(drv)? {
            return Ok(recorded);
        }
        self.realised(&self.read_derivation(drv)?)
    }

    /// The outputs of a derivation that have a realisation, by name.
    fn realised(&self, drv: &Derivation) -> Result<Vec<(String, StorePath)>> {
        let mut found = Vec::new();
        if let Some(hash) = self.hash_for_realisations(drv)? {
            for name in drv.outputs.keys() {
                let Ok(id) = DrvOutput::new(&hash, name) else { continue };
                let known = self.db().realisation(&id)?;
                found.extend(known.map(|known| (name.clone(), known.out_path)));
            }
        }
        Ok(found)
    }

    /// Every derivation that has an output by a realisation, and the output, by
    /// number. What cannot be read as a derivation has none, and that is told.
    pub fn realised_outputs(&self) -> Result<Vec<(PathId, PathId)>> {
        let mut found = Vec::new();
        if !self.uses_realisations() || !self.db().has_realisations()? {
            return Ok(found);
        }
        let derivations = self.db().derivations_without_outputs()?;
        for (id, path) in derivations {
            crate::sys::interrupt::check()?;
            let outputs = match self.read_derivation(&path).and_then(|drv| self.realised(&drv)) {
                Ok(outputs) => outputs,
                // What cannot be read of the database may be what keeps something.
                Err(error @ StoreError::Damaged { .. }) => return Err(error),
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => {
                    let shown = self.dir().display(&path);
                    self.progress().warn(&format!("the outputs of '{shown}' are not known: {error}"));
                    continue;
                }
            };
            for (_, output) in outputs {
                found.extend(self.db().id_of(&output)?.map(|output| (id, output)));
            }
        }
        Ok(found)
    }
}
