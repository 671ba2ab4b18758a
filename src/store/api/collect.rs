//! What a store that collects garbage can do.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::roots::Holder;
use crate::model::StorePath;
use crate::store::error::Result;

/// What keeps a path besides what refers to it.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// A path keeps the derivation that made it (`keep-derivations`).
    pub derivations: bool,
    /// A derivation keeps the paths it made (`keep-outputs`).
    pub outputs: bool,
}

/// What is to be deleted.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct GcOptions {
    /// What keeps paths besides references.
    pub keep: Keep,
    /// Ends once more than so many bytes came free.
    pub max_freed: u64,
    /// Ends once the store directory has fewer hard links than that: one for
    /// each directory in it, of which some file systems allow few.
    pub max_links: Option<u64>,
}

impl GcOptions {
    /// Everything that is dead.
    pub fn new(keep: Keep) -> Self {
        Self { keep, max_freed: u64::MAX, max_links: None }
    }
}

/// What a collection did, also when it failed in the middle.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct GcReport {
    /// Paths and other entries of the store directory that are gone.
    pub deleted: u64,
    /// Bytes of files whose last link was removed.
    pub freed: u64,
    /// What should have been deleted, but is alive, and why.
    pub alive: Vec<WhyAlive>,
    /// The base names of what is gone, if they are wanted.
    pub names: Option<Vec<String>>,
    /// Entries that could not be deleted; each was told as a problem.
    pub failed: u64,
}

impl GcReport {
    pub(in crate::store) fn count(&mut self, name: &str) {
        self.deleted += 1;
        if let Some(names) = &mut self.names {
            names.push(name.to_owned());
        }
    }
}

/// What a collection would delete.
#[derive(Debug, Clone, Copy)]
pub struct Dead {
    /// Paths and other entries of the store directory.
    pub count: u64,
    /// Bytes that would come free, where they can be told.
    pub bytes: Option<u64>,
    /// Whether what only the left out links keep is among them.
    pub is_complete: bool,
}

/// What keeps a path.
#[derive(Debug, Clone)]
pub struct WhyAlive {
    /// The path.
    pub path: StorePath,
    /// What holds the first path of the chain; nothing, where that is only a
    /// path that is not to be deleted too.
    pub holders: Vec<Holder>,
    /// A shortest chain down to the path, each of which keeps the next; empty
    /// when nothing keeps it.
    pub chain: Vec<StorePath>,
    /// How many other paths are roots that keep it.
    pub other_roots: usize,
}

/// Collects the garbage of a store.
pub trait CollectStore {
    /// Tells of the paths that a collection would keep (`alive`) or delete, by full
    /// path, until `visit` has seen enough. Where another program collects, that
    /// program's settings count instead of `keep`.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn survey(&self, alive: bool, keep: Keep, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<()>;

    /// Tells of the paths that a collection would delete if the links of `without` were no
    /// roots, by full path. Another program that collects knows nothing of those links.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn dead_without(
        &self,
        without: &HashSet<PathBuf>,
        keep: Keep,
        visit: &mut dyn FnMut(&str),
    ) -> Result<Dead> {
        let mut count = 0;
        self.survey(false, keep, &mut |path| {
            visit(path);
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(Dead { count, bytes: None, is_complete: without.is_empty() })
    }

    /// Deletes what no root leads to.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]; `report` tells what was done also then.
    fn collect_garbage(&self, options: &GcOptions, report: &mut GcReport) -> Result<()>;

    /// Deletes some paths if nothing keeps them.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]; `report` tells what was done also then.
    fn delete_paths(
        &self,
        paths: &[StorePath],
        ignore_liveness: bool,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<()>;
}
