//! The process between us and the child: it outlives us by the moment that it takes to kill
//! everything that the child has started.
//!
//! It waits for the first of these: we tell it to end, or we are gone, in whatever way. The child cannot reach it:
//! it is no member of the namespaces of the child, or of its scope, and no user of the child's may send it signals.
//! Nothing here allocates.

use std::os::fd::{AsRawFd as _, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Uid};

use super::message::{self, Message};
use super::plan::{Plan, step};
use super::raw::{self, Texts};
use super::steps::Follower;

/// All that the two processes need, made before they are.
pub(super) struct Prepared {
    pub plan: Plan,
    pub args: Texts,
    pub env: Texts,
    /// Lines for the maps of users and groups.
    pub maps: Option<(Vec<u8>, Vec<u8>)>,
    /// The supervisor's socket to us.
    pub control: RawFd,
    /// The socket between supervisor and child: the supervisor's side, the child's.
    pub inner: (RawFd, RawFd),
}

/// What the supervisor does all its life.
pub(super) fn supervise(prepared: &Prepared) -> ! {
    let control = prepared.control;
    let report = |message: Message| {
        let _ = message.send(control);
    };
    // It belongs to no terminal, from which signals would come.
    let _ = rustix::process::setsid();
    let _ = raw::control(libc::PR_SET_CHILD_SUBREAPER, 1);
    let mut kept = [
        control,
        prepared.inner.0,
        prepared.inner.1,
        prepared.plan.input.as_raw_fd(),
        prepared.plan.output.as_raw_fd(),
    ];
    kept.sort_unstable();
    raw::close_all_but(&kept);
    if let Err(errno) = end_owner(prepared.plan.owner) {
        report(Message::failed(step::OWNER, errno));
        raw::exit(1);
    }
    let ends = match raw::ends_of_children() {
        Ok(ends) => ends,
        Err(errno) => {
            report(Message::failed(step::SESSION, errno));
            raw::exit(1);
        }
    };
    let child = match raw::fork(prepared.plan.namespaces.flags() | libc::SIGCHLD) {
        Ok(0) => become_child(prepared),
        Ok(child) => child,
        Err(errno) => {
            report(Message::failed(step::BIRTH, errno));
            raw::exit(1);
        }
    };
    let mut kept = [control, prepared.inner.0, ends];
    kept.sort_unstable();
    raw::close_all_but(&kept);
    // No other process looks into this one, which has the memory of ours.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut family = Family { child, status: None };
    wait_for_the_word(prepared, &mut family, ends);
    let status = family.end();
    // Only by now is it certain that the user has no process that could begin another.
    let _ = end_owner(prepared.plan.owner);
    family.reap();
    report(Message::new(message::ENDED, 0, status));
    raw::exit(0)
}

/// Answers the child and passes on what it tells, until it is time to end.
fn wait_for_the_word(prepared: &Prepared, family: &mut Family, ends: RawFd) {
    let (control, inner) = (prepared.control, prepared.inner.0);
    let mut is_child_there = true;
    loop {
        let (us, other, end) = (raw::borrowed(control), raw::borrowed(inner), raw::borrowed(ends));
        let mut wanted = [
            PollFd::new(&us, PollFlags::IN),
            PollFd::new(&end, PollFlags::IN),
            PollFd::new(&other, PollFlags::IN),
        ];
        let count = if is_child_there { 3 } else { 2 };
        if poll(&mut wanted[..count], None).is_err() {
            // All signals are held back; memory is short for a moment.
            continue;
        }
        let happened = wanted.map(|wanted| !wanted.revents().is_empty());
        if happened[1] {
            let mut ended = [0_u8; 512];
            let _ = rustix::io::read(raw::borrowed(ends), &mut ended);
            family.reap();
        }
        if is_child_there && happened[2] {
            match Message::receive(inner, false) {
                Ok(Some(told)) => answer(prepared, family.child, told),
                Err(Errno::AGAIN) => {}
                // It has become the program, or ended.
                Ok(None) | Err(_) => is_child_there = false,
            }
        }
        if happened[0] {
            // A word that is left unread would come back as an error, before what is still to be told.
            let _ = Message::receive(control, false);
            return;
        }
    }
}

