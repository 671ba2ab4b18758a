//! HTTP requests for threads that wait: one thread of its own runs all
//! transfers, so that hundreds can be under way, each can be given up when
//! nothing comes any more, and a signal ends the wait for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::super::stage::Staged;
use crate::sys::interrupt;

/// How often a thread that waits looks for a signal.
const LOOK: Duration = Duration::from_millis(100);
/// Pieces of a body on their way to whoever reads it.
const PIECES: usize = 4;
/// Bytes gathered into a piece while its reader is busy.
const PIECE: usize = 128 * 1024;
/// Bytes read at a time from what is uploaded.
const UPLOAD_PIECE: usize = 128 * 1024;
/// Redirections that are followed.
const MAX_REDIRECTS: usize = 10;

/// How requests are made.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Longest wait for a connection.
    pub connect_timeout: Option<Duration>,
    /// Longest wait without a byte.
    pub stall: Duration,
    /// Tries for each request.
    pub attempts: u64,
    /// Tries for `nix-cache-info`, which is asked for first.
    pub first_attempts: u64,
    /// Requests at the same time.
    pub connections: usize,
    /// HTTP/2 where the server has it.
    pub http2: bool,
    /// Certificates of those who may vouch for servers, if not the system's.
    pub certificates: Option<PathBuf>,
    /// User names and passwords.
    pub netrc: PathBuf,
    /// What we call ourselves.
    pub user_agent: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or it broke. Trying again may help.
    Connection(String),
    /// Nothing came for too long.
    Stalled(Duration),
    /// The request itself cannot be made.
    Request(String),
    /// A signal.
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

    /// The beginning of the body, for messages.
    pub fn excerpt(self) -> String {
        let mut text = Vec::new();
        let _ = self.body.take(2000).read_to_end(&mut text);
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

/// A body, read as it comes.
pub struct ResponseBody {
    runtime: Handle,
    pieces: mpsc::Receiver<Result<Bytes, Failure>>,
    current: Bytes,
    ended: bool,
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
pub(in crate::store::binary_cache) fn wait<T>(
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

/// Makes requests.
pub struct Client {
    client: reqwest::Client,
    runtime: Handle,
    settings: HttpSettings,
    /// Ends the runtime's thread when it is dropped.
    _end: oneshot::Sender<()>,
}

impl Client {
    /// Starts the thread.
    ///
    /// # Errors
    /// A text: no thread, or settings that cannot be used.
    pub fn new(settings: HttpSettings, follow_redirects: bool) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                // The other end is dropped when the client is.
                let _ = runtime.block_on(ended);
                runtime.shutdown_background();
            })
            .map_err(|error| error.to_string())?;
        let redirects = match follow_redirects {
            true => reqwest::redirect::Policy::limited(MAX_REDIRECTS),
            false => reqwest::redirect::Policy::none(),
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(settings.certificates.as_deref(), settings.http2)?)
            .redirect(redirects)
            .pool_max_idle_per_host(settings.connections)
            .user_agent(settings.user_agent.clone());
        if let Some(timeout) = settings.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        let client = builder.build().map_err(|error| chain(&error))?;
        Ok(Self { client, runtime: handle, settings, _end: end })
    }

    /// The settings.
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Requests at the same time.
    pub fn parallel(&self) -> usize {
        /// Where the setting says that there is no limit.
        const UNLIMITED: usize = 64;
        match self.settings.connections {
            0 => UNLIMITED,
            count => count,
        }
    }

    /// Tries for a file.
    pub fn attempts(&self, name: &str) -> u64 {
        let settings = &self.settings;
        let attempts =
            if name == super::super::CACHE_INFO { settings.first_attempts } else { settings.attempts };
        attempts.max(1)
    }

    /// Where futures run.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Sends a request and waits for the answer's head. Nothing is tried again.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn send(&self, request: Request<'_>) -> Result<Response, Failure> {
        let mut builder = self.client.request(request.method, request.url).headers(request.headers);
        // Bytes handed over so far, for the watchdog.
        let progress = Arc::new(AtomicU64::new(0));
        let mut feed = None;
        if let Some(body) = &request.body {
            builder = builder.header(reqwest::header::CONTENT_LENGTH, body.len);
            if let (Staged::Memory(data), 0) = (body.data, body.from)
                && data.len() as u64 == body.len
            {
                builder = builder.body(data.clone());
            } else {
                let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES);
                let counted = Counted { receiver, progress: Arc::clone(&progress) };
                builder = builder.body(reqwest::Body::wrap_stream(counted));
                feed = Some((sender, body));
            }
        }
        let request = builder.build().map_err(|error| Failure::Request(chain(&error)))?;
        let (head_sender, head) = oneshot::channel();
        let (piece_sender, pieces) = mpsc::channel(PIECES);
        let (client, stall) = (self.client.clone(), self.settings.stall);
        self.runtime.spawn(transfer(client, request, stall, progress, head_sender, piece_sender));
        let mut head = head;
        let early = match feed {
            Some((sender, body)) => self.feed(sender, body, &mut head)?,
            None => None,
        };
        let answer = match early {
            Some(answer) => answer,
            None => wait(&self.runtime, head).map_err(Failure::Interrupted)?,
        };
        let (status, headers) =
            answer.map_err(|_| Failure::Connection("the transfer was given up".to_owned()))??;
        let body =
            ResponseBody { runtime: self.runtime.clone(), pieces, current: Bytes::new(), ended: false };
        Ok(Response { status, headers, body })
    }

    /// Hands over what is uploaded, as fast as it is taken; ends early with an
    /// answer that comes before everything was sent.
    fn feed(
        &self,
        sender: mpsc::Sender<io::Result<Bytes>>,
        body: &UploadBody<'_>,
        head: &mut oneshot::Receiver<Head>,
    ) -> Result<Option<Answer>, Failure> {
        let failed = |error: io::Error| Failure::Request(format!("reading what is uploaded: {error}"));
        let mut reader = body.data.reader(body.from).map_err(failed)?.take(body.len);
        loop {
            let mut piece = Vec::with_capacity(UPLOAD_PIECE);
            (&mut reader).take(UPLOAD_PIECE as u64).read_to_end(&mut piece).map_err(failed)?;
            if piece.is_empty() {
                return Ok(None);
            }
            let mut sending = std::pin::pin!(sender.send(Ok(piece.into())));
            let either = std::future::poll_fn(|context| {
                if let Poll::Ready(answer) = Pin::new(&mut *head).poll(context) {
                    return Poll::Ready(Some(answer));
                }
                // Nobody takes it any more: the answer says why.
                sending.as_mut().poll(context).map(|_| None)
            });
            let fed = wait(&self.runtime, async { tokio::time::timeout(self.settings.stall, either).await });
            match fed.map_err(Failure::Interrupted)? {
                Ok(None) if sender.is_closed() => return Ok(None),
                Ok(None) => {}
                Ok(Some(answer)) => return Ok(Some(answer)),
                Err(_) => return Err(Failure::Stalled(self.settings.stall)),
            }
        }
    }
}

