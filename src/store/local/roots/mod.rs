//! The roots of the collector: why a path may not go.
//!
//! | root | where |
//! |---|---|
//! | permanent | a symlink below `gcroots` or `profiles`, straight into the store; or a file below `gcroots` named like a store path |
//! | indirect | a symlink there to a symlink elsewhere that leads into the store |
//! | temporary | a line of a file of `temproots` whose process lives |
//! | runtime | what `/proc` tells of files and variables in use |

pub mod indirect;
mod running;
mod temporary;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::LocalStore;
use crate::model::StorePath;
use crate::settings::value::lexically_normal;
use crate::store::error::{Result, StoreError};
use crate::sys::{PathError, interrupt};

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

impl LocalStore {
    /// Finds every root.
    ///
    /// Temporary roots need not be valid paths; all others are.
    ///
    /// # Errors
    /// [`StoreError`]; files that vanish meanwhile are passed over.
    pub fn find_roots(&self, search: RootSearch) -> Result<Roots> {
        let mut finder = Finder::new(self, search);
        // Temporary roots first: whoever makes a link meanwhile lets its
        // temporary root go only afterwards.
        finder.temporary()?;
        for dir in ["gcroots", "profiles"] {
            let dir = self.layout().state_dir.join(dir);
            finder.directory(&dir, 0)?;
        }
        finder.running()?;
        Ok(finder.roots)
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

/// Deepest nesting of directories below `gcroots` that is looked into.
const MAX_DEPTH: usize = 256;
/// Links followed at most, from one below `gcroots` to the store.
const MAX_LINKS: usize = 40;

struct Finder<'s> {
    store: &'s LocalStore,
    search: RootSearch,
    roots: Roots,
    /// Paths that were looked up: many processes use the same ones.
    valid: HashMap<StorePath, bool>,
}

impl<'s> Finder<'s> {
    fn new(store: &'s LocalStore, search: RootSearch) -> Self {
        Self { store, search, roots: Roots::new(), valid: HashMap::new() }
    }

    fn directory(&mut self, dir: &Path, depth: usize) -> Result<()> {
        interrupt::check()?;
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            // Gone since its parent was read, or never there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.unreadable(PathError::new("cannot read directory", dir, error)),
        };
        if depth > MAX_DEPTH {
            return Err(StoreError::Roots(format!("directories in '{}' are nested too deep", dir.display())));
        }
        for entry in entries {
            let entry = entry.map_err(PathError::at("cannot read directory", dir))?;
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.directory(&path, depth + 1)?,
                Ok(kind) if kind.is_symlink() => self.symlink(&path)?,
                Ok(kind) if kind.is_file() => {
                    // A file named like a store path keeps that path.
                    if let Some(name) = path.file_name().and_then(|name| name.to_str())
                        && let Ok(store_path) = StorePath::from_base_name(name)
                        && self.is_valid(&store_path)?
                    {
                        self.add(store_path, Holder::Permanent(path));
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.unreadable(PathError::new("getting status of", path, error))?,
            }
        }
        Ok(())
    }

    /// What cannot be read may be a root.
    fn unreadable(&self, error: PathError) -> Result<()> {
        if self.search.strict {
            return Err(StoreError::UnreadableRoot(error));
        }
        self.store.progress().warn(&format!("{error}, so there may be more roots"));
        Ok(())
    }

    /// Follows a link below `gcroots` or `profiles`, by way of others if need be.
    fn symlink(&mut self, first: &Path) -> Result<()> {
        let mut link = first.to_owned();
        for _ in 0..MAX_LINKS {
            let target = match read_link(&link) {
                Ok(Some(target)) => absolute(&link, &target),
                Ok(None) if link == first => return Ok(()),
                Ok(None) => return self.dead_end(first, &link),
                Err(error) => return self.unreadable(error),
            };
            if let Some(path) = self.in_store(&target) {
                return self.add_link(path, link);
            }
            link = target;
        }
        // A circle leads nowhere.
        Ok(())
    }

    /// A link that leads to something that is no link: stale if the programs
    /// made it and what it leads to directly is gone.
    fn dead_end(&self, first: &Path, end: &Path) -> Result<()> {
        let auto = self.store.layout().auto_roots_dir();
        if !self.search.clean || self.store.is_read_only() || first.parent() != Some(&auto) {
            return Ok(());
        }
        let Ok(Some(target)) = read_link(first) else { return Ok(()) };
        let target = absolute(first, &target);
        let is_gone = |path: &Path| {
            std::fs::symlink_metadata(path).is_err_and(|error| {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                    || error.raw_os_error() == Some(libc::ENAMETOOLONG)
            })
        };
        if target != end || !is_gone(&target) {
            return Ok(());
        }
        self.store.progress().notice(&format!(
            "removing stale link from \"{}\" to \"{}\"",
            first.display(),
            target.display()
        ));
        match std::fs::remove_file(first) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let error = PathError::new("removing", first, error);
                self.store.progress().warn(&error.to_string());
            }
            // Made again meanwhile, perhaps with the entry just removed.
            _ if !is_gone(&target) => self.store.register_indirect_root(&target)?,
            _ => {}
        }
        Ok(())
    }

    fn add_link(&mut self, path: StorePath, last: PathBuf) -> Result<()> {
        if self.is_valid(&path)? {
            let profiles = self.store.layout().state_dir.join("profiles");
            let gcroots = self.store.layout().state_dir.join("gcroots");
            let holder = if last.starts_with(profiles) {
                Holder::Profile(last)
            } else if last.starts_with(gcroots) {
                Holder::Permanent(last)
            } else {
                Holder::Indirect(last)
            };
            self.add(path, holder);
        } else {
            let store_path = self.store.dir().print(&path);
            self.store
                .progress()
                .notice(&format!("skipping invalid root from \"{}\" to \"{store_path}\"", last.display()));
        }
        Ok(())
    }

    /// The store path at or above a path.
    fn in_store(&self, target: &Path) -> Option<StorePath> {
        // Below a store path any bytes may follow.
        self.store.dir().parse_below(&target.to_string_lossy()).ok().map(|(path, _)| path)
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

/// The target of a symlink; `None` when it is gone or no symlink, and when
/// links above it go round in a circle.
fn read_link(link: &Path) -> std::result::Result<Option<PathBuf>, PathError> {
    match std::fs::read_link(link) {
        Ok(target) => Ok(Some(target)),
        // Nothing can be there.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENAMETOOLONG)) => Ok(None),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(PathError::new("cannot read potential root", link, error)),
    }
}

/// A link's target as an absolute path without `.`, `..` and doubled slashes.
fn absolute(link: &Path, target: &Path) -> PathBuf {
    let path = link.parent().unwrap_or(Path::new("/")).join(target);
    lexically_normal(&path).unwrap_or(path)
}
