//! Questions about paths.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{StoreDir, StorePath};
use crate::store::error::{Result, StoreError};
use crate::store::local::db::graph::Graph;
use crate::store::local::db::read::PathId;
use crate::store::local::gc::liveness::{Keep, keepers};
use crate::store::local::roots::Roots;
use crate::store::managed::{Kind, ManagedStore};
use crate::store::{LocalStore, local::db::Db};

mod far;

/// The paths that a derivation makes, sorted by path; any other path itself.
///
/// # Errors
/// For a derivation that is not valid.
pub fn outputs(store: &dyn ManagedStore, path: &StorePath) -> Result<Vec<StorePath>> {
    if !path.is_derivation() {
        return Ok(vec![path.clone()]);
    }
    require_derivation(store, path)?;
    let known = store.derivation_outputs(path)?;
    // Also where the store does know them: the question is about the derivation.
    if let Ok(drv) = store.read_derivation(path)
        && drv.outputs.values().any(|output| output.path().is_none())
    {
        if let Kind::Local(local) = store.kind() {
            local.check_features(&drv)?;
        }
        return Err(StoreError::Input(
            "Cannot use output path of floating content-addressing derivation until we know what it is (e.g. by building it)"
                .to_owned(),
        ));
    }
    let mut paths: Vec<StorePath> = known.into_iter().map(|(_, path)| path).collect();
    paths.sort();
    Ok(paths)
}

/// Checks that a derivation is there to be looked at.
///
/// # Errors
/// When it is not valid.
pub fn require_derivation(store: &dyn ManagedStore, path: &StorePath) -> Result<()> {
    if store.is_valid(path)? {
        return Ok(());
    }
    Err(StoreError::Input(format!(
        "path '{}' is required, but there is no substituter that can build it",
        store.dir().display(path)
    )))
}

fn ids(store: &LocalStore, db: &Db, paths: &[StorePath]) -> Result<Vec<PathId>> {
    paths.iter().map(|path| db.id_of(path)?.ok_or_else(|| store.invalid(path))).collect()
}

/// The numbers of those of the paths that are valid.
///
/// # Errors
/// Those of the database. For a path that lies on disk and has no row also those
/// of any other row: one that is damaged may be the one that is missing.
fn known_ids(store: &LocalStore, db: &Db, paths: &[StorePath]) -> Result<Vec<PathId>> {
    let mut found = Vec::new();
    for path in paths {
        match db.id_of(path)? {
            Some(id) => found.push(id),
            None if std::fs::symlink_metadata(store.real_path(path)).is_ok() => db.each_name(|_, _| ())?,
            None => {}
        }
    }
    Ok(found)
}

/// The closure of valid paths: everything they lead to, themselves included.
/// With `include_outputs` the valid outputs of derivations in it belong to it.
///
/// # Errors
/// [`StoreError::Invalid`] and those of the database.
pub fn closure(store: &dyn ManagedStore, paths: &[StorePath], include_outputs: bool) -> Result<Graph> {
    let Kind::Local(store) = store.kind() else {
        return far::closure(store, paths, include_outputs);
    };
    let mut realised = BTreeMap::<PathId, Vec<PathId>>::new();
    if include_outputs {
        for (drv, output) in store.realised_outputs()? {
            realised.entry(drv).or_default().push(output);
        }
    }
    let db = store.db();
    db.snapshot(|| {
        let start = ids(store, &db, paths)?;
        let mut outputs = Vec::new();
        Graph::reach(&db, &start, |id, found| {
            db.reference_ids(id, found)?;
            if include_outputs {
                db.valid_output_ids(id, &mut outputs)?;
                found.extend_from_slice(&outputs);
                found.extend(realised.get(&id).into_iter().flatten());
            }
            Ok(())
        })
    })
}

/// The valid paths that lead to any of the given ones, these included.
///
/// # Errors
/// Those of the database.
pub fn referrers_closure(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    let Kind::Local(store) = store.kind() else { return far::referrers_closure(store, paths) };
    let db = store.db();
    db.snapshot(|| {
        let start = known_ids(store, &db, paths)?;
        Graph::reach(&db, &start, |id, found| db.referrer_ids(id, found))
    })
}

