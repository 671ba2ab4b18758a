//! Content addresses, and the store paths that follow from them.
//!
//! ```text
//! ca = "text:sha256:" nix32 | "fixed:" ["r:" | "git:"] ALGO ":" nix32
//! ```
//!
//! | content | TYPE of the path | INNER |
//! |---|---|---|
//! | text | `text` and `:`REF for each reference, sorted | the hash of the text |
//! | NAR, sha256 | `source`, `:`REF for each reference, `:self` if it refers to itself | the hash of the NAR, own hash parts taken as zeros |
//! | any other | `output:out` | sha256 of `fixed:out:` \[`r:` or `git:`\] ALGO `:` BASE16 `:` |

use std::collections::BTreeSet;
use std::fmt;

use super::hash::{Hash, HashAlgorithm, HashError, HashFormat};
use super::store_path::{NameError, StoreDir, StorePath};

/// What of the content is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentAddressMethod {
    /// The bytes of one file that may refer to other paths; sha256 only.
    Text,
    /// The bytes of one file.
    Flat,
    /// The NAR of a file or tree.
    NixArchive,
    /// The object that git makes of a file or tree (feature `git-hashing`).
    Git,
}

impl ContentAddressMethod {
    /// What stands before the algorithm in a derivation's output.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Text => "text:",
            Self::Flat => "",
            Self::NixArchive => "r:",
            Self::Git => "git:",
        }
    }

    /// The method that a text begins with, and what follows; never `Text`.
    pub fn of_prefix(text: &str) -> (Self, &str) {
        for method in [Self::NixArchive, Self::Git] {
            if let Some(rest) = text.strip_prefix(method.prefix()) {
                return (method, rest);
            }
        }
        (Self::Flat, text)
    }

    /// Whether the address is made of a whole tree rather than of the bytes of one file.
    pub const fn takes_trees(self) -> bool {
        matches!(self, Self::NixArchive | Self::Git)
    }
}

/// A method and the hash it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentAddress {
    /// How.
    pub method: ContentAddressMethod,
    /// What came out.
    pub hash: Hash,
}

/// Why a text is not a content address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentAddressError {
    /// Neither `text:` nor `fixed:`.
    #[error("content address '{0}' begins with neither 'text:' nor 'fixed:'")]
    Prefix(String),
    /// A text must be hashed with SHA-256.
    #[error("content address '{0}' is a text and should have type 'sha256'")]
    TextAlgorithm(String),
    /// The hash cannot be read.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Why no path can be made of a content address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentPathError {
    /// The rule that the name breaks.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Only texts and SHA-256 NARs may refer to other paths.
    #[error("content hashed as '{0}' cannot have references")]
    References(ContentAddress),
    /// A text cannot hold its own path.
    #[error("text '{0}' cannot refer to itself")]
    SelfReference(String),
}

/// The references of content whose path is still to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentReferences {
    /// Other paths.
    pub others: BTreeSet<StorePath>,
    /// Whether it holds its own path too.
    pub itself: bool,
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            ContentAddressMethod::Text => write!(f, "text:{}", self.hash),
            method => write!(f, "fixed:{}{}", method.prefix(), self.hash),
        }
    }
}

impl std::str::FromStr for ContentAddress {
    type Err = ContentAddressError;

    fn from_str(s: &str) -> Result<Self, ContentAddressError> {
        if let Some(hash) = s.strip_prefix("text:") {
            let hash = Hash::parse(hash, None)?;
            if hash.algorithm() != HashAlgorithm::Sha256 {
                return Err(ContentAddressError::TextAlgorithm(s.to_owned()));
            }
            return Ok(Self { method: ContentAddressMethod::Text, hash });
        }
        let rest = s.strip_prefix("fixed:").ok_or_else(|| ContentAddressError::Prefix(s.to_owned()))?;
        let (method, hash) = ContentAddressMethod::of_prefix(rest);
        Ok(Self { method, hash: Hash::parse(hash, None)? })
    }
}

