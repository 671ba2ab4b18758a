//! What a store with roots can do, and what holds a path.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::Store;
use crate::model::{StoreDir, StorePath};
use crate::store::error::{Result, RootError};
use crate::sys::{PathError, atomic};

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
#[non_exhaustive]
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

/// Roots of a store.
pub trait RootStore: Store {
    /// Protects paths from collection until the store is closed.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn add_temp_roots(&self, paths: &[&StorePath]) -> Result<()>;

    /// Makes a symlink that is there a root.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn register_indirect_root(&self, link: &Path) -> Result<()>;

    /// Finds every root.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    fn find_roots(&self, search: RootSearch) -> Result<Roots>;

    /// Makes `link`, which is absolute, a symlink to `path` and a root.
    ///
    /// # Errors
    /// Something else than a symlink is at `link`; [`crate::store::StoreError`].
    fn add_indirect_root(&self, link: &Path, path: &StorePath) -> Result<()> {
        self.add_temp_roots(&[path])?;
        make_link(self.dir(), link, path)?;
        self.register_indirect_root(link)
    }
}

/// Makes `link`, which is absolute, a symlink to a path, in the place of another
/// symlink if there is one.
///
/// # Errors
/// [`RootError`], [`PathError`].
pub fn make_link(dir: &StoreDir, link: &Path, path: &StorePath) -> Result<()> {
    if link.starts_with(dir.as_str()) {
        return Err(RootError::InStore(link.to_owned()).into());
    }
    match std::fs::symlink_metadata(link) {
        Ok(meta) if !meta.is_symlink() => {
            return Err(RootError::Exists(link.to_owned()).into());
        }
        _ => {}
    }
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent).map_err(PathError::at("creating directory", parent))?;
    }
    Ok(atomic::replace_symlink(link, Path::new(&dir.print(path)))?)
}
