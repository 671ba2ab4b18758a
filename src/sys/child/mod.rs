//! Starting a process in a place of its own and ending everything that it started.
//!
//! Between us and the child stands a supervisor, so that the child ends when we do, whatever ends
//! us. Between `fork` and `exec` both make system calls and nothing else: we have other threads, which may hold
//! locks at that moment, the allocator's for instance. So what the child does is a list that is made before
//! (`plan`), and errors come back as numbers of the list (`message`).
//!
//! ```text
//! we ── socket ── supervisor ── socket (closed by exec) ── child → program
//! ```

mod message;
mod plan;
mod raw;
mod steps;
mod supervisor;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::PathError;
use super::interrupt::{self, Interrupted};
use message::Message;
use plan::step;
pub use plan::{Action, Executable, Namespaces, Plan, Step, Users};
use raw::Texts;
use supervisor::Prepared;

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// A step failed.
    #[error(transparent)]
    Step(PathError),
    /// A socket or a process could not be had.
    #[error(transparent)]
    System(PathError),
    /// The supervisor has ended without a word.
    #[error("the process that watches over a build has ended unexpectedly")]
    SupervisorLost,
    /// The work of this thread was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A child that was started. All that it started is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    control: OwnedFd,
    supervisor: libc::pid_t,
    steps: Vec<(&'static str, PathBuf)>,
    is_reaped: bool,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
}

/// Whether signals and abstract sockets can be kept from a child ([`Action::KeepToItself`]).
pub fn can_keep_to_itself() -> bool {
    /// The first version that can.
    const SCOPES: std::ffi::c_long = 6;
    raw::landlock_version() >= SCOPES
}

impl Child {
    /// Starts a child and waits until its steps are done.
    ///
    /// # Errors
    /// [`ChildError`]; nothing is left of the child then.
    pub fn start(mut plan: Plan) -> Result<Self, ChildError> {
        let pair = || {
            let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
            socketpair(kind.0, kind.1, kind.2, None).map_err(system("making a socket for"))
        };
        let (ours, control) = pair()?;
        let (inner, child) = pair()?;
        let steps = plan.names();
        let take = |texts: &mut Vec<CString>| Texts::new(std::mem::take(texts));
        let (args, env) = match &mut plan.program {
            Some(program) => (take(&mut program.args), take(&mut program.env)),
            None => (Texts::new(Vec::new()), Texts::new(Vec::new())),
        };
        let map = |inside: u32, outside: u32| format!("{inside} {outside} 1\n").into_bytes();
        let maps = plan
            .users
            .map(|users| (map(users.inside.0, users.outside.0), map(users.inside.1, users.outside.1)));
        let (control_fd, inner_fds) = (control.as_raw_fd(), (inner.as_raw_fd(), child.as_raw_fd()));
        let prepared = Prepared { plan, args, env, maps, control: control_fd, inner: inner_fds };
        // No handler of ours runs in a process that is not ours.
        let before = raw::hold_signals(None);
        // It sends no signal when it ends, so that nobody else here takes note of it.
        let forked = match raw::fork(0) {
            Ok(0) => supervisor::supervise(&prepared),
            other => other,
        };
        raw::hold_signals(Some(&before));
        let supervisor = forked.map_err(system("starting a process for"))?;
        let started = Self { control: ours, supervisor, steps, is_reaped: false };
        // Theirs: when the supervisor is gone, nobody holds the other end.
        drop((prepared, control, inner, child));
        loop {
            interrupt::check()?;
            match started.next_message(WAIT)? {
                None => {}
                Some(Message { word: message::READY, .. }) => return Ok(started),
                Some(Message { word: message::FAILED, first, second }) => {
                    let errno = Errno::from_raw_os_error(second);
                    return Err(ChildError::Step(plan::failure(&started.steps, first, errno)));
                }
                Some(_) => return Err(ChildError::SupervisorLost),
            }
        }
    }

    /// The next message within a time.
    fn next_message(&self, time: Timespec) -> Result<Option<Message>, ChildError> {
        match poll(&mut [PollFd::new(&self.control, PollFlags::IN)], Some(&time)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            other => other.map_err(system("waiting for"))?,
        };
        let message = Message::receive(self.control.as_raw_fd(), true).map_err(system("hearing of"))?;
        message.map_or(Err(ChildError::SupervisorLost), |message| Ok(Some(message)))
    }

    /// Why the child did not become the program, if that is known by now. To be asked when [`Child::news`] can
    /// be read.
    ///
    /// # Errors
    /// A supervisor that is gone.
    pub fn execution_failure(&self) -> Result<Option<Errno>, ChildError> {
        match self.next_message(NOW)? {
            Some(Message { word: message::FAILED, first: step::EXECUTE, second }) => {
                Ok(Some(Errno::from_raw_os_error(second)))
            }
            _ => Ok(None),
        }
    }

    /// What can be read when there is something to be told.
    pub fn news(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Kills what is left of the child and of all that it started; gives the status of the child, and why it
    /// did not become the program, if that was not asked for before.
    ///
    /// # Errors
    /// A supervisor that is gone.
    pub fn end(mut self) -> Result<(Status, Option<Errno>), ChildError> {
        let _ = Message::new(message::END, 0, 0).send(self.control.as_raw_fd());
        let mut failure = None;
        let ended = loop {
            match Message::receive(self.control.as_raw_fd(), true) {
                Ok(Some(Message { word: message::ENDED, second, .. })) => break Ok(status(second)),
                Ok(Some(Message { word: message::FAILED, first: step::EXECUTE, second })) => {
                    failure = Some(Errno::from_raw_os_error(second));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break Err(ChildError::SupervisorLost),
            }
        };
        self.reap();
        ended.map(|status| (status, failure))
    }

    fn reap(&mut self) {
        if !self.is_reaped {
            let _ = raw::wait(self.supervisor, true);
            self.is_reaped = true;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = Message::new(message::END, 0, 0).send(self.control.as_raw_fd());
            self.reap();
        }
    }
}

fn status(raw: i32) -> Status {
    match libc::WIFSIGNALED(raw) {
        true => Status::Signalled(libc::WTERMSIG(raw)),
        false => Status::Exited(libc::WEXITSTATUS(raw)),
    }
}

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// How often somebody who waits looks whether the work is to end.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

fn system(operation: &'static str) -> impl FnOnce(Errno) -> ChildError {
    move |errno| ChildError::System(PathError::new(operation, "/proc/self", errno))
}
