//! A body that goes on after the connection broke, from a web server or from a
//! bucket.

use std::io::{self, Read};
use std::sync::Arc;

use crate::http::message::{Response, ResponseBody};
use crate::http::retry::{early, pause, sleep};
use crate::progress::Progress;
use crate::sys::interrupt;

/// Asks for the rest of a file from a byte on: the body, and the bytes of it
/// that come again because the server began earlier.
type Reopen = Box<dyn FnMut(u64) -> io::Result<(ResponseBody, u64)> + Send>;

/// A file that is to be downloaded.
pub struct Download {
    /// Its name, for messages.
    pub shown: String,
    /// The first byte of it that is wanted.
    pub from: u64,
    /// Tries in all.
    pub attempts: u64,
    /// Who is told of those that fail.
    pub progress: Arc<dyn Progress>,
}

impl Download {
    /// Gives what reads the file, of which `response` is the first answer, and how
    /// many bytes of it are announced. `again` asks for it from a byte on when
    /// the connection breaks.
    ///
    /// # Errors
    /// A word about an answer of other bytes than those that were asked for.
    pub fn begin<E>(
        self,
        response: Response,
        mut again: impl FnMut(u64) -> Result<Response, E> + Send + 'static,
    ) -> Result<(Resuming, Option<u64>), String>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let skip = early(&response, self.from)?;
        let len = response.announced().map(|len| len.saturating_sub(skip));
        let reopen = move |at| {
            let response = again(at).map_err(io::Error::other)?;
            if !matches!(response.status, 200 | 206) {
                return Err(io::Error::other(format!("HTTP error {}", response.status)));
            }
            let skip = early(&response, at).map_err(io::Error::other)?;
            Ok((response.body, skip))
        };
        let body = Resuming {
            body: response.body,
            reopen: Box::new(reopen),
            at: self.from,
            skip,
            end: len.and_then(|len| len.checked_add(self.from)),
            attempt: 0,
            file: self,
        };
        Ok((body, len))
    }
}

/// A body that goes on after the connection broke.
pub struct Resuming {
    /// What is being read.
    body: ResponseBody,
    /// For what is missing when it breaks.
    reopen: Reopen,
    /// Bytes of the file that were read.
    at: u64,
    /// Bytes that come again.
    skip: u64,
    /// Where the file ends, if that is known.
    end: Option<u64>,
    /// Tries that failed.
    attempt: u64,
    /// What is being read.
    file: Download,
}

impl Resuming {
    fn resume(&mut self, reason: &io::Error) -> io::Result<()> {
        self.attempt += 1;
        if self.attempt >= self.file.attempts || interrupt::requested() {
            return Err(io::Error::other(reason.to_string()));
        }
        let pause = pause(self.attempt, None);
        self.file.progress.warn(&format!(
            "unable to download '{}': {reason}; retrying from offset {} in {} ms (attempt {}/{})",
            self.file.shown,
            self.at,
            pause.as_millis(),
            self.attempt,
            self.file.attempts
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
