//! Running `hg` so that nothing of a repository is executed.
//!
//! | what a repository could bring along | what keeps it from running |
//! |---|---|
//! | hooks, extensions, aliases and programs of its configuration | it is not read: `HGRCSKIPREPO`, which version 5.6 knows for sure |
//! | extensions that it says it needs | they are switched off, and then Mercurial refuses it |
//! | files elsewhere (`lfs`) | the same |
//! | repositories within it | no command here looks into them |
//! | URLs and names that look like flags | `--` before them; names are quoted |
//!
//! Only commands that talk to another repository see the user's own configuration and environment.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::Command;

use super::{MercurialError, Result};
use crate::fetch::git::command::{Running, of_pipe, run};
use crate::settings::Environment;
use crate::sys::interrupt::Interruptible;

/// The first version that is trusted not to read a repository's configuration.
const FIRST: (u32, u32) = (5, 6);
/// Settings of every command.
const HARDENED: &[&str] = &[
    "--noninteractive",
    "--config=ui.archivemeta=false",
    "--config=ui.relative-paths=false",
    "--config=extensions.lfs=!",
    "--config=extensions.largefiles=!",
    "--config=worker.enabled=false",
];
/// Bytes of the names of all tracked files.
const MOST_OF_OUTPUT: u64 = 1 << 30;

/// The program `hg`.
#[derive(Debug, Clone)]
pub struct Hg {
    path: Option<OsString>,
}

impl Hg {
    /// The program that the user's PATH has.
    ///
    /// # Errors
    /// There is none, or it is too old.
    pub fn new(environment: &Environment) -> Result<Hg> {
        let hg = Hg { path: environment.get("PATH").map(OsStr::to_owned) };
        let ended = run(hg.sealed().args(["version", "-q", "-T", "{ver}"]), MOST_OF_OUTPUT)?;
        let version = String::from_utf8_lossy(&ended.output).trim().to_owned();
        // `6.3`, `5.9rc0` and the like.
        let number = |part: &str| part.split(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok();
        let mut numbers = version.split('.').map(number);
        let found = (numbers.next().flatten(), numbers.next().flatten());
        match found {
            (Some(major), Some(minor)) if (major, minor) >= FIRST => Ok(hg),
            _ => Err(MercurialError::Old(version)),
        }
    }

    /// A command that sees nothing of the user's.
    pub fn sealed(&self) -> Command {
        let mut command = Command::new("hg");
        command.env_clear();
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
            .args(HARDENED)
            .current_dir("/")
            .env("LC_ALL", "C")
            .env("HGENCODING", "UTF-8")
            .env("HOME", "/nonexistent")
            .env("HGRCPATH", "")
            .env("HGRCSKIPREPO", "1")
            .env("HGPLAIN", "1");
        command
    }

    /// A command that talks to another repository.
    pub fn reaching(&self) -> Command {
        let mut command = Command::new("hg");
        command.args(HARDENED).env("HGRCSKIPREPO", "1").env("HGPLAIN", "1");
        command
    }

    fn of_repository(&self, repository: &Path, words: &[&str]) -> Command {
        let mut command = self.sealed();
        command.arg("-R").arg(repository).args(words);
        command
    }

    /// What a command on a repository of this machine prints. `url` stands in messages.
    ///
    /// # Errors
    /// [`MercurialError`].
    pub fn output(&self, repository: &Path, url: &str, words: &[&str]) -> Result<Vec<u8>> {
        let ended = run(&mut self.of_repository(repository, words), MOST_OF_OUTPUT)?;
        match ended.status.success() {
            true => Ok(ended.output),
            false => Err(failed(url, ended.said)),
        }
    }

    /// As [`Hg::output`], as text.
    ///
    /// # Errors
    /// As [`Hg::output`].
    pub fn text(&self, repository: &Path, url: &str, words: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.output(repository, url, words)?).into_owned())
    }

    /// Gives what a command prints to `read` as it comes.
    ///
    /// # Errors
    /// [`MercurialError`]; those of `read` if the command did not fail.
    pub fn piped<T>(
        &self,
        repository: &Path,
        url: &str,
        words: &[&str],
        read: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        let mut running = Running::start(&mut self.of_repository(repository, words), false)?;
        let pipe = running.child().stdout.take();
        let mut pipe = Interruptible(pipe.ok_or_else(|| MercurialError::Answer(String::new()))?);
        let result = read(&mut pipe);
        if result.is_ok() {
            // An archive is filled up behind its end, which somebody has to take.
            std::io::copy(&mut pipe, &mut std::io::sink()).map_err(of_pipe)?;
        }
        drop(pipe);
        let (status, said) = running.wait()?;
        match result {
            Ok(_) if !status.success() => Err(failed(url, said)),
            // What could not be read is mostly that the program ended early, and says why.
            Err(_) if said.contains("abort:") && !said.contains("Broken pipe") => Err(failed(url, said)),
            result => result,
        }
    }
}

/// The failure of a command.
pub fn failed(url: &str, said: String) -> MercurialError {
    MercurialError::Fetch { url: url.to_owned(), reason: said }
}
