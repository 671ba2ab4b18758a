//! Derivations that stand for something that is made here without a builder: environments, and the
//! trees of channels.

use std::collections::BTreeSet;

use super::graph::Goal;
use crate::model::{Derivation, StorePath};
use crate::ops::channel::tree::ChannelTree;
use crate::ops::realise::context::RealiseContext;
use crate::ops::user_env::environment::Environment;
use crate::ops::user_env::error::UserEnvError;
use crate::store::error::{RealiseError, Result, StoreError};
use crate::store::local::LocalStore;
use crate::store::local::add::Adder;

/// Makes what a goal stands for, if it stands for something of that kind.
pub(super) fn make(context: &RealiseContext<'_>, goal: &Goal) -> Result<bool> {
    let (store, drv) = (context.store, &*goal.drv);
    if let Some(tree) = ChannelTree::of(store.dir(), &goal.path, drv)? {
        store.check_features(drv)?;
        tree.make(store, drv, context.trusted)?;
        return Ok(true);
    }
    let Some(environment) = Environment::of(store.dir(), &goal.path, drv).map_err(environment_error)? else {
        return Ok(false);
    };
    store.check_features(drv)?;
    environment.make(store, drv, context.trusted).map_err(environment_error)?;
    Ok(true)
}

/// Builds a derivation that `adder` adds, whose output becomes valid together with it.
/// `references` are those of its sources, which `adder` adds, too.
///
/// # Errors
/// [`RealiseError`], and those of the store.
pub fn build_added(
    store: &LocalStore,
    adder: &mut Adder<'_>,
    path: &StorePath,
    drv: &Derivation,
    references: BTreeSet<StorePath>,
) -> Result<()> {
    match Environment::of(store.dir(), path, drv).map_err(environment_error)? {
        Some(environment) => environment.add_with(store, adder, references).map_err(environment_error),
        None => Err(RealiseError::NoBuilder(store.dir().print(path)).into()),
    }
}

fn environment_error(error: UserEnvError) -> StoreError {
    match error {
        UserEnvError::Store(error) => error,
        error => RealiseError::Environment(error.to_string()).into(),
    }
}
