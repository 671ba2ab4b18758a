//! The bytes behind a URL: `http`, `https` and `file`.
//!
//! Redirections, tries, timeouts, proxies, passwords and what continues after a
//! break are those of binary caches.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::{FetchError, Result};
use crate::http::settings::HttpSettings;
use crate::http::url::shown;
use crate::progress::Progress;
use crate::store::binary_cache::http::HttpTransport;
use crate::store::binary_cache::transport::Transport as _;
use crate::sys::{PathError, interrupt};

/// Bytes read at a time.
const STEP: usize = 128 * 1024;

/// Copies what is behind `url` to `output`.
///
/// # Errors
/// [`FetchError`]; then part of it may have been written.
pub fn download(
    url: &str,
    settings: HttpSettings,
    progress: Arc<dyn Progress>,
    output: &mut File,
    path: &Path,
) -> Result<()> {
    let name = shown(url);
    let (scheme, rest) = url.split_once("://").ok_or_else(|| FetchError::NoScheme(url.to_owned()))?;
    let mut reader: Box<dyn Read> = match scheme {
        "file" => {
            let file = percent_decoded(rest.split(['?', '#']).next().unwrap_or_default());
            let file = Path::new(&file);
            Box::new(File::open(file).map_err(PathError::at("opening file", file))?)
        }
        "http" | "https" => {
            let place = rest.split('#').next().unwrap_or_default();
            // The last part with its query is asked for, below all before it.
            let end = place.find('?').unwrap_or(place.len());
            let (base, file) = match place[..end].rfind('/') {
                Some(slash) => (&place[..slash], &place[slash + 1..]),
                None => (place, ""),
            };
            let transport = HttpTransport::open(&format!("{scheme}://{base}"), settings, progress)?;
            match transport.get(file, 0)? {
                Some(body) => body.reader,
                None => return Err(FetchError::Absent(name)),
            }
        }
        _ => return Err(FetchError::Scheme { url: name, scheme: scheme.to_owned() }),
    };
    let mut buffer = vec![0; STEP];
    loop {
        interrupt::check()?;
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if interrupt::is_io_error(&error) => return Err(interrupt::Interrupted.into()),
            Err(reason) => return Err(FetchError::Broken { url: name, reason }),
        };
        output.write_all(&buffer[..count]).map_err(PathError::at("writing file", path))?;
    }
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
