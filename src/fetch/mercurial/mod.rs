//! Trees of Mercurial repositories, by the program `hg`.
//!
//! ```text
//! command  running `hg` so that nothing of a repository is executed
//! mirror   copies of repositories elsewhere
//! ```
//!
//! A repository may be anybody's. A local one is read where it lies, without its configuration; one
//! elsewhere is copied into a repository that we made. No files are checked out: a commit comes as an
//! archive, which is unpacked below a directory of ours as any other.

mod command;
mod mirror;

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::FetchError;
use super::git::{GitError, Settings, TrackedFiles};
use super::unpack::{self, Limits, Top};
use crate::http::url::shown;
use crate::model::input::git::Rev;
use crate::model::input::mercurial::MercurialInput;
use crate::nar::{NarError, Sink, dump};
use crate::progress::Progress;
use crate::sys::PathError;
use crate::sys::interrupt::Interrupted;

use command::Hg;

/// The branch that a repository has before there is another one.
const DEFAULT: &str = "default";

/// Why a tree cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MercurialError {
    /// A repository that cannot be read, with what Mercurial says.
    #[error("Failed to fetch Mercurial repository '{url}': {reason}")]
    Fetch {
        /// Its URL, without what lets people in.
        url: String,
        /// The last lines of the program.
        reason: String,
    },
    /// Changed files, where a setting forbids them.
    #[error("Mercurial tree '{}' is unclean", .0.display())]
    Dirty(PathBuf),
    /// A program that would run what a repository tells it to.
    #[error("the program 'hg' is of version {0}; 5.6 or a later one is needed")]
    Old(String),
    /// An answer that makes no sense.
    #[error("'hg' answered what cannot be understood: {0}")]
    Answer(String),
    /// `hg` is not installed.
    #[error(
        "the program 'hg', which fetching from Mercurial repositories needs, is not installed (or not in PATH)"
    )]
    NoProgram,
    /// Running it.
    #[error("running 'hg': {0}")]
    Run(String),
    /// There is no directory for copies of repositories.
    #[error("there is no directory for caches: neither NIX_CACHE_HOME, XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// Unpacking.
    #[error(transparent)]
    Unpack(#[from] FetchError),
    /// A file of this machine.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The work was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<GitError> for MercurialError {
    fn from(error: GitError) -> Self {
        // Both programs are run in the same way.
        match error {
            GitError::NoProgram => Self::NoProgram,
            GitError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            GitError::Path(error) => Self::Path(error),
            other => Self::Run(other.to_string()),
        }
    }
}

/// The result of working with repositories.
pub type Result<T> = std::result::Result<T, MercurialError>;

/// What an input leads to.
pub enum Found {
    /// A commit.
    Commit(FoundCommit),
    /// The files of a work tree with changes.
    WorkTree {
        /// The tracked files, as they lie there.
        files: TrackedFiles,
        /// The branch of the work tree.
        branch: String,
    },
}

/// A commit of a repository.
pub struct FoundCommit {
    hg: Hg,
    repository: PathBuf,
    url: String,
    /// The commit.
    pub rev: Rev,
    /// Its number in the repository.
    pub count: u64,
    /// Its branch; that of a repository's beginning, where the commit was named by its hash.
    pub branch: String,
}

/// The tree of a commit.
pub struct CommitTree {
    /// It goes with the value.
    _dir: TempDir,
    top: PathBuf,
}

/// Fetches from repositories.
pub struct Fetcher {
    settings: Settings,
    progress: Arc<dyn Progress>,
}

impl Fetcher {
    /// Fetches with `settings`, which are those of Git, and tells `progress` of it.
    pub fn new(settings: Settings, progress: Arc<dyn Progress>) -> Fetcher {
        Fetcher { settings, progress }
    }

