//! Which files and addresses an evaluation may read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use crate::eval::error::Error;

/// How free an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freedom {
    /// It may read everything.
    Free,
    /// It may read what was allowed (setting `restrict-eval`).
    Restricted,
    /// Likewise; nothing is allowed that no hash fixes (setting `pure-eval`).
    Pure,
}

/// The files that an evaluation may read.
pub struct Access {
    freedom: Freedom,
    allowed: RwLock<BTreeSet<PathBuf>>,
    uris: Vec<String>,
}

impl Access {
    /// Nothing allowed yet, but for addresses at or below one of `uris`.
    pub fn new(freedom: Freedom, uris: Vec<String>) -> Access {
        Access { freedom, allowed: RwLock::default(), uris }
    }

    /// Whether everything may be read.
    pub fn is_free(&self) -> bool {
        self.freedom == Freedom::Free
    }

    /// Whether nothing may be read that no hash fixes.
    pub fn is_pure(&self) -> bool {
        self.freedom == Freedom::Pure
    }

    /// Allows a file, or a directory with everything in it.
    pub fn allow(&self, path: &Path) {
        if !self.is_free() {
            self.allowed.write().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        }
    }

    /// Whether `path` may be read: it was allowed, lies in something that was, or leads to it.
    pub fn allows(&self, path: &Path) -> bool {
        if self.is_free() {
            return true;
        }
        let allowed = self.allowed.read().unwrap_or_else(PoisonError::into_inner);
        let leads = allowed.range(path.to_owned()..).next().is_some_and(|next| next.starts_with(path));
        leads || path.ancestors().any(|above| allowed.contains(above))
    }

    /// Refuses a path that may not be read.
    ///
    /// # Errors
    /// That it may not.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        if self.allows(path) {
            return Ok(());
        }
        let mode = match self.freedom {
            Freedom::Pure => "pure evaluation mode (use '--impure' to override)",
            _ => "restricted mode",
        };
        let path = path.display();
        Err(Error::new(format!("access to absolute path '{path}' is forbidden in {mode}")))
    }

    /// As [`Access::check`], also for what `path` is once the links on its way are followed; with
    /// `last` also a link that it names itself.
    ///
    /// # Errors
    /// That one of them may not be read.
    pub fn check_followed(&self, path: &Path, last: bool) -> Result<(), Error> {
        if self.is_free() {
            return Ok(());
        }
        self.check(path)?;
        let real = match (last, path.parent(), path.file_name()) {
            (false, Some(parent), Some(name)) => parent.canonicalize().map(|parent| parent.join(name)),
            _ => path.canonicalize(),
        };
        // What is not there cannot be read either.
        real.map_or(Ok(()), |real| self.check(&real))
    }

    /// Refuses an address that may not be fetched.
    ///
    /// # Errors
    /// That it may not.
    pub fn check_uri(&self, uri: &str) -> Result<(), Error> {
        // What a pure evaluation fetches has a hash, which the builtin functions see to.
        if self.freedom != Freedom::Restricted || self.uris.iter().any(|allowed| is_within(uri, allowed)) {
            return Ok(());
        }
        Err(Error::new(format!("access to URI '{uri}' is forbidden in restricted mode")))
    }
}

/// Whether an address is `allowed`, below it, or has it for a scheme.
fn is_within(uri: &str, allowed: &str) -> bool {
    match uri.strip_prefix(allowed) {
        _ if allowed.is_empty() => false,
        None => false,
        Some(rest) => {
            let is_scheme = allowed.ends_with(':') && !allowed[..allowed.len() - 1].contains(':');
            rest.is_empty() || rest.starts_with('/') || allowed.ends_with('/') || is_scheme
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_allowed_files_is_allowed() {
        let access = Access::new(Freedom::Restricted, Vec::new());
        access.allow(Path::new("/a/b/c"));
        for (path, allowed) in [
            ("/", true),
            ("/a", true),
            ("/a/b/c", true),
            ("/a/b/c/d/e", true),
            ("/a/b/d", false),
            ("/a/bb", false),
            ("/b", false),
        ] {
            assert_eq!(access.allows(Path::new(path)), allowed, "{path}");
        }
        let refused = access.check(Path::new("/x")).unwrap_err();
        assert_eq!(refused.to_string(), "access to absolute path '/x' is forbidden in restricted mode");
    }

    #[test]
    fn addresses() {
        for (uri, allowed, within) in [
            ("http://h/a", "http://h/a", true),
            ("http://h/a/b", "http://h/a", true),
            ("http://h/ab", "http://h/a", false),
            ("http://h/a", "http:", true),
            ("http://h/a", "http", false),
            ("http://h/a", "", false),
            ("https://h", "http:", false),
        ] {
            assert_eq!(is_within(uri, allowed), within, "{uri} {allowed}");
        }
    }
}
