//! Making paths valid with what the settings offer, for every program.

use nival::model::DerivedPath;
use nival::ops::realise::{self, Missing, Outcome, RealiseContext, Realiser, Worker, is_complete};
use nival::store::StoreError;
use nival::store::api::Store;
use nival::store::api::realise::RealiseMode;

use crate::cli::context::Context;
use crate::cli::error::store_text;
use crate::cli::output::missing;

/// Fulfils requests, and tells first what is missing. Substituters are opened only
/// if something is.
pub fn realise(
    context: &Context,
    store: &dyn Store,
    requests: &[DerivedPath],
) -> anyhow::Result<Vec<Outcome>> {
    if are_complete(store, requests, true)? {
        return Ok(requests.iter().map(|_| Outcome::Valid).collect());
    }
    with_realiser(context, store, |realiser| {
        Ok(realiser.realise(requests, &mut |found| tell(context, store, found))?)
    })
}

/// Makes sure that all requests are fulfilled.
///
/// # Errors
/// The failure of the only request; for several their failures are told, and the error says which
/// have failed.
pub fn require(
    context: &Context,
    store: &dyn Store,
    requests: &[DerivedPath],
    outcomes: Vec<Outcome>,
) -> anyhow::Result<()> {
    let tell = &mut |error: &StoreError| context.ui.error(&store_text(error));
    Ok(realise::require(store.dir(), requests, outcomes, tell)?)
}

/// Makes again what is requested, as `mode` says.
pub fn realise_again(
    context: &Context,
    store: &dyn Store,
    requests: &[DerivedPath],
    mode: RealiseMode,
) -> anyhow::Result<Vec<Outcome>> {
    with_realiser(context, store, |realiser| {
        Ok(realiser.realise_again(requests, mode, &mut |found| tell(context, store, found))?)
    })
}

/// Tells what is missing of requests, if anything is.
pub fn tell_missing(context: &Context, store: &dyn Store, requests: &[DerivedPath]) -> anyhow::Result<()> {
    if are_complete(store, requests, false)? {
        return Ok(());
    }
    with_realiser(context, store, |realiser| {
        tell(context, store, &realiser.missing(requests)?);
        Ok(())
    })
}

/// Tells what is missing, unless `print-missing` is off.
fn tell(context: &Context, store: &dyn Store, found: &Missing) {
    if context.settings.print_missing() {
        missing::tell(&context.ui, store.dir(), found);
    }
}

fn are_complete(store: &dyn Store, requests: &[DerivedPath], keep: bool) -> anyhow::Result<bool> {
    for request in requests {
        if !is_complete(store, request, keep)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn with_realiser<T>(
    context: &Context,
    store: &dyn Store,
    work: impl FnOnce(&Realiser<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    match realise::worker(store) {
        // Only into a local store this process fetches by itself.
        Worker::Here(local) => {
            let substituters = context.substituters();
            let trust = context.trust_for(store)?;
            let builds = context.builds();
            let here = RealiseContext::new(local, &substituters, trust.as_ref(), true, &builds, &*context.ui);
            work(&Realiser::Here(here))
        }
        Worker::By(realiser) => work(&Realiser::By(store, realiser)),
        Worker::Nobody => work(&Realiser::Nobody(store)),
    }
}
