//! A cache in a bucket of S3, or of a service that speaks like it (`s3://`).
//!
//! Requests are signed (AWS Signature 4, by `reqsign`) and made like those to
//! web servers. An object that is not there, or that may not be seen, is
//! absent; only for `nix-cache-info`, which is asked for first, a refusal is an
//! error.

pub mod credentials;
mod multipart;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use reqsign_aws_v4::Credential;
use reqsign_core::Signer;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RANGE,
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
use crate::model::{HashAlgorithm, Hasher};
use crate::progress::Progress;
use crate::store::compression::Compression;
use crate::sys::threads::locked;
use credentials::Surroundings;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How a bucket is named in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// By the host where that works: at Amazon, and without dots.
    Auto,
    /// `HOST/BUCKET/KEY`.
    Path,
    /// `BUCKET.HOST/KEY`.
    Virtual,
}

/// Where a bucket is, and how objects are stored in it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct S3Options {
    /// Its name.
    pub bucket: String,
    /// The profile to take credentials from.
    pub profile: Option<String>,
    /// The region.
    pub region: String,
    /// `https` or `http`.
    pub scheme: String,
    /// `HOST[:PORT]`; Amazon's where there is none.
    pub endpoint: Option<String>,
    /// How the bucket is named.
    pub addressing: Addressing,
    /// Large objects are stored in parts.
    pub multipart: bool,
    /// Bytes of a part.
    pub part: u64,
    /// Objects from this size on are stored in parts.
    pub threshold: u64,
    /// `x-amz-storage-class`.
    pub storage_class: Option<String>,
}

impl S3Options {
    /// The usual way to store objects in a bucket of Amazon's.
    pub fn new(bucket: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            profile: None,
            region: "us-east-1".to_owned(),
            scheme: "https".to_owned(),
            endpoint: None,
            addressing: Addressing::Auto,
            multipart: true,
            part: 5 << 20,
            threshold: 100 << 20,
            storage_class: None,
        }
    }
}

/// A bucket.
pub struct S3Transport {
    shared: Arc<Shared>,
    uri: String,
}

struct Shared {
    client: Client,
    options: S3Options,
    base: Mutex<Url>,
    around: Surroundings,
    /// By region: the service may name another one.
    signers: Mutex<HashMap<String, Signer<Credential>>>,
    region: Mutex<String>,
    progress: Arc<dyn Progress>,
}

const DOWNLOAD: &str = "download";
const UPLOAD: &str = "upload";

impl S3Transport {
    /// Opens a bucket.
    ///
    /// # Errors
    /// Names that make no URL, settings that cannot be used.
    pub fn open(
        options: S3Options,
        settings: HttpSettings,
        around: Surroundings,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, CacheError> {
        let uri = url::shown(&format!("s3://{}", options.bucket));
        let bad = |reason: String| CacheError::Option(format!("'{uri}' cannot be opened: {reason}"));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if options.bucket.is_empty() || !options.bucket.chars().all(plain) {
            return Err(bad("a bucket's name has letters, digits, dots and dashes".to_owned()));
        }
        let base = base_url(&options).map_err(bad)?;
        let client = Client::new(settings, false).map_err(bad)?;
        let region = Mutex::new(options.region.clone());
        let base = Mutex::new(base);
        let shared = Shared { client, options, base, around, signers: Mutex::default(), region, progress };
        Ok(Self { shared: Arc::new(shared), uri })
    }
}

fn base_url(options: &S3Options) -> Result<Url, String> {
    let (scheme, bucket) = (&options.scheme, &options.bucket);
    let amazon = format!("s3.{}.amazonaws.com", options.region);
    let host = options.endpoint.as_deref().unwrap_or(&amazon);
    // An endpoint may carry its own scheme.
    let (scheme, host) = host.split_once("://").unwrap_or((scheme, host));
    let host = host.trim_end_matches('/');
    let by_host = match options.addressing {
        Addressing::Auto => options.endpoint.is_none() && !bucket.contains('.'),
        Addressing::Path => false,
        Addressing::Virtual => true,
    };
    let text = match by_host {
        true => format!("{scheme}://{bucket}.{host}/"),
        false => format!("{scheme}://{host}/{bucket}/"),
    };
    let url = Url::parse(&text).map_err(|error| format!("'{text}' is no URL: {error}"))?;
    match matches!(url.scheme(), "http" | "https") {
        true => Ok(url),
        false => Err(format!("'{}' is neither http nor https", url.scheme())),
    }
}

/// Characters that stand for themselves in a key.
const IN_KEY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A key as it stands in a URL.
fn encode(key: &str) -> String {
    utf8_percent_encode(key, &IN_KEY).to_string()
}

/// A request before it is signed.
struct Call<'b> {
    action: &'static str,
    method: Method,
    key: &'b str,
    query: String,
    /// Signed.
    headers: HeaderMap,
    /// Not signed.
    unsigned: HeaderMap,
    body: Option<UploadBody<'b>>,
}

impl<'b> Call<'b> {
    fn new(action: &'static str, method: Method, key: &'b str) -> Self {
        let (query, headers, unsigned) = (String::new(), HeaderMap::new(), HeaderMap::new());
        Self { action, method, key, query, headers, unsigned, body: None }
    }
}

