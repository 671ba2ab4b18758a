//! Inputs that are trees of Mercurial repositories.
//!
//! ```text
//! url = "hg+" ( "http" | "https" | "ssh" | "file" ) ":" … ["?" PARAMETERS]
//! ```
//!
//! `ref` (a branch, tag or bookmark), `rev` and `dir` are parameters of the input; all others belong
//! to the repository's URL.

use super::git::Rev;
use super::url::Url;
use super::{Attribute, Attributes, Expected, InputError, Result, check_names, needed, text, write_texts};

/// The type of these inputs.
pub const TYPE: &str = "hg";
/// Attributes that are texts.
const TEXTS: [&str; 5] = ["type", "url", "ref", "rev", "name"];
/// What may be expected of the trees.
const EXPECTED: [&str; 2] = ["narHash", "revCount"];
/// Schemes of repositories.
const SCHEMES: [&str; 4] = ["http", "https", "ssh", "file"];

/// A tree of a Mercurial repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MercurialInput {
    /// Where the repository is.
    pub url: Url,
    /// The commit.
    pub rev: Option<Rev>,
    /// The branch, tag or bookmark.
    pub reference: Option<String>,
    /// A directory of the tree that is meant, for who looks into the tree.
    pub dir: Option<String>,
    /// The name of the store path.
    pub name: Option<String>,
    /// What the tree has to be.
    pub expected: Expected,
}

impl MercurialInput {
    /// Reads attributes.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(attributes: &Attributes) -> Result<MercurialInput> {
        check_names(attributes, TYPE, &[&TEXTS, &EXPECTED])?;
        Ok(MercurialInput {
            url: Url::parse(needed(attributes, "url")?)?,
            rev: text(attributes, "rev")?.map(Rev::parse).transpose()?,
            reference: text(attributes, "ref")?.map(checked_reference).transpose()?,
            dir: None,
            name: text(attributes, "name")?.map(str::to_owned),
            expected: Expected::read(attributes)?,
        })
    }

    /// Reads a URL; none if it is not of this type.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(url: &Url) -> Option<Result<MercurialInput>> {
        let scheme = url.scheme.strip_prefix("hg+")?;
        SCHEMES.contains(&scheme).then(|| Self::read_url(url, scheme))
    }

    fn read_url(url: &Url, scheme: &str) -> Result<MercurialInput> {
        let mut url = Url { scheme: scheme.to_owned(), fragment: String::new(), ..url.clone() };
        let (rev, reference) = (url.query.remove("rev"), url.query.remove("ref"));
        Ok(MercurialInput {
            rev: rev.as_deref().map(Rev::parse).transpose()?,
            reference: reference.as_deref().map(checked_reference).transpose()?,
            dir: url.query.remove("dir"),
            name: None,
            expected: Expected::default(),
            url,
        })
    }

    /// The input as a URL.
    pub fn url(&self) -> Url {
        let mut url = self.url.clone();
        url.scheme = format!("hg+{}", url.scheme);
        let rev = self.rev.as_ref().map(Rev::as_str);
        for (name, value) in [("rev", rev), ("ref", self.reference.as_deref()), ("dir", self.dir.as_deref())]
        {
            if let Some(value) = value {
                url.query.insert(name.to_owned(), value.to_owned());
            }
        }
        url
    }

    /// The input as attributes.
    pub fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::from([
            ("type".to_owned(), Attribute::Text(TYPE.to_owned())),
            ("url".to_owned(), Attribute::Text(self.url.to_string())),
        ]);
        let texts = [
            ("rev", self.rev.as_ref().map(Rev::as_str)),
            ("ref", self.reference.as_deref()),
            ("dir", self.dir.as_deref()),
            ("name", self.name.as_deref()),
        ];
        write_texts(&mut attributes, &texts);
        self.expected.write(&mut attributes);
        attributes
    }
}

/// Whether a text can name a branch, tag or bookmark, and is nothing else to the program `hg`.
pub fn is_reference(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'@';
    text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| is_first(byte) || b"_./+-".contains(&byte))
}

fn checked_reference(text: &str) -> Result<String> {
    match is_reference(text) {
        true => Ok(text.to_owned()),
        false => Err(InputError::MercurialReference(text.to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_attributes() {
        let read = |text: &str| MercurialInput::from_url(&Url::parse(text).unwrap());
        let input = read("hg+https://h/p?ref=a&dir=d&x=y").unwrap().unwrap();
        assert_eq!(input.url.to_string(), "https://h/p?x=y");
        assert_eq!(input.url().to_string(), "hg+https://h/p?dir=d&ref=a&x=y");
        assert!(read("hg+https://h/p?rev=zz").unwrap().is_err());
        for bad in ["", "-x", "a b", "a'b", "all()"] {
            assert!(!is_reference(bad), "{bad}");
        }
        assert!(read("hg+ftp://h/p").is_none() && read("hg://h/p").is_none());
    }
}
