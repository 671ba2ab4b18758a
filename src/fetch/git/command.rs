//! Running `git` so that nothing of a repository is executed.
//!
//! | what a repository could bring along | what keeps it from running |
//! |---|---|
//! | hooks | `core.hooksPath=/dev/null` |
//! | programs named by its configuration (filters, fsmonitor, ssh, helpers, aliases) | its configuration is not read: see [`super::places`] |
//! | URLs that are commands (`ext::`), of submodules too | `GIT_ALLOW_PROTOCOL` |
//! | URLs and names that look like flags | `--` or `--end-of-options` before them |
//! | lazily fetched objects | no remote is configured |
//!
//! Only commands that talk to another repository see the user's own
//! configuration and environment, which hold credentials, proxies and keys.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::{GitError, Result};
use crate::settings::Environment;
use crate::sys::interrupt::{self, Interruptible};
use crate::sys::mount;

/// Protocols by which repositories elsewhere are asked.
const PROTOCOLS: &str = "file:git:http:https:ssh";
/// Settings of every command.
const HARDENED: &[&str] = &[
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "fetch.recurseSubmodules=false",
    "-c",
    "submodule.recurse=false",
];
/// Settings of commands that need no user's: attributes come from the tree alone, commits from the
/// objects, and a repository may belong to somebody else.
const SEALED: &[&str] =
    &["-c", "core.attributesFile=/dev/null", "-c", "core.commitGraph=false", "-c", "safe.directory=*"];
/// Variables by which somebody could give `git` another repository.
const OF_REPOSITORY: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];
/// Bytes of what the program says that are kept.
const MOST_SAID: usize = 8 << 10;
/// How often a wait for the program looks for signals.
const LOOK: Duration = Duration::from_millis(20);

/// The program `git`.
#[derive(Debug, Clone)]
pub struct Git {
    path: Option<OsString>,
}

impl Git {
    /// The program that the user's PATH has.
    pub fn new(environment: &Environment) -> Git {
        Git { path: environment.get("PATH").map(OsStr::to_owned) }
    }

    /// A command on a repository of this machine, which sees nothing of the user's.
    pub fn sealed(&self, git_dir: &Path) -> Command {
        let mut command = Command::new("git");
        command.env_clear();
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
            .args(HARDENED)
            .args(SEALED)
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_DIR", git_dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            // None at all.
            .env("GIT_ALLOW_PROTOCOL", "");
        command
    }

    /// A command on a repository of ours that talks to another one.
    pub fn reaching(&self, git_dir: &Path) -> Command {
        let mut command = Command::new("git");
        OF_REPOSITORY.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
            .args(HARDENED)
            .env("GIT_DIR", git_dir)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS);
        command
    }
}

/// How a command ended.
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its output.
    pub output: Vec<u8>,
    /// The end of what it said on standard error.
    pub said: String,
}

/// A program that is ended with its user.
pub struct Running {
    child: Child,
    said: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    /// Starts a command whose standard output, and with `input` standard input, are pipes.
    ///
    /// # Errors
    /// [`GitError::NoProgram`] and [`GitError::Run`].
    pub fn start(command: &mut Command, input: bool) -> Result<Running> {
        command.stdin(if input { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = mount::outside(command).spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => GitError::NoProgram,
            _ => GitError::Run(error),
        })?;
        let said = child.stderr.take().map(|stderr| std::thread::spawn(move || last_of(stderr)));
        Ok(Running { child, said })
    }

    /// Its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until it ends, and gives the status and the end of what it said.
    ///
    /// # Errors
    /// [`GitError::Run`], and a signal.
    pub fn wait(mut self) -> Result<(ExitStatus, String)> {
        drop(self.child.stdin.take());
        let status = loop {
            interrupt::check()?;
            match self.child.try_wait().map_err(GitError::Run)? {
                Some(status) => break status,
                None => std::thread::sleep(LOOK),
            }
        };
        let said = self.said.take().and_then(|thread| thread.join().ok());
        Ok((status, said.unwrap_or_default()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of what comes out of a pipe.
fn last_of(mut pipe: ChildStderr) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count) = pipe.read(&mut buffer) {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * MOST_SAID {
            kept.drain(..kept.len() - MOST_SAID);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    // What a terminal would overwrite is left out.
    let lines = text.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("remote: ")).collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Runs a command to its end. At most `limit` bytes of output are taken.
///
/// # Errors
/// [`GitError::NoProgram`], [`GitError::Run`], too much output, and a signal.
pub fn run(command: &mut Command, limit: u64) -> Result<Ended> {
    let mut running = Running::start(command, false)?;
    let mut output = Vec::new();
    if let Some(pipe) = running.child().stdout.take() {
        let read = Interruptible(pipe).take(limit + 1).read_to_end(&mut output);
        read.map_err(of_pipe)?;
        if output.len() as u64 > limit {
            return Err(GitError::Bad(format!("'git' tells more than {limit} bytes")));
        }
    }
    let (status, said) = running.wait()?;
    Ok(Ended { status, output, said })
}

/// Runs a command that has to succeed; see [`run`]. `name` stands in messages.
///
/// # Errors
/// Those of [`run`], and [`GitError::Failed`].
pub fn output(command: &mut Command, name: &str, limit: u64) -> Result<Vec<u8>> {
    let ended = run(command, limit)?;
    match ended.status.success() {
        true => Ok(ended.output),
        false => Err(GitError::Failed { command: name.to_owned(), reason: ended.said }),
    }
}

/// The failure of a pipe from or to the program.
pub fn of_pipe(error: std::io::Error) -> GitError {
    match interrupt::is_io_error(&error) {
        true => interrupt::Interrupted.into(),
        false => GitError::Run(error),
    }
}