/// The paths that valid paths refer to directly.
///
/// # Errors
/// [`StoreError::Invalid`] and those of the database.
pub fn references(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    let Kind::Local(store) = store.kind() else { return far::references(store, paths) };
    let db = store.db();
    db.snapshot(|| {
        let start = ids(store, &db, paths)?;
        neighbours(&db, &start, |id, found| db.reference_ids(id, found))
    })
}

/// The valid paths that refer to any of the given ones directly.
///
/// # Errors
/// Those of the database.
pub fn referrers(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    let Kind::Local(store) = store.kind() else { return far::referrers(store, paths) };
    let db = store.db();
    db.snapshot(|| {
        let start = known_ids(store, &db, paths)?;
        neighbours(&db, &start, |id, found| db.referrer_ids(id, found))
    })
}

fn neighbours(
    db: &Db,
    start: &[PathId],
    mut next: impl FnMut(PathId, &mut Vec<PathId>) -> Result<()>,
) -> Result<Graph> {
    // Each with what led to it.
    let mut all: BTreeMap<PathId, PathId> = BTreeMap::new();
    let mut found = Vec::new();
    for id in start {
        next(*id, &mut found)?;
        all.extend(found.iter().map(|other| (*other, *id)));
    }
    Graph::of(db, all.keys().copied().collect(), |id| all.get(&id).copied())
}

/// The given paths and the references among them.
///
/// # Errors
/// [`StoreError::Invalid`] and those of the database.
pub fn among(store: &dyn ManagedStore, paths: &[StorePath]) -> Result<Graph> {
    let Kind::Local(store) = store.kind() else { return far::among(store, paths) };
    let db = store.db();
    db.snapshot(|| {
        let all: BTreeSet<PathId> = ids(store, &db, paths)?.into_iter().collect();
        Graph::of(&db, all.into_iter().collect(), |_| None)
    })
}

/// All valid paths.
///
/// # Errors
/// Those of the database.
pub fn all(store: &dyn ManagedStore) -> Result<Graph> {
    match store.kind() {
        Kind::Local(store) => Graph::load(&store.db()),
        Kind::Daemon(_) | Kind::Elsewhere => far::among(store, &store.all()?),
    }
}

/// The roots because of which one of the given paths is kept.
///
/// # Errors
/// Those of the database.
pub fn roots_of(
    store: &dyn ManagedStore,
    paths: &[StorePath],
    all: &Roots,
    keep: Keep,
) -> Result<BTreeSet<(String, StorePath)>> {
    let Kind::Local(store) = store.kind() else { return far::roots_of(store, paths, all) };
    let start = known_ids(store, &store.db(), paths)?;
    let above = keepers(store, &start, keep)?;
    let mut found = BTreeSet::new();
    for (path, holders) in all {
        if above.find(path).is_some() {
            found.extend(holders.iter().map(|holder| (holder.to_string(), path.clone())));
        }
    }
    Ok(found)
}

/// The value of a variable of a derivation, or of the deriver of a path.
///
/// # Errors
/// When there is no such variable or no such derivation.
pub fn binding(store: &dyn ManagedStore, path: &StorePath, name: &str) -> Result<Vec<u8>> {
    let drv_path = if path.is_derivation() {
        path.clone()
    } else {
        let info = store.path_info(path)?;
        info.deriver.ok_or_else(|| {
            StoreError::Input(format!("deriver of path '{}' is not known", store.dir().display(path)))
        })?
    };
    require_derivation(store, &drv_path)?;
    let drv = store.read_derivation(&drv_path)?;
    drv.env.get(name.as_bytes()).cloned().ok_or_else(|| {
        StoreError::Input(format!(
            "derivation '{}' has no environment binding named '{name}'",
            store.dir().display(&drv_path)
        ))
    })
}

/// What follows from the arguments of a command that takes paths or, in their
/// place, the paths that derivations make.
///
/// # Errors
/// See [`outputs`].
pub fn with_outputs(
    store: &dyn ManagedStore,
    paths: Vec<StorePath>,
    use_outputs: bool,
) -> Result<Vec<StorePath>> {
    if !use_outputs {
        return Ok(paths);
    }
    let mut out = Vec::with_capacity(paths.len());
    for path in paths {
        out.extend(outputs(store, &path)?);
    }
    Ok(out)
}

/// The full text of a path in a graph, without building it from parts.
pub fn print_node(dir: &StoreDir, graph: &Graph, node: u32) -> String {
    format!("{}/{}", dir.as_str(), graph.base_name(node))
}
