//! Where the parts of a local repository lie, and a directory of our own through
//! which it is looked at.
//!
//! ```text
//! WORK/.git          a directory, or a file "gitdir: DIR" (linked work trees, submodules)
//! DIR/commondir      where the objects and names lie that several work trees share
//! ```
//!
//! The directory of our own holds links to names and objects, and the few
//! settings of the repository that say how files are compared. So whatever else
//! stands in the repository's configuration is not read by any command.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::command::{self, Git};
use super::{GitError, Result};
use crate::sys::{PathError, read_regular};

/// Bytes of the small files of a repository.
const MOST_OF_FILE: u64 = 64 << 10;
/// Bytes of its settings as they are listed.
const MOST_OF_SETTINGS: u64 = 4 << 20;
/// Settings that say how files are compared or stored, and name no program. The values of those that
/// are taken are made of letters and digits.
const TAKEN: &[&str] = &[
    "core.autocrlf",
    "core.checkstat",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.symlinks",
    "core.trustctime",
    "extensions.objectformat",
    "extensions.refstorage",
];

/// The parts of a repository with a work tree.
pub struct Places {
    /// What belongs to this work tree: HEAD and the index.
    pub git_dir: PathBuf,
    /// What work trees share: objects and names.
    pub common_dir: PathBuf,
}

/// The places of the work tree at `path`; none if it is no work tree.
///
/// # Errors
/// [`GitError`].
pub fn of_work_tree(path: &Path) -> Result<Option<Places>> {
    let dot_git = path.join(".git");
    let metadata = match std::fs::metadata(&dot_git) {
        Ok(metadata) => metadata,
        // No work tree: the caller takes it for a bare repository.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(PathError::new("getting status of", dot_git, error).into()),
    };
    let git_dir = match metadata.is_dir() {
        true => dot_git,
        false => {
            let text = read_regular(&dot_git, MOST_OF_FILE)?;
            let Some(target) = text.strip_prefix(b"gitdir: ") else {
                return Err(GitError::Bad(format!("'{}' leads to no repository", dot_git.display())));
            };
            path.join(line(target))
        }
    };
    let common_dir = match read_regular(&git_dir.join("commondir"), MOST_OF_FILE) {
        Ok(target) => git_dir.join(line(&target)),
        Err(error) if error.is_not_found() => git_dir.clone(),
        Err(error) => return Err(error.into()),
    };
    let resolved = |path: PathBuf| path.canonicalize().map_err(PathError::at("resolving", &path));
    Ok(Some(Places { git_dir: resolved(git_dir)?, common_dir: resolved(common_dir)? }))
}

fn line(text: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(text.trim_ascii_end()))
}

impl Places {
    /// The full name of the branch that is checked out; none if there is none.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn head(&self) -> Result<Option<String>> {
        let head = read_regular(&self.git_dir.join("HEAD"), MOST_OF_FILE)?;
        let name = head.strip_prefix(b"ref: ").map(|name| String::from_utf8_lossy(name.trim_ascii()));
        Ok(name.map(|name| name.into_owned()))
    }

    /// Makes the directory of our own.
    pub(super) fn view(&self, git: &Git) -> Result<tempfile::TempDir> {
        let dir = tempfile::Builder::new()
            .prefix("nival-git-")
            .tempdir()
            .map_err(|error| PathError::new("creating directory in", std::env::temp_dir(), error))?;
        let head = read_regular(&self.git_dir.join("HEAD"), MOST_OF_FILE)?;
        let write = |name: &str, contents: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, contents).map_err(PathError::at("writing file", &path))
        };
        write("HEAD", &head)?;
        write("config", self.settings(git)?.as_bytes())?;
        let shared = ["refs", "packed-refs", "shallow", "reftable", "objects"];
        for name in shared {
            link(&self.common_dir.join(name), &dir.path().join(name))?;
        }
        for entry in
            std::fs::read_dir(&self.git_dir).map_err(PathError::at("reading directory", &self.git_dir))?
        {
            let entry = entry.map_err(PathError::at("reading directory", &self.git_dir))?;
            // Parts of an index.
            if entry.file_name().as_bytes().starts_with(b"sharedindex.") {
                link(&entry.path(), &dir.path().join(entry.file_name()))?;
            }
        }
        Ok(dir)
    }

    /// The settings that are taken over, as a file of settings.
    fn settings(&self, git: &Git) -> Result<String> {
        let mut text = "[core]\n\trepositoryformatversion = 1\n\tbare = false\n".to_owned();
        let file = self.common_dir.join("config");
        if !file.exists() {
            return Ok(text);
        }
        // A file that is read by name includes no others.
        let mut list = git.sealed(&self.common_dir);
        list.env("GIT_DIR", "/nonexistent").args(["config", "--null", "--list", "--file"]).arg(&file);
        let listed = command::output(&mut list, "config", MOST_OF_SETTINGS)?;
        for setting in listed.split(|byte| *byte == 0) {
            let setting = String::from_utf8_lossy(setting);
            let Some((name, value)) = setting.split_once('\n') else { continue };
            let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_plain
                && TAKEN.contains(&name)
                && let Some((section, name)) = name.split_once('.')
            {
                text.push_str(&format!("[{section}]\n\t{name} = {value}\n"));
            }
        }
        Ok(text)
    }
}

/// Links to what is there.
fn link(target: &Path, path: &Path) -> Result<()> {
    if target.exists() {
        symlink(target, path).map_err(PathError::at("creating symlink", path))?;
    }
    Ok(())
}
