//! Large objects, stored in parts that are sent side by side. Parts that an
//! interrupted upload of the same object left behind are not sent again.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::super::CacheError;
use super::{Call, IN_KEY, Shared, UPLOAD, failed_read};
use crate::http::message::{Response, UploadBody};
use crate::http::staged::Staged;
use crate::sys::threads::{self, locked};

/// Parts sent at the same time: as much as this may have to be sent again after a
/// kill.
const PARALLEL: usize = 3;
/// Most parts of an object.
const MAX_PARTS: u64 = 10_000;
/// Smallest part but the last.
const MIN_PART: u64 = 5 << 20;
/// Longest answer that is read.
const MAX_ANSWER: u64 = 8 << 20;

/// A part that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    tag: String,
    len: u64,
}

/// The text of the first element with a name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    let begin = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = begin + xml[begin..].find(&format!("</{name}>"))?;
    Some(unescape(&xml[begin..end]))
}

/// The contents of all elements with a name.
fn elements<'x>(xml: &'x str, name: &str) -> Vec<&'x str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(open.as_str()).skip(1);
    parts.filter_map(|part| part.split_once(close.as_str()).map(|(inside, _)| inside)).collect()
}

fn unescape(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&#34;", "\"").replace("&apos;", "'");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Shared {
    /// The body of a good answer.
    fn answer(&self, call: &Call<'_>, response: Response) -> Result<String, CacheError> {
        if !matches!(response.status, 200..300) {
            return Err(self.refused(call, response));
        }
        let mut text = Vec::new();
        response.body.take(MAX_ANSWER).read_to_end(&mut text).map_err(failed_read)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Stores an object in parts. If another process completes or removes the
    /// upload meanwhile, the object is there, or a new upload begins, once.
    pub(super) fn put_in_parts(
        &self,
        key: &str,
        headers: HeaderMap,
        data: &Staged,
    ) -> Result<(), CacheError> {
        match self.put_once(key, headers.clone(), data, true) {
            Err(CacheError::Transfer { dead: false, .. }) => {}
            other => return other,
        }
        let response = self.request(&Call::new(UPLOAD, Method::HEAD, key))?;
        if response.status == 200 && response.announced() == Some(data.len()) {
            return Ok(());
        }
        self.put_once(key, headers, data, false)
    }

    fn put_once(
        &self,
        key: &str,
        headers: HeaderMap,
        data: &Staged,
        continued: bool,
    ) -> Result<(), CacheError> {
        let len = data.len();
        let size = self.options.part.max(MIN_PART).max(len.div_ceil(MAX_PARTS));
        let count = len.div_ceil(size);
        let interrupted = if continued { self.interrupted_upload(key) } else { None };
        let (upload, known) = match interrupted {
            Some(found) => found,
            None => (self.begin_upload(key, headers)?, BTreeMap::new()),
        };
        let next = AtomicUsize::new(1);
        let tags: Mutex<BTreeMap<u64, String>> = Mutex::default();
        let threads = PARALLEL.min(usize::try_from(count).unwrap_or(PARALLEL));
        let sent: Result<(), CacheError> = threads::on_threads(threads, || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) as u64;
                if number > count {
                    return Ok(());
                }
                let from = (number - 1) * size;
                let tag = self.put_part(
                    key,
                    &upload,
                    number,
                    known.get(&number),
                    UploadBody { data, from, len: size.min(len - from) },
                );
                let tag = tag.inspect_err(|_| next.store(usize::MAX / 2, Ordering::Relaxed))?;
                locked(&tags).insert(number, tag);
            }
        });
        // After a failure the parts stay: the next try goes on from them, or
        // the bucket's own rules remove them.
        sent?;
        self.complete(key, &upload, &tags.into_inner().unwrap_or_default())
    }

    fn put_part(
        &self,
        key: &str,
        upload: &str,
        number: u64,
        known: Option<&Part>,
        body: UploadBody<'_>,
    ) -> Result<String, CacheError> {
        if let Some(part) = known
            && part.len == body.len
            && part.tag == md5(&body)?
        {
            return Ok(part.tag.clone());
        }
        let mut call = Call::new(UPLOAD, Method::PUT, key);
        call.query = format!("?partNumber={number}&uploadId={}", encode_value(upload));
        call.body = Some(body);
        let response = self.request(&call)?;
        match (response.status, response.header("etag")) {
            (200..300, Some(tag)) => Ok(tag.trim_matches('"').to_owned()),
            _ => Err(self.refused(&call, response)),
        }
    }

    /// An upload of the same key that nobody completed, and its parts.
    fn interrupted_upload(&self, key: &str) -> Option<(String, BTreeMap<u64, Part>)> {
        let mut call = Call::new(UPLOAD, Method::GET, "");
        call.query = format!("?uploads=&prefix={}", encode_value(key));
        let text = self.request(&call).and_then(|response| self.answer(&call, response)).ok()?;
        let upload = elements(&text, "Upload")
            .into_iter()
            .filter(|upload| element(upload, "Key").as_deref() == Some(key))
            .find_map(|upload| element(upload, "UploadId"))?;
        let mut parts = BTreeMap::new();
        let mut marker = 0;
        loop {
            let mut call = Call::new(UPLOAD, Method::GET, key);
            call.query = format!("?part-number-marker={marker}&uploadId={}", encode_value(&upload));
            let text = self.request(&call).and_then(|response| self.answer(&call, response)).ok()?;
            for part in elements(&text, "Part") {
                let number: u64 = element(part, "PartNumber")?.parse().ok()?;
                let tag = element(part, "ETag")?.trim_matches('"').to_owned();
                parts.insert(number, Part { tag, len: element(part, "Size")?.parse().ok()? });
            }
            let more = element(&text, "IsTruncated").as_deref() == Some("true");
            let next = element(&text, "NextPartNumberMarker").and_then(|text| text.parse().ok());
            match next {
                Some(next) if more && next > marker => marker = next,
                _ => break,
            }
        }
        self.progress.detail(&format!("continuing the upload of '{key}' after {} parts", parts.len()));
        Some((upload, parts))
    }

    fn begin_upload(&self, key: &str, headers: HeaderMap) -> Result<String, CacheError> {
        let mut call = Call::new(UPLOAD, Method::POST, key);
        "?uploads=".clone_into(&mut call.query);
        call.headers = headers;
        let text = self.request(&call).and_then(|response| self.answer(&call, response))?;
        element(&text, "UploadId").ok_or_else(|| CacheError::Transfer {
            action: UPLOAD,
            url: key.to_owned(),
            reason: "the service names no upload".to_owned(),
            dead: false,
        })
    }

    fn complete(&self, key: &str, upload: &str, tags: &BTreeMap<u64, String>) -> Result<(), CacheError> {
        let part = |(number, tag): (&u64, &String)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag></Part>", escape(tag))
        };
        let parts: String = tags.iter().map(part).collect();
        let text = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let data = Staged::Memory(text.into_bytes());
        let mut call = Call::new(UPLOAD, Method::POST, key);
        call.query = format!("?uploadId={}", encode_value(upload));
        call.body = Some(UploadBody { data: &data, from: 0, len: data.len() });
        let text = self.request(&call).and_then(|response| self.answer(&call, response))?;
        // The service answers before it knows.
        match element(&text, "Code").filter(|_| text.contains("<Error>")) {
            None => Ok(()),
            Some(code) => Err(CacheError::Transfer {
                action: UPLOAD,
                url: key.to_owned(),
                reason: format!("{code}: {}", element(&text, "Message").unwrap_or_default()),
                dead: false,
            }),
        }
    }
}

fn encode_value(text: &str) -> String {
    const IN_VALUE: AsciiSet = IN_KEY.add(b'/');
    utf8_percent_encode(text, &IN_VALUE).to_string()
}

/// The tag that a service gives to a part.
fn md5(body: &UploadBody<'_>) -> Result<String, CacheError> {
    let mut reader = body.data.reader(body.from).map_err(failed_read)?.take(body.len);
    let mut hasher = Md5::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match reader.read(&mut buffer).map_err(failed_read)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::{element, elements};

    #[test]
    fn answers() {
        let text =
            "<R><Upload><Key>a&amp;b</Key><UploadId>1</UploadId></Upload><Upload><Key>c</Key></Upload></R>";
        assert_eq!(elements(text, "Upload").len(), 2);
        assert_eq!(element(text, "Key").as_deref(), Some("a&b"));
        assert_eq!(element(text, "ETag"), None);
        assert_eq!(element("<Key>", "Key"), None);
    }
}
