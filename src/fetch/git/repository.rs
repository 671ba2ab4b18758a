//! Asking a repository: names → commits, counts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::command::{self, Git};
use super::objects::{Commit, Objects};
use super::places::Places;
use super::{GitError, Result};
use crate::model::input::git::Rev;

/// Bytes of an answer of one line.
const MOST_OF_LINE: u64 = 64 << 10;

/// A repository of which commands can be run.
#[derive(Clone)]
pub struct Repository {
    git: Git,
    git_dir: PathBuf,
    /// Where the objects lie, if not below `git_dir`.
    objects: Option<PathBuf>,
    /// Keeps the directory of our own.
    _view: Option<Arc<tempfile::TempDir>>,
}

impl Repository {
    /// A repository that we made.
    pub fn own(git: &Git, git_dir: &Path) -> Repository {
        Repository { git: git.clone(), git_dir: git_dir.to_owned(), objects: None, _view: None }
    }

    /// A repository of this machine, through a directory of our own.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn view(git: &Git, places: &Places) -> Result<Repository> {
        let view = places.view(git)?;
        Ok(Repository {
            git: git.clone(),
            git_dir: view.path().to_owned(),
            objects: Some(places.common_dir.join("objects")),
            _view: Some(Arc::new(view)),
        })
    }

    /// A command on it that talks to nobody.
    pub fn command(&self) -> Command {
        let mut command = self.git.sealed(&self.git_dir);
        if let Some(objects) = &self.objects {
            // By its real name, which what the objects lead to is relative to.
            command.env("GIT_OBJECT_DIRECTORY", objects);
        }
        command
    }

    /// Whether a part of its history is not there.
    pub fn is_shallow(&self) -> bool {
        self.git_dir.join("shallow").exists()
    }

    /// The commit that a name stands for, if it stands for any.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn resolve(&self, name: &str) -> Result<Option<Rev>> {
        let mut command = self.command();
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        let ended = command::run(command.arg(format!("{name}^{{commit}}")), MOST_OF_LINE)?;
        if !ended.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&ended.output);
        let rev = Rev::parse(text.trim());
        rev.map(Some).map_err(|_| GitError::Bad(format!("'{}' is no commit by SHA-1", text.trim())))
    }

    /// Whether a commit is there.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn has_commit(&self, rev: &Rev) -> Result<bool> {
        Ok(self.resolve(rev.as_str())?.as_ref() == Some(rev))
    }

    /// How many commits led to one, with it.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn count(&self, rev: &Rev) -> Result<u64> {
        let mut command = self.command();
        command.args(["rev-list", "--count", "--end-of-options", rev.as_str()]);
        let text = command::output(&mut command, "rev-list", MOST_OF_LINE)?;
        let text = String::from_utf8_lossy(&text);
        text.trim().parse().map_err(|_| GitError::Bad(format!("'{}' is no number of commits", text.trim())))
    }

    /// What a commit says.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn read_commit(&self, rev: &Rev) -> Result<Commit> {
        Objects::open(self)?.commit(rev)
    }
}
