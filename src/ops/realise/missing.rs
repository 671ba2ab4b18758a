//! What is missing of what somebody asked for: derivations that would have to be
//! built, paths that would be fetched, and paths that nobody has.
//!
//! ```text
//! requests → which paths are not valid? → which of them can be fetched?
//!     ↑                                        ↓ a derivation some outputs of which cannot be
//!     └──────── outputs of its inputs ─────────┘
//! ```
//!
//! All requests of a round are asked about together.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::context::{RealiseContext, no_output, output_paths};
use super::substitute::Fetch;
use crate::model::derived_path::{DerivedPath, Outputs};
use crate::model::{Derivation, StorePath};
use crate::store::api::Store;
use crate::store::api::realise::Missing;
use crate::store::error::Result;
use crate::sys::interrupt;

/// What a search has found.
pub(super) struct Found {
    /// What is to be told.
    pub missing: Missing,
    /// Paths that the requests need, or what has to be built for them, and that are not valid.
    pub wanted: Vec<StorePath>,
    /// How they can be fetched, as far as they can.
    pub fetch: Fetch,
    /// Derivations that are not valid, whose outputs are not known for that reason.
    pub unread: Vec<StorePath>,
    /// Requests that are not fulfilled.
    pub incomplete: HashSet<DerivedPath>,
}

/// Searches for what requests to a local store need. To `keep` it is to protect
/// everything on the way from collection, and to pass over requests that make no
/// sense: they fail later, each for itself.
pub(super) fn search(context: &RealiseContext<'_>, requests: &[DerivedPath], keep: bool) -> Result<Found> {
    let mut search = Search {
        context,
        keep,
        seen: HashSet::new(),
        inputs: BTreeMap::new(),
        all: Fetch::default(),
        wanted: BTreeSet::new(),
        unknown: BTreeSet::new(),
    };
    let Round { mut next, unread, incomplete } = search.round(requests)?;
    while !next.is_empty() {
        next = search.round(&next)?.next;
    }
    let mut missing = Missing { build: build_order(&search.inputs), ..Missing::default() };
    missing.fetch = search.all.in_reference_order();
    (missing.download, missing.unpacked) = search.all.sizes();
    missing.unknown = search.unknown;
    let wanted = search.wanted.into_iter().collect();
    Ok(Found { missing, wanted, fetch: search.all, unread, incomplete })
}

struct Search<'s, 'm> {
    context: &'s RealiseContext<'m>,
    keep: bool,
    seen: HashSet<DerivedPath>,
    /// Derivations to be built, and their inputs.
    inputs: BTreeMap<StorePath, Vec<StorePath>>,
    all: Fetch,
    wanted: BTreeSet<StorePath>,
    unknown: BTreeSet<StorePath>,
}

/// Requests that were asked about together.
#[derive(Default)]
struct Round {
    unread: Vec<StorePath>,
    incomplete: HashSet<DerivedPath>,
    /// What would have to be valid for what has to be built.
    next: Vec<DerivedPath>,
}

/// A derivation of which outputs are missing.
struct Unfinished {
    path: StorePath,
    drv: Derivation,
    /// Outputs that are not valid.
    invalid: Vec<StorePath>,
    /// There is an output whose path nobody knows.
    is_open: bool,
}

impl Search<'_, '_> {
    fn round(&mut self, requests: &[DerivedPath]) -> Result<Round> {
        let mut round = Round::default();
        let (mut unfinished, mut wanted) = (Vec::new(), BTreeSet::new());
        for request in requests {
            interrupt::check()?;
            if !self.seen.insert(request.clone()) {
                continue;
            }
            match self.look(request, &mut wanted, &mut round) {
                Ok(found) => unfinished.extend(found),
                Err(error) if self.keep && !error.is_interruption() => {}
                Err(error) => return Err(error),
            }
        }
        let fetch = self.plan(&wanted)?;
        let mut built = BTreeSet::new();
        for Unfinished { path, drv, invalid, is_open } in unfinished {
            if !is_open && invalid.iter().all(|output| fetch.has(output)) {
                continue;
            }
            built.extend(invalid);
            let inputs = drv.input_drvs.iter();
            let inputs =
                inputs.map(|(path, names)| DerivedPath::built(path.clone(), Outputs::Named(names.clone())));
            round.next.extend(inputs);
            self.inputs.insert(path, drv.input_drvs.into_keys().collect());
        }
        let unknown = wanted.iter().filter(|path| !fetch.has(path) && !built.contains(*path));
        self.unknown.extend(unknown.cloned());
        self.all.absorb(&fetch);
        self.wanted.extend(wanted);
        Ok(round)
    }

