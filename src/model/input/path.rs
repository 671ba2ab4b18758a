//! Inputs that are files and directories of this machine.
//!
//! ```text
//! url = "path:" path ["?" PARAMETERS]      PARAMETERS: lastModified, narHash, rev, revCount
//! ```
//!
//! What is said of the tree is told further, as it is where such inputs are locked;
//! only its hash is checked.

use percent_encoding::percent_decode_str;

use super::git::Rev;
use super::url::Url;
use super::{Attribute, Attributes, Expected, InputError, Result, check_names, text};

/// The type of these inputs.
pub const TYPE: &str = "path";
/// Attributes that are texts.
const TEXTS: [&str; 3] = ["type", "path", "rev"];

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInput {
    /// Where it lies, maybe relative to something that the caller knows.
    pub path: String,
    /// The commit that it was made of.
    pub rev: Option<Rev>,
    /// What the tree is, and its hash has to be.
    pub expected: Expected,
}

impl PathInput {
    /// Reads attributes.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(attributes: &Attributes) -> Result<PathInput> {
        check_names(attributes, TYPE, &[&TEXTS, &Expected::NAMES])?;
        Ok(PathInput {
            path: text(attributes, "path")?.ok_or(InputError::Missing("path"))?.to_owned(),
            rev: text(attributes, "rev")?.map(Rev::parse).transpose()?,
            expected: Expected::read(attributes)?,
        })
    }

    /// Reads a URL; none if it is not of this type.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(url: &Url) -> Option<Result<PathInput>> {
        (url.scheme == TYPE).then(|| Self::read_url(url))
    }

    fn read_url(url: &Url) -> Result<PathInput> {
        if let Some(authority) = url.authority.as_ref().filter(|authority| !authority.is_empty()) {
            return Err(InputError::PathAuthority { url: url.to_string(), authority: authority.clone() });
        }
        let path = percent_decode_str(&url.path).decode_utf8_lossy();
        let path = match Self::with_single_slashes(&path) {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        let mut attributes = Attributes::from([("path".to_owned(), Attribute::Text(path))]);
        for (name, value) in &url.query {
            let parameter = || InputError::Parameter { url: url.to_string(), name: name.clone() };
            let attribute = match name.as_str() {
                "rev" | "narHash" => Attribute::Text(value.clone()),
                "lastModified" | "revCount" => {
                    let invalid = |_| InputError::BadParameter { url: url.to_string(), name: name.clone() };
                    Attribute::Number(value.parse().map_err(invalid)?)
                }
                _ => return Err(parameter()),
            };
            attributes.insert(name.clone(), attribute);
        }
        Self::from_attributes(&attributes)
    }

    /// A path without the slashes that follow a slash.
    pub fn with_single_slashes(path: &str) -> String {
        let mut last = None;
        let is_kept = |letter: &char| last.replace(*letter) != Some('/') || *letter != '/';
        path.chars().filter(is_kept).collect()
    }

    /// The input as a URL.
    pub fn url(&self) -> Url {
        let mut url = Url::of_file(&self.path);
        url.scheme = TYPE.to_owned();
        url.authority = None;
        let mut attributes = self.attributes();
        attributes.remove("type");
        attributes.remove("path");
        let text = |attribute| match attribute {
            Attribute::Text(text) => text,
            Attribute::Number(number) => number.to_string(),
            Attribute::Bool(is) => u8::from(is).to_string(),
        };
        url.query = attributes.into_iter().map(|(name, attribute)| (name, text(attribute))).collect();
        url
    }

    /// The input as attributes.
    pub fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::from([
            ("type".to_owned(), Attribute::Text(TYPE.to_owned())),
            ("path".to_owned(), Attribute::Text(self.path.clone())),
        ]);
        if let Some(rev) = &self.rev {
            attributes.insert("rev".to_owned(), Attribute::Text(rev.as_str().to_owned()));
        }
        self.expected.write(&mut attributes);
        attributes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let read = |text: &str| PathInput::from_url(&Url::parse(text).unwrap()).unwrap();
        for url in ["path:/a%20b?lastModified=5&revCount=3", "path:./x", "path:/x/../y"] {
            assert_eq!(read(url).unwrap().url().to_string(), url);
        }
        assert_eq!(read("path:///a").unwrap().path, "/a");
        assert_eq!(read("path:").unwrap().path, "/");
        assert_eq!(read("path:/a//b/").unwrap().path, "/a/b/");
        for url in ["path:/x?dir=d", "path:/x?lastModified=y", "path://h/x", "path:/x?rev=short"] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