impl Shared {
    fn url(&self, call: &Call<'_>) -> Result<Url, CacheError> {
        let text = format!("{}{}", encode(call.key), call.query);
        locked(&self.base)
            .join(&text)
            .map_err(|error| CacheError::Option(format!("'{text}' is no URL: {error}")))
    }

    /// Sends a request until there is an answer that would not change.
    fn request(&self, call: &Call<'_>) -> Result<Response, CacheError> {
        let mut url = self.url(call)?;
        let attempts = self.client.attempts(call.key == CACHE_INFO);
        let payload = match &call.body {
            None => hash(io::empty())?,
            Some(body) => hash(body.data.reader(body.from).map_err(failed_read)?.take(body.len))?,
        };
        let (mut attempt, mut moved) = (0, false);
        loop {
            attempt += 1;
            let region = locked(&self.region).clone();
            let (reason, wanted, temporary) = match self.send(call, &url, &payload, &region)? {
                Ok(response) => {
                    // The bucket is in another region, which is named.
                    if let Some(named) = response.header("x-amz-bucket-region")
                        && matches!(response.status, 301 | 307 | 400)
                        && named != region
                        && !std::mem::replace(&mut moved, true)
                    {
                        self.move_to(named)?;
                        url = self.url(call)?;
                        continue;
                    }
                    if !is_temporary(response.status) {
                        return Ok(response);
                    }
                    (format!("HTTP error {}", response.status), retry_after(&response), true)
                }
                Err(Failure::Interrupted(interrupted)) => return Err(interrupted.into()),
                Err(failure @ Failure::Request(_)) => (failure.to_string(), None, false),
                Err(failure) => (failure.to_string(), None, true),
            };
            let (action, url) = (call.action, url::of(&url));
            if !temporary || attempt >= attempts {
                return Err(CacheError::Transfer { action, url, reason, dead: true });
            }
            let pause = pause(attempt, wanted);
            self.progress.warn(&format!(
                "unable to {action} '{url}': {reason}; retrying in {} ms (attempt {attempt}/{attempts})",
                pause.as_millis()
            ));
            sleep(pause)?;
        }
    }

    /// Goes on in the region where the bucket is.
    fn move_to(&self, region: &str) -> Result<(), CacheError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(plain) {
            return Err(CacheError::Option(format!(
                "the service names the region '{}'",
                region.escape_debug()
            )));
        }
        let options = S3Options { region: region.to_owned(), ..self.options.clone() };
        *locked(&self.base) = base_url(&options).map_err(CacheError::Option)?;
        region.clone_into(&mut locked(&self.region));
        Ok(())
    }

    /// Signs and sends a request once.
    fn send(
        &self,
        call: &Call<'_>,
        url: &Url,
        payload: &str,
        region: &str,
    ) -> Result<Result<Response, Failure>, CacheError> {
        let unsigned = |reason: String| CacheError::Transfer {
            action: call.action,
            url: url::of(url),
            reason,
            dead: true,
        };
        let request = http::Request::builder().method(call.method.clone()).uri(url.as_str());
        let request = request.body(()).map_err(|error| unsigned(error.to_string()))?;
        let mut parts = request.into_parts().0;
        parts.headers.clone_from(&call.headers);
        let payload = HeaderValue::from_str(payload).map_err(|error| unsigned(error.to_string()))?;
        parts.headers.insert(HeaderName::from_static("x-amz-content-sha256"), payload);
        let signer = locked(&self.signers)
            .entry(region.to_owned())
            .or_insert_with(|| {
                let certificates = self.client.settings().certificates.as_deref();
                credentials::signer(
                    self.around.clone(),
                    self.options.profile.as_deref(),
                    region,
                    certificates,
                )
            })
            .clone();
        crate::http::message::wait(self.client.runtime(), signer.sign(&mut parts, None))?
            .map_err(|error| unsigned(credentials::causes(&error)))?;
        parts.headers.remove(HOST);
        parts.headers.extend(call.unsigned.clone());
        let body =
            call.body.as_ref().map(|body| UploadBody { data: body.data, from: body.from, len: body.len });
        let (method, url) = (call.method.clone(), url.clone());
        Ok(self.client.send(Request { method, url, headers: parts.headers, body }))
    }

    fn get(&self, key: &str, from: u64, validator: Option<&str>) -> Result<Response, CacheError> {
        let mut call = Call::new(DOWNLOAD, Method::GET, key);
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-"));
            call.unsigned.extend(range.ok().map(|range| (RANGE, range)));
            let validator = validator.and_then(|validator| HeaderValue::from_str(validator).ok());
            call.unsigned.extend(validator.map(|validator| (IF_MATCH, validator)));
        }
        self.request(&call)
    }

    /// The error for an answer that does not help, with the service's words.
    fn refused(&self, call: &Call<'_>, response: Response) -> CacheError {
        let url = self.url(call).map_or_else(|_| call.key.to_owned(), |url| url::of(&url));
        let status = response.status;
        let text = response.excerpt();
        let code = multipart::element(&text, "Code").unwrap_or_default();
        let message = multipart::element(&text, "Message").unwrap_or_default();
        let mut reason = format!("HTTP error {status}");
        if !code.is_empty() {
            reason = format!("{reason} ({code}: {message})");
        }
        if matches!(status, 401 | 403) {
            let profile = self.options.profile.as_deref().unwrap_or("default");
            reason = format!(
                "{reason}; the credentials that were found (environment, profile '{profile}', single sign-on, \
                 web identity, process, container, instance metadata, in this order) do not allow it"
            );
        }
        if is_refusal(status) {
            let words = reason.trim_start_matches(&format!("HTTP error {status}")).to_owned();
            return CacheError::Refused { action: call.action, url, status, words };
        }
        CacheError::Transfer { action: call.action, url, reason, dead: false }
    }
}

