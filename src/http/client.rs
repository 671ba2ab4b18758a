//! HTTP requests for threads that wait: one thread of its own runs all
//! transfers, so that hundreds can be under way, each can be given up when
//! nothing comes any more, and a signal ends the wait for it.

use std::io::{self, Read as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::http::message::{Failure, Request, Response, ResponseBody, UploadBody, wait};
use crate::http::proxy::Proxies;
use crate::http::settings::HttpSettings;
use crate::http::staged::Staged;
use crate::http::transfer::{Counted, Head, Limit, MAX_REDIRECTS, PIECES, Task, transfer};

/// Bytes read at a time from what is uploaded.
const UPLOAD_PIECE: usize = 128 * 1024;

type Answer = Result<Head, oneshot::error::RecvError>;

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
            link: None,
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
        let (status, headers, url) =
            answer.map_err(|_| Failure::Connection("the transfer was given up".to_owned()))??;
        let body = ResponseBody::new(self.runtime.clone(), pieces);
        Ok(Response { status, headers, url, body })
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
