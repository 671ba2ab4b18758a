//! What the processes tell each other: datagrams of twelve bytes over sockets.

use std::os::fd::RawFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::raw;

/// A word and two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub word: u32,
    pub first: u32,
    pub second: i32,
}

/// To the supervisor, from the process: who is there in its user namespace?
pub(super) const USERS: u32 = 1;
/// To the supervisor: the steps are done, the program is next. Passed on.
pub(super) const READY: u32 = 2;
/// A step (the first number) failed with an error (the second). Passed on.
pub(super) const FAILED: u32 = 3;
/// An answer to a question: an error, or 0.
pub(super) const ANSWER: u32 = 4;
/// To the supervisor, from the program that wants it: everything is to end.
pub(super) const END: u32 = 5;
/// From the supervisor: everything has ended; the second number is the status as wait gives it.
pub(super) const ENDED: u32 = 6;

const SIZE: usize = 12;

impl Message {
    pub(super) fn new(word: u32, first: u32, second: i32) -> Self {
        Self { word, first, second }
    }

    /// The failure of a step.
    pub(super) fn failed(step: u32, errno: Errno) -> Self {
        Self::new(FAILED, step, errno.raw_os_error())
    }

    /// Sends it; nothing is done where nobody is there any more.
    pub(super) fn send(self, socket: RawFd) -> Result<(), Errno> {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&self.word.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.first.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.second.to_ne_bytes());
        loop {
            match rustix::net::send(raw::borrowed(socket), &bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// The next message; none when nobody is there any more.
    pub(super) fn receive(socket: RawFd, is_patient: bool) -> Result<Option<Self>, Errno> {
        let mut bytes = [0; SIZE];
        let flags = if is_patient { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        loop {
            match rustix::net::recv(raw::borrowed(socket), &mut bytes, flags) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok((SIZE, _)) => break,
                Ok(_) => return Ok(None),
            }
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Ok(Some(Self {
            word: u32::from_ne_bytes([a, b, c, d]),
            first: u32::from_ne_bytes([e, f, g, h]),
            second: i32::from_ne_bytes([i, j, k, l]),
        }))
    }
}

/// Asks the supervisor for something and waits until it is done.
pub(super) fn ask(supervisor: RawFd, word: u32) -> Result<(), Errno> {
    Message::new(word, 0, 0).send(supervisor)?;
    match Message::receive(supervisor, true)? {
        Some(Message { word: ANSWER, second: 0, .. }) => Ok(()),
        Some(Message { word: ANSWER, second, .. }) => Err(Errno::from_raw_os_error(second)),
        // The supervisor is gone, and with it the reason to go on.
        _ => Err(Errno::PIPE),
    }
}
