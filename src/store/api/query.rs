//! Questions about many paths at once, and about derivations. Every store answers
//! them; one with a database has better bodies of its own.

use std::collections::{BTreeSet, HashSet};

use super::Store;
use super::collect::Keep;
use super::copy::Item;
use super::raw_path::RawPath;
use crate::model::{Derivation, StorePath, ValidPathInfo};
use crate::nar::file;
use crate::store::error::{Result, StoreError};
use crate::store::graph::Graph;

/// Paths that are asked about together.
pub const CHUNK: usize = 4096;

/// Bytes of a derivation.
const MAX_DERIVATION: u64 = 64 << 20;

/// Questions about graphs, derivations and hash parts.
pub trait QueryStore: Store {
    /// The valid paths that refer to any of some paths.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] where nobody keeps them; [`StoreError`].
    fn referrers(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let _ = paths;
        Err(StoreError::unsupported("queryReferrers", &self.uri()))
    }

    /// The valid derivations that make a path, as far as the store keeps them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let _ = path;
        Ok(BTreeSet::new())
    }

    /// The outputs of a derivation of which the paths are known, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        let outputs = self.read_derivation(drv)?.outputs.into_iter();
        Ok(outputs.filter_map(|(name, output)| Some((name, output.path()?.clone()))).collect())
    }

    /// The valid path with a hash part.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`]; [`StoreError`].
    fn path_from_hash_part(&self, part: &str) -> Result<Option<StorePath>> {
        let _ = part;
        Err(StoreError::unsupported("queryPathFromHashPart", &self.uri()))
    }

    /// What is known of a valid path apart from its references.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]; [`StoreError`].
    fn raw_path(&self, path: &StorePath) -> Result<RawPath> {
        Ok(RawPath::of(self.dir(), &self.path_info(path)?))
    }

    /// Tells `each` what is known of all valid paths apart from their references, in
    /// the order of their names.
    ///
    /// # Errors
    /// [`StoreError`], also for stores that cannot list their paths; the errors of `each`.
    fn each_raw_path(&self, each: &mut dyn FnMut(&RawPath) -> Result<()>) -> Result<()> {
        let mut all = self.all()?;
        all.sort_unstable();
        for chunk in all.chunks(CHUNK) {
            for item in self.items(chunk)?.into_iter().flatten() {
                each(&RawPath::of(self.dir(), &item.info))?;
            }
        }
        Ok(())
    }

    /// Reads a derivation that lies in the store. Where its files can be seen, it
    /// need not be valid.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Derivation`], file errors.
    fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        if let Some(files) = self.files() {
            return files.read_derivation(path);
        }
        let item = self.items(std::slice::from_ref(path))?.pop().flatten();
        let item = item.ok_or_else(|| StoreError::Invalid(self.dir().print(path)))?;
        let mut text = Vec::new();
        let mut sink = file::contents_to(&mut text, "be a derivation", MAX_DERIVATION);
        self.source(std::slice::from_ref(&item))?.read(&item, &mut sink)?;
        drop(sink);
        Derivation::parse(self.dir(), &text)
            .map_err(|reason| StoreError::Derivation { path: self.dir().print(path), reason })
    }

    /// Everything that valid paths lead to, and with `include_outputs` the valid
    /// outputs of derivations in it, if the store finds that out by itself.
    ///
    /// # Errors
    /// [`StoreError`]; also for a path that is not valid.
    fn known_closure(&self, paths: &[StorePath], include_outputs: bool) -> Result<Option<Vec<StorePath>>> {
        let _ = (paths, include_outputs);
        Ok(None)
    }

    /// The closure of valid paths: everything they lead to, themselves included.
    /// With `include_outputs` the valid outputs of derivations in it belong to it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]; [`StoreError`].
    fn closure(&self, paths: &[StorePath], include_outputs: bool) -> Result<Graph> {
        let mut roots = paths.to_vec();
        loop {
            let items = closure(self, &roots, &mut |_| Ok(BTreeSet::new()))?;
            let infos: Vec<&ValidPathInfo> = items.iter().map(|item| &item.info).collect();
            if !include_outputs {
                return Ok(Graph::of_infos(infos));
            }
            let known: BTreeSet<&StorePath> = infos.iter().map(|info| &info.path).collect();
            let mut outputs = Vec::new();
            for drv in known.iter().filter(|path| path.is_derivation()) {
                let of = self.derivation_outputs(drv)?.into_iter().map(|(_, path)| path);
                outputs.extend(of.filter(|path| !known.contains(path)));
            }
            let mut more = self.valid(&outputs)?;
            // Nothing else, or this might never end.
            more.retain(|path| outputs.contains(path));
            if more.is_empty() {
                return Ok(Graph::of_infos(infos));
            }
            roots.extend(more);
        }
    }

    /// The valid paths that lead to any of the given ones, these included.
    ///
    /// # Errors
    /// As [`QueryStore::referrers`].
    fn referrers_closure(&self, paths: &[StorePath]) -> Result<Graph> {
        let mut seen: BTreeSet<StorePath> = self.valid(paths)?;
        let mut frontier: Vec<StorePath> = seen.iter().cloned().collect();
        while !frontier.is_empty() {
            let above = self.referrers(&frontier)?;
            frontier = above.into_iter().filter(|path| seen.insert(path.clone())).collect();
        }
        valid_among(self, seen)
    }

    /// The valid paths because of which any of the given ones stays, if they have a
    /// root: what refers to them, and what `keep` adds to that as far as the store
    /// tells.
    ///
    /// # Errors
    /// As [`QueryStore::referrers`].
    fn keepers(&self, paths: &[StorePath], keep: Keep) -> Result<Graph> {
        let _ = keep;
        self.referrers_closure(paths)
    }

    /// The paths that valid paths refer to directly.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]; [`StoreError`].
    fn references_graph(&self, paths: &[StorePath]) -> Result<Graph> {
        let below = infos(self, paths)?.into_iter().flat_map(|info| info.references);
        valid_among(self, below.collect())
    }

    /// The valid paths that refer to any of the given ones directly.
    ///
    /// # Errors
    /// As [`QueryStore::referrers`].
    fn referrers_graph(&self, paths: &[StorePath]) -> Result<Graph> {
        valid_among(self, self.referrers(paths)?)
    }

    /// Valid paths and the references among them.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]; [`StoreError`].
    fn graph_among(&self, paths: &[StorePath]) -> Result<Graph> {
        Ok(Graph::of_infos(&infos(self, paths)?))
    }

    /// All valid paths and references.
    ///
    /// # Errors
    /// [`StoreError`]; also for stores that cannot list their paths.
    fn whole_graph(&self) -> Result<Graph> {
        self.graph_among(&self.all()?)
    }
}

