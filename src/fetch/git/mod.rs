//! Trees of Git repositories, by the program `git`.
//!
//! ```text
//! command      running `git` so that nothing of a repository is executed
//! places       where the parts of a local repository lie
//! repository   asking a repository: names → commits, counts
//! objects      its objects, checked against their names
//! commit       a commit → a tree for a sink
//! work_tree    tracked files as they lie in a work tree → the same
//! attributes   which files are not for export
//! modules      submodules of a commit
//! mirror       copies of repositories elsewhere
//! memory       what trees of commits turned out to be
//! ```
//!
//! A repository may be anybody's. No command works with the configuration, hooks
//! or filters that come with it: a local repository is looked at through a
//! directory of our own that leads to its objects and names and has its own
//! configuration (see `places.rs`), and one elsewhere is copied into a bare
//! repository that we made. No files are checked out; objects are read one by
//! one and become an archive at once.

mod attributes;
pub(super) mod command;
mod commit;
mod memory;
mod mirror;
mod modules;
mod objects;
mod places;
mod repository;
mod work_tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::input::git::{GitInput, Rev};
use crate::model::input::url::Url;
use crate::progress::Progress;
use crate::settings::Environment;
use crate::sys::PathError;
use crate::sys::interrupt::Interrupted;

pub use command::Git;
pub use commit::CommitTree;
pub use memory::{Key, Memory, Remembered};
pub use work_tree::{TrackedFiles, WorkTree};

use repository::Repository;

/// Why a tree cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// A directory that is not there.
    #[error("Git repository \"{}\" does not exist.", .0.display())]
    Missing(PathBuf),
    /// A repository elsewhere, with what Git says.
    #[error("Failed to fetch git repository '{url}'{}", said(.reason))]
    Fetch {
        /// Its URL, without what lets people in.
        url: String,
        /// The last lines of the program.
        reason: String,
    },
    /// A branch or tag of a local repository.
    #[error("resolving Git reference '{0}': revspec '{0}' not found")]
    Reference(String),
    /// A commit of a local repository.
    #[error("getting Git object '{0}': object not found - no match for id ({0})")]
    Commit(String),
    /// A commit of a repository elsewhere.
    #[error(
        "Cannot find Git revision '{rev}' in ref '{reference}' of repository '{url}'! Please make sure that the \
         rev exists on the ref you've specified or add allRefs = true; to fetchGit."
    )]
    NotInReference {
        /// The commit.
        rev: String,
        /// Where it was looked for.
        reference: String,
        /// The URL of the repository, without what lets people in.
        url: String,
    },
    /// Changed files, where a setting forbids them.
    #[error("Git tree '{}' is dirty", .0.display())]
    Dirty(PathBuf),
    /// Two wishes that do not go together.
    #[error("exportIgnore and submodules are not supported together yet")]
    ExportOfSubmodules,
    /// Files that are kept elsewhere.
    #[error("Git LFS is not available in this version of Nival, so 'lfs' cannot be true")]
    Lfs,
    /// A submodule that has no files yet.
    #[error(
        "submodule '{path}' of Git repository \"{}\" is not checked out; 'git submodule update --init' does it",
        .repository.display()
    )]
    NotCheckedOut {
        /// Where it belongs.
        path: String,
        /// The repository.
        repository: PathBuf,
    },
    /// A submodule that cannot be fetched.
    #[error("submodule '{path}' of Git repository '{repository}': {reason}")]
    Module {
        /// Where it belongs.
        path: String,
        /// The repository.
        repository: String,
        /// Why.
        reason: String,
    },
    /// A repository that is not as Git makes them.
    #[error("bad Git repository: {0}")]
    Bad(String),
    /// `git` is not installed.
    #[error(
        "the program 'git', which fetching from Git repositories needs, is not installed (or not in PATH)"
    )]
    NoProgram,
    /// Running it.
    #[error("running 'git': {}", crate::sys::errno_text(.0))]
    Run(std::io::Error),
    /// It failed.
    #[error("'git {command}' failed{}", said(.reason))]
    Failed {
        /// Its first word.
        command: String,
        /// The last lines of it.
        reason: String,
    },
    /// There is no directory for copies of repositories.
    #[error("there is no directory for caches: neither NIX_CACHE_HOME, XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// A file of this machine.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The work was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The result of working with repositories.
