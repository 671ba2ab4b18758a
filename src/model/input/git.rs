//! Inputs that are trees of Git repositories.
//!
//! ```text
//! url       = ["git+"] ( "http" | "https" | "ssh" | "git" | "file" | … ) ":" …
//!           | user "@" host ":" path                 (over ssh)
//!           | path of this machine
//! rev       = 40 hexadecimal digits
//! ref       = a branch or tag, or its full name ("refs/…")
//! ```
//!
//! In a URL the other attributes are parameters: `ref`, `rev`, and the Booleans
//! as `1`. Parameters of other names belong to the repository's URL.

use super::url::Url;
use super::{
    Attribute, Attributes, Expected, InputError, Result, boolean, check_names, needed, text, write_texts,
};
use crate::model::hash::{Hash, HashAlgorithm, HashFormat};

/// The type of these inputs.
pub const TYPE: &str = "git";
/// Attributes that ask for a signature of the commit.
pub const SIGNED: [&str; 4] = ["verifyCommit", "keytype", "publicKey", "publicKeys"];
/// Attributes that are Booleans, in the order of the fields of [`Choices`].
const BOOLEANS: [&str; 5] = ["shallow", "submodules", "exportIgnore", "allRefs", "lfs"];
/// Attributes that are texts.
const TEXTS: [&str; 7] = ["type", "url", "ref", "rev", "name", "dirtyRev", "dirtyShortRev"];

/// A tree of a Git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitInput {
    /// Where the repository is.
    pub url: Url,
    /// The commit.
    pub rev: Option<Rev>,
    /// The branch or tag.
    pub reference: Option<String>,
    /// How it is fetched.
    pub choices: Choices,
    /// A directory of the tree that is meant, for who looks into the tree.
    pub dir: Option<String>,
    /// The name of the store path.
    pub name: Option<String>,
    /// What the tree has to be.
    pub expected: Expected,
}

/// How a tree is fetched. What is not said is false.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choices {
    /// The history does not matter, and is not counted.
    pub shallow: Option<bool>,
    /// With the trees of the repository's submodules in their places.
    pub submodules: Option<bool>,
    /// Without what the attribute `export-ignore` names.
    pub export_ignore: Option<bool>,
    /// The commit may be in any branch or tag.
    pub all_refs: Option<bool>,
    /// With the files that Git LFS keeps elsewhere.
    pub lfs: Option<bool>,
}

impl Choices {
    fn fields(&mut self) -> [(&'static str, &mut Option<bool>); 5] {
        let fields = [
            &mut self.shallow,
            &mut self.submodules,
            &mut self.export_ignore,
            &mut self.all_refs,
            &mut self.lfs,
        ];
        let mut names = BOOLEANS.into_iter();
        fields.map(|field| (names.next().unwrap_or_default(), field))
    }
}

/// A commit: the SHA-1 hash of it, as 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev(String);

impl Rev {
    /// Reads a commit, in any form of a hash.
    ///
    /// # Errors
    /// [`InputError::Hash`].
    pub fn parse(text: &str) -> Result<Rev> {
        let hash = Hash::parse(text, Some(HashAlgorithm::Sha1));
        Ok(Rev(hash.map_err(|error| InputError::Hash(error.to_string()))?.digits(HashFormat::Base16)))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl GitInput {
    /// Reads attributes.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(attributes: &Attributes) -> Result<GitInput> {
        check_names(attributes, TYPE, &[&TEXTS, &BOOLEANS, &Expected::NAMES])?;
        let mut choices = Choices::default();
        for (name, field) in choices.fields() {
            *field = boolean(attributes, name)?;
        }
        let url = needed(attributes, "url")?;
        let reference = text(attributes, "ref")?.map(checked_reference).transpose()?;
        Ok(GitInput {
            url: repository_url(url)?,
            rev: text(attributes, "rev")?.map(Rev::parse).transpose()?,
            reference: reference.map(str::to_owned),
            choices,
            dir: None,
            name: text(attributes, "name")?.map(str::to_owned),
            expected: Expected::read(attributes)?,
        })
    }

    /// Reads a URL, as `git+https://…`; none if the URL is not of this type.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(url: &Url) -> Option<Result<GitInput>> {
        (url.scheme == TYPE || url.scheme.starts_with("git+")).then(|| Self::read_url(url))
    }

    fn read_url(url: &Url) -> Result<GitInput> {
        let mut url = repository_url(&url.to_string())?;
        let mut choices = Choices::default();
        for (name, field) in choices.fields() {
            *field = url.query.remove(name).map(|value| value == "1");
        }
        let reference = url.query.remove("ref");
        let rev = url.query.remove("rev");
        Ok(GitInput {
            rev: rev.as_deref().map(Rev::parse).transpose()?,
            reference: reference.as_deref().map(checked_reference).transpose()?.map(str::to_owned),
            choices,
            dir: url.query.remove("dir"),
            name: None,
            expected: Expected::default(),
            url,
        })
    }

