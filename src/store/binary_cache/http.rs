//! A cache on a web server (`http://`, `https://`).
//!
//! | answer | what it means |
//! |---|---|
//! | 200, 206 | here it is |
//! | 404, 410 | it is not there |
//! | 401, 403, 407 | we are not let in: of a path this is told once, and then it is not there |
//! | 408, 429, 5xx but 501, 505, 511; a broken connection; nothing for too long | tried again |
//! | anything else | a failure |
//!
//! Between two tries passes a time that doubles; if the server names one, that.
//! A body that breaks off is asked for from where it broke; what comes then is
//! what `Content-Range` says it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, LINK,
    RANGE,
};
use reqwest::{Method, Url};

use super::CacheError;
use super::transport::{Body, CACHE_INFO, Presence, Transport};
use crate::http::client::Client;
use crate::http::message::{Failure, Request, Response, UploadBody};
use crate::http::resume::Download;
use crate::http::retry::{is_refusal, is_temporary, pause, retry_after, sleep};
use crate::http::settings::HttpSettings;
use crate::http::staged::Staged;
use crate::http::url;
use crate::progress::{Activity, ActivityId, ActivityKind, Progress};
use crate::store::compression::Compression;

/// Longest netrc file that is read.
const MAX_NETRC: u64 = 1 << 20;

/// A web server.
pub struct HttpTransport {
    shared: Arc<Shared>,
    /// As it was given.
    key: String,
    /// Without what lets people in.
    uri: String,
}

struct Shared {
    client: Client,
    base: Url,
    /// What lets us in.
    letting_in: HeaderMap,
    progress: Arc<dyn Progress>,
    /// The highest number of a failed try that the user was told of: many
    /// requests fail at once when a server is gone.
    told: AtomicU64,
}

