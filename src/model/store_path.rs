//! Store directories and the paths in them.
//!
//! ```text
//! store path = STOREDIR "/" HASH "-" NAME
//! HASH       = 32 nix32 digits (160 bits)
//! NAME       = 1 … 211 of  A-Z a-z 0-9 + - . _ ? =
//!              but not "." or "..", nor beginning with ".-" or "..-"
//! ```
//!
//! The digits are `fold20(sha256(TYPE ":sha256:" INNER ":" STOREDIR ":" NAME))`;
//! TYPE and INNER for each kind of content are in [`super::content_address`].

use std::fmt;

use super::base32;
use super::hash::{Hash, HashFormat};

/// Digits of the hash part.
pub const HASH_LEN: usize = 32;
/// Bytes that the hash part stands for.
pub const HASH_BYTES: usize = 20;
/// Longest name, in bytes.
pub const MAX_NAME_LEN: usize = 211;

/// Why a text is not a store path; the texts are the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorePathError {
    /// Not below the store directory.
    #[error("path \"{0}\" is not in the Nix store")]
    NotInStore(String),
    /// Below the store directory, but not one component of it.
    #[error("path '{0}' is not a store path")]
    NotTopLevel(String),
    /// Fewer characters than a hash part, a dash and one more.
    #[error("'{0}' is too short to be a valid store path")]
    TooShort(String),
    /// Something other than a nix32 digit in the hash part.
    #[error("store path '{0}' contains illegal base-32 character '{1}'")]
    BadDigit(String, char),
    /// Something other than a dash after the hash part.
    #[error("path '{0}' is not a valid store path: the hash part must be followed by '-'")]
    NoDash(String),
    /// The name breaks a rule.
    #[error("path '{path}' is not a valid store path: {reason}")]
    BadName {
        /// The base name as given.
        path: String,
        /// Which rule.
        reason: NameError,
    },
}

/// Which rule a name breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No character at all.
    #[error("name must not be empty")]
    Empty,
    /// Over [`MAX_NAME_LEN`].
    #[error("name '{0}' must be no longer than 211 characters")]
    TooLong(String),
    /// `.` or `..`.
    #[error("name '{0}' is not valid")]
    Dots(String),
    /// `.-…` or `..-…`.
    #[error("name '{0}' is not valid: first dash-separated component must not be '{1}'")]
    DotsComponent(String, &'static str),
    /// A character outside the set.
    #[error("name '{0}' contains illegal character '{1}'")]
    BadCharacter(String, char),
}

/// Set in [`KINDS`] for a byte that may stand in a name.
const IN_NAME: u8 = 1;
/// Set in [`KINDS`] for a byte that may stand in a hash part.
const IN_HASH: u8 = 2;

/// What each byte may be part of: a look into a table instead of comparisons,
/// because databases have paths by the hundred thousand.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'?' | b'=') {
            kinds[at] |= IN_NAME;
        }
        if base32::is_digit(byte) {
            kinds[at] |= IN_HASH;
        }
        at += 1;
    }
    kinds
};

/// Checks a name (what follows the dash).
///
/// # Errors
/// The first rule that is broken.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong(name.to_owned()));
    }
    for dots in [".", ".."] {
        match name.strip_prefix(dots) {
            Some("") => return Err(NameError::Dots(name.to_owned())),
            Some(rest) if rest.starts_with('-') => {
                return Err(NameError::DotsComponent(name.to_owned(), dots));
            }
            _ => {}
        }
    }
    if name.bytes().all(|byte| KINDS[usize::from(byte)] & IN_NAME != 0) {
        return Ok(());
    }
    let allowed = |c: char| u8::try_from(c).is_ok_and(|byte| KINDS[usize::from(byte)] & IN_NAME != 0);
    match name.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(NameError::BadCharacter(name.to_owned(), c)),
        None => Ok(()),
    }
}

/// The base name of a path in some store directory: hash part, dash, name.
///
/// Which directory is known to [`StoreDir`] alone, so that one value serves a
/// store and its copy elsewhere. The order is that of the base names' bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath(Box<str>);

impl StorePath {
    /// Reads a base name.
    ///
    /// # Errors
    /// Every [`StorePathError`] but `NotInStore` and `NotTopLevel`.
    pub fn from_base_name(base: &str) -> Result<Self, StorePathError> {
        Self::check_base_name(base).map(|()| Self(base.into()))
    }