fn failed_read(error: io::Error) -> CacheError {
    CacheError::Option(format!("reading what is uploaded: {error}"))
}

/// The SHA-256 of what is sent, in base 16.
fn hash(mut data: impl Read) -> Result<String, CacheError> {
    let mut hasher = Hasher::new(HashAlgorithm::Sha256);
    io::copy(&mut data, &mut hasher).map_err(failed_read)?;
    Ok(hasher.finish().to_base16())
}

fn is_absent(status: u16) -> bool {
    status == 404
}

impl Transport for S3Transport {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn find(&self, name: &str) -> Result<Presence, CacheError> {
        let call = Call::new(DOWNLOAD, Method::HEAD, name);
        let response = self.shared.request(&call)?;
        match response.status {
            200 => Ok(Presence::Present(response.announced())),
            status if is_absent(status) => Ok(Presence::Absent),
            _ => Err(self.shared.refused(&call, response)),
        }
    }

    fn get(&self, name: &str, from: u64) -> Result<Option<Body>, CacheError> {
        let response = self.shared.get(name, from, None)?;
        if is_absent(response.status) {
            return Ok(None);
        }
        let call = Call::new(DOWNLOAD, Method::GET, name);
        if !matches!(response.status, 200 | 206) {
            return Err(self.shared.refused(&call, response));
        }
        let unusable = |reason: String| CacheError::Transfer {
            action: DOWNLOAD,
            url: self.shared.url(&call).map_or_else(|_| name.to_owned(), |url| url::of(&url)),
            reason,
            dead: false,
        };
        let coding = super::transport::coding(&response.headers).map_err(unusable)?;
        let validator = response.header("etag").map(str::to_owned);
        let (shared, key) = (Arc::clone(&self.shared), name.to_owned());
        let again = move |at| shared.get(&key, at, validator.as_deref());
        let download = Download {
            shown: format!("{}/{name}", self.uri),
            from,
            attempts: self.shared.client.attempts(name == CACHE_INFO),
            progress: Arc::clone(&self.shared.progress),
        };
        let (body, len) = download.begin(response, again).map_err(unusable)?;
        super::transport::decoded(body, len, coding, from).map(Some)
    }

    fn put_encoded(
        &self,
        name: &str,
        content_type: &'static str,
        coding: Compression,
        data: Staged,
    ) -> Result<(), CacheError> {
        let options = &self.shared.options;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if coding != Compression::None {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        if let Some(class) = &options.storage_class {
            let class = HeaderValue::from_str(class)
                .map_err(|_| CacheError::Option(format!("'{class}' is no storage class")))?;
            headers.insert(HeaderName::from_static("x-amz-storage-class"), class);
        }
        if options.multipart && data.len() >= options.threshold.max(1) {
            return self.shared.put_in_parts(name, headers, &data);
        }
        let mut call = Call::new(UPLOAD, Method::PUT, name);
        call.headers = headers;
        call.body = Some(UploadBody { data: &data, from: 0, len: data.len() });
        let response = self.shared.request(&call)?;
        match response.status {
            200..300 => Ok(()),
            _ => Err(self.shared.refused(&call, response)),
        }
    }

    fn parallel(&self) -> usize {
        self.shared.client.parallel()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = |endpoint: Option<&str>, addressing, bucket: &str| {
            let options = S3Options {
                bucket: bucket.to_owned(),
                profile: None,
                region: "eu-west-1".to_owned(),
                scheme: "https".to_owned(),
                endpoint: endpoint.map(str::to_owned),
                addressing,
                multipart: true,
                part: 0,
                threshold: 0,
                storage_class: None,
            };
            base_url(&options).unwrap().to_string()
        };
        assert_eq!(url(None, Addressing::Auto, "b"), "https://b.s3.eu-west-1.amazonaws.com/");
        assert_eq!(url(None, Addressing::Auto, "b.c"), "https://s3.eu-west-1.amazonaws.com/b.c/");
        assert_eq!(url(Some("h:9"), Addressing::Auto, "b"), "https://h:9/b/");
        assert_eq!(url(Some("http://h:9/"), Addressing::Virtual, "b"), "http://b.h:9/");
        assert_eq!(encode("nar/a+b c?.nar"), "nar/a%2Bb%20c%3F.nar");
    }
}
