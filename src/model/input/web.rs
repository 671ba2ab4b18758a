//! Inputs that are archives or single files, by their URLs.
//!
//! ```text
//! url    = ["tarball+" | "file+"] ( "http" | "https" | "file" ) ":" … ["?" PARAMETERS]
//! ```
//!
//! `narHash`, `rev`, `revCount`, `lastModified` and `dir` are parameters of the input; all others
//! belong to the URL of what is fetched.

use super::git::Rev;
use super::url::Url;
use super::{
    Attribute, Attributes, Expected, InputError, Result, boolean, check_names, needed, read_nar_hash, text,
    write_texts,
};
use crate::model::HashFormat;

/// Attributes that are texts.
const TEXTS: [&str; 4] = ["type", "url", "rev", "name"];
/// Schemes of URLs that can be fetched.
const SCHEMES: [&str; 3] = ["http", "https", "file"];
/// Parameters that say what attributes say, and nothing to a server.
const TAKEN: [&str; 3] = ["name", "url", "unpack"];

/// What is behind a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An archive, of which the tree in it is wanted.
    Archive,
    /// A file.
    File,
}

impl Content {
    /// The content of inputs of a type.
    pub fn of_type(text: &str) -> Option<Content> {
        [Content::Archive, Content::File].into_iter().find(|content| content.name() == text)
    }

    /// The type of the inputs.
    pub fn name(self) -> &'static str {
        match self {
            Content::Archive => "tarball",
            Content::File => "file",
        }
    }
}

/// An archive or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebInput {
    /// What is behind the URL.
    pub content: Content,
    /// The URL that is fetched.
    pub url: Url,
    /// The commit that it was made of.
    pub rev: Option<Rev>,
    /// A directory of the tree that is meant, for who looks into the tree.
    pub dir: Option<String>,
    /// The name of the store path.
    pub name: Option<String>,
    /// What it has to be.
    pub expected: Expected,
}

impl WebInput {
    /// Reads attributes.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(content: Content, attributes: &Attributes) -> Result<WebInput> {
        check_names(attributes, content.name(), &[&TEXTS, &["unpack"], &Expected::NAMES])?;
        if boolean(attributes, "unpack")?.is_some_and(|unpack| unpack != (content == Content::Archive)) {
            // The type says it, and what contradicts it is not passed over.
            return Err(InputError::Unknown { name: "unpack".to_owned(), scheme: content.name() });
        }
        Ok(WebInput {
            content,
            url: Url::parse(needed(attributes, "url")?)?,
            rev: text(attributes, "rev")?.map(Rev::parse).transpose()?,
            dir: None,
            name: text(attributes, "name")?.map(str::to_owned),
            expected: Expected::read(attributes)?,
        })
    }

    /// Reads a URL; none if it is not of this type.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(url: &Url) -> Option<Result<WebInput>> {
        let (content, scheme) = match url.scheme.split_once('+') {
            Some((kind, scheme)) => (Content::of_type(kind)?, scheme),
            None => (Content::Archive, url.scheme.as_str()),
        };
        SCHEMES.contains(&scheme).then(|| Self::read_url(url, content, scheme))
    }

    fn read_url(url: &Url, content: Content, scheme: &str) -> Result<WebInput> {
        let mut url = Url { scheme: scheme.to_owned(), ..url.clone() };
        let rev = url.query.remove("rev").as_deref().map(Rev::parse).transpose()?;
        let nar_hash = url.query.remove("narHash").as_deref().map(read_nar_hash).transpose()?;
        // What is no number says nothing.
        let mut number = |name| url.query.remove(name).and_then(|value| value.parse().ok());
        let (last_modified, rev_count) = (number("lastModified"), number("revCount"));
        let dir = url.query.remove("dir");
        for name in TAKEN {
            url.query.remove(name);
        }
        let expected = Expected { nar_hash, last_modified, rev_count };
        Ok(WebInput { content, url, rev, dir, name: None, expected })
    }

    /// The input as a URL. It does not tell a file from an archive.
    pub fn url(&self) -> Url {
        let mut url = self.url.clone();
        let nar_hash = self.expected.nar_hash.map(|hash| hash.digits(HashFormat::Sri));
        for (name, value) in [("narHash", nar_hash), ("dir", self.dir.clone())] {
            if let Some(value) = value {
                url.query.insert(name.to_owned(), value);
            }
        }
        url
    }

    /// The input as attributes.
    pub fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::from([
            ("type".to_owned(), Attribute::Text(self.content.name().to_owned())),
            ("url".to_owned(), Attribute::Text(self.url.to_string())),
        ]);
        let rev = self.rev.as_ref().map(Rev::as_str);
        write_texts(
            &mut attributes,
            &[("rev", rev), ("dir", self.dir.as_deref()), ("name", self.name.as_deref())],
        );
        self.expected.write(&mut attributes);
        attributes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_input_and_what_of_the_server() {
        let read = |text: &str| WebInput::from_url(&Url::parse(text).unwrap());
        let input = read("https://h/p.zip?dir=d&a=b&revCount=3&lastModified=x&narHash=").unwrap().unwrap();
        assert_eq!(
            (input.content, input.url.to_string()),
            (Content::Archive, "https://h/p.zip?a=b".to_owned())
        );
        assert_eq!((input.expected.rev_count, input.expected.last_modified), (Some(3), None));
        assert!(input.url().to_string().starts_with("https://h/p.zip?a=b&dir=d&narHash=sha256-AAAA"));
        assert_eq!(read("file+file:///x").unwrap().unwrap().content, Content::File);
        for other in ["ftp://h/x.tar", "file+path:/x", "git+file:///x", "HTTPS://h/x"] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
