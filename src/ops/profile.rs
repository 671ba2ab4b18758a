//! Profiles: a link that is switched between numbered generations.
//!
//! ```text
//! DIR/NAME        -> NAME-N-link           relative; the current generation
//! DIR/NAME-N-link -> store path            absolute; N counts up from 1
//! DIR/NAME.lock                            held exclusively while the profile changes
//! ```

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::model::StorePath;
use crate::progress::Progress;
use crate::store::{ManagedStore, StoreError};
use crate::sys::clock::now;
use crate::sys::lock::{LockError, PathLock};
use crate::sys::{PathError, atomic};

/// The number of a generation.
pub type Number = u64;

/// Why a profile was not changed.
#[derive(Debug, thiserror::Error)]
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

/// The generations of a profile as they were when it was read.
#[derive(Debug, Clone)]
pub struct Generations {
    /// In the order of their numbers.
    pub all: Vec<Generation>,
    /// The one that the profile leads to, whether or not it is there.
    pub current: Option<Number>,
}

/// Which generations are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doomed {
    /// Those with the numbers.
    Numbers(Vec<Number>),
    /// All but the current one.
    Old,
    /// All that were not current any more so many seconds ago.
    OlderThan(i64),
    /// All but so many up to the current one, and those after it.
    KeepNewest(u64),
}

/// Seconds of a day.
const DAY: i64 = 86_400;

impl Doomed {
    /// Reads `old`, `30d`, `+5`, or numbers.
    ///
    /// # Errors
    /// [`ProfileError::Number`], [`ProfileError::Days`], [`ProfileError::KeepNone`].
    pub fn parse(words: &[String]) -> Result<Self> {
        if let [word] = words {
            if word == "old" {
                return Ok(Self::Old);
            }
            if word.ends_with('d') {
                return Ok(Self::OlderThan(parse_days(word)?));
            }
            if let Some(count) = word.strip_prefix('+') {
                return match count.parse() {
                    Ok(0) => Err(ProfileError::KeepNone),
                    Ok(count) => Ok(Self::KeepNewest(count)),
                    Err(_) => Err(ProfileError::Count(word.clone())),
                };
            }
        }
        let number = |word: &String| word.parse().map_err(|_| ProfileError::Number(word.clone()));
        Ok(Self::Numbers(words.iter().map(number).collect::<Result<_>>()?))
    }
}

/// Reads a number of days (`14d`), and gives it in seconds.
///
/// # Errors
/// [`ProfileError::Days`].
pub fn parse_days(text: &str) -> Result<i64> {
    let Some(days) = text.strip_suffix('d') else { return Err(ProfileError::NoDays(text.to_owned())) };
    let days = days.parse::<u32>().ok().filter(|days| *days > 0);
    days.map(|days| i64::from(days) * DAY).ok_or_else(|| ProfileError::Days(text.to_owned()))
}

/// A profile, by its link.
#[derive(Debug, Clone)]
pub struct Profile {
    link: PathBuf,
    name: String,
}

impl ProfileError {
    /// Whether the user may not change the profile.
    pub fn is_denied(&self) -> bool {
        let path = match self {
            Self::Path(path) | Self::Lock(LockError::Path(path)) => path,
            _ => return false,
        };
        matches!(path.source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
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
        let name = link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { link, name }
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

    /// The link of a generation.
    pub fn generation_link(&self, number: Number) -> PathBuf {
        self.dir().join(format!("{}-{number}-link", self.name))
    }

    /// The number in the name of a generation's link.
    fn number_of(&self, name: &str) -> Option<Number> {
        let number = name.strip_prefix(&self.name)?.strip_prefix('-')?.strip_suffix("-link")?;
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
        let name = self.target()?.and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()));
        Ok(name.and_then(|name| self.number_of(&name)))
    }

