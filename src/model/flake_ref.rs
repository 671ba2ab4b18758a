//! Flake references: an input, and the directory of the flake in its tree.
//!
//! ```text
//! reference = ID [ "/" VERSION ]                        as "flake:ID/VERSION"
//!           | URL of an input, with "dir" as a parameter
//!           | PATH [ "?" PARAMETERS ]                   as "path:PATH?PARAMETERS"
//! VERSION   = ( LETTER | DIGIT | "@" ) { LETTER | DIGIT | any of "_./@+-" }
//! ```
//!
//! They are tried in this order. A path is written as it is, without `%XX`. What is behind a `#`
//! belongs to who has the reference, and not to it.

use super::input::indirect::{self, is_id};
use super::input::path::PathInput;
use super::input::url::Url;
use super::input::{Attribute, Attributes, Input, InputError, text};

/// A flake reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlakeRef {
    /// What the tree is fetched by.
    pub input: Input,
    /// The directory of the flake in it, relative to its top; mostly empty.
    pub dir: String,
}

/// Why a text is no flake reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlakeRefError {
    /// A text that is neither a name nor a URL, and no path from the root.
    #[error("flake reference '{0}' is not an absolute path")]
    NotAbsolute(String),
    /// A text with something behind a `#`.
    #[error("unexpected fragment '{fragment}' in flake reference '{text}'")]
    Fragment {
        /// The text.
        text: String,
        /// What is behind it.
        fragment: String,
    },
    /// What the reference is of.
    #[error(transparent)]
    Input(#[from] InputError),
}

impl FlakeRef {
    /// Reads a reference that does not depend on a directory.
    ///
    /// # Errors
    /// [`FlakeRefError`].
    pub fn parse(text: &str) -> Result<FlakeRef, FlakeRefError> {
        let (reference, fragment) = text.split_once('#').unwrap_or((text, ""));
        let found = match Self::read(reference) {
            // Whatever else is wrong with a text, it can have no fragment.
            Ok(found) => found,
            Err(FlakeRefError::NotAbsolute(_)) => return Err(FlakeRefError::NotAbsolute(text.to_owned())),
            Err(error) => return Err(error),
        };
        match fragment {
            "" => Ok(found),
            fragment => Err(FlakeRefError::Fragment { text: text.to_owned(), fragment: fragment.to_owned() }),
        }
    }

    fn read(text: &str) -> Result<FlakeRef, FlakeRefError> {
        if is_shorthand(text) {
            let url = Url::parse(&format!("{}:{text}", indirect::SCHEME))?;
            return Ok(FlakeRef { input: Input::from_parsed(&url)?, dir: String::new() });
        }
        match Self::from_url(text) {
            Err(error) if error.is_of_url() => {}
            other => return Ok(other?),
        }
        if !text.starts_with('/') {
            return Err(FlakeRefError::NotAbsolute(text.to_owned()));
        }
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut url = Url::of_file(&PathInput::with_single_slashes(path));
        "path".clone_into(&mut url.scheme);
        if !query.is_empty() {
            url.query = Url::parse(&format!("path:?{query}"))?.query;
        }
        let dir = url.query.remove("dir").unwrap_or_default();
        Ok(FlakeRef { input: Input::from_parsed(&url)?, dir })
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(text: &str) -> Result<FlakeRef, InputError> {
        let mut url = Url::parse(text)?;
        let dir = url.query.remove("dir").unwrap_or_default();
        let input = Input::from_parsed(&url).map_err(|error| match error {
            InputError::Scheme(_) => InputError::Scheme(text.to_owned()),
            other => other,
        })?;
        Ok(FlakeRef { input, dir })
    }

    /// Reads the attributes of an input, and `dir`.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(attributes: &Attributes) -> Result<FlakeRef, InputError> {
        let dir = text(attributes, "dir")?.unwrap_or_default().to_owned();
        let mut attributes = attributes.clone();
        attributes.remove("dir");
        Ok(FlakeRef { input: Input::from_attributes(&attributes)?, dir })
    }

    /// The reference as a URL.
    pub fn url(&self) -> Url {
        let mut url = self.input.url();
        if !self.dir.is_empty() {
            url.query.insert("dir".to_owned(), self.dir.clone());
        }
        url
    }

    /// The reference as attributes.
    pub fn attributes(&self) -> Attributes {
        let mut attributes = self.input.attributes();
        if !self.dir.is_empty() {
            attributes.insert("dir".to_owned(), Attribute::Text(self.dir.clone()));
        }
        attributes
    }
}

/// Whether a text is `ID` or `ID/VERSION`.
fn is_shorthand(text: &str) -> bool {
    let (id, version) = text.split_once('/').map_or((text, None), |(id, version)| (id, Some(version)));
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'@';
    let is_version = |text: &str| {
        text.bytes().next().is_some_and(is_first)
            && text.bytes().all(|byte| is_first(byte) || matches!(byte, b'_' | b'.' | b'/' | b'+' | b'-'))
    };
    is_id(id) && version.is_none_or(is_version)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, url) in [
            ("nixpkgs", "flake:nixpkgs"),
            ("nixpkgs/a+b#", "flake:nixpkgs/a%2Bb"),
            ("github:o/r/x?dir=d", "github:o/r/x?dir=d"),
            ("//a//b?dir=d", "path:/a/b?dir=d"),
            ("/a%20b", "path:/a%2520b"),
            ("path:/a?dir=", "path:/a"),
            ("path:", "path:/"),
            ("https://h/x?dir=d&a=b", "https://h/x?a=b&dir=d"),
        ] {
            let found = FlakeRef::parse(text).unwrap();
            assert_eq!(found.url().to_string(), url);
            assert_eq!(FlakeRef::from_attributes(&found.attributes()).unwrap(), found);
        }
    }

    #[test]
    fn no_references() {
        for text in ["", "./a", "nixpkgs?dir=x", "flake:1a", "github:o", "git+https://h/?ref=a..b", "a b#c"] {
            assert_eq!(FlakeRef::parse(text), Err(FlakeRefError::NotAbsolute(text.to_owned())));
        }
        for text in ["nixpkgs/a/b", "nosuch:x", "path:/a?x=y", "github:o/r?rev=z"] {
            assert!(matches!(FlakeRef::parse(text), Err(FlakeRefError::Input(_))), "{text}");
        }
        assert!(matches!(FlakeRef::parse("a#b"), Err(FlakeRefError::Fragment { .. })));
    }

    proptest::proptest! {
        /// What is read is the same once it was a set.
        #[test]
        fn any_text_is_read_or_refused(
            text in "(github|gitlab|flake|path|git\\+file|file|hg\\+http|)(:|://|)[a-z0-9./%?&=#~ -]{0,30}"
        ) {
            if let Ok(found) = FlakeRef::parse(&text) {
                proptest::prop_assert_eq!(FlakeRef::from_attributes(&found.attributes()), Ok(found));
            }
        }
    }
}
