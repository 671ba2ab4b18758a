//! Making paths valid that somebody asked for.
//!
//! ```text
//! context      what requests are made to, and what becomes of them
//! missing      what would have to be built or fetched
//! substitute   fetching, from the stores that the settings name
//! farm         building on other machines
//! goals        what becomes of a request once all that can be fetched is here
//! ```
//!
//! Programs ask a [`Realiser`], which works on a local store itself and leaves
//! the work to another program where there is one.

mod context;
mod farm;
mod goals;
mod missing;
pub mod substitute;

use std::collections::{BTreeMap, HashSet};

use crate::model::derived_path::DerivedPath;
use crate::model::{DrvOutput, Realisation, StoreDir, StorePath};
use crate::store::api::Store;
pub use crate::store::api::realise::Missing;
use crate::store::api::realise::{RealiseMode, RealiseStore};
use crate::store::error::{FailureKinds, RealiseError, Result, StoreError};
use crate::store::local::LocalStore;
pub use context::{Outcome, RealiseContext, Tell, output_paths};
pub use goals::{build_added, build_sent, no_substituter};
pub use missing::is_complete;

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
    /// As [`Realiser::realise`].
    pub fn realise_again(
        &self,
        requests: &[DerivedPath],
        mode: RealiseMode,
        tell: Tell<'_>,
    ) -> Result<Vec<Outcome>> {
        match self {
            Self::Here(context) => context.realise_as(requests, mode, tell),
            Self::By(_, realiser) => {
                realiser.realise(requests, mode)?;
                Ok(requests.iter().map(|_| Outcome::Made).collect())
            }
            Self::Nobody(_) => match mode {
                RealiseMode::Normal => self.realise(requests, tell),
                RealiseMode::Check | RealiseMode::Repair => {
                    Err(RealiseError::NotAvailable("building for such a store").into())
                }
            },
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

impl RealiseContext<'_> {
    /// Finds out what is missing.
    pub fn missing(&self, requests: &[DerivedPath]) -> Result<Missing> {
        Ok(missing::search(self, requests, false)?.missing)
    }

    /// Fulfils requests in a way.
    ///
    /// # Errors
    /// As [`Realiser::realise`].
    pub fn realise_as(
        &self,
        requests: &[DerivedPath],
        mode: RealiseMode,
        tell: Tell<'_>,
    ) -> Result<Vec<Outcome>> {
        match mode {
            RealiseMode::Normal => self.realise(requests, tell),
            RealiseMode::Check => goals::check(self, requests),
            RealiseMode::Repair => goals::repair(self, requests),
        }
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
