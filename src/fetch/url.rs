//! The bytes behind a URL: `http`, `https` and `file`.
//!
//! Redirections, tries, timeouts, proxies, passwords and what continues after a
//! break are those of binary caches.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::HeaderMap;

use super::{FetchError, Result, link};
use crate::http::settings::HttpSettings;
use crate::http::url::shown;
use crate::progress::Progress;
use crate::store::binary_cache::http::{Fetched, HttpTransport};
use crate::sys::{PathError, interrupt};

/// Bytes read at a time.
const STEP: usize = 128 * 1024;
/// Most bytes that are taken of one URL.
const MAX_BYTES: u64 = 1 << 37;

/// What is known of a download besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// What the server calls it: as long as it answers with the same, it is the same.
    pub etag: Option<String>,
    /// Where it came from, after all redirections.
    pub url: String,
    /// Where the same will always be, if the server told of such a place.
    pub immutable: Option<String>,
    /// The time of its newest entry, in seconds since 1970, if it is an archive that was unpacked.
    pub newest: Option<u64>,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request<'q> {
    /// The URL.
    pub url: &'q str,
    /// The version that is there already, as the server calls it.
    pub known: Option<&'q str>,
    /// Headers that let us in at the server of the URL.
    pub letting_in: HeaderMap,
}

/// The bytes behind a URL, to be read.
struct Opened {
    reader: Box<dyn Read>,
    version: Version,
}

/// Copies what is behind a URL to `output`, which is at `path`, unless it is still the version
/// that is known: then nothing is given.
///
/// # Errors
/// [`FetchError`]; then part of it may have been written.
pub fn download(
    request: Request<'_>,
    settings: HttpSettings,
    progress: Arc<dyn Progress>,
    output: &mut File,
    path: &Path,
) -> Result<Option<Version>> {
    let url = request.url;
    let name = shown(url);
    let opened = match scheme(url)? {
        ("file", _) => open_file(&local_path(url)?, url, request.known)?,
        ("http" | "https", _) => open_page(request, settings, progress)?,
        (other, _) => return Err(FetchError::Scheme { url: name, scheme: other.to_owned() }),
    };
    let Some(Opened { mut reader, version }) = opened else { return Ok(None) };
    let mut buffer = vec![0; STEP];
    let mut total = 0;
    loop {
        interrupt::check()?;
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(Some(version)),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if interrupt::is_io_error(&error) => return Err(interrupt::Interrupted.into()),
            Err(reason) => return Err(FetchError::Broken { url: name, reason }),
        };
        total += count as u64;
        if total > MAX_BYTES {
            let reason = std::io::Error::other(format!("it has more than {MAX_BYTES} bytes"));
            return Err(FetchError::Broken { url: name, reason });
        }
        output.write_all(&buffer[..count]).map_err(PathError::at("writing file", path))?;
    }
}

/// The scheme of a URL, and what follows its colon.
fn scheme(url: &str) -> Result<(&str, &str)> {
    let none = || FetchError::NoScheme(url.to_owned());
    let (scheme, rest) = url.split_once(':').ok_or_else(none)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(allowed) {
        true => Ok((scheme, rest)),
        false => Err(none()),
    }
}

/// The file of this machine that a URL of the scheme `file` names.
fn local_path(url: &str) -> Result<PathBuf> {
    let (_, rest) = scheme(url)?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.strip_prefix("//").unwrap_or(rest);
    // Of another machine, or written with a slash too few.
    let path = path.strip_prefix("localhost/").map_or_else(|| path.to_owned(), |path| format!("/{path}"));
    match path.starts_with('/') {
        true => Ok(PathBuf::from(percent_decoded(&path))),
        false => Err(FetchError::Place(shown(url))),
    }
}

/// Opens a file of this machine, unless it is the one that was `known`, unchanged.
fn open_file(file: &Path, url: &str, known: Option<&str>) -> Result<Option<Opened>> {
    let failed = |reason| FetchError::Local { url: shown(url), path: file.to_owned(), reason };
    let opened = File::open(file).map_err(failed)?;
    let meta = opened.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(failed(std::io::Error::other("it is not a file")));
    }
    // What has another time, size or inode is another file.
    let etag = format!(
        "{}-{}-{}.{:09}-{}.{:09}",
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    );
    if known == Some(etag.as_str()) {
        return Ok(None);
    }
    let version = Version { etag: Some(etag), url: url.to_owned(), immutable: None, newest: None };
    Ok(Some(Opened { reader: Box::new(opened), version }))
}

/// Asks a web server for what it has, unless that is still the version that is known.
fn open_page(
    request: Request<'_>,
    settings: HttpSettings,
    progress: Arc<dyn Progress>,
) -> Result<Option<Opened>> {
    let Request { url, known, letting_in } = request;
    let (scheme, rest) = scheme(url)?;
    let Some(rest) = rest.strip_prefix("//") else { return Err(FetchError::NoScheme(url.to_owned())) };
    let place = rest.split('#').next().unwrap_or_default();
    // The last part with its query is asked for, below all before it.
    let end = place.find('?').unwrap_or(place.len());
    let (base, file) = match place[..end].rfind('/') {
        Some(slash) => (&place[..slash], &place[slash + 1..]),
        None => (&place[..end], &place[end..]),
    };
    let base = format!("{scheme}://{base}");
    let transport = HttpTransport::open_with(&base, letting_in, settings, progress)?;
    Ok(match transport.fetch(file, known)? {
        Fetched::Unchanged => None,
        Fetched::New { body, etag, url, links } => {
            let immutable = link::immutable(&links, &url);
            let version = Version { etag, url: url.to_string(), immutable, newest: None };
            Some(Opened { reader: Box::new(body.reader), version })
        }
    })
}

/// The name that what is behind a URL gets: the last part of its path.
///
/// # Errors
/// [`FetchError::NoName`].
pub fn file_name(url: &str) -> Result<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let name = match path.split_once('/') {
        Some((_, path)) => path.trim_end_matches('/').rsplit('/').next().unwrap_or_default(),
        None => "",
    };
    match percent_decoded(name) {
        name if name.is_empty() => Err(FetchError::NoName(shown(url))),
        name => Ok(name),
    }
}

/// `%41` → `A`; what is not such a form stays.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_of_urls() {
        for (url, path) in
            [("file:///a/b%20c?x=1#y", "/a/b c"), ("file:/a", "/a"), ("file://localhost/a", "/a")]
        {
            assert_eq!(local_path(url).unwrap(), Path::new(path));
        }
        for url in ["file://host/a", "file://", "file:a"] {
            assert!(matches!(local_path(url), Err(FetchError::Place(_))), "{url}");
        }
    }

    #[test]
    fn names_of_urls() {
        for (url, name) in [
            ("http://h/a/b.tar.gz", "b.tar.gz"),
            ("http://h/x/", "x"),
            ("http://h/a%20b?c=/d#e/f", "a b"),
            ("file:///x/%zz", "%zz"),
            ("http://h/é", "é"),
        ] {
            assert_eq!(file_name(url).unwrap(), name);
        }
        for url in ["http://h", "http://h/", "http://h/?x=/y", ""] {
            assert!(matches!(file_name(url), Err(FetchError::NoName(_))), "{url}");
        }
    }
}
