//! Questions about many paths, answered by the numbers of the database: none asks
//! it once for each reference.

use std::collections::{BTreeMap, BTreeSet};

use super::LocalStore;
use super::db::Db;
use super::gc::liveness::keepers;
use crate::model::{Derivation, StorePath};
use crate::store::api::RawPath;
use crate::store::api::collect::Keep;
use crate::store::api::query::QueryStore;
use crate::store::error::Result;
use crate::store::graph::{Graph, PathId};

impl QueryStore for LocalStore {
    fn referrers(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let db = self.db();
        let mut found = BTreeSet::new();
        for path in paths {
            found.extend(db.referrers(path)?);
        }
        Ok(found)
    }

    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        self.db().valid_derivers(path)
    }

    fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        LocalStore::known_outputs(self, drv)
    }

    fn path_from_hash_part(&self, part: &str) -> Result<Option<StorePath>> {
        self.db().path_from_hash_part(part)
    }

    fn raw_path(&self, path: &StorePath) -> Result<RawPath> {
        LocalStore::raw_path(self, path)
    }

    fn each_raw_path(&self, each: &mut dyn FnMut(&RawPath) -> Result<()>) -> Result<()> {
        self.db().each_path(|raw| each(&raw))
    }

    fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        self.layout().read_derivation(path)
    }

    fn closure(&self, paths: &[StorePath], include_outputs: bool) -> Result<Graph> {
        let mut realised = BTreeMap::<PathId, Vec<PathId>>::new();
        if include_outputs {
            for (drv, output) in self.realised_outputs()? {
                realised.entry(drv).or_default().push(output);
            }
        }
        let db = self.db();
        db.snapshot(|| {
            let start = ids(self, &db, paths)?;
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

    fn referrers_closure(&self, paths: &[StorePath]) -> Result<Graph> {
        let db = self.db();
        db.snapshot(|| {
            let start = known_ids(self, &db, paths)?;
            Graph::reach(&db, &start, |id, found| db.referrer_ids(id, found))
        })
    }

    fn keepers(&self, paths: &[StorePath], keep: Keep) -> Result<Graph> {
        let start = known_ids(self, &self.db(), paths)?;
        keepers(self, &start, keep)
    }

    fn references_graph(&self, paths: &[StorePath]) -> Result<Graph> {
        let db = self.db();
        db.snapshot(|| {
            let start = ids(self, &db, paths)?;
            neighbours(&db, &start, |id, found| db.reference_ids(id, found))
        })
    }

    fn referrers_graph(&self, paths: &[StorePath]) -> Result<Graph> {
        let db = self.db();
        db.snapshot(|| {
            let start = known_ids(self, &db, paths)?;
            neighbours(&db, &start, |id, found| db.referrer_ids(id, found))
        })
    }

    fn graph_among(&self, paths: &[StorePath]) -> Result<Graph> {
        let db = self.db();
        db.snapshot(|| {
            let all: BTreeSet<PathId> = ids(self, &db, paths)?.into_iter().collect();
            Graph::of(&db, all.into_iter().collect(), |_| None)
        })
    }

    fn whole_graph(&self) -> Result<Graph> {
        Graph::load(&self.db())
    }
}

fn ids(store: &LocalStore, db: &Db, paths: &[StorePath]) -> Result<Vec<PathId>> {
    paths.iter().map(|path| db.id_of(path)?.ok_or_else(|| store.invalid(path))).collect()
}

/// The numbers of those of the paths that are valid. For a path that lies on disk
/// and has no row, each other row is looked at: a damaged one may be the one that
/// is missing.
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
