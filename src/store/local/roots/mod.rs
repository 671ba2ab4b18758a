//! The roots of the collector: why a path may not go.
//!
//! | root | where |
//! |---|---|
//! | permanent | a symlink below `gcroots` or `profiles`, straight into the store; or a file below `gcroots` named like a store path |
//! | indirect | a symlink there to a symlink elsewhere that leads into the store |
//! | temporary | a line of a file of `temproots` whose process lives |
//! | runtime | what `/proc` tells of files and variables in use |

pub mod indirect;
mod links;
mod notes;
mod running;
mod temporary;

use std::collections::HashMap;

use notes::Notes;

use super::LocalStore;
use crate::model::StorePath;
use crate::store::api::roots::{Holder, RootSearch, Roots};
use crate::store::error::{Result, StoreError};
use crate::sys::PathError;

/// What a search came to.
#[derive(Debug, Default)]
pub struct FoundRoots {
    /// The roots.
    pub roots: Roots,
    /// Links and directories that could not be read and do not keep the search
    /// from going on; each was told.
    pub unread: u64,
}

impl LocalStore {
    /// Finds every root.
    ///
    /// Temporary roots need not be valid paths; all others are.
    ///
    /// # Errors
    /// [`StoreError`]; files that vanish meanwhile are passed over.
    pub fn find_roots(&self, search: RootSearch) -> Result<Roots> {
        Ok(self.look_for_roots(search)?.roots)
    }

    /// As [`LocalStore::find_roots`]; tells also how much could not be read.
    ///
    /// # Errors
    /// See [`LocalStore::find_roots`].
    pub fn look_for_roots(&self, search: RootSearch) -> Result<FoundRoots> {
        let mut finder = Finder::new(self, search);
        // Temporary roots first: a process that makes a link meanwhile lets its
        // temporary root go only afterwards.
        finder.temporary()?;
        for dir in ["gcroots", "profiles"] {
            finder.links_below(&self.layout().state_dir.join(dir))?;
        }
        if finder.is_collecting() {
            finder.notes.prune();
        }
        finder.running()?;
        Ok(FoundRoots { roots: finder.roots, unread: finder.unread })
    }

    /// Finds the temporary roots alone.
    ///
    /// # Errors
    /// As [`LocalStore::find_roots`].
    pub fn find_temp_roots(&self, search: RootSearch) -> Result<Roots> {
        let mut finder = Finder::new(self, search);
        finder.temporary()?;
        Ok(finder.roots)
    }
}

struct Finder<'s> {
    store: &'s LocalStore,
    search: RootSearch,
    roots: Roots,
    /// Paths that were looked up: many processes use the same ones.
    valid: HashMap<StorePath, bool>,
    /// Where links led that cannot be read now.
    notes: Notes,
    unread: u64,
}

impl<'s> Finder<'s> {
    fn new(store: &'s LocalStore, search: RootSearch) -> Self {
        let (roots, valid) = (Roots::new(), HashMap::new());
        Self { store, search, roots, valid, notes: Notes::of(store.layout()), unread: 0 }
    }

    /// Whether something is deleted on the strength of the answer, and notes
    /// are kept.
    fn is_collecting(&self) -> bool {
        self.search.clean && self.search.strict && !self.store.is_read_only()
    }

    /// What cannot be read may be a root.
    fn unreadable(&self, error: PathError) -> Result<()> {
        if self.search.strict {
            return Err(StoreError::UnreadableRoot(error));
        }
        self.store.progress().warn(&format!("{error}, so there may be more roots"));
        Ok(())
    }

    fn is_valid(&mut self, path: &StorePath) -> Result<bool> {
        if let Some(known) = self.valid.get(path) {
            return Ok(*known);
        }
        let valid = self.store.db().is_valid(path)?;
        self.valid.insert(path.clone(), valid);
        Ok(valid)
    }

    fn add(&mut self, path: StorePath, holder: Holder) {
        self.roots.entry(path).or_default().insert(holder);
    }
}
