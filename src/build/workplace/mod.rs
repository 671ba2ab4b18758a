//! Where a builder works: directories that are made for it and removed after it, its user, and what
//! it sees of the machine.

mod options;
pub mod users;

use std::path::{Path, PathBuf};

pub use options::{Isolation, SandboxOptions, SandboxPath, WorkplaceOptions};

use super::error::BuildError;
use super::log::LogWriter;
use super::process::{Builder, Ended, Program};
use crate::progress::{ActivityId, Progress};

/// The place of one build. Its directories are removed with it, unless they are [kept](Self::keep).
#[derive(Debug)]
pub struct Workplace {
    options: WorkplaceOptions,
    inside: PathBuf,
    outputs_in: PathBuf,
}

impl Workplace {
    /// Makes the directories of a build; `name` is the base name of the derivation.
    ///
    /// # Errors
    /// What could not be made, or is not safe.
    pub fn make(name: &str, options: WorkplaceOptions) -> Result<Self, BuildError> {
        let _ = (name, options);
        Err(BuildError::Unfinished)
    }

    /// The working directory as the builder sees it.
    pub fn inside(&self) -> &Path {
        &self.inside
    }

    /// The real directory in which the store paths lie that the builder writes.
    pub fn outputs_in(&self) -> &Path {
        &self.outputs_in
    }

    /// Sets up what the builder sees and starts it. What it prints waits until it is
    /// [watched](Builder::watch).
    ///
    /// # Errors
    /// [`BuildError::SetUp`], a [`PathError`](crate::sys::PathError), and an interruption. A builder that
    /// cannot be executed is none of these.
    pub fn start(&mut self, program: &Program<'_>) -> Result<Builder<'_>, BuildError> {
        let _ = (program, &self.options);
        Err(BuildError::Unfinished)
    }

    /// Runs a function of ours in place of a builder, in this process and as its user: `work` gets
    /// the real working directory and the directory of [`Workplace::outputs_in`]. The text of its error is a
    /// line of the log.
    ///
    /// # Errors
    /// Errors of the log, and an interruption.
    pub fn run_builtin(
        &mut self,
        work: impl FnOnce(&Path, &Path) -> Result<(), String>,
        log: &mut LogWriter,
        told: &dyn Progress,
        activity: ActivityId,
    ) -> Result<Ended, BuildError> {
        let _ = (work, log, told, activity);
        Err(BuildError::Unfinished)
    }

    /// Leaves the working directory where it is, for everybody to read, and says where.
    pub fn keep(self) -> PathBuf {
        self.inside
    }
}

/// Whether sandboxes can be made here, and why not.
///
/// # Errors
/// What is refused.
pub fn sandbox_available() -> Result<(), BuildError> {
    Err(BuildError::Unfinished)
}
