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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use notes::Notes;

use super::LocalStore;
use crate::model::StorePath;
use crate::store::error::{Result, StoreError};
use crate::sys::PathError;

/// What holds a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A symlink (or a file with the path's name) below `gcroots`.
    Permanent(PathBuf),
    /// A symlink below `profiles`.
    Profile(PathBuf),
    /// A symlink elsewhere that one below `gcroots` leads to.
    Indirect(PathBuf),
    /// A process, by number, that asked for it.
    Temporary(String),
    /// A file of a process in `/proc`, or of the kernel.
    Running(PathBuf),
    /// What another user's process holds.
    Censored,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent(path) | Self::Profile(path) | Self::Indirect(path) | Self::Running(path) => {
                write!(f, "{}", path.display())
            }
            Self::Temporary(pid) => write!(f, "{{temp:{pid}}}"),
            Self::Censored => f.write_str("{censored}"),
        }
    }
}

impl Holder {
    /// What kind of root it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Permanent(_) => "permanent",
            Self::Profile(_) => "profile",
            Self::Indirect(_) => "indirect",
            Self::Temporary(_) => "temporary",
            Self::Running(_) => "runtime",
            Self::Censored => "censored",
        }
    }

    /// As it is shown, with names as they are.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Permanent(path) | Self::Profile(path) | Self::Indirect(path) | Self::Running(path) => {
                path.as_os_str().as_bytes().to_vec()
            }
            Self::Temporary(_) | Self::Censored => self.to_string().into_bytes(),
        }
    }

    /// The symlink or file, where there is one that stays.
    pub fn link(&self) -> Option<&Path> {
        match self {
            Self::Permanent(path) | Self::Profile(path) | Self::Indirect(path) => Some(path),
            _ => None,
        }
    }

    /// The number of the process, where it is one.
    pub fn process(&self) -> Option<&str> {
        match self {
            Self::Temporary(pid) => Some(pid),
            Self::Running(file) => file
                .strip_prefix("/proc")
                .ok()?
                .components()
                .next()?
                .as_os_str()
                .to_str()
                .filter(|pid| pid.bytes().all(|b| b.is_ascii_digit())),
            _ => None,
        }
    }
}

/// Roots and what holds them.
pub type Roots = BTreeMap<StorePath, BTreeSet<Holder>>;

/// How roots are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RootSearch {
    /// What tells of other processes is replaced by [`Holder::Censored`].
    pub censor: bool,
    /// Links and files that are stale are removed; the collector's lock is held
    /// or nothing is deleted on the strength of the answer.
    pub clean: bool,
    /// What cannot be read may be a root, so it ends the search; else it is
    /// told and passed over.
    pub strict: bool,
}

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
