//! Copies of repositories elsewhere: bare repositories of ours, one for each URL.
//!
//! ```text
//! git-mirrors-v1/KEY[-shallow]/      the repository; KEY is the SHA-256 hash of the URL
//! git-mirrors-v1/KEY[-shallow].lock  held while it is made or fetched into
//!     refs/nival/HASH                a branch or tag, by the hash of its full name
//!     refs/all/…                     all of them
//!     nival-fetched/HASH             when that was fetched; for HEAD also which branch it is
//! ```
//!
//! Nothing is ever taken out of one, so it can be read while it is fetched into.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::command::{self, Git};
use super::repository::Repository;
use super::{GitError, Result};
use crate::http::url::shown;
use crate::model::input::git::{Rev, is_reference};
use crate::model::{Hash, HashFormat};
use crate::progress::{Progress, Unit};
use crate::sys::lock::{self, LockError, LockKind};
use crate::sys::{PathError, atomic, read_regular};

/// Bytes of the answers of a server that are taken.
const MOST_OF_ANSWER: u64 = 1 << 20;
/// Bytes of a file of ours.
const MOST_OF_FILE: u64 = 4 << 10;
/// Where refs of all names lie, and what fetches them.
const ALL: &str = "+refs/*:refs/all/*";
/// The branch of a server that does not say which one it has.
const DEFAULT: &str = "refs/heads/master";

/// A copy of a repository, locked.
pub struct Mirror {
    git: Git,
    repository: Repository,
    dir: PathBuf,
    url: String,
    shallow: bool,
    _lock: File,
}

/// What is wanted of a repository.
pub struct Wanted<'a> {
    /// The commit.
    pub rev: Option<&'a Rev>,
    /// The branch or tag.
    pub reference: Option<&'a str>,
    /// Whether the commit may be in any of them.
    pub all_refs: bool,
    /// Seconds for which what was fetched counts as fresh.
    pub time_to_live: u64,
}