    /// Notes what is missing of one request.
    fn look(
        &self,
        request: &DerivedPath,
        wanted: &mut BTreeSet<StorePath>,
        round: &mut Round,
    ) -> Result<Option<Unfinished>> {
        let store = self.context.store;
        let is_there = self.is_there(&request.path)?;
        if !is_there {
            round.incomplete.insert(request.clone());
            wanted.insert(request.path.clone());
        }
        let Some(outputs) = &request.outputs else { return Ok(None) };
        if !is_there {
            // What it would lead to is known once it is here.
            round.unread.push(request.path.clone());
            return Ok(None);
        }
        let drv = store.queries().read_derivation(&request.path)?;
        if let Some(name) = outputs.missing(&drv) {
            return Err(no_output(store.dir(), &request.path, name));
        }
        let (mut invalid, mut is_open) = (Vec::new(), false);
        for (_, path) in self.context.output_paths(&request.path, &drv, outputs)? {
            match path {
                Some(path) if self.is_there(&path)? => {}
                Some(path) => invalid.push(path),
                None => is_open = true,
            }
        }
        if invalid.is_empty() && !is_open {
            return Ok(None);
        }
        round.incomplete.insert(request.clone());
        if invalid.is_empty() && !store.uses_realisations() {
            // What cannot be asked for is not built either.
            return Ok(None);
        }
        if self.context.may_be_fetched(&drv) {
            wanted.extend(invalid.iter().cloned());
        }
        Ok(Some(Unfinished { path: request.path.clone(), drv, invalid, is_open }))
    }

    fn is_there(&self, path: &StorePath) -> Result<bool> {
        // A question keeps nothing from being collected.
        if self.keep {
            self.context.store.add_temp_roots(&[path])?;
        }
        self.context.store.is_there(path)
    }

    /// Finds what substituters have, signed or not: as in the reference, what is not
    /// signed is refused when it is fetched.
    fn plan(&self, wanted: &BTreeSet<StorePath>) -> Result<Fetch> {
        let context = self.context;
        if context.substituters.is_empty() || wanted.is_empty() {
            return Ok(Fetch::default());
        }
        let wanted: Vec<StorePath> = wanted.iter().cloned().collect();
        context.substituters.plan(context.store, &wanted, None, context.progress)
    }
}

/// The derivations that have to be built, each after its inputs, otherwise in the order of their paths.
fn build_order(inputs: &BTreeMap<StorePath, Vec<StorePath>>) -> Vec<StorePath> {
    let mut order = Vec::with_capacity(inputs.len());
    let mut seen = HashSet::new();
    for path in inputs.keys() {
        // Without recursion: each derivation before (false) and after its inputs.
        let mut stack = vec![(path, false)];
        while let Some((path, inputs_done)) = stack.pop() {
            if inputs_done {
                order.push(path.clone());
                continue;
            }
            let Some(below) = inputs.get(path) else { continue };
            if seen.insert(path) {
                stack.push((path, true));
                stack.extend(below.iter().rev().map(|input| (input, false)));
            }
        }
    }
    order
}

/// Whether a request is fulfilled, as far as a store knows. To `keep` it is to
/// protect what is asked about from collection.
pub fn is_complete(store: &dyn Store, request: &DerivedPath, keep: bool) -> Result<bool> {
    let is_there = |path: &StorePath| {
        if keep {
            store.add_temp_roots(&[path])?;
        }
        store.is_there(path)
    };
    if !is_there(&request.path)? {
        return Ok(false);
    }
    let Some(outputs) = &request.outputs else { return Ok(true) };
    let drv = store.queries().read_derivation(&request.path)?;
    if outputs.missing(&drv).is_some() {
        return Ok(false);
    }
    for (_, path) in output_paths(store, &request.path, &drv, outputs)? {
        match path {
            Some(path) if is_there(&path)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// What is missing in a store that nothing is fetched for.
pub(super) fn without_realiser(store: &dyn Store, requests: &[DerivedPath]) -> Result<Missing> {
    let mut missing = Missing::default();
    let (mut inputs, mut seen) = (BTreeMap::new(), HashSet::new());
    let mut waiting = requests.to_vec();
    while let Some(request) = waiting.pop() {
        interrupt::check()?;
        if !seen.insert(request.clone()) || is_complete(store, &request, false)? {
            continue;
        }
        if request.outputs.is_none() || !store.is_valid(&request.path)? {
            missing.unknown.insert(request.path);
            continue;
        }
        let drv = store.queries().read_derivation(&request.path)?;
        inputs.insert(request.path, drv.input_drvs.keys().cloned().collect());
        waiting.extend(
            drv.input_drvs.into_iter().map(|(path, names)| DerivedPath::built(path, Outputs::Named(names))),
        );
    }
    missing.build = build_order(&inputs);
    Ok(missing)
}