fn answer(prepared: &Prepared, child: libc::pid_t, told: Message) {
    let inner = prepared.inner.0;
    match told.word {
        message::USERS => {
            let done = match &prepared.maps {
                Some((users, groups)) => write_maps(child, users, groups),
                None => Err(Errno::INVAL),
            };
            let errno = done.map_or_else(Errno::raw_os_error, |()| 0);
            let _ = Message::new(message::ANSWER, 0, errno).send(inner);
        }
        message::READY => {
            let _ = told.send(prepared.control);
            let _ = Message::new(message::ANSWER, 0, 0).send(inner);
        }
        _ => {
            let _ = told.send(prepared.control);
        }
    }
}

/// The child and all that it started.
struct Family {
    child: libc::pid_t,
    /// How the child ended, when it has.
    status: Option<i32>,
}

impl Family {
    /// Takes note of those that have ended.
    fn reap(&mut self) {
        while let Ok((pid, status)) = raw::wait(-1, false)
            && pid > 0
        {
            if pid == self.child {
                self.status = Some(status);
            }
        }
    }

    /// Kills them all; gives the status of the child.
    fn end(&mut self) -> i32 {
        self.reap();
        if self.status.is_none() {
            let _ = raw::kill(self.child);
            // When this process was the first of a namespace, all others of it have ended by then.
            if let Ok((_, status)) = raw::wait(self.child, true) {
                self.status = Some(status);
            }
        }
        self.end_orphans();
        self.status.unwrap_or(libc::SIGKILL)
    }

    /// Kills children, among which their children are afterwards, until there are none.
    fn end_orphans(&mut self) {
        let mut list = [0_u8; 4096];
        loop {
            self.reap();
            let length = read_children(&mut list).unwrap_or(0);
            let mut any = false;
            // What does not fit comes in the next round; the last number may be cut off.
            let whole = list[..length].iter().rposition(|byte| *byte == b' ').unwrap_or(0);
            for word in list[..whole].split(|byte| *byte == b' ') {
                if let Some(pid) = number(word) {
                    any = true;
                    let _ = raw::kill(pid);
                }
            }
            // Those that were killed are waited for. Nothing is left, or nobody tells what is.
            if !any || raw::wait(-1, true).is_err() {
                return;
            }
        }
    }
}

/// The numbers of our children, each with a blank after it.
fn read_children(list: &mut [u8]) -> Result<usize, Errno> {
    let file = openat(CWD, c"/proc/thread-self/children", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::read(&file, list)
}

fn number(word: &[u8]) -> Option<libc::pid_t> {
    let mut number: libc::pid_t = 0;
    for digit in word {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number = number.checked_mul(10)?.checked_add(libc::pid_t::from(digit))?;
    }
    (number > 0).then_some(number)
}

/// Kills all processes of a user who has none but those of builds.
fn end_owner(owner: Option<u32>) -> Result<(), Errno> {
    let Some(owner) = owner else { return Ok(()) };
    if owner == 0 {
        // All processes of the machine would be meant.
        return Err(Errno::PERM);
    }
    match raw::fork(libc::SIGCHLD)? {
        0 => {
            let user = Uid::from_raw(owner);
            if rustix::thread::set_thread_res_uid(user, user, user).is_err() {
                raw::exit(1);
            }
            match raw::kill(-1) {
                // There was none.
                Ok(()) | Err(Errno::SRCH) => raw::exit(0),
                Err(_) => raw::exit(1),
            }
        }
        killer => match raw::wait(killer, true)? {
            (_, 0) => Ok(()),
            _ => Err(Errno::PERM),
        },
    }
}

/// Tells the kernel which users and groups a namespace has.
fn write_maps(child: libc::pid_t, users: &[u8], groups: &[u8]) -> Result<(), Errno> {
    let write = |name: &[u8], contents: &[u8]| {
        let path = ProcPath::new(child, name).ok_or(Errno::NAMETOOLONG)?;
        let file = openat(CWD, path.text()?, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, contents).map(drop)
    };
    // Without this, a user could get out of a group that is kept from something.
    write(b"setgroups", b"deny")?;
    write(b"gid_map", groups)?;
    write(b"uid_map", users)
}

/// `/proc/PID/NAME`, without memory of its own.
struct ProcPath {
    bytes: [u8; 64],
}

impl ProcPath {
    fn new(pid: libc::pid_t, name: &[u8]) -> Option<Self> {
        let mut digits = [0_u8; 10];
        let (mut rest, mut first) = (pid, digits.len());
        while rest > 0 && first > 0 {
            first -= 1;
            digits[first] = b'0' + u8::try_from(rest % 10).ok()?;
            rest /= 10;
        }
        let mut bytes = [0; 64];
        let mut end = 0;
        for part in [b"/proc/".as_slice(), &digits[first..], b"/", name, b"\0"] {
            bytes.get_mut(end..end + part.len())?.copy_from_slice(part);
            end += part.len();
        }
        Some(Self { bytes })
    }

    fn text(&self) -> Result<&std::ffi::CStr, Errno> {
        std::ffi::CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::INVAL)
    }
}