impl HttpTransport {
    /// The cache at `uri`, a URL without parameters or a slash at its end.
    ///
    /// # Errors
    /// A URL that is none, settings that cannot be used.
    pub fn open(
        given: &str,
        settings: HttpSettings,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, CacheError> {
        Self::open_with(given, HeaderMap::new(), settings, progress)
    }

    /// As [`HttpTransport::open`], with headers that let us in; without any, it is asked for in the
    /// netrc file.
    ///
    /// # Errors
    /// As [`HttpTransport::open`].
    pub fn open_with(
        given: &str,
        mut letting_in: HeaderMap,
        settings: HttpSettings,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, CacheError> {
        let parsed = Url::parse(&format!("{given}/"));
        let name =
            parsed.as_ref().map_or_else(|_| "the URL".to_owned(), |parsed| format!("'{}'", url::of(parsed)));
        let bad = |reason: String| CacheError::Option(format!("{name} cannot be opened: {reason}"));
        let base = parsed.map_err(|error| bad(error.to_string()))?;
        let host = base.host_str().ok_or_else(|| bad("it names no host".to_owned()))?;
        if letting_in.is_empty() && base.username().is_empty() && base.password().is_none() {
            let found = authorization(&settings, host, &*progress);
            letting_in.extend(found.map(|value| (AUTHORIZATION, value)));
        }
        let client = Client::new(settings, true).map_err(bad)?;
        let shared = Shared { client, base, letting_in, progress, told: AtomicU64::new(0) };
        let uri = url::shown(given);
        Ok(Self { shared: Arc::new(shared), key: given.to_owned(), uri })
    }
}

/// What the netrc file has for a host.
fn authorization(settings: &HttpSettings, host: &str, progress: &dyn Progress) -> Option<HeaderValue> {
    let text = match crate::sys::read_configured(&settings.netrc, MAX_NETRC) {
        Ok(text) => text,
        // The usual one need not be there, and on many machines is root's.
        Err(error) if !settings.netrc_is_named && std::fs::read_link(&settings.netrc).is_err() => {
            progress.detail(&format!("'netrc-file' is not used: {error}"));
            return None;
        }
        Err(error) => {
            progress.warn(&format!("'netrc-file' is not used: {error}"));
            return None;
        }
    };
    let (name, password) = crate::http::netrc::lookup(&String::from_utf8_lossy(&text), host)?;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {text}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What is done with a file, for messages.
const DOWNLOAD: &str = "download";
const UPLOAD: &str = "upload";

/// Whether an answer means that there is no such file.
fn is_absent(status: u16) -> bool {
    matches!(status, 404 | 410)
}

impl Shared {
    fn url(&self, name: &str) -> Result<Url, CacheError> {
        let failed =
            |reason: String| CacheError::Option(format!("'{}' is no URL: {reason}", url::shown(name)));
        let url = self.base.join(name).map_err(|error| failed(error.to_string()))?;
        // The URL of an archive.
        if is_absolute(name) || name.starts_with('/') {
            return match matches!(url.scheme(), "http" | "https") {
                true => Ok(url),
                false => Err(failed("it is not of the web".to_owned())),
            };
        }
        // Names were checked; this is what they are checked for.
        match url.as_str().starts_with(self.base.as_str()) {
            true => Ok(url),
            false => Err(failed("it leads out of the cache".to_owned())),
        }
    }

    /// What lets us in, where the cache itself is asked and nobody else.
    fn letting_in(&self, url: &Url) -> HeaderMap {
        match url.origin() == self.base.origin() {
            true => self.letting_in.clone(),
            false => HeaderMap::new(),
        }
    }

    /// As [`Shared::ask`], told as a transfer.
    fn request(
        &self,
        action: &'static str,
        method: &Method,
        name: &str,
        headers: &HeaderMap,
        body: Option<&Staged>,
    ) -> Result<Response, CacheError> {
        let url = url::of(&self.url(name)?);
        let activity = self.progress.start(&Activity {
            kind: ActivityKind::FileTransfer,
            text: &format!("{action}ing '{url}'"),
            fields: &[&url],
            parent: ActivityId::NONE,
        });
        let response = self.ask(action, method, name, headers, body);
        self.progress.stop(activity);
        response
    }

    /// Sends a request until there is an answer that would not change.
    fn ask(
        &self,
        action: &'static str,
        method: &Method,
        name: &str,
        headers: &HeaderMap,
        body: Option<&Staged>,
    ) -> Result<Response, CacheError> {
        let url = self.url(name)?;
        let attempts = self.client.attempts(name == CACHE_INFO);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut headers = headers.clone();
            headers.extend(self.letting_in(&url));
            let upload = body.map(|data| UploadBody { data, from: 0, len: data.len() });
            let request = Request { method: method.clone(), url: url.clone(), headers, body: upload };
            let (reason, wanted, temporary) = match self.client.send(request) {
                Ok(response) if is_temporary(response.status) => {
                    let reason = format!("HTTP error {}", response.status);
                    (reason, retry_after(&response), true)
                }
                Ok(response) => {
                    self.told.store(0, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(Failure::Interrupted(interrupted)) => return Err(interrupted.into()),
                Err(failure @ Failure::Request(_)) => (failure.to_string(), None, false),
                Err(failure) => (failure.to_string(), None, true),
            };
            if !temporary || attempt >= attempts {
                return Err(CacheError::Transfer { action, url: url::of(&url), reason, dead: true });
            }
            let pause = pause(attempt, wanted);
            self.tell(
                attempt,
                &format!(
                    "unable to {action} '{}': {reason}; retrying in {} ms (attempt {attempt}/{attempts})",
                    url::of(&url),
                    pause.as_millis()
                ),
            );
            sleep(pause)?;
        }
    }

    /// Tells of a try that failed, once for all requests of that number.
    fn tell(&self, attempt: u64, text: &str) {
        match self.told.fetch_max(attempt, Ordering::Relaxed) < attempt {
            true => self.progress.warn(text),
            false => self.progress.detail(text),
        }
    }

    fn get(&self, name: &str, from: u64, validator: Option<&str>) -> Result<Response, CacheError> {
        let mut headers = HeaderMap::new();
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-"));
            headers.extend(range.ok().map(|range| (RANGE, range)));
            let validator = validator.and_then(|validator| HeaderValue::from_str(validator).ok());
            headers.extend(validator.map(|validator| (IF_RANGE, validator)));
        }
        self.request(DOWNLOAD, &Method::GET, name, &headers, None)
    }

    /// The error for an answer that does not help.
    fn refused(&self, action: &'static str, name: &str, response: Response) -> CacheError {
        let url = self.url(name).map_or_else(|_| name.to_owned(), |url| url::of(&url));
        let status = response.status;
        let text = response.words();
        if is_refusal(status) {
            return CacheError::Refused { action, url, status, words: indented(&text) };
        }
        let reason = format!("HTTP error {status}{}", indented(&text));
        CacheError::Transfer { action, url, reason, dead: false }
    }
}

/// What a server says, as it stands in a message.
fn indented(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        false => format!("\n\n       response body:\n\n       {}", text.replace('\n', "\n       ")),
    }
}

/// Whether the name of a file is a URL of its own.
pub fn is_absolute(name: &str) -> bool {
    let scheme = name.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// What a server has, for who may have it already.
pub enum Fetched {
    /// What is there is still the same.
    Unchanged,
    /// This.
    New {
        /// Its bytes.
        body: Body,
        /// What the server calls this version of it.
        etag: Option<String>,
        /// Where it came from, after all redirections.
        url: Url,
        /// What it says of other URLs.
        links: Vec<String>,
    },
}

impl HttpTransport {
    /// Opens a file that has to be there, unless it is still the version `known`.
    ///
    /// # Errors
    /// [`CacheError`]; also if there is no such file.
    pub fn fetch(&self, name: &str, known: Option<&str>) -> Result<Fetched, CacheError> {
        let mut headers = HeaderMap::new();
        let known = known.and_then(|etag| HeaderValue::from_str(etag).ok());
        headers.extend(known.map(|etag| (IF_NONE_MATCH, etag)));
        let response = self.shared.request(DOWNLOAD, &Method::GET, name, &headers, None)?;
        if response.status == 304 && !headers.is_empty() {
            return Ok(Fetched::Unchanged);
        }
        let (etag, url) = (response.header("etag").map(str::to_owned), response.url.clone());
        let links = response.headers.get_all(LINK).iter();
        let links = links.filter_map(|link| link.to_str().ok().map(str::to_owned)).collect();
        Ok(Fetched::New { body: self.body(name, 0, response)?, etag, url, links })
    }

    /// The body of an answer, `from` so many bytes on.
    fn body(&self, name: &str, from: u64, response: Response) -> Result<Body, CacheError> {
        if !matches!(response.status, 200 | 206) {
            return Err(self.shared.refused(DOWNLOAD, name, response));
        }
        let unusable = |reason: String| CacheError::Transfer {
            action: DOWNLOAD,
            url: self.shared.url(name).map(|url| url::of(&url)).unwrap_or_default(),
            reason,
            dead: false,
        };
        let coding = super::transport::coding(&response.headers).map_err(unusable)?;
        let validator = response.header("etag").filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
        let ranges = response.status == 206 || response.header("accept-ranges") == Some("bytes");
        let (shared, file) = (Arc::clone(&self.shared), name.to_owned());
        let again = move |at| shared.get(&file, if ranges { at } else { 0 }, validator.as_deref());
        let download = Download {
            shown: self.shared.url(name).map(|url| url::of(&url)).unwrap_or_default(),
            from,
            attempts: self.shared.client.attempts(name == CACHE_INFO),
            progress: Arc::clone(&self.shared.progress),
        };
        let (body, len) = download.begin(response, again).map_err(unusable)?;
        super::transport::decoded(body, len, coding, from)
    }
}

impl Transport for HttpTransport {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn find(&self, name: &str) -> Result<Presence, CacheError> {
        let response = self.shared.request(DOWNLOAD, &Method::HEAD, name, &HeaderMap::new(), None)?;
        match response.status {
            200..300 => Ok(Presence::Present(response.announced())),
            status if is_absent(status) => Ok(Presence::Absent),
            _ => Err(self.shared.refused(DOWNLOAD, name, response)),
        }
    }

    fn get(&self, name: &str, from: u64) -> Result<Option<Body>, CacheError> {
        let response = self.shared.get(name, from, None)?;
        match response.status {
            status if is_absent(status) => Ok(None),
            _ => self.body(name, from, response).map(Some),
        }
    }

    fn put_encoded(
        &self,
        name: &str,
        content_type: &'static str,
        coding: Compression,
        data: Staged,
    ) -> Result<(), CacheError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if coding != Compression::None {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        let response = self.shared.request(UPLOAD, &Method::PUT, name, &headers, Some(&data))?;
        match response.status {
            200..300 => Ok(()),
            _ => Err(self.shared.refused(UPLOAD, name, response)),
        }
    }

    fn parallel(&self) -> usize {
        self.shared.client.parallel()
    }

    fn follows_urls(&self) -> bool {
        true
    }
}
