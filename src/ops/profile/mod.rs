//! Profiles: a link that is switched between numbered generations.
//!
//! ```text
//! DIR/NAME        -> NAME-N-link           relative; the current generation
//! DIR/NAME-N-link -> store path            absolute; N counts up from 1
//! DIR/NAME.lock                            held exclusively while the profile changes
//! ```

mod below;
mod obsolete;

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

pub use below::each_profile_below;
pub use obsolete::{Obsolete, parse_age, parse_days};

use crate::model::StorePath;
use crate::progress::Progress;
use crate::store::StoreError;
use crate::store::api::Store;
use crate::sys::clock::now;
use crate::sys::dir::{DIRECTORY, Names};
use crate::sys::lock::{LockError, PathLock};
use crate::sys::{PathError, atomic};

/// The number of a generation.
pub type Number = u64;

/// Why a profile was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The current generation was to be deleted.
    #[error("cannot delete current version of profile \"{}\"", .0.display())]
    Current(PathBuf),
    /// `+0`.
    #[error("Must keep at least one generation, otherwise the current one would be deleted")]
    KeepNone,
    /// No number, and none of the words that stand for several.
    #[error("invalid generation number '{0}'")]
    Number(String),
    /// Not a number of days over 0.
    #[error("invalid number of days specifier '{0}'")]
    Days(String),
    /// Not even a `d` at the end.
    #[error("invalid number of days specifier '{0}', expected something like '14d'")]
    NoDays(String),
    /// A plus sign without a number.
    #[error("invalid number of generations to keep '{0}'")]
    Count(String),
    /// There is no such generation.
    #[error("profile version {0} does not exist")]
    NotThere(Number),
    /// A generation that leads to nothing.
    #[error("profile version {0} {1}; nothing was switched")]
    Gone(Number, String),
    /// Somebody has held the lock for too long.
    #[error("somebody holds the lock of profile \"{}\"", .0.display())]
    Busy(PathBuf),
    /// There is nothing to roll back to.
    #[error("no profile version older than the current ({0}) exists")]
    Oldest(Number),
    /// A root could not be made.
    #[error(transparent)]
    Store(#[from] Box<StoreError>),
    /// A file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

type Result<T> = std::result::Result<T, ProfileError>;

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: Number,
    /// Its link.
    pub link: PathBuf,
    /// When the link was made, in seconds since 1970.
    pub created: i64,
}

impl Generation {
    /// What is wrong with where it leads to, if it leads to nothing.
    pub fn gone(&self, store: &dyn Store) -> Option<String> {
        store.files()?;
        let target = std::fs::read_link(&self.link).ok()?;
        let real = match store.dir().parse_below(&target.to_string_lossy()) {
            Ok((path, _)) => store.real_path(&path),
            Err(_) => self.link.parent().unwrap_or(Path::new("/")).join(&target),
        };
        let error = std::fs::symlink_metadata(real).err()?;
        let missing = error.kind() == io::ErrorKind::NotFound;
        missing.then(|| format!("leads to \"{}\", which is gone", target.display()))
    }
}

/// The generations of a profile as they were when it was read.
#[derive(Debug, Clone)]
pub struct Generations {
    /// In the order of their numbers.
    pub all: Vec<Generation>,
    /// The one that the profile leads to, whether or not it is there.
    pub current: Option<Number>,
}

/// A profile, by its link.
#[derive(Debug, Clone)]
pub struct Profile {
    link: PathBuf,
    name: OsString,
    /// The directory that it was found in, which need not be where the path
    /// leads to by now: others may move what is theirs.
    found_in: Option<Arc<OwnedFd>>,
}

impl ProfileError {
    /// Whether the user may not change the profile.
    pub fn is_denied(&self) -> bool {
        let path = match self {
            Self::Path(path) | Self::Lock(LockError::Path(path)) => path,
            _ => return false,
        };
        matches!(path.reason.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Whether it is the words that make no sense.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Days(_) | Self::NoDays(_))
    }
}

