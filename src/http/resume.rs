//! A body that goes on after the connection broke, from a web server or from a
//! bucket.

use std::io::{self, Read};
use std::sync::Arc;

use crate::http::client::ResponseBody;
use crate::http::retry::{pause, sleep};
use crate::progress::Progress;
use crate::sys::interrupt;

/// Asks for the rest of a file from a byte on: the body, and the bytes of it
/// that come again because the server began earlier.
pub type Reopen = Box<dyn FnMut(u64) -> io::Result<(ResponseBody, u64)> + Send>;

/// Such a body.
pub struct Resuming {
    /// What is being read.
    pub body: ResponseBody,
    /// For what is missing when it breaks.
    pub reopen: Reopen,
    /// Bytes of the file that were read.
    pub at: u64,
    /// Bytes that come again.
    pub skip: u64,
    /// Where the file ends, if that is known.
    pub end: Option<u64>,
    /// Its name, for messages.
    pub shown: String,
    /// Tries in all.
    pub attempts: u64,
    /// Tries that failed.
    pub attempt: u64,
    /// Who is told of them.
    pub progress: Arc<dyn Progress>,
}

impl Resuming {
    fn resume(&mut self, reason: &io::Error) -> io::Result<()> {
        self.attempt += 1;
        if self.attempt >= self.attempts || interrupt::requested() {
            return Err(io::Error::other(reason.to_string()));
        }
        let pause = pause(self.attempt, None);
        self.progress.warn(&format!(
            "unable to download '{}': {reason}; retrying from offset {} in {} ms (attempt {}/{})",
            self.shown,
            self.at,
            pause.as_millis(),
            self.attempt,
            self.attempts
        ));
        sleep(pause).map_err(io::Error::other)?;
        (self.body, self.skip) = (self.reopen)(self.at)?;
        Ok(())
    }
}

impl Read for Resuming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let wanted = match self.skip {
                0 => buffer.len(),
                skip => buffer.len().min(usize::try_from(skip).unwrap_or(usize::MAX)),
            };
            let result = match self.body.read(&mut buffer[..wanted]) {
                Ok(0) if wanted > 0 && self.end.is_some_and(|end| self.at < end) => {
                    Err(io::Error::other(format!("the connection ended at byte {}", self.at)))
                }
                other => other,
            };
            match result {
                Ok(count) if self.skip > 0 && count > 0 => self.skip -= count as u64,
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) => self.resume(&error)?,
            }
        }
    }
}
