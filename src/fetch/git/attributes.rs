//! Which files are not for export: those that `.gitattributes` gives the
//! attribute `export-ignore`. `git check-attr` knows the patterns.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command};

use super::command::{self, Running, of_pipe};
use super::objects::Oid;
use super::repository::Repository;
use super::{GitError, Result};
use crate::sys::PathError;
use crate::sys::interrupt::Interruptible;

/// Bytes of a file of attributes; Git passes over larger ones.
pub const MOST: u64 = 100 << 20;
/// The attribute.
const NAME: &str = "export-ignore";

/// Whether a file of attributes names the attribute.
pub fn speaks_of_exports(text: &[u8]) -> bool {
    text.windows(NAME.len()).any(|window| window == NAME.as_bytes())
}

/// Answers whether files are for export.
pub struct Exports {
    input: ChildStdin,
    output: BufReader<Interruptible<ChildStdout>>,
    _running: Running,
    /// Holds the index of a tree.
    _index: Option<tempfile::TempDir>,
}

impl Exports {
    /// By the attributes in a tree.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn of_tree(repository: &Repository, tree: &Oid) -> Result<Exports> {
        let dir = tempfile::Builder::new()
            .prefix("nival-git-")
            .tempdir()
            .map_err(|error| PathError::new("creating directory in", std::env::temp_dir(), error))?;
        let index = dir.path().join("index");
        let mut read = repository.command();
        read.env("GIT_INDEX_FILE", &index).args(["read-tree", &tree.digits()]);
        command::output(&mut read, "read-tree", 0)?;
        let mut check = repository.command();
        check.env("GIT_INDEX_FILE", &index).args(["check-attr", "--cached"]);
        Self::start(&mut check, Some(dir))
    }

    /// By the attributes in a work tree.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn of_work_tree(repository: &Repository, root: &Path) -> Result<Exports> {
        let mut check = repository.command();
        check.env("GIT_WORK_TREE", root).current_dir(root).arg("check-attr");
        Self::start(&mut check, None)
    }

    fn start(check: &mut Command, index: Option<tempfile::TempDir>) -> Result<Exports> {
        let mut running = Running::start(check.args(["--stdin", "-z", NAME]), true)?;
        match (running.child().stdin.take(), running.child().stdout.take()) {
            (Some(input), Some(output)) => {
                let output = BufReader::new(Interruptible(output));
                Ok(Exports { input, output, _running: running, _index: index })
            }
            _ => Err(GitError::Run(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Whether a file or directory is for export, given by its path in the tree.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn has(&mut self, path: &[u8], is_directory: bool) -> Result<bool> {
        let mut request = path.to_vec();
        if is_directory {
            // Patterns that end in a slash are about directories.
            request.push(b'/');
        }
        request.push(0);
        self.input.write_all(&request).and_then(|()| self.input.flush()).map_err(of_pipe)?;
        // The path, the attribute, its value.
        let mut value = Vec::new();
        for _ in 0..3 {
            value.clear();
            self.output.read_until(0, &mut value).map_err(of_pipe)?;
        }
        match &value[..] {
            b"set\0" => Ok(false),
            [.., 0] => Ok(true),
            _ => Err(GitError::Bad("'git check-attr' ended early".to_owned())),
        }
    }
}