impl Profile {
    /// The profile with the given link, which need not be there.
    pub fn new(link: impl Into<PathBuf>) -> Self {
        let link = link.into();
        let name = link.file_name().unwrap_or_default().to_owned();
        Self { link, name, found_in: None }
    }

    /// Its link.
    pub fn link(&self) -> &Path {
        &self.link
    }

    fn dir(&self) -> &Path {
        match self.link.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        }
    }

    /// Its directory; nothing is done by path once this is open. None where it
    /// is missing.
    fn open(&self) -> Result<Option<Arc<OwnedFd>>> {
        if let Some(dir) = &self.found_in {
            return Ok(Some(Arc::clone(dir)));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, self.dir(), flags, Mode::empty()) {
            Ok(dir) => Ok(Some(Arc::new(dir))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(PathError::new("cannot read directory", self.dir(), errno).into()),
        }
    }

    fn generation_name(&self, number: Number) -> OsString {
        let mut name = self.name.clone();
        name.push(format!("-{number}-link"));
        name
    }

    /// The link of a generation.
    pub fn generation_link(&self, number: Number) -> PathBuf {
        self.dir().join(self.generation_name(number))
    }

    /// The number in the name of a generation's link.
    fn number_of(&self, name: &OsStr) -> Option<Number> {
        let number = name.as_bytes().strip_prefix(self.name.as_bytes())?;
        let number = std::str::from_utf8(number.strip_prefix(b"-")?.strip_suffix(b"-link")?).ok()?;
        // Written as we would write it; larger ones are nobody's.
        number.parse::<u32>().ok().filter(|parsed| parsed.to_string() == number).map(Number::from)
    }

    /// Whether a link leads to a generation of its own name.
    pub fn is_profile(&self) -> bool {
        self.current().is_ok_and(|number| number.is_some())
    }

    /// The number of the current generation.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn current(&self) -> Result<Option<Number>> {
        Ok(self.target()?.and_then(|target| self.number_of(target.file_name()?)))
    }

    /// All generations.
    ///
    /// # Errors
    /// A [`PathError`]; a missing directory has none.
    pub fn generations(&self) -> Result<Generations> {
        let mut all = Vec::new();
        if let Some(dir) = self.open()? {
            // A handle of its own: the other has been read to its end.
            let mut names = rustix::fs::openat(&*dir, ".", DIRECTORY, Mode::empty())
                .and_then(|fresh| Names::read(fresh.as_fd()))
                .map_err(PathError::at("cannot read directory", self.dir()))?;
            while let Some((name, _)) = names.take_next() {
                let file = OsStr::from_bytes(name.to_bytes());
                let Some(number) = self.number_of(file) else { continue };
                let link = self.dir().join(file);
                match rustix::fs::statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => all.push(Generation { number, link, created: stat.st_mtime }),
                    // Deleted since the directory was read.
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(PathError::new("getting status of", link, errno).into()),
                }
            }
        }
        all.sort_unstable_by_key(|generation| generation.number);
        Ok(Generations { all, current: self.current()? })
    }

    /// Holds the profile's lock; nobody else changes it meanwhile.
    ///
    /// # Errors
    /// [`ProfileError`]; also when the directory is missing.
    pub fn lock(&self, progress: &dyn Progress) -> Result<PathLock> {
        self.lock_within(None, progress)
    }

    /// As [`Profile::lock`], waiting no longer than that.
    fn lock_within(&self, patience: Option<Duration>, progress: &dyn Progress) -> Result<PathLock> {
        let mut name = self.name.clone();
        name.push(".lock");
        let path = self.dir().join(&name);
        let missing = || PathError::new("opening lock file", &path, Errno::NOENT);
        let dir = self.open()?.ok_or_else(missing)?;
        let name = CString::new(name.as_bytes()).map_err(|_| missing())?;
        let shown = self.link.display();
        let waiting = || progress.notice(&format!("waiting for lock on profile \"{shown}\""));
        let long = |who: &str| progress.notice(&format!("the lock on profile \"{shown}\" is held by {who}"));
        let lock = PathLock::acquire_at(dir, name, &path, patience, waiting, long)?;
        lock.ok_or_else(|| ProfileError::Busy(self.link.clone()))
    }

    /// Where the profile leads to, in one step; nothing when there is none.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn target(&self) -> Result<Option<PathBuf>> {
        let Some(dir) = self.open()? else { return Ok(None) };
        match rustix::fs::readlinkat(&*dir, &*self.name, Vec::new()) {
            Ok(target) => Ok(Some(OsStr::from_bytes(target.to_bytes()).into())),
            Err(Errno::NOENT) => Ok(None),
            // What is no link is no profile, and not one without generations.
            Err(errno) => Err(PathError::new("reading symbolic link", &self.link, errno).into()),
        }
    }

    /// Makes a path the current generation: a new one, unless the newest is
    /// that path already. The caller holds the lock; the path is valid and
    /// rooted.
    ///
    /// # Errors
    /// [`ProfileError`]; the profile is then as before.
    pub fn add_generation(&self, store: &dyn Store, path: &StorePath) -> Result<Number> {
        let target = PathBuf::from(store.dir().print(path));
        let generations = self.generations()?;
        let newest = generations.all.last();
        if let Some(newest) = newest
            && std::fs::read_link(&newest.link).is_ok_and(|there| there == target)
        {
            // The process that made it may have been killed before it was a root.
            store
                .require_root_links()
                .map_err(Box::new)?
                .register_indirect_root(&newest.link)
                .map_err(Box::new)?;
            self.switch(newest.number)?;
            return Ok(newest.number);
        }
        let number = newest.map_or(0, |newest| newest.number) + 1;
        let link = self.generation_link(number);
        // The directory is synced with the switch, which it must not outlive.
        atomic::replace_symlink_unsynced(&link, &target)?;
        store.require_root_links().map_err(Box::new)?.register_indirect_root(&link).map_err(Box::new)?;
        self.switch(number)?;
        Ok(number)
    }

    /// Makes what `make` gives a new generation; nothing for no change. True if
    /// there is one.
    ///
    /// A change that another process makes meanwhile is not overwritten: it is made
    /// again, on top of theirs.
    ///
    /// # Errors
    /// Errors of `make`, and [`ProfileError`] by way of `failed`.
    pub fn change<E>(
        &self,
        store: &dyn Store,
        failed: impl Fn(ProfileError) -> E,
        mut make: impl FnMut() -> std::result::Result<Option<StorePath>, E>,
    ) -> std::result::Result<bool, E> {
        /// Tries without the lock; then the profile is locked from the
        /// beginning, so that others cannot always be quicker.
        const TRIES: u32 = 3;
        let mut tries = 0;
        loop {
            let early = match tries < TRIES {
                true => None,
                false => Some(self.lock(store.progress()).map_err(&failed)?),
            };
            tries += 1;
            let before = self.target().map_err(&failed)?;
            let Some(path) = make()? else { return Ok(false) };
            let _lock = match early {
                Some(lock) => lock,
                None => self.lock(store.progress()).map_err(&failed)?,
            };
            if self.target().map_err(&failed)? == before {
                self.add_generation(store, &path).map_err(&failed)?;
                return Ok(true);
            }
            store.progress().notice(&format!(
                "profile \"{}\" changed while we were busy; restarting",
                self.link.display()
            ));
        }
    }

    /// Makes a generation the current one, in one step.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn switch(&self, number: Number) -> Result<()> {
        let target = self.generation_name(number);
        if self.target()?.is_some_and(|there| there == Path::new(&target)) {
            return Ok(());
        }
        Ok(atomic::replace_symlink(&self.link, Path::new(&target))?)
    }

    /// Makes the generation before the current one, or the one with a number,
    /// the current one, and tells of it; with `dry_run` it only tells. `refused`
    /// says what is wrong with where a generation leads to.
    ///
    /// # Errors
    /// [`ProfileError::NotThere`], [`ProfileError::Oldest`], [`ProfileError::Gone`].
    pub fn switch_generation(
        &self,
        wanted: Option<Number>,
        dry_run: bool,
        refused: impl Fn(&Generation) -> Option<String>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let _lock = if dry_run { None } else { Some(self.lock(progress)?) };
        let generations = self.generations()?;
        let current = generations.current.unwrap_or(0);
        let found = match wanted {
            Some(number) => generations.all.iter().find(|generation| generation.number == number),
            None => generations.all.iter().rev().find(|generation| generation.number < current),
        };
        let Some(found) = found else {
            return Err(match wanted {
                Some(number) => ProfileError::NotThere(number),
                None => ProfileError::Oldest(current),
            });
        };
        if let Some(why) = refused(found) {
            return Err(ProfileError::Gone(found.number, why));
        }
        progress.notice(&format!("switching profile from version {current} to {}", found.number));
        if dry_run { Ok(()) } else { self.switch(found.number) }
    }

    /// Deletes generations and tells of each; with `dry_run` it only tells.
    /// Gives their numbers.
    ///
    /// # Errors
    /// [`ProfileError`]; nothing is deleted if the current generation is among
    /// them.
    pub fn delete_generations(
        &self,
        obsolete: &Obsolete,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<Vec<Number>> {
        self.delete_within(None, obsolete, dry_run, progress)
    }

    /// As [`Profile::delete_generations`]; a process that holds the lock is waited for
    /// no longer than that.
    ///
    /// # Errors
    /// See [`Profile::delete_generations`]; [`ProfileError::Busy`].
    pub fn delete_within(
        &self,
        patience: Option<Duration>,
        obsolete: &Obsolete,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<Vec<Number>> {
        let mut generations = self.generations()?;
        // Most profiles have nothing to delete, and need no lock for that.
        let idle = generations.select(obsolete, now()).is_empty();
        let _lock = if dry_run || idle { None } else { Some(self.lock_within(patience, progress)?) };
        if !idle {
            generations = self.generations()?;
        }
        if let Obsolete::Numbers(numbers) = obsolete {
            if let Some(current) = generations.current
                && numbers.contains(&current)
            {
                return Err(ProfileError::Current(self.link.clone()));
            }
            let missing = |number: &&Number| !generations.all.iter().any(|there| there.number == **number);
            for number in numbers.iter().filter(missing) {
                progress.warn(&format!("profile \"{}\" has no generation {number}", self.link.display()));
            }
        }
        let numbers = generations.select(obsolete, now());
        let dir = self.open()?;
        for number in &numbers {
            if dry_run {
                progress.notice(&format!("would remove profile version {number}"));
                continue;
            }
            progress.notice(&format!("removing profile version {number}"));
            let Some(dir) = &dir else { continue };
            match rustix::fs::unlinkat(&**dir, self.generation_name(*number), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(PathError::new("removing", self.generation_link(*number), errno).into());
                }
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn links_of_other_profiles_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let link =
            |name: &str, target: &str| std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        for name in ["p-1-link", "p-12-link", "p-x-link", "p-01-link", "pp-3-link", "p-2-link-x", "q-5-link"]
        {
            link(name, "/nowhere");
        }
        link("p", "p-12-link");
        link("q", "p-12-link");
        link("r", "/nowhere");
        let profile = Profile::new(dir.path().join("p"));
        let found = profile.generations().unwrap();
        assert_eq!(found.all.iter().map(|g| g.number).collect::<Vec<_>>(), [1, 12]);
        assert_eq!(found.current, Some(12));
        let mut profiles = Vec::new();
        each_profile_below(dir.path(), &crate::progress::Silent, &mut |profile| {
            profiles.push(profile.link().to_owned());
            Ok::<_, ProfileError>(())
        })
        .unwrap();
        assert_eq!(profiles, [dir.path().join("p")]);
        profile.delete_generations(&Obsolete::Old, false, &crate::progress::Silent).unwrap();
        assert!(!dir.path().join("p-1-link").is_symlink());
        assert!(dir.path().join("p-12-link").is_symlink());
        assert!(!dir.path().join("p.lock").exists());
        let current =
            profile.delete_generations(&Obsolete::Numbers(vec![12]), false, &crate::progress::Silent);
        assert!(matches!(current, Err(ProfileError::Current(_))));
    }

    #[test]
    fn a_directory_that_is_swapped_leads_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let link = |path: &str| std::os::unix::fs::symlink("/nowhere", root.path().join(path)).unwrap();
        std::fs::create_dir_all(root.path().join("alice/x")).unwrap();
        for number in 1..4 {
            link(&format!("system-{number}-link"));
            link(&format!("alice/x/system-{number}-link"));
        }
        let switch = |path: &str, number: &str| {
            std::os::unix::fs::symlink(format!("system-{number}-link"), root.path().join(path)).unwrap();
        };
        switch("system", "2");
        switch("alice/x/system", "3");
        let there = |path: &str| root.path().join(path).is_symlink();
        let mut seen = 0;
        each_profile_below(&root.path().join("alice"), &crate::progress::Silent, &mut |profile| {
            seen += 1;
            // Its owner puts a link to somebody else's directory in its place.
            std::fs::rename(root.path().join("alice/x"), root.path().join("alice/moved")).unwrap();
            std::os::unix::fs::symlink("..", root.path().join("alice/x")).unwrap();
            profile.delete_generations(&Obsolete::Old, false, &crate::progress::Silent).map(drop)
        })
        .unwrap();
        assert_eq!(seen, 1);
        // What was looked at was changed, and nothing else.
        assert_eq!([1, 2, 3].map(|n| there(&format!("system-{n}-link"))), [true; 3]);
        assert_eq!([1, 2, 3].map(|n| there(&format!("alice/moved/system-{n}-link"))), [false, false, true]);
        assert!(!root.path().join("alice/moved/system.lock").exists());
    }

    #[test]
    fn names_that_are_not_text_and_locks_that_are_none() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &[u8]| root.path().join(OsStr::from_bytes(name));
        for (name, target) in [(&b"\xff-1-link"[..], "/a"), (b"\xff-2-link", "/b")] {
            std::os::unix::fs::symlink(target, path(name)).unwrap();
        }
        std::os::unix::fs::symlink(path(b"\xff-2-link").file_name().unwrap(), path(b"\xff")).unwrap();
        let profile = Profile::new(path(b"\xff"));
        assert_eq!(profile.current().unwrap(), Some(2));
        // A lock file that is a directory, a pipe, or has something in it.
        let silent = &crate::progress::Silent;
        let lock = path(b"\xff.lock");
        std::fs::create_dir(&lock).unwrap();
        assert!(profile.delete_generations(&Obsolete::Old, false, silent).is_err());
        std::fs::remove_dir(&lock).unwrap();
        rustix::fs::mknodat(CWD, &lock, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(profile.delete_generations(&Obsolete::Old, false, silent).is_err());
        std::fs::remove_file(&lock).unwrap();
        std::fs::write(&lock, "x").unwrap();
        assert!(profile.delete_generations(&Obsolete::Old, false, silent).is_err());
        std::fs::remove_file(&lock).unwrap();
        let held = profile.lock(silent).unwrap();
        let within = Some(Duration::from_millis(20));
        let busy = profile.delete_within(within, &Obsolete::Old, false, silent);
        assert!(matches!(busy, Err(ProfileError::Busy(_))), "{busy:?}");
        drop(held);
        assert_eq!(profile.delete_within(within, &Obsolete::Old, false, silent).unwrap(), [1]);
    }
}
