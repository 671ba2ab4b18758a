//! URLs in their parts, which are kept as they were written.
//!
//! ```text
//! url   = scheme ":" ["//" authority] path ["?" query] ["#" fragment]
//! query = NAME "=" VALUE { "&" NAME "=" VALUE }
//! ```
//!
//! Only what is not a letter, digit or sign of URLs makes a text no URL: which
//! hosts and ports there are is known to who asks them.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{InputError, Result};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is written as `%XX` in the values of a query.
const IN_QUERY: &AsciiSet = &UNRESERVED.remove(b':').remove(b'@').remove(b'/').remove(b'?');
/// The same for names of files that become paths of URLs.
const IN_PATH: &AsciiSet = &UNRESERVED.remove(b':').remove(b'@').remove(b'/');

/// A URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `http`
    pub scheme: String,
    /// `user@host:80`; none in `file:/x`.
    pub authority: Option<String>,
    /// With its `%XX`.
    pub path: String,
    /// Decoded.
    pub query: BTreeMap<String, String>,
    /// With its `%XX`.
    pub fragment: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`InputError::NoScheme`] and [`InputError::NotUrl`].
    pub fn parse(text: &str) -> Result<Url> {
        let bad = || InputError::NotUrl(text.to_owned());
        let (scheme, rest) = split_scheme(text).ok_or_else(|| InputError::NoScheme(text.to_owned()))?;
        let is_sign =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%^\"".contains(&byte);
        if !rest.bytes().all(is_sign) {
            return Err(bad());
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority.to_owned()), path)
            }
        };
        let mut parameters = BTreeMap::new();
        for parameter in query.split('&') {
            // What has no value says nothing.
            let Some((name, value)) = parameter.split_once('=') else { continue };
            parameters.insert(decoded(name).ok_or_else(bad)?, decoded(value).ok_or_else(bad)?);
        }
        Ok(Url {
            scheme: scheme.to_owned(),
            authority,
            path: path.to_owned(),
            query: parameters,
            fragment: fragment.to_owned(),
        })
    }

    /// The URL of a file or directory of this machine.
    pub fn of_file(path: &str) -> Url {
        Url {
            scheme: "file".to_owned(),
            authority: path.starts_with('/').then(String::new),
            path: utf8_percent_encode(path, IN_PATH).to_string(),
            query: BTreeMap::new(),
            fragment: String::new(),
        }
    }

    /// The path without `%XX`.
    pub fn plain_path(&self) -> Vec<u8> {
        percent_decode_str(&self.path).collect()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(authority) = &self.authority {
            write!(f, "//{authority}")?;
        }
        f.write_str(&self.path)?;
        for (index, (name, value)) in self.query.iter().enumerate() {
            let (name, value) = (utf8_percent_encode(name, IN_QUERY), utf8_percent_encode(value, IN_QUERY));
            write!(f, "{}{name}={value}", if index == 0 { '?' } else { '&' })?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", self.fragment)?;
        }
        Ok(())
    }
}

/// The scheme of a text, and what follows the colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme =
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(allowed);
    is_scheme.then_some((scheme, rest))
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn written_as_they_were_read() {
        for url in [
            "http://h:80/A/../b",
            "file:///a%20b/c",
            "file:a",
            "https://u:p@[::1]:80/a?a=1&b=2%2B#f",
            "https://h",
            "hTTp://h/x",
        ] {
            assert_eq!(Url::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(Url::parse("a://b?z=1&x&a=%20").unwrap().to_string(), "a://b?a=%20&z=1");
        assert_eq!(Url::of_file("/a b?#%=").to_string(), "file:///a%20b%3F%23%25%3D");
        assert_eq!(Url::of_file("./x").to_string(), "file:./x");
    }

    #[test]
    fn no_urls() {
        for (text, error) in [
            ("x", InputError::NoScheme("x".to_owned())),
            ("/a:b", InputError::NoScheme("/a:b".to_owned())),
            ("file:///a b", InputError::NotUrl("file:///a b".to_owned())),
            ("http://é", InputError::NotUrl("http://é".to_owned())),
            ("http://h?a=%ff", InputError::NotUrl("http://h?a=%ff".to_owned())),
        ] {
            assert_eq!(Url::parse(text), Err(error));
        }
    }
}