/// What the child does before it becomes the program.
fn become_child(prepared: &Prepared) -> ! {
    let inner = match arrange(prepared) {
        Ok(inner) => inner,
        Err(errno) => {
            let _ = Message::failed(step::SESSION, errno).send(prepared.inner.1);
            raw::exit(1)
        }
    };
    let fail = |number: u32, errno: Errno| -> ! {
        let _ = Message::failed(number, errno).send(inner);
        raw::exit(1)
    };
    let mut follower = Follower::new(inner);
    for (number, step) in (0..).zip(&prepared.plan.steps) {
        if let Err(errno) = follower.follow(&step.action) {
            fail(number, errno);
        }
    }
    // A change of user would undo this. It is for a supervisor that is killed; and when it was before
    // now, the answer does not come.
    let signal = rustix::process::Signal::KILL;
    if let Err(errno) = rustix::process::set_parent_process_death_signal(Some(signal))
        .and_then(|()| message::ask(inner, message::READY))
    {
        fail(step::SESSION, errno);
    }
    let Some(program) = &prepared.plan.program else { raw::exit(0) };
    raw::reset_signals();
    let errno = raw::execute(&program.path, &prepared.args, &prepared.env);
    fail(step::EXECUTE, errno)
}

/// A session of its own, and no descriptors but the standard ones and the socket, which is given.
fn arrange(prepared: &Prepared) -> Result<RawFd, Errno> {
    rustix::process::setsid()?;
    const STANDARD: RawFd = 3;
    // Those that are there may have numbers of standard ones.
    let inner = raw::copy_above(prepared.inner.1, STANDARD)?;
    let input = raw::copy_above(prepared.plan.input.as_raw_fd(), STANDARD)?;
    let output = raw::copy_above(prepared.plan.output.as_raw_fd(), STANDARD)?;
    raw::copy_to(input, 0)?;
    raw::copy_to(output, 1)?;
    raw::copy_to(output, 2)?;
    raw::close_all_but(&[0, 1, 2, inner]);
    Ok(inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_processes() {
        assert_eq!(ProcPath::new(1, b"uid_map").unwrap().text().unwrap(), c"/proc/1/uid_map");
        let largest = ProcPath::new(libc::pid_t::MAX, b"gid_map").unwrap();
        assert_eq!(largest.text().unwrap(), c"/proc/2147483647/gid_map");
        assert!(ProcPath::new(1, &[b'x'; 64]).is_none());
    }

    #[test]
    fn numbers_of_processes() {
        assert_eq!(number(b"4711"), Some(4711));
        for bad in [&b""[..], b"0", b"x", b"-1", b"99999999999"] {
            assert_eq!(number(bad), None);
        }
    }
}
