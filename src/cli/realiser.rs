//! Making paths valid with what the settings offer, for every program.

use nival::model::DerivedPath;
use nival::ops::realise::{Means, Outcome, Realiser, is_complete};
use nival::store::LocalStore;
use nival::store::api::Store;

use crate::cli::context::Context;
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
        let tell = &mut |found: &_| missing::tell(context, store.dir(), found);
        Ok(realiser.realise(requests, tell)?)
    })
}

/// Tells what is missing of requests, if anything is.
pub fn tell_missing(context: &Context, store: &dyn Store, requests: &[DerivedPath]) -> anyhow::Result<()> {
    if are_complete(store, requests, false)? {
        return Ok(());
    }
    with_realiser(context, store, |realiser| {
        missing::tell(context, store.dir(), &realiser.missing(requests)?);
        Ok(())
    })
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
    if let Some(local) = store.downcast::<LocalStore>() {
        let substituters = context.substituters();
        let trust = context.trust_for(local)?;
        let means = Means::new(local, &substituters, trust.as_ref(), true, &*context.ui);
        return work(&Realiser::Here(means));
    }
    match store.realiser() {
        Some(realiser) => work(&Realiser::By(store, realiser)),
        None => work(&Realiser::Nobody(store)),
    }
}