impl Mirror {
    /// Locks the copy of the repository at `url`, and makes it if it is not there.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn open(git: &Git, cache_dir: &Path, url: &str, shallow: bool) -> Result<Mirror> {
        let parent = cache_dir.join("git-mirrors-v1");
        std::fs::create_dir_all(&parent).map_err(PathError::at("creating directory", &parent))?;
        let key = format!("{}{}", key(url), if shallow { "-shallow" } else { "" });
        let path = parent.join(format!("{key}.lock"));
        let file = lock::open_lock_file(&path)?;
        lock::lock(&file, &path, LockKind::Exclusive, || ()).map_err(|error| match error {
            LockError::Path(error) => GitError::Path(error),
            LockError::Interrupted(interrupted) => interrupted.into(),
        })?;
        let dir = parent.join(key);
        let stamps = dir.join("nival-fetched");
        // Made last, so that what was begun only is made again.
        if !stamps.exists() {
            let mut init = git.sealed(&dir);
            init.args(["init", "--quiet", "--bare", "--template=", "--initial-branch=none"]);
            command::output(&mut init, "init", MOST_OF_ANSWER)?;
            std::fs::create_dir(&stamps).map_err(PathError::at("creating directory", &stamps))?;
        }
        let repository = Repository::own(git, &dir);
        Ok(Mirror { git: git.clone(), repository, dir, url: url.to_owned(), shallow, _lock: file })
    }

    /// Lets go of the lock.
    pub fn into_repository(self) -> Repository {
        self.repository
    }

    /// Has what is wanted in the copy, and gives the commit, and the full name of the branch or tag if
    /// it is known.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn fetch(&self, wanted: &Wanted<'_>, progress: &dyn Progress) -> Result<(Rev, Option<String>)> {
        let Some(rev) = wanted.rev else { return self.fetch_newest(wanted, progress) };
        let given = wanted.reference.map(full_name);
        if self.repository.has_commit(rev)? {
            return Ok((rev.clone(), given.or_else(|| self.head_as_known())));
        }
        // Many servers give any commit that is in a branch or tag.
        let directly = self.ask_for(rev.as_str(), self.shallow, progress);
        if matches!(directly, Err(GitError::Interrupted(_) | GitError::NoProgram)) {
            directly?;
        }
        let reference = match given {
            Some(reference) => reference,
            None => self.head(wanted.time_to_live, progress)?,
        };
        if !self.repository.has_commit(rev)? {
            // Here the commit may lie deeper than the first.
            match wanted.all_refs {
                true => self.ask_for(ALL, false, progress)?,
                false => self.ask_for(&refspec(&reference), false, progress)?,
            }
        }
        match self.repository.has_commit(rev)? {
            true => Ok((rev.clone(), Some(reference))),
            false => Err(GitError::NotInReference {
                rev: rev.as_str().to_owned(),
                reference: wanted.reference.map_or(reference, str::to_owned),
                url: shown(&self.url),
            }),
        }
    }

    fn fetch_newest(&self, wanted: &Wanted<'_>, progress: &dyn Progress) -> Result<(Rev, Option<String>)> {
        let reference = match wanted.reference {
            Some(reference) => full_name(reference),
            None => self.head(wanted.time_to_live, progress)?,
        };
        let known = self.repository.resolve(&local_name(&reference))?;
        if let Some(known) = &known
            && self.is_fresh(&reference, wanted.time_to_live)
        {
            return Ok((known.clone(), Some(reference)));
        }
        match self.ask_for(&refspec(&reference), self.shallow, progress) {
            Ok(()) => self.stamp(&reference, "")?,
            Err(GitError::Fetch { url, reason }) if known.is_some() => {
                progress.warn(&format!(
                    "could not update local clone of Git repository '{url}'; continuing with the most recent \
                     version{}",
                    super::said(&reason)
                ));
            }
            Err(error) => return Err(error),
        }
        let rev = self.repository.resolve(&local_name(&reference))?;
        let rev = rev.ok_or_else(|| GitError::Reference(reference.clone()))?;
        Ok((rev, Some(reference)))
    }

    /// Fetches what a refspec names.
    fn ask_for(&self, refspec: &str, shallow: bool, progress: &dyn Progress) -> Result<()> {
        let mut fetch = self.git.reaching(&self.dir);
        fetch.args(["fetch", "--quiet", "--force", "--no-tags", "--no-write-fetch-head"]);
        if shallow {
            fetch.arg("--depth=1");
        }
        fetch.args(["--", &self.url, refspec]);
        let url = shown(&self.url);
        progress.begin(&format!("fetching Git repository '{url}'"), None, Unit::Items);
        let ended = command::run(&mut fetch, MOST_OF_ANSWER);
        progress.end();
        let ended = ended?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(GitError::Fetch { url, reason: ended.said }),
        }
    }

    /// The full name of the branch that the repository has for HEAD.
    fn head(&self, time_to_live: u64, progress: &dyn Progress) -> Result<String> {
        if self.is_fresh("HEAD", time_to_live)
            && let Some(known) = self.head_as_known()
        {
            return Ok(known);
        }
        let mut ask = self.git.reaching(&self.dir);
        ask.args(["ls-remote", "--symref", "--", &self.url, "HEAD"]);
        let ended = command::run(&mut ask, MOST_OF_ANSWER)?;
        if !ended.status.success() {
            let name = self.head_as_known().unwrap_or_else(|| DEFAULT.to_owned());
            let (url, short) = (shown(&self.url), name.trim_start_matches("refs/heads/"));
            progress.warn(&format!("could not read HEAD ref from repo at '{url}', using '{short}'"));
            return Ok(name);
        }
        let text = String::from_utf8_lossy(&ended.output);
        let of_head = |line: &str| line.strip_suffix("\tHEAD").map(str::to_owned);
        let answers: Vec<String> = text.lines().filter_map(of_head).collect();
        let name = answers.iter().find_map(|answer| answer.strip_prefix("ref: "));
        let name = match name {
            Some(name) if is_reference(name) => name,
            // A commit that no branch is checked out at.
            _ if !answers.is_empty() => "HEAD",
            _ => DEFAULT,
        };
        self.stamp("HEAD", name)?;
        Ok(name.to_owned())
    }

    fn head_as_known(&self) -> Option<String> {
        let text = read_regular(&self.stamp_of("HEAD"), MOST_OF_FILE).ok()?;
        String::from_utf8(text).ok().filter(|name| is_reference(name))
    }

    fn stamp_of(&self, name: &str) -> PathBuf {
        self.dir.join("nival-fetched").join(key(name))
    }

    fn stamp(&self, name: &str, text: &str) -> Result<()> {
        Ok(atomic::replace_file(&self.stamp_of(name), text.as_bytes(), 0o600)?)
    }

    /// Whether a name was asked for so recently that it need not be asked for again.
    fn is_fresh(&self, name: &str, time_to_live: u64) -> bool {
        let asked = std::fs::metadata(self.stamp_of(name)).and_then(|metadata| metadata.modified());
        // What is dated in the future does not count.
        let age = asked.ok().and_then(|asked| SystemTime::now().duration_since(asked).ok());
        age.is_some_and(|age| age < Duration::from_secs(time_to_live))
    }
}

/// The name of what belongs to a text: of its hash, so that it can be a file name.
fn key(text: &str) -> String {
    Hash::sha256(text.as_bytes()).digits(HashFormat::Nix32)
}

/// The full name of a branch, unless it is one.
fn full_name(reference: &str) -> String {
    match reference {
        "HEAD" => reference.to_owned(),
        reference if reference.starts_with("refs/") => reference.to_owned(),
        branch => format!("refs/heads/{branch}"),
    }
}

/// The name of a branch or tag here: of its hash, so that none is in the way of another (`a` of `a/b`).
fn local_name(reference: &str) -> String {
    format!("refs/nival/{}", key(reference))
}

fn refspec(reference: &str) -> String {
    format!("+{reference}:{}", local_name(reference))
}
