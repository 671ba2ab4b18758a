//! HTTP requests for threads that wait: one thread of its own runs all
//! transfers, so that hundreds can be under way, each can be given up when
//! nothing comes any more, and a signal ends the wait for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, LOCATION, PROXY_AUTHORIZATION};
use reqwest::{Method, Url};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::http::failure;
use crate::http::proxy::Proxies;
use crate::http::staged::Staged;
use crate::sys::interrupt;
use crate::sys::threads::locked;

/// How often a thread that waits looks for a signal.
const LOOK: Duration = Duration::from_millis(100);
/// Pieces of a body on their way to its reader.
const PIECES: usize = 4;
/// Bytes gathered into a piece while its reader is busy.
const PIECE: usize = 128 * 1024;
/// Bytes read at a time from what is uploaded.
const UPLOAD_PIECE: usize = 128 * 1024;
/// Redirections that are followed.
const MAX_REDIRECTS: usize = 10;

/// How requests are made.
#[derive(Debug, Clone)]
#[non_exhaustive]
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
    /// Whether the user named that file.
    pub netrc_is_named: bool,
    /// What we call ourselves.
    pub user_agent: String,
    /// By which requests go.
    pub proxies: Proxies,
    /// Bytes a second that all downloads together may take; 0 for no limit.
    pub speed: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(15)),
            stall: Duration::from_secs(300),
            attempts: 5,
            first_attempts: 5,
            connections: 25,
            http2: true,
            certificates: None,
            netrc: PathBuf::new(),
            netrc_is_named: false,
            user_agent: concat!("Nival/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: Proxies::default(),
            speed: 0,
        }
    }
}

/// Holds downloads back.
struct Limit {
    /// Bytes a second.
    speed: u64,
    /// When what was let through so far should have taken until.
    free: Mutex<Instant>,
}

impl Limit {
    fn new(speed: u64) -> Option<Arc<Self>> {
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

/// Makes requests.
pub struct Client {
    client: reqwest::Client,
    runtime: Handle,
    settings: HttpSettings,
    follow_redirects: bool,
    limit: Option<Arc<Limit>>,
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
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(settings.certificates.as_deref(), settings.http2)?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .proxy(proxy(&settings.proxies))
            .pool_max_idle_per_host(settings.connections)
            .user_agent(settings.user_agent.clone());
        if let Some(timeout) = settings.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        let client = builder.build().map_err(|error| chain(&error))?;
        let limit = Limit::new(settings.speed);
        Ok(Self { client, runtime: handle, settings, follow_redirects, limit, _end: end })
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

    /// Tries for a file; `first` is the one that is asked for before all others.
    pub fn attempts(&self, first: bool) -> u64 {
        let settings = &self.settings;
        let attempts = if first { settings.first_attempts } else { settings.attempts };
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
        if let Some(Err(text)) = self.settings.proxies.of(&request.url) {
            return Err(Failure::Request(format!("'{text}' cannot be used as a proxy")));
        }
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
        let task = Task {
            client: self.client.clone(),
            redirects: if self.follow_redirects { MAX_REDIRECTS } else { 0 },
            at: request.url().clone(),
            asked: request.url().clone(),
            proxies: self.settings.proxies.clone(),
            stall: self.settings.stall,
            limit: self.limit.clone(),
            progress,
        };
        self.runtime.spawn(transfer(task, request, head_sender, piece_sender));
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

/// What a transfer works with.
struct Task {
    client: reqwest::Client,
    asked: Url,
    /// Where it was sent on to.
    at: Url,
    /// How often it may still be sent on.
    redirects: usize,
    proxies: Proxies,
    stall: Duration,
    limit: Option<Arc<Limit>>,
    /// Bytes of the request handed over.
    progress: Arc<AtomicU64>,
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
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
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
async fn transfer(
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

fn proxy(proxies: &Proxies) -> reqwest::Proxy {
    let proxies = proxies.clone();
    // Those that are no URL are told of before.
    reqwest::Proxy::custom(move |url| proxies.of(url).and_then(Result::ok))
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
pub(crate) fn tls(file: Option<&Path>, http2: bool) -> Result<rustls::ClientConfig, String> {
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