/// What is known of paths that all have to be valid.
///
/// # Errors
/// [`StoreError::Invalid`]; [`StoreError`].
pub fn items<S: Store + ?Sized>(store: &S, paths: &[StorePath]) -> Result<Vec<Item>> {
    let mut found = Vec::with_capacity(paths.len());
    for chunk in paths.chunks(CHUNK) {
        for (path, item) in chunk.iter().zip(store.items(chunk)?) {
            found.push(item.ok_or_else(|| StoreError::Invalid(store.dir().print(path)))?);
        }
    }
    Ok(found)
}

fn infos<S: Store + ?Sized>(store: &S, paths: &[StorePath]) -> Result<Vec<ValidPathInfo>> {
    Ok(items(store, paths)?.into_iter().map(|item| item.info).collect())
}

/// The graph of those of the paths that are valid.
fn valid_among<S: Store + ?Sized>(store: &S, paths: BTreeSet<StorePath>) -> Result<Graph> {
    let paths: Vec<StorePath> = paths.into_iter().collect();
    let mut infos = Vec::with_capacity(paths.len());
    for chunk in paths.chunks(CHUNK) {
        infos.extend(store.items(chunk)?.into_iter().flatten().map(|item| item.info));
    }
    Ok(Graph::of_infos(&infos))
}

/// What `roots` refer to and `skip` does not name, a generation at a time: one
/// question serves all paths of it.
///
/// # Errors
/// [`StoreError::Invalid`] for a path that the store does not have.
pub fn closure<S: QueryStore + ?Sized>(
    store: &S,
    roots: &[StorePath],
    skip: &mut dyn FnMut(&[StorePath]) -> Result<BTreeSet<StorePath>>,
) -> Result<Vec<Item>> {
    if let Some(all) = store.known_closure(roots, false)? {
        let mut left = Vec::new();
        for chunk in all.chunks(CHUNK) {
            let skipped = skip(chunk)?;
            left.extend(chunk.iter().filter(|path| !skipped.contains(path)).cloned());
        }
        return items(store, &left);
    }
    let mut seen: HashSet<StorePath> = roots.iter().cloned().collect();
    let mut frontier: Vec<StorePath> = seen.iter().cloned().collect();
    frontier.sort_unstable();
    let mut found = Vec::new();
    while !frontier.is_empty() {
        let skipped = skip(&frontier)?;
        frontier.retain(|path| !skipped.contains(path));
        let generation = items(store, &frontier)?;
        let mut next = BTreeSet::new();
        for item in &generation {
            for reference in &item.info.references {
                if seen.insert(reference.clone()) {
                    next.insert(reference.clone());
                }
            }
        }
        found.extend(generation);
        frontier = next.into_iter().collect();
    }
    Ok(found)
}
