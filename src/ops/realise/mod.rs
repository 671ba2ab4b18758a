//! Making paths valid that somebody asked for.
//!
//! ```text
//! missing      what would have to be built or fetched
//! substitute   fetching, from the stores that the settings name
//! goals        what becomes of a request once all that can be fetched is here
//! ```
//!
//! Programs ask a [`Realiser`], which works on a local store itself and leaves
//! the work to another program where there is one.

mod goals;
mod missing;
pub mod substitute;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::copy::Trust;
use super::derivations;
use crate::build::settings::BuildSettings;
use crate::model::derivation::options::BuildOptions;
use crate::model::derived_path::{DerivedPath, Outputs};
use crate::model::{Derivation, DrvOutput, Realisation, StoreDir, StorePath};
use crate::progress::Progress;
use crate::store::api::Store;
pub use crate::store::api::realise::Missing;
use crate::store::api::realise::{RealiseMode, RealiseStore};
use crate::store::error::{FailureKinds, RealiseError, Result, StoreError};
use crate::store::local::LocalStore;
pub use goals::{build_added, build_sent, no_substituter, require_mode};
pub use missing::is_complete;
use substitute::Substituters;

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

/// Makes sure that all requests are fulfilled. Of several failures each is told by itself first.
///
/// # Errors
/// The only failure, or [`RealiseError::Several`].
pub fn require(
    dir: &StoreDir,
    requests: &[DerivedPath],
    outcomes: Vec<Outcome>,
    tell: &mut dyn FnMut(&StoreError),
) -> Result<()> {
    let failed = requests.iter().zip(outcomes).filter_map(|(request, outcome)| match outcome {
        Outcome::Failed(error) => Some((request.path.clone(), error)),
        _ => None,
    });
    let mut failed: BTreeMap<StorePath, StoreError> = failed.collect();
    if failed.len() <= 1 {
        return failed.pop_first().map_or(Ok(()), |(_, error)| Err(error));
    }
    let mut kinds = FailureKinds::default();
    for error in failed.values() {
        kinds = kinds.with(error.failure_kinds());
        if !matches!(error, StoreError::Realise(RealiseError::Cancelled(_))) {
            tell(error);
        }
    }
    let paths = failed.keys().map(|path| dir.print(path)).collect();
    Err(RealiseError::Several { paths, kinds }.into())
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

/// The realisations of the outputs that a fulfilled request stands for, as they
/// are told to clients; one that is not registered has no signatures.
pub fn realisations(store: &LocalStore, request: &DerivedPath) -> Result<Vec<Realisation>> {
    let Some(outputs) = &request.outputs else { return Ok(Vec::new()) };
    let drv = store.queries().read_derivation(&request.path)?;
    let Some(hash) = store.hash_for_realisations(&drv)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (name, path) in output_paths(store, &request.path, &drv, outputs)? {
        if let (Some(path), Ok(id)) = (path, DrvOutput::new(&hash, &name)) {
            let known = store.known_realisation(&id)?.filter(|known| known.out_path == path);
            found.push(known.unwrap_or_else(|| Realisation::new(id, path)));
        }
    }
    Ok(found)
}

/// The error for an output that a derivation does not have.
fn no_output(dir: &StoreDir, drv: &StorePath, name: &str) -> StoreError {
    RealiseError::NoOutput { drv: dir.print(drv), output: name.to_owned() }.into()
}

/// What makes paths of a store valid.
pub enum Worker<'s> {
    /// This process: the store is a local one.
    Here(&'s LocalStore),
    /// Another program.
    By(&'s dyn RealiseStore),
    /// Nobody: the store only keeps what others made.
    Nobody,
}

/// Finds what makes paths of a store valid.
pub fn worker(store: &dyn Store) -> Worker<'_> {
    match (store.downcast::<LocalStore>(), store.realiser()) {
        (Some(local), _) => Worker::Here(local),
        (None, Some(realiser)) => Worker::By(realiser),
        (None, None) => Worker::Nobody,
    }
}

/// What makes paths valid.
pub enum Realiser<'r> {
    /// This process, in a local store.
    Here(RealiseContext<'r>),
    /// Another program, such as a daemon, in the store that it works on.
    By(&'r dyn Store, &'r dyn RealiseStore),
    /// Nobody: paths of a store without more to it are there, or they are not.
    Nobody(&'r dyn Store),
}

impl Realiser<'_> {
    /// Finds out what is missing.
    pub fn missing(&self, requests: &[DerivedPath]) -> Result<Missing> {
        match self {
            Self::Here(context) => context.missing(requests),
            Self::By(_, realiser) => realiser.missing(requests),
            Self::Nobody(store) => missing::without_realiser(*store, requests),
        }
    }

    /// Makes again what is requested, to compare it (`Check`) or because it is damaged
    /// (`Repair`).
    ///
    /// # Errors
    /// [`RealiseError::NotAvailable`] where this process would have to build.
    pub fn realise_again(&self, requests: &[DerivedPath], mode: RealiseMode) -> Result<()> {
        match self {
            Self::By(_, realiser) => realiser.realise(requests, mode),
            Self::Here(_) | Self::Nobody(_) => goals::require_mode(mode),
        }
    }

    /// Fulfils requests; every outcome is for itself. `tell` hears what is missing
    /// first, and again where more is missing than could be known.
    ///
    /// # Errors
    /// A daemon gives its first failure as an error, and no outcomes.
    pub fn realise(&self, requests: &[DerivedPath], tell: Tell<'_>) -> Result<Vec<Outcome>> {
        match self {
            Self::Here(context) => context.realise(requests, tell),
            Self::By(_, realiser) => {
                tell(&realiser.missing(requests)?);
                realiser.realise(requests, RealiseMode::Normal)?;
                Ok(requests.iter().map(|_| Outcome::Fetched).collect())
            }
            Self::Nobody(store) => {
                tell(&missing::without_realiser(*store, requests)?);
                requests.iter().map(|request| goals::without_realiser(*store, request)).collect()
            }
        }
    }
}

/// The local store that requests are made to, and what fulfils them there.
pub struct RealiseContext<'m> {
    store: &'m LocalStore,
    substituters: &'m Substituters,
    trust: Option<&'m Trust>,
    trusted: bool,
    progress: &'m dyn Progress,
    builds: &'m Arc<BuildSettings>,
    /// What could not be fetched although a substituter has it.
    unfetched: RefCell<BTreeSet<StorePath>>,
    /// What substituters said of outputs whose paths the store does not know.
    offered: RefCell<BTreeMap<DrvOutput, Option<Realisation>>>,
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
        Self { store, substituters, trust, trusted, progress, builds, unfetched, offered }
    }

    /// Whether outputs of a derivation may come from elsewhere, as far as the derivation is concerned.
    fn may_be_fetched(&self, drv: &Derivation) -> bool {
        let options = || BuildOptions::of(self.store.dir(), drv);
        // What cannot be understood is told when it is to be built.
        self.builds.always_allow_substitutes || options().map_or(true, |options| options.allow_substitutes)
    }

    /// As [`output_paths`]; substituters are asked about what the store does not know.
    fn output_paths(
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
    fn keep_offered(&self) -> Result<()> {
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

    /// Finds out what is missing.
    pub fn missing(&self, requests: &[DerivedPath]) -> Result<Missing> {
        Ok(missing::search(self, requests, false)?.missing)
    }

    /// Fulfils requests, as [`Realiser::realise`] does.
    pub fn realise(&self, requests: &[DerivedPath], tell: Tell<'_>) -> Result<Vec<Outcome>> {
        let mut incomplete: Option<HashSet<DerivedPath>> = None;
        loop {
            let found = missing::search(self, requests, true)?;
            tell(&found.missing);
            incomplete.get_or_insert(found.incomplete);
            // What was told is what substituters have; what is fetched is signed, too.
            let mut fetch = found.fetch;
            if !self.substituters.may_give(self.store.dir(), &fetch, self.trust) {
                fetch = self.substituters.plan(self.store, &found.wanted, self.trust, self.progress)?;
            }
            if fetch.is_empty() {
                break;
            }
            let planned = fetch.in_reference_order();
            self.substituters.fetch(self.store, &found.wanted, fetch, self.trust, self.progress)?;
            self.keep_offered()?;
            let valid = self.store.valid(&planned)?;
            self.unfetched.borrow_mut().extend(planned.into_iter().filter(|path| !valid.contains(path)));
            // A derivation that was missing itself may have outputs that are.
            let mut learnt = false;
            for drv in &found.unread {
                learnt |= self.store.is_there(drv)?;
            }
            if !learnt {
                break;
            }
        }
        self.keep_offered()?;
        goals::fulfil(self, requests, &incomplete.unwrap_or_default())
    }
}