    /// All generations.
    ///
    /// # Errors
    /// A [`PathError`]; a missing directory has none.
    pub fn generations(&self) -> Result<Generations> {
        let dir = self.dir();
        let mut all = Vec::new();
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(PathError::new("cannot read directory", dir, error).into()),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(PathError::at("cannot read directory", dir))?;
            let Some(number) = entry.file_name().to_str().and_then(|name| self.number_of(name)) else {
                continue;
            };
            match entry.metadata() {
                Ok(meta) => all.push(Generation { number, link: entry.path(), created: meta.mtime() }),
                // Deleted since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(PathError::new("getting status of", entry.path(), error).into()),
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
        let mut path = self.link.as_os_str().to_owned();
        path.push(".lock");
        Ok(PathLock::acquire(Path::new(&path), || {
            progress.notice(&format!("waiting for lock on profile \"{}\"", self.link.display()));
        })?)
    }

    /// Where the profile leads to, in one step; nothing when there is none.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn target(&self) -> Result<Option<PathBuf>> {
        match std::fs::read_link(&self.link) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // What is no link is no profile, and not one without generations.
            Err(error) => Err(PathError::new("reading symbolic link", &self.link, error).into()),
        }
    }

    /// Makes a path the current generation: a new one, unless the newest is
    /// that path already. The caller holds the lock; the path is valid and
    /// rooted.
    ///
    /// # Errors
    /// [`ProfileError`]; the profile is then as before.
    pub fn add_generation(&self, store: &dyn ManagedStore, path: &StorePath) -> Result<Number> {
        let target = PathBuf::from(store.dir().print(path));
        let generations = self.generations()?;
        let newest = generations.all.last();
        if let Some(newest) = newest
            && std::fs::read_link(&newest.link).is_ok_and(|there| there == target)
        {
            // Whoever made it may have been killed before it was a root.
            store.register_indirect_root(&newest.link).map_err(Box::new)?;
            self.switch(newest.number)?;
            return Ok(newest.number);
        }
        let number = newest.map_or(0, |newest| newest.number) + 1;
        let link = self.generation_link(number);
        // The directory is synced with the switch, which it must not outlive.
        atomic::replace_symlink_unsynced(&link, &target)?;
        store.register_indirect_root(&link).map_err(Box::new)?;
        self.switch(number)?;
        Ok(number)
    }

    /// Makes what `make` gives a new generation; nothing for no change. True if
    /// there is one.
    ///
    /// Whoever changes the profile meanwhile is not overwritten: it is made
    /// again, on top of theirs.
    ///
    /// # Errors
    /// Those of `make`, and [`ProfileError`] by way of `failed`.
    pub fn change<E>(
        &self,
        store: &dyn ManagedStore,
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
        let target = format!("{}-{number}-link", self.name);
        if self.target()?.is_some_and(|there| there == Path::new(&target)) {
            return Ok(());
        }
        Ok(atomic::replace_symlink(&self.link, Path::new(&target))?)
    }

    /// Makes the generation before the current one, or the one with a number,
    /// the current one, and tells of it.
    ///
    /// # Errors
    /// [`ProfileError::NotThere`], [`ProfileError::Oldest`].
    pub fn switch_generation(
        &self,
        wanted: Option<Number>,
        dry_run: bool,
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
        doomed: &Doomed,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<Vec<Number>> {
        let mut generations = self.generations()?;
        // Most profiles have nothing to delete, and need no lock for that.
        let idle = generations.doomed(doomed, now()).is_empty();
        let _lock = if dry_run || idle { None } else { Some(self.lock(progress)?) };
        if !idle {
            generations = self.generations()?;
        }
        if let (Doomed::Numbers(numbers), Some(current)) = (doomed, generations.current)
            && numbers.contains(&current)
        {
            return Err(ProfileError::Current(self.link.clone()));
        }
        let numbers = generations.doomed(doomed, now());
        for number in &numbers {
            if dry_run {
                progress.notice(&format!("would remove profile version {number}"));
                continue;
            }
            progress.notice(&format!("removing profile version {number}"));
            let link = self.generation_link(*number);
            match std::fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(PathError::new("removing", link, error).into());
                }
                _ => {}
            }
        }
        Ok(numbers)
    }
}

impl Generations {
    /// The numbers of those to be deleted, in the order in which it is done.
    pub fn doomed(&self, doomed: &Doomed, now: i64) -> Vec<Number> {
        let numbers = self.all.iter().map(|generation| generation.number);
        let newest_first = self.all.iter().rev();
        match doomed {
            Doomed::Numbers(wanted) => numbers.filter(|number| wanted.contains(number)).collect(),
            Doomed::Old => numbers.filter(|number| Some(*number) != self.current).collect(),
            Doomed::OlderThan(age) => {
                let limit = now - age;
                // The first one that is old enough was current at that time.
                let older = newest_first.skip_while(|generation| generation.created >= limit).skip(1);
                older.map(|generation| generation.number).filter(|n| Some(*n) != self.current).collect()
            }
            Doomed::KeepNewest(count) => {
                let up_to_current = newest_first.skip_while(|g| Some(g.number) != self.current);
                up_to_current
                    .skip(usize::try_from(*count).unwrap_or(usize::MAX))
                    .map(|generation| generation.number)
                    .collect()
            }
        }
    }
}

