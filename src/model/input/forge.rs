//! Inputs that are commits of repositories on a forge, which has an archive of each commit.
//!
//! ```text
//! url   = FORGE ":" OWNER "/" REPO [ "/" ( REV | REF { "/" REF } ) ] ["?" PARAMETERS]
//! FORGE = "github" | "gitlab" | "sourcehut"      PARAMETERS: rev, ref, host, narHash
//! ```
//!
//! A slash in an owner or, when written, in a branch is `%2F`. Other parameters say nothing.

use super::git::{Rev, is_reference};
use super::url::Url;
use super::{
    Attribute, Attributes, Expected, InputError, Result, check_names, json, needed, read_nar_hash, text,
    write_texts,
};
use crate::model::HashFormat;

/// Attributes that are texts.
const TEXTS: [&str; 7] = ["type", "owner", "repo", "ref", "rev", "host", "treeHash"];
/// What may be expected of the trees.
const EXPECTED: [&str; 2] = ["narHash", "lastModified"];

/// A program that serves repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    /// GitHub.
    GitHub,
    /// GitLab.
    GitLab,
    /// SourceHut.
    SourceHut,
}

impl Forge {
    /// The forge of inputs of a type.
    pub fn of_type(text: &str) -> Option<Forge> {
        [Forge::GitHub, Forge::GitLab, Forge::SourceHut].into_iter().find(|forge| forge.name() == text)
    }

    /// The type of the inputs, and the scheme of their URLs.
    pub fn name(self) -> &'static str {
        match self {
            Forge::GitHub => "github",
            Forge::GitLab => "gitlab",
            Forge::SourceHut => "sourcehut",
        }
    }

    /// The machine that is meant where none is named.
    pub fn default_host(self) -> &'static str {
        match self {
            Forge::GitHub => "github.com",
            Forge::GitLab => "gitlab.com",
            Forge::SourceHut => "git.sr.ht",
        }
    }
}

/// A commit of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeInput {
    /// Which program serves it.
    pub forge: Forge,
    /// Whose it is. It may have slashes in it.
    pub owner: String,
    /// Its name.
    pub repo: String,
    /// The branch or tag; none besides a commit.
    pub reference: Option<String>,
    /// The commit.
    pub rev: Option<Rev>,
    /// The machine.
    pub host: Option<String>,
    /// The hash that Git has for the tree.
    pub tree_hash: Option<Rev>,
    /// What the tree has to be.
    pub expected: Expected,
}

