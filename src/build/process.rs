//! The builder at work: what is run, within which limits, and how it ended.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::environment::BuildFile;
use super::error::BuildError;
use super::log::LogWriter;
use crate::progress::{ActivityId, Progress};

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Program<'p> {
    /// The file, as the builder sees it; one without a slash at its beginning is looked for in the working directory.
    pub builder: &'p [u8],
    /// The arguments after the name, which is the last part of the builder.
    pub args: &'p [Vec<u8>],
    /// All variables.
    pub env: &'p BTreeMap<Vec<u8>, Vec<u8>>,
    /// Files that are put into the working directory before.
    pub files: &'p [BuildFile],
}

/// How much a builder may take. `default()`: as much as it wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Seconds in all.
    pub timeout: Option<u64>,
    /// Seconds without a word.
    pub silence: Option<u64>,
    /// Bytes of output.
    pub log_size: Option<u64>,
}

/// How a builder ended. Nothing of it runs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with a status; a builder that cannot be executed says so in the log and has 1.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// After so many seconds in all it was killed.
    TimedOut(u64),
    /// After so many seconds without a word it was killed.
    Silent(u64),
    /// After more than so many bytes of output it was killed.
    TooMuchLog(u64),
}

/// A builder that was started. When this is dropped, everything of it is killed.
#[derive(Debug)]
pub struct Builder<'w> {
    /// The workplace stays for as long.
    workplace: PhantomData<&'w mut ()>,
}

impl Builder<'_> {
    /// Waits for the end of the builder, which is when nothing of it can print any more. Nothing of it
    /// runs after that, however it ended.
    ///
    /// # Errors
    /// Errors of the log, and an interruption.
    pub fn watch(
        self,
        limits: &Limits,
        log: &mut LogWriter,
        told: &dyn Progress,
        activity: ActivityId,
    ) -> Result<Ended, BuildError> {
        let _ = (self.workplace, limits, log, told, activity);
        Err(BuildError::Unfinished)
    }
}