    /// Finds the commit or work tree of an input, and copies the repository if it is elsewhere.
    ///
    /// # Errors
    /// [`MercurialError`].
    pub fn find(&self, input: &MercurialInput) -> Result<Found> {
        let hg = Hg::new(&self.settings.environment)?;
        let url = shown(&input.url.to_string());
        let Some(path) = local_path(input).filter(|path| path.join(".hg").is_dir()) else {
            let cache = self.settings.cache_dir.as_deref().ok_or(MercurialError::NoCache)?;
            let place = repository_url(input);
            let lifetime = self.settings.time_to_live;
            let repository =
                mirror::fetch(&hg, cache, &place, input.rev.as_ref(), lifetime, &*self.progress)?;
            let reference = input.reference.as_deref().unwrap_or(DEFAULT);
            return self.commit(hg, repository, url, input.rev.as_ref(), reference);
        };
        if input.rev.is_some() || input.reference.is_some() {
            let reference = input.reference.as_deref().unwrap_or(DEFAULT);
            return self.commit(hg, path, url, input.rev.as_ref(), reference);
        }
        let branch = hg.text(&path, &url, &["branch"])?.trim().to_owned();
        let changes = hg.output(&path, &url, &["status", "-0", "-n", "-mard"])?;
        if changes.is_empty() {
            return self.commit(hg, path, url, None, &branch);
        }
        if !self.settings.allow_dirty {
            return Err(MercurialError::Dirty(path));
        }
        if self.settings.warn_dirty {
            self.progress.warn(&format!("Mercurial tree '{}' is unclean", path.display()));
        }
        let names = hg.output(&path, &url, &["status", "-0", "-n", "-mac"])?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let files = TrackedFiles::new(&path, names)?;
        Ok(Found::WorkTree { files, branch })
    }

    /// The commit of a hash, else of a branch, tag, bookmark or number.
    fn commit(
        &self,
        hg: Hg,
        repository: PathBuf,
        url: String,
        rev: Option<&Rev>,
        reference: &str,
    ) -> Result<Found> {
        // The branch of a work tree may be anything; what is in quotes is a name.
        if reference.contains('\'') {
            return Err(MercurialError::Answer(reference.to_owned()));
        }
        let wanted = rev.map_or_else(|| format!("r'{reference}'"), |rev| rev.as_str().to_owned());
        let words = ["log", "-l1", "-r", &wanted, "-T", "{node}\\n{rev}\\n{branch}\\n"];
        let text = hg.text(&repository, &url, &words)?;
        let bad = || MercurialError::Answer(text.clone());
        let mut lines = text.lines();
        let found = Rev::parse(lines.next().ok_or_else(bad)?).map_err(|_| bad())?;
        let count = lines.next().and_then(|line| line.parse().ok()).ok_or_else(bad)?;
        let branch = match rev {
            Some(_) => DEFAULT,
            None => lines.next().ok_or_else(bad)?,
        };
        let branch = branch.to_owned();
        Ok(Found::Commit(FoundCommit { hg, repository, url, rev: found, count, branch }))
    }
}

impl FoundCommit {
    /// The tree of the commit, unpacked.
    ///
    /// # Errors
    /// [`MercurialError`].
    pub fn tree(&self) -> Result<CommitTree> {
        let dir = super::private_dir()?;
        let unpacked = dir.path().join("tree");
        std::fs::create_dir(&unpacked).map_err(PathError::at("creating directory", &unpacked))?;
        let words = ["archive", "-r", self.rev.as_str(), "-t", "tar", "-p", "top", "-"];
        let top = self.hg.piped(&self.repository, &self.url, &words, |archive| {
            Ok(unpack::unpack_tar(archive, &unpacked, Top::Directory, Limits::default())?.top)
        })?;
        Ok(CommitTree { _dir: dir, top })
    }
}

impl CommitTree {
    /// Tells a sink of the tree.
    ///
    /// # Errors
    /// Those of reading, and of the sink.
    pub fn tell(&self, sink: &mut dyn Sink) -> std::result::Result<(), NarError> {
        dump::walk(&self.top, sink)
    }
}

/// The directory that an input is of, if it is one of this machine.
fn local_path(input: &MercurialInput) -> Option<PathBuf> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(input.url.plain_path()));
    (input.url.scheme == "file").then(|| std::path::absolute(&path).unwrap_or(path))
}

/// The URL of a repository as Mercurial takes it.
fn repository_url(input: &MercurialInput) -> String {
    let path = local_path(input);
    let place = |path: &Path| String::from_utf8_lossy(OsStr::as_bytes(path.as_os_str())).into_owned();
    path.map_or_else(|| input.url.to_string(), |path| place(&path))
}
