//! A goal is offered to other machines before it takes a place here.

use super::failure;
use super::graph::Goal;
use super::prepare;
use crate::build::machines::Claim;
use crate::build::steps::{Build, Built, Failed, Reason};
use crate::model::derivation::options::BuildOptions;
use crate::ops::realise::context::RealiseContext;
use crate::ops::realise::farm::{Errand, Offer};
use crate::progress::Progress;
use crate::store::api::realise::RealiseMode;
use crate::store::error::{FailureKinds, Result, StoreError};

/// Where a goal can be built now.
pub(super) enum Place {
    Here,
    There(Box<Claim>),
    /// Everywhere as many builds run as may.
    Nowhere,
}

/// A build that can begin, wherever.
pub(super) enum Job {
    Here(Box<Build>),
    There(Box<Errand>),
}

impl Job {
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Self::There(_))
    }

    pub fn run(self, progress: &dyn Progress) -> std::result::Result<Built, Box<Failed>> {
        match self {
            Self::Here(build) => build.run(progress),
            Self::There(errand) => errand.run(progress),
        }
    }
}

/// Finds a place for a goal.
///
/// # Errors
/// Why it can be built nowhere, and errors of the store.
pub(super) fn place(
    context: &RealiseContext<'_>,
    goal: &Goal,
    options: &BuildOptions,
    has_slot: bool,
) -> Result<Place> {
    let (builds, progress) = (context.builds, context.progress);
    let stays = options.prefer_local_build && builds.max_jobs > 0;
    // What is compared or repaired is what this machine makes.
    let offer = if stays || goal.mode != RealiseMode::Normal {
        Offer::None
    } else {
        let features = &options.required_system_features;
        context.farm.offer(context.store, builds, &goal.drv, features, progress)?
    };
    let able = prepare::require_able(context, goal, options);
    match offer {
        Offer::Taken(claim) => Ok(Place::There(claim)),
        Offer::Wait if has_slot && able.is_ok() => Ok(Place::Here),
        Offer::Wait => {
            if !goal.told_of_waiting.replace(true) {
                let drv = context.store.dir().display(&goal.path);
                progress.notice(&format!("waiting for a machine to build '{drv}'..."));
            }
            Ok(Place::Nowhere)
        }
        Offer::None => {
            if able.is_err() && builds.max_jobs == 0 {
                let features = &options.required_system_features;
                let text = context.farm.none_fits(&goal.drv, goal.path.base_name(), features);
                text.iter().for_each(|text| progress.problem(text));
            }
            able.map(|()| if has_slot { Place::Here } else { Place::Nowhere })
        }
    }
}

/// Takes note of a machine that could not be used or was lost; true if that is why a build came to
/// nothing, so that it can be tried again without that machine.
pub(super) fn is_lost(context: &RealiseContext<'_>, failed: &Failed) -> bool {
    let Reason::Lost { uri, reason } = &failed.reason else { return false };
    context.progress.problem(&format!("cannot build on '{uri}': error: {reason}"));
    context.farm.leave_out(uri);
    true
}

/// The error for a build that another machine has tried.
pub(super) fn failed_there(
    context: &RealiseContext<'_>,
    goal: &Goal,
    (uri, message): (&str, &str),
    timed_out: bool,
) -> StoreError {
    let drv = context.store.dir().display(&goal.path);
    context.progress.problem(&format!("error: build of '{drv}' on '{uri}' failed: {message}"));
    let kinds = if timed_out { FailureKinds::TIMEOUT } else { FailureKinds::default() };
    // The reference runs a program that fails with this status.
    failure::cannot_build(context, goal, "builder failed with exit code 1.", "", kinds)
}