pub type Result<T> = std::result::Result<T, GitError>;

/// What a program said, after a message.
fn said(reason: &str) -> String {
    match reason.trim() {
        "" => String::new(),
        reason => format!(": {}", reason.replace('\n', "\n  ")),
    }
}

/// How repositories are fetched.
#[derive(Clone)]
pub struct Settings {
    /// The user's directory for what can be had again.
    pub cache_dir: Option<PathBuf>,
    /// Seconds for which what was fetched counts as fresh.
    pub time_to_live: u64,
    /// Whether changed files are taken.
    pub allow_dirty: bool,
    /// Whether the user is told of them.
    pub warn_dirty: bool,
    /// Where programs are found.
    pub environment: Environment,
}

impl Settings {
    /// Changed files are taken, and told of; nothing from elsewhere can be fetched before there is a
    /// directory for it.
    pub fn new(environment: Environment) -> Settings {
        Settings { cache_dir: None, time_to_live: 3600, allow_dirty: true, warn_dirty: true, environment }
    }
}

/// Fetches from repositories.
pub struct Fetcher {
    git: Git,
    settings: Settings,
    progress: Arc<dyn Progress>,
}

/// What an input leads to.
pub enum Found {
    /// A commit.
    Commit(FoundCommit),
    /// The files of a work tree.
    WorkTree(WorkTree),
}

/// A commit of a repository.
pub struct FoundCommit {
    repository: Repository,
    /// The commit.
    pub rev: Rev,
    /// The full name of the branch or tag that it was found by, if it is known.
    pub reference: Option<String>,
    /// Whether the repository is known to have all of the history.
    pub has_history: bool,
}

impl Fetcher {
    /// Fetches with `settings` and tells `progress` of it.
    pub fn new(settings: Settings, progress: Arc<dyn Progress>) -> Fetcher {
        Fetcher { git: Git::new(&settings.environment), settings, progress }
    }

    /// What trees of commits were seen to be.
    pub fn memory(&self) -> Option<Memory> {
        self.settings.cache_dir.as_deref().map(Memory::new)
    }

