//! What requests are made to, and what becomes of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::farm::Farm;
use super::substitute::Substituters;
use crate::build::settings::BuildSettings;
use crate::model::derivation::options::BuildOptions;
use crate::model::derived_path::Outputs;
use crate::model::{Derivation, DrvOutput, Realisation, StoreDir, StorePath};
use crate::ops::copy::Trust;
use crate::ops::derivations;
use crate::progress::Progress;
use crate::store::api::Store;
use crate::store::api::realise::Missing;
use crate::store::error::{RealiseError, Result, StoreError};
use crate::store::local::LocalStore;

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was there.
    Valid,
    /// Something was fetched.
    Fetched,
    /// Something was made.
    Made,
    /// It cannot be had, and why.
    Failed(StoreError),
}

/// Hears what is missing before anything is done about it.
pub type Tell<'t> = &'t mut dyn FnMut(&Missing);

/// The names and paths of some outputs of a derivation; no path where it follows
/// from the build and the store does not know it.
pub fn output_paths(
    store: &dyn Store,
    path: &StorePath,
    drv: &Derivation,
    outputs: &Outputs,
) -> Result<Vec<(String, Option<StorePath>)>> {
    let wanted = drv.outputs.iter().filter(|(name, _)| outputs.contains(name));
    let mut found: Vec<_> = wanted.map(|(name, output)| (name.clone(), output.path().cloned())).collect();
    if found.iter().any(|(_, path)| path.is_none()) {
        let known: BTreeMap<String, StorePath> =
            store.queries().derivation_outputs(path)?.into_iter().collect();
        for (name, path) in found.iter_mut().filter(|(_, path)| path.is_none()) {
            *path = known.get(name).cloned();
        }
    }
    let open: Vec<String> =
        found.iter().filter(|(_, path)| path.is_none()).map(|(name, _)| name.clone()).collect();
    // With a database, the store has been asked already.
    if open.is_empty() || !store.uses_realisations() || store.is_direct() || store.realiser().is_some() {
        return Ok(found);
    }
    match derivations::realisations(store, store, drv, &open) {
        Ok(known) => {
            for realisation in known {
                let output = found.iter_mut().find(|(name, _)| name == realisation.id.output());
                output.map(|(_, path)| path.insert(realisation.out_path));
            }
        }
        // A cache need not have the inputs of a derivation, from which the name follows.
        Err(StoreError::Missing(_) | StoreError::Invalid(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// The error for an output that a derivation does not have.
pub(super) fn no_output(dir: &StoreDir, drv: &StorePath, name: &str) -> StoreError {
    RealiseError::NoOutput { drv: dir.print(drv), output: name.to_owned() }.into()
}

/// The local store that requests are made to, and what fulfils them there.
pub struct RealiseContext<'m> {
    pub(super) store: &'m LocalStore,
    pub(super) substituters: &'m Substituters,
    pub(super) trust: Option<&'m Trust>,
    pub(super) trusted: bool,
    pub(super) progress: &'m dyn Progress,
    pub(super) builds: &'m Arc<BuildSettings>,
    /// Other machines that build.
    pub(super) farm: Farm,
    /// What could not be fetched although a substituter has it.
    pub(super) unfetched: RefCell<BTreeSet<StorePath>>,
    /// What substituters said of outputs whose paths the store does not know.
    pub(super) offered: RefCell<BTreeMap<DrvOutput, Option<Realisation>>>,
}

impl<'m> RealiseContext<'m> {
    /// Fetches from `substituters` what is signed as `trust` wants it, if it wants
    /// anything, and builds the rest as `builds` say. With `trusted` those who ask may see what this
    /// process sees.
    pub fn new(
        store: &'m LocalStore,
        substituters: &'m Substituters,
        trust: Option<&'m Trust>,
        trusted: bool,
        builds: &'m Arc<BuildSettings>,
        progress: &'m dyn Progress,
    ) -> Self {
        let (unfetched, offered) = (RefCell::default(), RefCell::default());
        Self {
            store,
            substituters,
            trust,
            trusted,
            progress,
            builds,
            farm: Farm::default(),
            unfetched,
            offered,
        }
    }

    /// Whether outputs of a derivation may come from elsewhere, as far as the derivation is concerned.
    pub(super) fn may_be_fetched(&self, drv: &Derivation) -> bool {
        let options = || BuildOptions::of(self.store.dir(), drv);
        // What cannot be understood is told when it is to be built.
        self.builds.always_allow_substitutes || options().map_or(true, |options| options.allow_substitutes)
    }

    /// As [`output_paths`]; substituters are asked about what the store does not know.
    pub(super) fn output_paths(
        &self,
        path: &StorePath,
        drv: &Derivation,
        outputs: &Outputs,
    ) -> Result<Vec<(String, Option<StorePath>)>> {
        let mut found = output_paths(self.store, path, drv, outputs)?;
        let is_open = found.iter().any(|(_, path)| path.is_none());
        if !is_open || self.substituters.is_empty() || !self.store.uses_realisations() {
            return Ok(found);
        }
        let Some(hash) = self.store.hash_for_realisations(drv)? else { return Ok(found) };
        for (name, path) in found.iter_mut().filter(|(_, path)| path.is_none()) {
            let Ok(id) = DrvOutput::new(&hash, name) else { continue };
            *path = self.offered(&id)?.map(|realisation| realisation.out_path);
        }
        Ok(found)
    }

    /// What the first substituter that knows an output says of it.
    fn offered(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        if let Some(known) = self.offered.borrow().get(id) {
            return Ok(known.clone());
        }
        let found = self.substituters.realisation(self.store.dir(), id, self.trust, self.progress)?;
        self.offered.borrow_mut().insert(id.clone(), found.clone());
        Ok(found)
    }

    /// Registers what substituters said of outputs that are valid now.
    pub(super) fn keep_offered(&self) -> Result<()> {
        let offered = std::mem::take(&mut *self.offered.borrow_mut());
        for realisation in offered.into_values().flatten() {
            if !self.store.is_there(&realisation.out_path)? {
                continue;
            }
            match self.store.add_realisation(&realisation) {
                Ok(()) => {}
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => self.progress.warn(&error.to_string()),
            }
        }
        Ok(())
    }
}
