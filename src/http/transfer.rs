//! One transfer, on the runtime's thread: redirections, the wait for bytes, and the pieces of
//! the body for the thread that reads it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, LINK, LOCATION, PROXY_AUTHORIZATION};
use reqwest::{Method, Url};
use tokio::sync::{mpsc, oneshot};

use crate::http::failure;
use crate::http::message::{Failure, PRIVATE_TOKEN};
use crate::http::proxy::Proxies;
use crate::sys::threads::locked;

/// Pieces of a body on their way to its reader.
pub(super) const PIECES: usize = 4;
/// Bytes gathered into a piece while its reader is busy.
const PIECE: usize = 128 * 1024;
/// Redirections that are followed.
pub(super) const MAX_REDIRECTS: usize = 10;

/// Holds downloads back.
pub(super) struct Limit {
    /// Bytes a second.
    speed: u64,
    /// When what was let through so far should have taken until.
    free: Mutex<Instant>,
}

impl Limit {
    /// A limit of so many bytes a second; none for 0.
    pub(super) fn new(speed: u64) -> Option<Arc<Self>> {
        (speed > 0).then(|| Arc::new(Self { speed, free: Mutex::new(Instant::now()) }))
    }

    /// Waits until so many bytes may have come.
    async fn hold(&self, bytes: usize) {
        let until = {
            let mut free = locked(&self.free);
            let time = Duration::from_secs_f64(bytes as f64 / self.speed as f64);
            *free = (*free).max(Instant::now()) + time;
            *free
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

/// What is uploaded, counted.
pub(super) struct Counted {
    pub(super) receiver: mpsc::Receiver<io::Result<Bytes>>,
    pub(super) progress: Arc<AtomicU64>,
}

impl futures_core::Stream for Counted {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let polled = self.receiver.poll_recv(context);
        if let std::task::Poll::Ready(Some(Ok(piece))) = &polled {
            self.progress.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        polled
    }
}

/// The head of an answer: the status, the headers, and where it came from.
pub(super) type Head = Result<(u16, HeaderMap, Url), Failure>;

/// What a transfer works with.
pub(super) struct Task {
    pub(super) client: reqwest::Client,
    pub(super) asked: Url,
    /// Where it was sent on to.
    pub(super) at: Url,
    /// How often it may still be sent on.
    pub(super) redirects: usize,
    /// The last `Link` of the answers that sent it on, which is told if the last answer has none.
    pub(super) link: Option<HeaderValue>,
    pub(super) proxies: Proxies,
    pub(super) stall: Duration,
    pub(super) limit: Option<Arc<Limit>>,
    /// Bytes of the request handed over.
    pub(super) progress: Arc<AtomicU64>,
}

impl Task {
    fn failure(&self, error: &reqwest::Error) -> Failure {
        failure::failure(error, &self.asked, &self.at, &self.proxies)
    }

    /// The request that an answer sends us on with, if it does.
    fn redirected(
        &mut self,
        response: &reqwest::Response,
        again: Option<reqwest::Request>,
    ) -> Result<Option<reqwest::Request>, Failure> {
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION).and_then(|text| text.to_str().ok());
        // What is sent piece by piece cannot be sent again.
        let (Some(location), Some(mut next), 301 | 302 | 303 | 307 | 308) = (location, again, status) else {
            return Ok(None);
        };
        if self.redirects == 0 {
            return match self.at == self.asked {
                true => Ok(None),
                false => Err(Failure::Request(format!("more than {MAX_REDIRECTS} redirections"))),
            };
        }
        self.redirects -= 1;
        if let Some(link) = response.headers().get(LINK) {
            self.link = Some(link.clone());
        }
        let refused = |to: &Url, why: &str| {
            Failure::Request(format!("redirected to '{}', {why}", failure::without_query(to)))
        };
        let to = self
            .at
            .join(location)
            .map_err(|error| Failure::Request(format!("redirected to something that is no URL: {error}")))?;
        // What a cache says of itself and of its paths is not signed.
        if !matches!(to.scheme(), "http" | "https") || self.at.scheme() == "https" && to.scheme() != "https" {
            return Err(refused(
                &to,
                "which is not encrypted as the first connection is, or not the web at all",
            ));
        }
        if status == 303 && next.method() != Method::HEAD {
            *next.method_mut() = Method::GET;
            *next.body_mut() = None;
        }
        // What lets us in is for the first server only.
        if to.origin() != self.at.origin() {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, PRIVATE_TOKEN] {
                next.headers_mut().remove(name);
            }
        }
        *next.url_mut() = to.clone();
        self.at = to;
        Ok(Some(next))
    }
}

/// One request, up to the head of its answer.
async fn execute(task: &Task, request: reqwest::Request) -> Result<reqwest::Response, Failure> {
    let mut sending = std::pin::pin!(task.client.execute(request));
    let mut seen = 0;
    loop {
        match tokio::time::timeout(task.stall, &mut sending).await {
            Ok(answer) => return answer.map_err(|error| task.failure(&error)),
            Err(_) => {
                let now = task.progress.load(Ordering::Relaxed);
                if now == seen {
                    return Err(Failure::Stalled(task.stall));
                }
                seen = now;
            }
        }
    }
}

/// One transfer, on the runtime's thread.
pub(super) async fn transfer(
    task: Task,
    request: reqwest::Request,
    head: oneshot::Sender<Head>,
    pieces: mpsc::Sender<Result<Bytes, Failure>>,
) {
    let mut task = task;
    let mut next = request;
    let stall = task.stall;
    let mut response = loop {
        let again = next.try_clone();
        let answer = match execute(&task, next).await {
            Ok(response) => task.redirected(&response, again).map(|again| (response, again)),
            Err(failure) => Err(failure),
        };
        match answer {
            Ok((_, Some(again))) => next = again,
            Ok((response, None)) => break response,
            Err(failure) => {
                let _ = head.send(Err(failure));
                return;
            }
        }
    };
    let mut headers = response.headers().clone();
    if let Some(link) = task.link.take() {
        headers.entry(LINK).or_insert(link);
    }
    if head.send(Ok((response.status().as_u16(), headers, task.at.clone()))).is_err() {
        return;
    }
    let mut gathered = bytes::BytesMut::new();
    loop {
        let next = match tokio::time::timeout(stall, response.chunk()).await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => {
                // What came before the failure counts.
                if !gathered.is_empty() {
                    let _ = pieces.send(Ok(gathered.freeze())).await;
                }
                let _ = pieces.send(Err(task.failure(&error))).await;
                return;
            }
            Err(_) => {
                let _ = pieces.send(Err(Failure::Stalled(stall))).await;
                return;
            }
        };
        let Some(chunk) = next else { break };
        if let Some(limit) = &task.limit {
            limit.hold(chunk.len()).await;
        }
        // A reader that waits gets what there is.
        if gathered.is_empty() && (chunk.len() >= PIECE || pieces.capacity() == PIECES) {
            if pieces.send(Ok(chunk)).await.is_err() {
                return;
            }
            continue;
        }
        gathered.extend_from_slice(&chunk);
        if (gathered.len() >= PIECE || pieces.capacity() == PIECES)
            && pieces.send(Ok(gathered.split().freeze())).await.is_err()
        {
            return;
        }
    }
    if !gathered.is_empty() {
        let _ = pieces.send(Ok(gathered.freeze())).await;
    }
}