impl ForgeInput {
    /// Reads attributes.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(forge: Forge, attributes: &Attributes) -> Result<ForgeInput> {
        check_names(attributes, forge.name(), &[&TEXTS, &EXPECTED])?;
        let copy = |name| Ok(text(attributes, name)?.map(str::to_owned));
        let input = ForgeInput {
            forge,
            owner: needed(attributes, "owner")?.to_owned(),
            repo: needed(attributes, "repo")?.to_owned(),
            reference: copy("ref")?,
            rev: text(attributes, "rev")?.map(Rev::parse).transpose()?,
            host: copy("host")?,
            tree_hash: text(attributes, "treeHash")?.map(Rev::parse).transpose()?,
            expected: Expected::read(attributes)?,
        };
        input.check().map(|()| input)
    }

    /// Reads a URL; none if it is not of this type.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(url: &Url) -> Option<Result<ForgeInput>> {
        Forge::of_type(&url.scheme).map(|forge| Self::read_url(forge, url))
    }

    fn read_url(forge: Forge, url: &Url) -> Result<ForgeInput> {
        let parts = url.parts();
        let [owner, repo, rest @ ..] = parts.as_slice() else {
            return Err(InputError::NoRepository(url.to_string()));
        };
        let (mut rev, mut reference) = (None, None);
        match rest {
            [] => {}
            [part] if is_commit(part) => rev = Some(part.clone()),
            parts => reference = Some(parts.join("/")),
        }
        let parameter = |name| url.query.get(name).cloned();
        if rev.is_some() && parameter("rev").is_some() {
            return Err(InputError::TwoCommits(url.to_string()));
        }
        if reference.is_some() && parameter("ref").is_some() {
            return Err(InputError::TwoReferences(url.to_string()));
        }
        let rev = rev.or_else(|| parameter("rev"));
        let nar_hash = parameter("narHash").as_deref().map(read_nar_hash).transpose()?;
        let input = ForgeInput {
            forge,
            owner: owner.clone(),
            repo: repo.clone(),
            reference: reference.or_else(|| parameter("ref")),
            rev: rev.as_deref().map(Rev::parse).transpose()?,
            host: parameter("host"),
            tree_hash: None,
            expected: Expected { nar_hash, ..Expected::default() },
        };
        input.check().map(|()| input)
    }

    fn check(&self) -> Result<()> {
        let all = || json(&self.attributes());
        match (&self.rev, &self.reference) {
            (Some(rev), Some(reference)) => {
                let (rev, reference) = (rev.as_str().to_owned(), reference.clone());
                return Err(InputError::CommitAndReference { all: all(), rev, reference });
            }
            (_, Some(reference)) if !is_reference(reference) => {
                return Err(InputError::ForgeReference(all()));
            }
            _ => {}
        }
        let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        match &self.host {
            Some(host) if !host.bytes().all(is_sign) => Err(InputError::Host(all())),
            _ => Ok(()),
        }
    }

    /// The machine.
    pub fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(self.forge.default_host())
    }

    /// The input as a URL.
    pub fn url(&self) -> Url {
        let version = self.rev.as_ref().map(Rev::as_str).or(self.reference.as_deref());
        let parts = [Some(self.owner.as_str()), Some(self.repo.as_str()), version];
        let mut url = Url::of_parts(self.forge.name(), parts.into_iter().flatten());
        if let Some(host) = &self.host {
            url.query.insert("host".to_owned(), host.clone());
        }
        if let Some(hash) = self.expected.nar_hash {
            url.query.insert("narHash".to_owned(), hash.digits(HashFormat::Sri));
        }
        url
    }

    /// The input as attributes.
    pub fn attributes(&self) -> Attributes {
        let text = |text: &str| Attribute::Text(text.to_owned());
        let mut attributes = Attributes::from([
            ("type".to_owned(), text(self.forge.name())),
            ("owner".to_owned(), text(&self.owner)),
            ("repo".to_owned(), text(&self.repo)),
        ]);
        let texts = [
            ("ref", self.reference.as_deref()),
            ("rev", self.rev.as_ref().map(Rev::as_str)),
            ("host", self.host.as_deref()),
            ("treeHash", self.tree_hash.as_ref().map(Rev::as_str)),
        ];
        write_texts(&mut attributes, &texts);
        self.expected.write(&mut attributes);
        attributes
    }
}

/// Whether a text is a commit, and no branch.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const REV: &str = "fa866f85814ba2080d39e950fb3d8c966c5b522a";

    fn read(text: &str) -> Result<ForgeInput> {
        ForgeInput::from_url(&Url::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn urls() {
        for (text, url) in [
            ("github:o//r/", "github:o/r"),
            ("github:o/r/a/b", "github:o/r/a%2Fb"),
            ("gitlab:o%2Fsub/r?ref=v1+x&foo=1", "gitlab:o%2Fsub/r/v1%2Bx"),
            ("sourcehut:~o/r?host=h.x", "sourcehut:~o/r?host=h.x"),
            (&format!("github:o/r?rev={REV}"), &format!("github:o/r/{REV}")),
        ] {
            assert_eq!(read(text).unwrap().url().to_string(), url);
        }
    }

    #[test]
    fn what_contradicts_itself() {
        let both = format!("github:o/r/x?rev={REV}");
        assert!(matches!(read(&both), Err(InputError::CommitAndReference { .. })));
        assert!(matches!(read("github:o/r/x?ref=y"), Err(InputError::TwoReferences(_))));
        assert!(matches!(read(&format!("github:o/r/{REV}?rev={REV}")), Err(InputError::TwoCommits(_))));
        assert!(matches!(read("github:o"), Err(InputError::NoRepository(_))));
        assert!(matches!(read("github://o/r"), Err(InputError::NoRepository(_))));
        assert!(matches!(read("github:o/r/x.lock"), Err(InputError::ForgeReference(_))));
        assert!(matches!(read("github:o/r?host=h:80"), Err(InputError::Host(_))));
    }
}
