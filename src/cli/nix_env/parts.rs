//! A long listing in several evaluations one after the other. What is evaluated stays in memory until the evaluation
//! ends; so one that has taken much is left, and another goes on from there in the same memory:
//!
//! ```text
//! walk ── enough? ──→ walk on … ──→ rows ── enough? ──→ more rows …
//! ```
//!
//! Every evaluation makes anew what it needs of what the others made, and comes to the same: an evaluation is left
//! only as long as nothing was told, and nothing was asked for that may be different next time.

use std::collections::HashMap;

use nival::eval::interpret::Worker;
use nival::ops::evaluate::Asked;
use nival::ops::packages::memory::answers;
use nival::ops::packages::memory::names::Offer;
use nival::ops::packages::place::Place;
use nival::ops::packages::walk::Course;
use nival::ops::packages::{Package, order};
use nival::ops::user_env::selector::{Selector, select};

use super::Call;
use super::offers::Offers;
use crate::cli::evaluation::Stopped;

/// A listing that is being made.
pub struct Parts {
    /// The MiB that an evaluation takes before it is left.
    most: u64,
    /// The packages that are looked up instead of all being looked for.
    known: Option<Vec<Offer>>,
    course: Course,
    /// How much was told when all packages were found.
    told_by_walk: usize,
    /// The packages that are listed, in this order, once they are known.
    listed: Option<Vec<Offer>>,
    /// How many of them are described.
    described: usize,
}

impl Parts {
    /// A listing of all packages, or of those that are `known`.
    pub fn new(call: &Call, known: Option<Vec<Offer>>) -> Parts {
        let most = call.context.settings.eval_listing_memory();
        Parts { most, known, course: Course::default(), told_by_walk: 0, listed: None, described: 0 }
    }

    /// Whether all that is listed is described.
    pub fn is_done(&self) -> bool {
        self.listed.as_ref().is_some_and(|listed| self.described == listed.len())
    }

    /// Begins again, with all packages and in one evaluation: something has changed meanwhile.
    pub fn begin_again(&mut self) {
        *self = Parts {
            most: u64::MAX,
            known: None,
            course: Course::default(),
            told_by_walk: 0,
            listed: None,
            described: 0,
        };
    }

    /// Says when an evaluation is left, by the number of packages that it has found or described; `is_quiet` if those
    /// before it told nothing. There is one package for each MiB at least, since what all of them need is evaluated
    /// each time.
    pub fn enough<'a, 'e>(
        &self,
        is_quiet: bool,
        worker: &'a Worker<'e>,
        asked: &'a Asked,
    ) -> impl Fn(usize) -> bool + use<'a, 'e> {
        let most = self.most;
        let may_end = is_quiet && worker.shared.settings.cores == 1;
        move |packages: usize| {
            may_end
                && packages as u64 >= most.max(1)
                && worker.shared.arena.size() as u64 >> 20 >= most
                && asked.is_repeatable()
                && asked.said().is_empty()
        }
    }

    /// Whether all packages are found.
    pub fn is_found(&self) -> bool {
        self.listed.is_some()
    }

    /// Looks for more packages. Gives those of this evaluation, if they are all there are.
    ///
    /// # Errors
    /// Something cannot be evaluated, or a selector selects nothing.
    pub fn find<'e>(
        &mut self,
        offers: &Offers,
        place: &Place<'_, 'e>,
        asked: &Asked,
        selectors: &mut [Selector],
        enough: &dyn Fn(usize) -> bool,
    ) -> Result<Option<Vec<Package<'e>>>, Stopped> {
        let is_first = self.course.left.is_empty();
        let packages = match &self.known {
            Some(known) => {
                let packages = offers.packages(place, asked, Some(known))?;
                self.course.found = packages.iter().map(Offer::from).collect();
                packages
            }
            None => match offers.go_on(place, asked, &mut self.course, enough)? {
                Some(packages) => packages,
                None => return Ok(None),
            },
        };
        self.told_by_walk = asked.said().len();
        let chosen = select(&self.course.found, selectors).map_err(anyhow::Error::from)?;
        self.listed = Some(order::sort(chosen, |offer| &offer.name).into_iter().cloned().collect());
        Ok(is_first.then_some(packages))
    }

    /// The packages that are still to be described.
    pub fn rest(&self) -> Vec<Offer> {
        self.listed.iter().flatten().skip(self.described).cloned().collect()
    }

    /// One more is described.
    pub fn count_described(&mut self) {
        self.described += 1;
    }

    /// What is remembered of all packages, by what came of each; none if that cannot be remembered of one of them.
    /// They are in the order of the walk, from which that of a listing follows.
    pub fn answers(&self, outcomes: &HashMap<String, Option<Vec<u8>>>) -> Option<Vec<u8>> {
        let mut answers = Vec::with_capacity(self.course.found.len());
        for offer in &self.course.found {
            answers.push((offer, outcomes.get(&offer.attr_path)?.as_deref()?));
        }
        let parts = answers.iter().map(|(offer, outcome)| (&offer.attr_path[..], &offer.name[..], *outcome));
        Some(answers::encode(self.told_by_walk, answers.len(), parts))
    }
}