type Answer = Result<Head, oneshot::error::RecvError>;

/// What is uploaded, counted.
struct Counted {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    progress: Arc<AtomicU64>,
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

type Head = Result<(u16, HeaderMap), Failure>;

/// One transfer, on the runtime's thread.
async fn transfer(
    client: reqwest::Client,
    request: reqwest::Request,
    stall: Duration,
    progress: Arc<AtomicU64>,
    head: oneshot::Sender<Head>,
    pieces: mpsc::Sender<Result<Bytes, Failure>>,
) {
    let mut sending = std::pin::pin!(client.execute(request));
    let mut seen = 0;
    let answer = loop {
        match tokio::time::timeout(stall, &mut sending).await {
            Ok(answer) => break answer,
            Err(_) => {
                let now = progress.load(Ordering::Relaxed);
                if now == seen {
                    let _ = head.send(Err(Failure::Stalled(stall)));
                    return;
                }
                seen = now;
            }
        }
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            let _ = head.send(Err(failure(&error)));
            return;
        }
    };
    if head.send(Ok((response.status().as_u16(), response.headers().clone()))).is_err() {
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
                let _ = pieces.send(Err(failure(&error))).await;
                return;
            }
            Err(_) => {
                let _ = pieces.send(Err(Failure::Stalled(stall))).await;
                return;
            }
        };
        let Some(chunk) = next else { break };
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

fn failure(error: &reqwest::Error) -> Failure {
    let text = chain(error);
    // Nothing that another try would change.
    let lasting = error.is_builder() || error.is_redirect() || text.contains("invalid peer certificate");
    if lasting { Failure::Request(text) } else { Failure::Connection(text) }
}

/// An error and its causes, each said once, without the address, which the
/// message names already.
fn chain(error: &dyn std::error::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

/// Certificates of the system, or of one file.
pub(in crate::store::binary_cache) fn tls(
    file: Option<&Path>,
    http2: bool,
) -> Result<rustls::ClientConfig, String> {
    let found = match file {
        Some(file) => rustls_native_certs::load_certs_from_paths(Some(file), None),
        None => rustls_native_certs::load_native_certs(),
    };
    let mut roots = rustls::RootCertStore::empty();
    // Without certificates, http can still be used, and https nowhere.
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}