impl StoreDir {
    /// The path of content-addressed content.
    ///
    /// # Errors
    /// A bad name, or references where the method allows none.
    pub fn content_path(
        &self,
        name: &str,
        ca: &ContentAddress,
        references: &ContentReferences,
    ) -> Result<StorePath, ContentPathError> {
        let with_references = |kind: &str| {
            let mut kind = kind.to_owned();
            for path in &references.others {
                kind.push(':');
                kind.push_str(&self.print(path));
            }
            if references.itself {
                kind.push_str(":self");
            }
            kind
        };
        match (ca.method, ca.hash.algorithm()) {
            (ContentAddressMethod::Text, _) if references.itself => {
                Err(ContentPathError::SelfReference(name.to_owned()))
            }
            (ContentAddressMethod::Text, _) => {
                Ok(self.make_path(&with_references("text"), &ca.hash, name)?)
            }
            (ContentAddressMethod::NixArchive, HashAlgorithm::Sha256) => {
                Ok(self.make_path(&with_references("source"), &ca.hash, name)?)
            }
            _ if references.itself || !references.others.is_empty() => Err(ContentPathError::References(*ca)),
            (method, _) => {
                let inner = format!("fixed:out:{}{}:", method.prefix(), ca.hash.prefixed(HashFormat::Base16));
                Ok(self.make_path("output:out", &Hash::sha256(inner.as_bytes()), name)?)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn path(method: ContentAddressMethod, hash: &str, refs: &[&str], itself: bool, name: &str) -> String {
        let dir = StoreDir::default();
        let ca = ContentAddress { method, hash: Hash::parse(hash, None).unwrap() };
        let others = refs.iter().map(|r| dir.parse(r).unwrap()).collect();
        dir.print(&dir.content_path(name, &ca, &ContentReferences { others, itself }).unwrap())
    }

    /// Paths made by the reference.
    #[test]
    fn known_paths() {
        use ContentAddressMethod::{Flat, NixArchive, Text};
        let hello = "/nix/store/qa1w9gdfrba6jl2r57mb3c43863gqywp-hello.txt";
        assert_eq!(path(Text, HELLO, &[], false, "hello.txt"), hello);
        assert_eq!(
            path(
                Text,
                "sha256:078482d1ab34a1999bd7bfddaec5904f66be6654447c4517c8e9a4318444f0a1",
                &[hello],
                false,
                "ref.txt"
            ),
            "/nix/store/3cmrvzmwi8kl03zzg5i25crdy3pjz95w-ref.txt"
        );
        assert_eq!(
            path(
                NixArchive,
                "sha256:1c37d01af40be2e80691de3cc3df44377a699afbb17c68f080964b2fd071fc13",
                &[],
                false,
                "hello.txt"
            ),
            "/nix/store/i9pmrzmpshapij2kin22pff6fc2adavx-hello.txt"
        );
        assert_eq!(
            path(Flat, HELLO, &[], false, "hello.txt"),
            "/nix/store/gy454w1cxaq731grqwylhzf4pp9r5izh-hello.txt"
        );
        let sha1 = "sha1:f572d396fae9206628714fb2ce00f72e94f2258f";
        assert_eq!(
            path(Flat, sha1, &[], false, "hello.txt"),
            "/nix/store/svdva85yi507g9vncgsaxvnd1r808h4w-hello.txt"
        );
        let demo = "/nix/store/pg8pv3v0pr788p9bx5n6xlkpamhh4pxg-demo-1.0";
        assert_eq!(
            path(
                NixArchive,
                "sha256:74b9947f48a7a23015fe351ad2a5b726b54e956bb0875fc1c72c1cc635e4ec3c",
                &[demo],
                true,
                "e"
            ),
            "/nix/store/xhvyh3mj9wr6dg9dkxn8pgnf0jdan8f9-e"
        );
        assert_eq!(
            path(NixArchive, HELLO, &[], false, "fr"),
            "/nix/store/sbwvvfdz6b8j86ql982indq011fljspb-fr"
        );
    }

    #[test]
    fn text_form() {
        for text in [
            "text:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
            "fixed:r:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
            "fixed:sha1:iwjz551fyw0cxcjgf4l6c879zabd6wpm",
            "fixed:r:md5:4425hx5d1mc9y39llj4k4nm55i",
            "fixed:git:sha1:ayq7pz40pdnbgg4wvj40fg5p6sz87fa5",
            "fixed:blake3:0f74msa6lbgvs5ykhnx144j7f75rm00pw6r2mkgwcymdiwj612qb",
        ] {
            assert_eq!(text.parse::<ContentAddress>().unwrap().to_string(), text);
        }
        for bad in
            ["", "text:", "fixed:", "fixed:r:", "x:sha256:0", "text:sha1:iwjz551fyw0cxcjgf4l6c879zabd6wpm"]
        {
            assert!(bad.parse::<ContentAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn references_only_where_allowed() {
        let dir = StoreDir::default();
        let ca = ContentAddress { method: ContentAddressMethod::Flat, hash: Hash::sha256(b"") };
        let references = ContentReferences { itself: true, ..Default::default() };
        assert!(matches!(dir.content_path("x", &ca, &references), Err(ContentPathError::References(_))));
    }
}
