//! Repairing single paths, for the programs that do it.

use nival::model::StorePath;
use nival::ops::realise::substitute::Substituters;
use nival::store::layout::Layout;
use nival::store::local::verify::{Damage, Expected};
use nival::store::{Store, StoreError};

use super::context::Context;
use super::error::{Exit, store_text};

/// Checks paths and repairs those that are damaged; tells `damaged` of them.
pub fn repair(
    context: &Context,
    store: &dyn Store,
    paths: &[StorePath],
    damaged: impl Fn(&Context, &StorePath),
) -> anyhow::Result<()> {
    let files = files(store)?;
    let mut work = Vec::new();
    for path in paths {
        let info = store.path_info(path)?;
        work.push(Expected { path: path.clone(), hash: info.nar_hash, size: info.nar_size });
    }
    let mut broken = Vec::new();
    files.verify_contents(&work, &context.progress(), |path, damage| {
        // A size of which only the row tells is not mended by other contents.
        broken.extend(damage.filter(|damage| !matches!(damage, Damage::Size { .. })).map(|_| path.clone()));
        Ok(())
    })?;
    let mut failed = false;
    let substituters = if broken.is_empty() { Substituters::default() } else { context.substituters() };
    let sources: Vec<&dyn Store> = substituters.iter().collect();
    for path in &broken {
        damaged(context, path);
        let repairer = store.repairer();
        let repairer = repairer.ok_or_else(|| StoreError::unsupported("repairPath", &store.uri()))?;
        match repairer.repair(path, &sources) {
            Ok(()) => {}
            Err(error @ (StoreError::Unrepairable { .. } | StoreError::NoSource(_))) => {
                context.ui.error(&store_text(&error));
                failed = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if failed { Err(Exit(1).into()) } else { Ok(()) }
}

/// Where the files lie that are to be read.
fn files(store: &dyn Store) -> anyhow::Result<&Layout> {
    store.files().ok_or_else(|| anyhow::anyhow!("the files of '{}' are on another machine", store.uri()))
}
