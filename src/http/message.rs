//! Requests, answers, and bodies that are read as they come.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, Url};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::http::staged::Staged;
use crate::sys::interrupt;

/// What lets people in at GitLab, beside `Authorization`. Neither is for another server that an answer
/// sends us on to.
pub const PRIVATE_TOKEN: HeaderName = HeaderName::from_static("private-token");

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or it broke. Trying again may help.
    Connection(String),
    /// Nothing came for too long.
    Stalled(Duration),
    /// The request itself cannot be made.
    Request(String),
    /// The work was told to end.
    Interrupted(interrupt::Interrupted),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(text) | Self::Request(text) => f.write_str(text),
            Self::Stalled(time) => write!(f, "nothing came for {} seconds", time.as_secs()),
            Self::Interrupted(interrupted) => interrupted.fmt(f),
        }
    }
}

/// A request.
pub struct Request<'b> {
    /// GET, HEAD, PUT, POST, DELETE.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Beside those of every request.
    pub headers: HeaderMap,
    /// What is sent: all or a part of something.
    pub body: Option<UploadBody<'b>>,
}

/// What is sent with a request.
pub struct UploadBody<'b> {
    /// It is part of this.
    pub data: &'b Staged,
    /// Where it begins.
    pub from: u64,
    /// Bytes.
    pub len: u64,
}

/// An answer, up to its body.
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Where it came from, after all redirections.
    pub url: Url,
    /// The body.
    pub body: ResponseBody,
}

impl Response {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The announced length of the body.
    pub fn announced(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The beginning of the body, whatever it is.
    pub fn excerpt(self) -> String {
        let mut text = Vec::new();
        let _ = self.body.take(2000).read_to_end(&mut text);
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// A few lines of the body, for messages; nothing of what is made for
    /// browsers.
    pub fn words(self) -> String {
        const LINES: usize = 5;
        let kind = self.header("content-type").unwrap_or("text/plain").trim().to_ascii_lowercase();
        if !kind.starts_with("text/plain") && !kind.starts_with("application/json") {
            return String::new();
        }
        let text = self.excerpt();
        if text.starts_with('<') {
            return String::new();
        }
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let more = if lines.len() > LINES { "\n…" } else { "" };
        lines[..lines.len().min(LINES)].join("\n") + more
    }
}

/// How often a thread that waits looks for a signal.
const LOOK: Duration = Duration::from_millis(100);

/// A body, read as it comes.
pub struct ResponseBody {
    runtime: Handle,
    pieces: mpsc::Receiver<Result<Bytes, Failure>>,
    current: Bytes,
    ended: bool,
}

impl ResponseBody {
    /// The body that comes in these pieces, on that runtime.
    pub(super) fn new(runtime: Handle, pieces: mpsc::Receiver<Result<Bytes, Failure>>) -> Self {
        Self { runtime, pieces, current: Bytes::new(), ended: false }
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.ended {
                return Ok(0);
            }
            let next = match self.pieces.try_recv() {
                Ok(piece) => Some(piece),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
                Err(mpsc::error::TryRecvError::Empty) => {
                    wait(&self.runtime, self.pieces.recv()).map_err(|_| interrupted())?
                }
            };
            match next {
                Some(Ok(piece)) => self.current = piece,
                Some(Err(failure)) => {
                    self.ended = true;
                    return Err(io::Error::other(failure.to_string()));
                }
                None => self.ended = true,
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

fn interrupted() -> io::Error {
    io::Error::other(interrupt::Interrupted)
}

/// Waits for something the runtime does, or for a signal.
pub(crate) fn wait<T>(
    runtime: &Handle,
    something: impl Future<Output = T>,
) -> Result<T, interrupt::Interrupted> {
    let mut something = std::pin::pin!(something);
    loop {
        interrupt::check()?;
        if let Ok(done) = runtime.block_on(async { tokio::time::timeout(LOOK, &mut something).await }) {
            return Ok(done);
        }
    }
}