/// Every profile below a directory, in order: links that lead to a generation
/// of their own name.
///
/// # Errors
/// A [`PathError`]; a missing directory has none.
pub fn profiles_below(dir: &Path) -> Result<Vec<Profile>> {
    /// Deepest nesting that is looked into.
    const MAX_DEPTH: usize = 64;
    let mut found = Vec::new();
    let mut waiting = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = waiting.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(PathError::new("cannot read directory", dir, error).into()),
        };
        for entry in entries {
            let entry = entry.map_err(PathError::at("cannot read directory", &dir))?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => waiting.push((entry.path(), depth + 1)),
                Ok(kind) if kind.is_symlink() => {
                    let profile = Profile::new(entry.path());
                    if profile.is_profile() {
                        found.push(profile);
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(PathError::new("getting status of", entry.path(), error).into()),
            }
        }
    }
    found.sort_unstable_by(|a, b| a.link.cmp(&b.link));
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn generations(current: Number, made: &[(Number, i64)]) -> Generations {
        let all = made.iter().map(|(number, created)| Generation {
            number: *number,
            link: PathBuf::new(),
            created: *created,
        });
        Generations { all: all.collect(), current: Some(current) }
    }

    fn doomed(generations: &Generations, words: &[&str], now: i64) -> Vec<Number> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        generations.doomed(&Doomed::parse(&words).unwrap(), now)
    }

    #[test]
    fn which_generations_go() {
        let five = generations(4, &[(1, 0), (2, DAY), (4, 2 * DAY), (7, 3 * DAY), (8, 4 * DAY)]);
        assert_eq!(doomed(&five, &["old"], 0), [1, 2, 7, 8]);
        assert_eq!(doomed(&five, &["8", "1", "99"], 0), [1, 8]);
        assert_eq!(doomed(&five, &["+1"], 0), [2, 1]);
        assert_eq!(doomed(&five, &["+2"], 0), [1]);
        assert_eq!(doomed(&five, &["+9"], 0), [0; 0]);
        // The newest that is old enough stays: it was current then.
        assert_eq!(doomed(&five, &["1d"], 5 * DAY + 1), [7, 2, 1]);
        assert_eq!(doomed(&five, &["1d"], 5 * DAY), [2, 1]);
        assert_eq!(doomed(&five, &["2d"], 5 * DAY + 1), [2, 1]);
        assert_eq!(doomed(&five, &["30d"], 5 * DAY), [0; 0]);
    }

    #[test]
    fn words() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Doomed::parse(&words).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&["30d"]), Ok(Doomed::OlderThan(30 * DAY)));
        assert_eq!(parse(&["1", "2"]), Ok(Doomed::Numbers(vec![1, 2])));
        assert_eq!(parse(&["foo"]), Err("invalid generation number 'foo'".to_owned()));
        for days in ["0d", "xd", "d", "-1d"] {
            assert_eq!(parse(&[days]), Err(format!("invalid number of days specifier '{days}'")));
        }
        assert!(parse(&["+0"]).is_err_and(|message| message.starts_with("Must keep")));
    }

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
        let profiles = profiles_below(dir.path()).unwrap();
        assert_eq!(profiles.iter().map(|p| p.link().to_owned()).collect::<Vec<_>>(), [dir.path().join("p")]);
        profile.delete_generations(&Doomed::Old, false, &crate::progress::Silent).unwrap();
        assert!(!dir.path().join("p-1-link").is_symlink());
        assert!(dir.path().join("p-12-link").is_symlink());
        assert!(!dir.path().join("p.lock").exists());
        let current = profile.delete_generations(&Doomed::Numbers(vec![12]), false, &crate::progress::Silent);
        assert!(matches!(current, Err(ProfileError::Current(_))));
    }
}