    /// Refuses what cannot be fetched, without looking into the repository, and warns of what had better
    /// be said otherwise.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn check(&self, input: &GitInput) -> Result<()> {
        if input.url.scheme == "file" && !input.url.path.starts_with('/') {
            let url = &input.url;
            self.progress.warn(&format!(
                "Fetching Git repository '{url}', which uses a path relative to the current directory."
            ));
        }
        refuse(input)
    }

    /// Finds the commit or work tree of an input, and copies the repository if it is elsewhere.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn find(&self, input: &GitInput) -> Result<Found> {
        refuse(input)?;
        let Some(path) = local_path(input) else { return self.find_elsewhere(input).map(Found::Commit) };
        let Some(places) = places::of_work_tree(&path)? else {
            return self.find_elsewhere(input).map(Found::Commit);
        };
        if input.rev.is_none() && input.reference.is_none() {
            return self.find_work_tree(input, &path, &places).map(Found::WorkTree);
        }
        let repository = Repository::view(&self.git, &places)?;
        let rev = match (&input.rev, &input.reference) {
            (Some(rev), _) => {
                let is_there = repository.has_commit(rev)?;
                is_there.then(|| rev.clone()).ok_or_else(|| GitError::Commit(rev.as_str().to_owned()))?
            }
            (None, reference) => {
                let reference = reference.as_deref().unwrap_or("HEAD");
                repository.resolve(reference)?.ok_or_else(|| GitError::Reference(reference.to_owned()))?
            }
        };
        let reference = input.reference.clone().or_else(|| places.head().ok().flatten());
        let has_history = !repository.is_shallow();
        Ok(Found::Commit(FoundCommit { repository, rev, reference, has_history }))
    }

    fn find_elsewhere(&self, input: &GitInput) -> Result<FoundCommit> {
        let cache = self.settings.cache_dir.as_deref().ok_or(GitError::NoCache)?;
        let shallow = input.choices.shallow == Some(true);
        let mirror = mirror::Mirror::open(&self.git, cache, &repository_url(input), shallow)?;
        let wanted = mirror::Wanted {
            rev: input.rev.as_ref(),
            reference: input.reference.as_deref(),
            all_refs: input.choices.all_refs == Some(true),
            time_to_live: self.settings.time_to_live,
        };
        let (rev, reference) = mirror.fetch(&wanted, &*self.progress)?;
        Ok(FoundCommit { repository: mirror.into_repository(), rev, reference, has_history: !shallow })
    }

    fn find_work_tree(&self, input: &GitInput, path: &Path, places: &places::Places) -> Result<WorkTree> {
        let with_modules = input.choices.submodules == Some(true);
        let export = input.choices.export_ignore == Some(true);
        let found = WorkTree::open(&self.git, path, places, with_modules, export)?;
        for dirty in found.dirty() {
            if !self.settings.allow_dirty {
                return Err(GitError::Dirty(dirty.clone()));
            }
            if self.settings.warn_dirty {
                self.progress.warn(&format!("Git tree '{}' is dirty", dirty.display()));
            }
        }
        Ok(found)
    }

    /// The tree of a commit, with those of its submodules if `input` has them.
    ///
    /// # Errors
    /// [`GitError`]; those of fetching the submodules.
    pub fn tree(&self, found: &FoundCommit, input: &GitInput) -> Result<CommitTree> {
        let commit = found.repository.read_commit(&found.rev)?;
        let mut tree =
            CommitTree::new(found.repository.clone(), &commit, input.choices.export_ignore == Some(true));
        if input.choices.submodules == Some(true) {
            for module in modules::of_commit(&found.repository, &found.rev, input)? {
                let inner = match self.find(&module.input)? {
                    Found::Commit(inner) => self.tree(&inner, &module.input)?,
                    Found::WorkTree(_) => {
                        return Err(GitError::Bad("a submodule without a commit".to_owned()));
                    }
                };
                tree.mount(module.path, inner);
            }
        }
        Ok(tree)
    }
}

impl FoundCommit {
    /// How many commits led to this one.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn count(&self) -> Result<u64> {
        self.repository.count(&self.rev)
    }
}

fn refuse(input: &GitInput) -> Result<()> {
    let is = |choice: Option<bool>| choice == Some(true);
    if is(input.choices.export_ignore) && is(input.choices.submodules) {
        return Err(GitError::ExportOfSubmodules);
    }
    if is(input.choices.lfs) {
        return Err(GitError::Lfs);
    }
    match local_path(input) {
        Some(path) if !path.exists() => Err(GitError::Missing(path)),
        _ => Ok(()),
    }
}

/// The directory that an input is of, if it is one of this machine.
fn local_path(input: &GitInput) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = input.url.plain_path();
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    // Relative ones are found, too; only an empty one has no absolute form.
    (input.url.scheme == "file").then(|| std::path::absolute(&path).unwrap_or(path))
}

/// The URL of a repository as Git takes it.
fn repository_url(input: &GitInput) -> String {
    let mut url = input.url.clone();
    if let Some(path) = local_path(input) {
        // Without `//` Git would take it for one of the machine 'file'.
        url = Url::of_file(&path.to_string_lossy());
    }
    url.fragment.clear();
    url.to_string()
}
