//! URLs in their parts. Each URL has one spelling: what needs `%XX` has it, and nothing else.
//!
//! ```text
//! url       = scheme ":" ["//" authority] path ["?" query] ["#" fragment]
//! authority = [USER "@"] ( HOST | "[" ADDRESS "]" ) [":" PORT]
//! query     = NAME "=" VALUE { "&" NAME "=" VALUE }
//! ```
//!
//! Of parameters with the same name, the first one counts. Which hosts there are is known to
//! who asks them.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};

use super::{InputError, Result};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is written as `%XX` in the values of a query.
const IN_QUERY: &AsciiSet = &UNRESERVED.remove(b':').remove(b'@').remove(b'/').remove(b'?');
/// What is written so in one part of a path.
const IN_PART: &AsciiSet = &UNRESERVED.remove(b':').remove(b'@');
/// The same for names of files that become paths of URLs.
const IN_PATH: &AsciiSet = &IN_PART.remove(b'/');

/// A URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `http`
    pub scheme: String,
    /// `user@host:80`; none in `file:/x`.
    pub authority: Option<String>,
    /// With `%XX` where it is needed.
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
    /// [`InputError::NoScheme`], [`InputError::NotUrl`] and [`InputError::Port`].
    pub fn parse(text: &str) -> Result<Url> {
        let bad = || InputError::NotUrl(text.to_owned());
        let (scheme, rest) = split_scheme(text).ok_or_else(|| InputError::NoScheme(text.to_owned()))?;
        if !consists_of(rest, b":/?#[]@!$&'()*+,;=%^\"") {
            return Err(bad());
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                if !is_authority(authority)? {
                    return Err(bad());
                }
                (Some(authority.to_owned()), path)
            }
        };
        let mut parameters = BTreeMap::new();
        for parameter in query.split('&') {
            // What has no value says nothing.
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (decoded(name).ok_or_else(bad)?, decoded(value).ok_or_else(bad)?);
            parameters.entry(name).or_insert(value);
        }
        Ok(Url {
            scheme: scheme.to_owned(),
            authority,
            path: spelled(path).ok_or_else(bad)?,
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

    /// The parts of the path without `%XX`; empty ones are left out.
    pub fn parts(&self) -> Vec<String> {
        let parts = self.path.split('/').filter(|part| !part.is_empty());
        parts.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
    }

    /// The URL without an authority whose path has these parts.
    pub fn of_parts<'p>(scheme: &str, parts: impl IntoIterator<Item = &'p str>) -> Url {
        let parts: Vec<String> = parts.into_iter().map(in_part).collect();
        Url {
            scheme: scheme.to_owned(),
            authority: None,
            path: parts.join("/"),
            query: BTreeMap::new(),
            fragment: String::new(),
        }
    }
}

/// The value of a parameter as URLs have it.
pub fn in_query(text: &str) -> String {
    utf8_percent_encode(text, IN_QUERY).to_string()
}

/// One part of a path as URLs have it.
pub fn in_part(text: &str) -> String {
    utf8_percent_encode(text, IN_PART).to_string()
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

/// Whether there are only letters, digits, `-._~` and these bytes.
fn consists_of(text: &str, signs: &[u8]) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || signs.contains(&byte)
    })
}

/// Whether a text can stand between `//` and the path.
fn is_authority(text: &str) -> Result<bool> {
    const SIGNS: &[u8] = b"!$&'()*+,;=%";
    let (user, place) = text.rsplit_once('@').unwrap_or(("", text));
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if consists_of(address, b":%") => ("", port.strip_prefix(':').unwrap_or(port)),
        Some(_) => return Ok(false),
        None => place.split_once(':').unwrap_or((place, "")),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(false);
    }
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(InputError::Port(port.to_owned()));
    }
    Ok(consists_of(user, b"!$&'()*+,;=%:") && consists_of(host, SIGNS))
}

/// A path in its one spelling.
fn spelled(path: &str) -> Option<String> {
    if !consists_of(path, b":/@!$&'()*+,;=%") {
        return None;
    }
    // A `%` without two digits behind it is nothing.
    let is_code = |code: &str| code.len() >= 2 && code.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !path.split('%').skip(1).all(is_code) {
        return None;
    }
    let part = |part: &str| {
        let bytes: Vec<u8> = percent_decode_str(part).collect();
        percent_encode(&bytes, IN_PART).to_string()
    };
    Some(path.split('/').map(part).collect::<Vec<_>>().join("/"))
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
    fn one_spelling() {
        for (text, url) in [
            ("https://h/a%2fb%7e~?x=a+b%2B", "https://h/a%2Fb~~?x=a%2Bb%2B"),
            ("https://h/;=,@:", "https://h/%3B%3D%2C@:"),
            ("https://h/%ff", "https://h/%FF"),
            ("https://h/a?x=1&x=2", "https://h/a?x=1"),
            ("https://h//a//b/", "https://h//a//b/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), url);
        }
        assert_eq!(Url::parse("a:b%2Fc//d").unwrap().parts(), ["b/c", "d"]);
        assert_eq!(Url::of_parts("a", ["b/c", "+"]).to_string(), "a:b%2Fc/%2B");
    }

    #[test]
    fn no_urls() {
        for (text, error) in [
            ("x", InputError::NoScheme("x".to_owned())),
            ("/a:b", InputError::NoScheme("/a:b".to_owned())),
            ("file:///a b", InputError::NotUrl("file:///a b".to_owned())),
            ("http://é", InputError::NotUrl("http://é".to_owned())),
            ("http://h?a=%ff", InputError::NotUrl("http://h?a=%ff".to_owned())),
            ("http://h/%zz", InputError::NotUrl("http://h/%zz".to_owned())),
            ("http://h/a[b]", InputError::NotUrl("http://h/a[b]".to_owned())),
            ("http://h:x/a", InputError::NotUrl("http://h:x/a".to_owned())),
            ("http://h:99999/a", InputError::Port("99999".to_owned())),
        ] {
            assert_eq!(Url::parse(text), Err(error));
        }
    }
}
