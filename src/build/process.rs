//! The builder at work: what is run, within which limits, and how it ended.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::environment::BuildFile;
use super::error::BuildError;
use super::log::LogWriter;
use crate::progress::{ActivityId, Progress};
use crate::sys::PathError;
use crate::sys::child::{Child, Status};
use crate::sys::interrupt;

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
    child: Child,
    terminal: OwnedFd,
    name: String,
    began: Instant,
    /// The workplace stays for as long.
    workplace: PhantomData<&'w mut ()>,
}

impl Builder<'_> {
    /// A child whose output comes from a terminal that is read without waiting; `name` is for messages.
    pub(super) fn new(child: Child, terminal: OwnedFd, name: String) -> Self {
        Self { child, terminal, name, began: Instant::now(), workplace: PhantomData }
    }

    /// Waits for the end of the builder, which is when nothing of it can print any more. Nothing of it
    /// runs after that, however it ended. The log is left to be finished.
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
        let mut watched =
            Watched { log, told, activity, limits, began: self.began, heard: self.began, size: 0 };
        let mut buffer = vec![0; 1 << 16];
        let mut failure = None;
        let killed = loop {
            interrupt::check()?;
            if let Some(over) = watched.time_is_over() {
                break Some(over);
            }
            let (news, output) = self.wait(watched.patience(), failure.is_none())?;
            if news && let Some(errno) = self.child.execution_failure().map_err(BuildError::of_child)? {
                failure = Some(errno);
            }
            if output {
                match rustix::io::read(&self.terminal, &mut buffer) {
                    // Nobody has the other side open any more.
                    Ok(0) | Err(Errno::IO) => break None,
                    Ok(count) => {
                        if let Some(over) = watched.hear(&buffer[..count])? {
                            break Some(over);
                        }
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(errno) => return Err(PathError::new("reading", "/dev/ptmx", errno).into()),
                }
            }
        };
        let (status, later) = self.child.end().map_err(BuildError::of_child)?;
        if let Some(errno) = failure.or(later) {
            let reason = crate::sys::errno_text(&errno.into());
            log.write(format!("error: executing '{}': {reason}\n", self.name).as_bytes(), told, activity)?;
        }
        Ok(killed.unwrap_or(match status {
            Status::Exited(status) => Ended::Exited(status),
            Status::Signalled(signal) => Ended::Signalled(signal),
        }))
    }

    /// Waits until there is something to be read: whether from the child, whether from the terminal.
    fn wait(&self, patience: Duration, with_news: bool) -> Result<(bool, bool), BuildError> {
        let news = self.child.news();
        let mut wanted = [PollFd::new(&self.terminal, PollFlags::IN), PollFd::new(&news, PollFlags::IN)];
        let count = if with_news { 2 } else { 1 };
        // Less than a second.
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        match poll(&mut wanted[..count], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(PathError::new("waiting for", "/dev/ptmx", errno).into()),
        }
        let [output, news] = wanted.map(|wanted| !wanted.revents().is_empty());
        Ok((news, output))
    }
}

/// How often it is looked whether the work is to end.
const LOOK: Duration = Duration::from_millis(100);

/// What is known of a builder that runs.
struct Watched<'w> {
    log: &'w mut LogWriter,
    told: &'w dyn Progress,
    activity: ActivityId,
    limits: &'w Limits,
    began: Instant,
    heard: Instant,
    size: u64,
}

impl Watched<'_> {
    /// Takes some output; tells when that was too much.
    fn hear(&mut self, bytes: &[u8]) -> Result<Option<Ended>, PathError> {
        self.heard = Instant::now();
        self.size += bytes.len() as u64;
        self.log.write(bytes, self.told, self.activity)?;
        Ok(self.limits.log_size.filter(|limit| self.size > *limit).map(Ended::TooMuchLog))
    }

    fn time_is_over(&self) -> Option<Ended> {
        let over = |since: Instant, limit: Option<u64>| {
            limit.filter(|limit| since.elapsed() >= Duration::from_secs(*limit))
        };
        let silent = over(self.heard, self.limits.silence).map(Ended::Silent);
        silent.or_else(|| over(self.began, self.limits.timeout).map(Ended::TimedOut))
    }

    /// How long nothing has to be looked at.
    fn patience(&self) -> Duration {
        let left = |since: Instant, limit: Option<u64>| {
            limit.map_or(LOOK, |limit| Duration::from_secs(limit).saturating_sub(since.elapsed()))
        };
        left(self.heard, self.limits.silence).min(left(self.began, self.limits.timeout)).min(LOOK)
    }
}
