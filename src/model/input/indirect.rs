//! Inputs that are names, of which a registry knows what they stand for.
//!
//! ```text
//! url = "flake:" ID [ "/" ( REV | REF | REF "/" REV ) ]
//! ID  = LETTER { LETTER | DIGIT | "_" | "-" }
//! ```

use super::forge::is_commit;
use super::git::{Rev, is_reference};
use super::url::Url;
use super::{Attribute, Attributes, Expected, InputError, Result, check_names, needed, text, write_texts};

/// The type of these inputs.
pub const TYPE: &str = "indirect";
/// The scheme of their URLs.
pub const SCHEME: &str = "flake";
/// Attributes that there are.
const NAMES: [&str; 5] = ["type", "id", "ref", "rev", "narHash"];

/// A name, and what is wanted of what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndirectInput {
    /// The name.
    pub id: String,
    /// The branch or tag.
    pub reference: Option<String>,
    /// The commit.
    pub rev: Option<Rev>,
    /// What the tree has to be.
    pub expected: Expected,
}

impl IndirectInput {
    /// Reads attributes.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(attributes: &Attributes) -> Result<IndirectInput> {
        check_names(attributes, TYPE, &[&NAMES])?;
        Ok(IndirectInput {
            id: checked_id(needed(attributes, "id")?)?,
            reference: text(attributes, "ref")?.map(str::to_owned),
            rev: text(attributes, "rev")?.map(Rev::parse).transpose()?,
            expected: Expected::read(attributes)?,
        })
    }

    /// Reads a URL; none if it is not of this type.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(url: &Url) -> Option<Result<IndirectInput>> {
        (url.scheme == SCHEME).then(|| Self::read_url(url))
    }

    fn read_url(url: &Url) -> Result<IndirectInput> {
        let parts = url.parts();
        let (id, reference, rev) = match parts.as_slice() {
            [id] => (id, None, None),
            [id, rev] if is_commit(rev) => (id, None, Some(rev)),
            [id, reference] if is_reference(reference) => (id, Some(reference), None),
            [_, part] => {
                return Err(InputError::NotCommitOrReference { url: url.to_string(), part: part.clone() });
            }
            [id, reference, rev] => {
                let bad = |part: &String| InputError::NotCommit { url: url.to_string(), part: part.clone() };
                if !is_commit(rev) {
                    return Err(bad(rev));
                }
                if !is_reference(reference) {
                    return Err(InputError::Reference(reference.clone()));
                }
                (id, Some(reference), Some(rev))
            }
            _ => return Err(InputError::NoId(url.to_string())),
        };
        Ok(IndirectInput {
            id: checked_id(id)?,
            reference: reference.cloned(),
            rev: rev.map(|rev| Rev::parse(rev)).transpose()?,
            expected: Expected::default(),
        })
    }

    /// The input as a URL.
    pub fn url(&self) -> Url {
        let rev = self.rev.as_ref().map(Rev::as_str);
        let parts = [Some(self.id.as_str()), self.reference.as_deref(), rev];
        Url::of_parts(SCHEME, parts.into_iter().flatten())
    }

    /// The input as attributes.
    pub fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::from([
            ("type".to_owned(), Attribute::Text(TYPE.to_owned())),
            ("id".to_owned(), Attribute::Text(self.id.clone())),
        ]);
        let rev = self.rev.as_ref().map(Rev::as_str);
        write_texts(&mut attributes, &[("ref", self.reference.as_deref()), ("rev", rev)]);
        self.expected.write(&mut attributes);
        attributes
    }
}

/// Whether a registry can have a name.
pub fn is_id(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn checked_id(text: &str) -> Result<String> {
    match is_id(text) {
        true => Ok(text.to_owned()),
        false => Err(InputError::Id(text.to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let read = |text: &str| IndirectInput::from_url(&Url::parse(text).unwrap()).unwrap();
        let rev = "fa866f85814ba2080d39e950fb3d8c966c5b522a";
        for (text, url) in [
            ("flake:/a//b", "flake:a/b".to_owned()),
            ("flake:a_1/x%2Fy?foo=1", "flake:a_1/x%2Fy".to_owned()),
            (&format!("flake:a/{rev}"), format!("flake:a/{rev}")),
            (&format!("flake:a/b/{rev}"), format!("flake:a/b/{rev}")),
        ] {
            assert_eq!(read(text).unwrap().url().to_string(), url);
        }
        for text in ["flake:", "flake:1a", "flake:a/b/c", "flake:a/x..y", "flake:a/b/c/d", "flake://a"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