    /// Whether [`StorePath::from_base_name`] takes a text.
    ///
    /// # Errors
    /// The errors of [`StorePath::from_base_name`].
    pub fn check_base_name(base: &str) -> Result<(), StorePathError> {
        // A hash part, a dash and one more character at least; the reference
        // lets a missing name through to the name's own message.
        if base.len() <= HASH_LEN {
            return Err(StorePathError::TooShort(base.to_owned()));
        }
        let kinds = base.as_bytes()[..HASH_LEN].iter().map(|byte| KINDS[usize::from(*byte)]);
        let digits = kinds.fold(IN_HASH, |all, kind| all & kind) != 0;
        if !digits
            && let Some(c) =
                base.chars().take(HASH_LEN).find(|c| !c.is_ascii() || !base32::is_digit(*c as u8))
        {
            return Err(StorePathError::BadDigit(base.to_owned(), c));
        }
        // The first 32 bytes are ASCII, so the 33rd begins a character.
        let (separator, name) =
            base[HASH_LEN..].split_at(base[HASH_LEN..].chars().next().map_or(0, char::len_utf8));
        check_name(name).map_err(|reason| StorePathError::BadName { path: base.to_owned(), reason })?;
        if separator != "-" {
            return Err(StorePathError::NoDash(base.to_owned()));
        }
        Ok(())
    }

    /// From the 20 bytes of the hash part and a name.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn from_parts(hash: &[u8; HASH_BYTES], name: &str) -> Result<Self, NameError> {
        check_name(name)?;
        Ok(Self(format!("{}-{name}", base32::encode(hash)).into()))
    }

    /// `HASH-NAME`.
    pub fn base_name(&self) -> &str {
        &self.0
    }

    /// The 32 digits.
    pub fn hash_part(&self) -> &str {
        &self.0[..HASH_LEN]
    }

    /// What follows the dash.
    pub fn name(&self) -> &str {
        &self.0[HASH_LEN + 1..]
    }

    /// Whether the name ends in `.drv`.
    pub fn is_derivation(&self) -> bool {
        self.0.ends_with(".drv")
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The *logical* directory of a store: the one its paths are named by, hashed
/// with and refer to each other by. Where the files really lie may differ (a
/// chroot store); that is the store's business.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreDir(Box<str>);

impl Default for StoreDir {
    fn default() -> Self {
        Self("/nix/store".into())
    }
}

impl StoreDir {
    /// A store directory.
    ///
    /// # Errors
    /// The text itself when it is not an absolute path in canonical form
    /// (no `//`, `/./`, `/../`, no slash at the end) or is the root.
    pub fn new(dir: &str) -> Result<Self, String> {
        let canonical = dir.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\n']))
        });
        if canonical { Ok(Self(dir.into())) } else { Err(dir.to_owned()) }
    }

    /// The directory.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a full path of exactly one component below the directory.
    ///
    /// # Errors
    /// Every [`StorePathError`].
    pub fn parse(&self, path: &str) -> Result<StorePath, StorePathError> {
        let base = self
            .strip(path)
            .filter(|base| !base.is_empty())
            .ok_or_else(|| StorePathError::NotInStore(path.to_owned()))?;
        if base.contains('/') {
            return Err(StorePathError::NotTopLevel(path.to_owned()));
        }
        StorePath::from_base_name(base)
    }

    /// Splits a canonical path at or below a store path into the store path
    /// and the rest, which is empty or begins with a slash.
    ///
    /// # Errors
    /// Every [`StorePathError`] but `NotTopLevel`.
    pub fn parse_below<'p>(&self, path: &'p str) -> Result<(StorePath, &'p str), StorePathError> {
        let inner = self
            .strip(path)
            .filter(|inner| !inner.is_empty())
            .ok_or_else(|| StorePathError::NotInStore(path.to_owned()))?;
        let (base, rest) = inner.split_at(inner.find('/').unwrap_or(inner.len()));
        Ok((StorePath::from_base_name(base)?, rest))
    }

    fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&*self.0)?.strip_prefix('/')
    }

    /// The full path, for messages and text formats.
    pub fn display<'a>(&'a self, path: &'a StorePath) -> Displayed<'a> {
        Displayed { dir: self, path }
    }

    /// The full path as a string.
    pub fn print(&self, path: &StorePath) -> String {
        let mut text = String::with_capacity(self.0.len() + 1 + path.0.len());
        text.push_str(&self.0);
        text.push('/');
        text.push_str(&path.0);
        text
    }

    /// The path of `name` whose kind is `kind` and whose content has the
    /// fingerprint `inner` (see the head of this file).
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn make_path(&self, kind: &str, inner: &Hash, name: &str) -> Result<StorePath, NameError> {
        check_name(name)?;
        let fingerprint = format!("{kind}:{}:{}:{name}", inner.prefixed(HashFormat::Base16), self.as_str());
        let digest = Hash::sha256(fingerprint.as_bytes());
        let mut folded = [0; HASH_BYTES];
        folded.copy_from_slice(&digest.fold(HASH_BYTES));
        StorePath::from_parts(&folded, name)
    }

    /// The path of output `output` of a derivation named `drv_name` whose
    /// hash modulo its own outputs is `modulo`.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn output_path(&self, output: &str, modulo: &Hash, drv_name: &str) -> Result<StorePath, NameError> {
        self.make_path(&format!("output:{output}"), modulo, &output_path_name(drv_name, output))
    }
}