    /// The input as a URL, without what is expected of the tree.
    pub fn url(&self) -> Url {
        let mut url = self.url.clone();
        if url.scheme != TYPE {
            url.scheme = format!("git+{}", url.scheme);
        }
        let mut choices = self.choices;
        // Where a commit is found changes nothing about it.
        choices.all_refs = None;
        for (name, field) in choices.fields() {
            if *field == Some(true) {
                url.query.insert(name.to_owned(), "1".to_owned());
            }
        }
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
        let mut attributes = Attributes::new();
        let rev = self.rev.as_ref().map(Rev::as_str);
        let url = self.url.to_string();
        let texts = [
            ("type", Some(TYPE)),
            ("url", Some(url.as_str())),
            ("rev", rev),
            ("ref", self.reference.as_deref()),
            ("dir", self.dir.as_deref()),
            ("name", self.name.as_deref()),
        ];
        write_texts(&mut attributes, &texts);
        let mut choices = self.choices;
        for (name, field) in choices.fields() {
            if let Some(is) = *field {
                attributes.insert(name.to_owned(), Attribute::Bool(is));
            }
        }
        self.expected.write(&mut attributes);
        attributes
    }
}

/// The URL of a repository, in every spelling that users have for it.
///
/// # Errors
/// [`InputError`].
pub fn repository_url(text: &str) -> Result<Url> {
    let mut plain = text;
    while let Some(rest) = plain.strip_prefix("git+") {
        plain = rest;
    }
    let url = match plain.split_once(':') {
        _ if plain.contains("://") || plain.starts_with("file:") => Url::parse(plain)?,
        Some((host, path)) if !host.contains('/') => match host.split_once('@') {
            Some((user, name)) if !user.is_empty() && !name.is_empty() => {
                Url::parse(&format!("ssh://{host}/{}", path.trim_start_matches('/')))?
            }
            _ => return Err(InputError::Scp(text.to_owned())),
        },
        _ => Url::of_file(plain),
    };
    match &url.authority {
        Some(authority) if url.scheme == "file" && !authority.is_empty() => {
            let (url, authority) = (text.to_owned(), authority.clone());
            Err(InputError::Authority { url, authority })
        }
        _ => Ok(url),
    }
}

/// Whether a text can name a branch or tag, by the rules of Git.
pub fn is_reference(text: &str) -> bool {
    let bad = |letter: char| letter.is_ascii_control() || " ~^:?*[\\".contains(letter);
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    text != "@"
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && !text.contains(bad)
        && text.split('/').all(is_part)
}

fn checked_reference(text: &str) -> Result<&str> {
    match is_reference(text) {
        true => Ok(text),
        false => Err(InputError::Reference(text.to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const REV: &str = "fa866f85814ba2080d39e950fb3d8c966c5b522a";

    #[test]
    fn urls_of_repositories() {
        for (text, url) in [
            ("git@host:a/b", "ssh://git@host/a/b"),
            ("user@host:22/x", "ssh://user@host/22/x"),
            ("/a b/c", "file:///a%20b/c"),
            ("/a:b", "file:///a:b"),
            ("file:a", "file:a"),
            ("a?b", "file:a%3Fb"),
            ("--upload-pack=x", "file:--upload-pack%3Dx"),
            ("git+git+file:///x", "file:///x"),
            ("http://h/a?ref=x&foo=1", "http://h/a?foo=1&ref=x"),
        ] {
            assert_eq!(repository_url(text).unwrap().to_string(), url);
        }
        for text in ["host:/a", "ext::sh", "path:/x", "git+path:/x", "@h:x", "u@:x"] {
            assert_eq!(repository_url(text), Err(InputError::Scp(text.to_owned())));
        }
        assert!(matches!(repository_url("file://host/x"), Err(InputError::Authority { .. })));
    }

    #[test]
    fn parameters_are_attributes() {
        let url = format!("git+http://h/a?ref=x&rev={REV}&foo=1&dir=d&shallow=1&submodules=0&allRefs=1");
        let input = GitInput::from_url(&Url::parse(&url).unwrap()).unwrap().unwrap();
        assert_eq!(input.url.to_string(), "http://h/a?foo=1");
        let choices = Choices {
            shallow: Some(true),
            submodules: Some(false),
            all_refs: Some(true),
            ..Choices::default()
        };
        assert_eq!(input.choices, choices);
        let shown = format!("git+http://h/a?dir=d&foo=1&ref=x&rev={REV}&shallow=1");
        assert_eq!(input.url().to_string(), shown);
    }

    #[test]
    fn names_of_branches() {
        for name in ["HEAD", "refs/heads/x", "a-b", "a,b", "é", "a/b.c", "a@b"] {
            assert!(is_reference(name), "{name}");
        }
        for name in [
            "", "@", "a@{b", "a.lock", ".a", "a/.b", "a//b", "a/", "/a", "a.", "a b", "a\\b", "-a", "a..b",
            "a.lock/b",
        ] {
            assert!(!is_reference(name), "{name}");
        }
    }
}