/// The name of a derivation's output: the derivation's for `out`, with the
/// output appended for any other.
pub fn output_path_name(drv_name: &str, output: &str) -> String {
    if output == "out" { drv_name.to_owned() } else { format!("{drv_name}-{output}") }
}

/// A store path with its directory; see [`StoreDir::display`].
pub struct Displayed<'a> {
    dir: &'a StoreDir,
    path: &'a StorePath,
}

impl fmt::Display for Displayed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dir.0)?;
        f.write_str("/")?;
        f.write_str(&self.path.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const H: &str = "bjc99hj920f4lanf7mx32hqzr6fhcf6r";

    #[test]
    fn messages() {
        let dir = StoreDir::default();
        let message = |rest: &str| dir.parse(&format!("/nix/store/{rest}")).unwrap_err().to_string();
        assert_eq!(message("foo"), "'foo' is too short to be a valid store path");
        assert_eq!(message(H), format!("'{H}' is too short to be a valid store path"));
        assert_eq!(
            message(&format!("{H}-")),
            format!("path '{H}-' is not a valid store path: name must not be empty")
        );
        assert_eq!(
            message(&format!("{H}-a@b")),
            format!("path '{H}-a@b' is not a valid store path: name 'a@b' contains illegal character '@'")
        );
        assert_eq!(
            message(&format!("{H}-..-x")),
            format!(
                "path '{H}-..-x' is not a valid store path: name '..-x' is not valid: \
                 first dash-separated component must not be '..'"
            )
        );
        let e = format!("e{}-x", &H[1..]);
        assert_eq!(message(&e), format!("store path '{e}' contains illegal base-32 character 'e'"));
        assert_eq!(message(""), "path \"/nix/store/\" is not in the Nix store");
        assert_eq!(
            dir.parse("/elsewhere/x").unwrap_err().to_string(),
            "path \"/elsewhere/x\" is not in the Nix store"
        );
        assert!(dir.parse(&format!("/nix/store/{H}-{}", "a".repeat(211))).is_ok());
        assert!(dir.parse(&format!("/nix/store/{H}-{}", "a".repeat(212))).is_err());
        for fine in [".x", "..bad", "?=+", "A_b.C"] {
            assert!(dir.parse(&format!("/nix/store/{H}-{fine}")).is_ok(), "{fine}");
        }
        for bad in ["_foo", "é-foo", "xfoo", ""] {
            assert!(dir.parse(&format!("/nix/store/{H}{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn store_directories() {
        for good in ["/nix/store", "/s", "/a b/é"] {
            assert!(StoreDir::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "nix", "/nix/", "//nix", "/a/../b", "/a/./b", "/a/.."] {
            assert!(StoreDir::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn output_of_a_known_derivation() {
        let modulo =
            Hash::parse("sha256:ee8d4a35e24a62999ad3ae2eb5af543d4396f0e92aa686d90bf238d05de89410", None)
                .unwrap();
        let dir = StoreDir::default();
        assert_eq!(
            dir.print(&dir.output_path("out", &modulo, "demo-1.0").unwrap()),
            "/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0"
        );
        assert_eq!(output_path_name("multi", "dev"), "multi-dev");
    }

    proptest! {
        #[test]
        fn print_and_parse(hash in any::<[u8; 20]>(), name in "[a-zA-Z0-9+_?=][a-zA-Z0-9+._?=-]{0,210}") {
            let dir = StoreDir::default();
            let path = StorePath::from_parts(&hash, &name).unwrap();
            prop_assert_eq!(path.name(), &name);
            prop_assert_eq!(dir.parse(&dir.print(&path)).unwrap(), path.clone());
            let text = format!("{}/bin/x", dir.display(&path));
            prop_assert_eq!(dir.parse_below(&text).unwrap(), (path, "/bin/x"));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(/nix/store/)?[0-9a-z]{0,34}.{0,40}") {
            let dir = StoreDir::default();
            if let Ok(path) = dir.parse(&text) {
                prop_assert_eq!(dir.print(&path), text);
            }
        }
    }
}
