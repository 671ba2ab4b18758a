//! Texts in the language that are part of the program.

use super::super::error::Error;
use super::super::interpret::{Evaluated, Worker};
use super::super::sources::Origin;
use super::super::value::View;

/// The name of the text of `derivation`.
const DERIVATION: &str = "derivation-internal.nix";

/// The function `derivation`. Its lines are part of messages, so each has its number.
const DERIVATION_TEXT: &str = include_str!("derivation-internal.nix");

/// What importing the file of a derivation gives.
const IMPORTED: &str = include_str!("imported-derivation.nix");

/// The paths and texts that `<nix/NAME>` finds where the search path has no `nix`.
const FILES: &[(&str, &str)] = &[("<nix/fetchurl.nix>", include_str!("fetchurl.nix"))];

/// What the path of such a text begins with.
const PREFIX: &[u8] = b"<nix/";

/// Whether a path is one of the texts that are part of the program.
pub fn is_internal(path: &[u8]) -> bool {
    path.starts_with(PREFIX)
}

/// The path of the text that `<nix/NAME>` finds; nothing tells whether there is one.
pub fn path_of(name: &[u8]) -> Vec<u8> {
    [PREFIX, name, b">"].concat()
}

/// The path and contents of a text, by its path.
pub fn file(path: &[u8]) -> Option<(&'static str, &'static str)> {
    FILES.iter().find(|(other, _)| other.as_bytes() == path).copied()
}

impl<'e> Worker<'e> {
    /// The function `derivation`.
    ///
    /// # Errors
    /// Never, unless the program's own text is wrong.
    pub(crate) fn derivation_function(&self) -> Evaluated<'e> {
        self.evaluate_text(Origin::Internal(DERIVATION), DERIVATION_TEXT.as_bytes(), b"/")
    }

    /// The function that makes a set of what the file of a derivation tells.
    pub(super) fn imported_derivation_function(&self) -> Evaluated<'e> {
        self.evaluate_text(Origin::Internal("imported-derivation.nix"), IMPORTED.as_bytes(), b"/")
    }

    /// Evaluates a text that is part of the program, by its path.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn evaluate_internal(&self, path: &[u8]) -> Evaluated<'e> {
        match file(path) {
            Some((name, text)) => self.evaluate_text(Origin::Internal(name), text.as_bytes(), b"/"),
            None => Err(Error::new(format!("path '{}' does not exist", String::from_utf8_lossy(path)))),
        }
    }

    /// Gives the global `derivation` its value.
    pub(crate) fn finish_derivation(&self) {
        let Some(global) =
            self.shared.globals.get().and_then(|globals| globals.get(&self.intern(b"derivation")))
        else {
            return;
        };
        let Some(thunk) = global.as_thunk().filter(|thunk| thunk.value().is_none()) else { return };
        let (claimant, bell) = (self.claimant.get(), &self.shared.crew.bell);
        let fail = |error: &Error| thunk.fail(self.shared.keep_failure(error), claimant, bell);
        match self.derivation_function() {
            Ok(value) if matches!(value.view(), View::Lambda(_)) => thunk.finish(value, claimant, bell),
            Ok(value) => fail(&self.wrong_type("a function", value)),
            Err(error) => fail(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_messages_show() {
        let lines: Vec<&str> = DERIVATION_TEXT.lines().collect();
        for (number, column, text) in [
            (30, 1, "drvAttrs@{"),
            (37, 12, "derivationStrict"),
            (50, 17, "builtins.getAttr"),
            (57, 17, "map"),
            (60, 2, "builtins.head"),
        ] {
            let line: &str = lines.get(number - 1).copied().unwrap_or_default();
            assert!(line.get(column - 1..).unwrap_or_default().starts_with(text), "{number}: {line}");
        }
    }

    #[test]
    fn texts_by_their_paths() {
        assert_eq!(path_of(b"fetchurl.nix"), b"<nix/fetchurl.nix>");
        assert_eq!(file(b"<nix/fetchurl.nix>").map(|(name, _)| name), Some("<nix/fetchurl.nix>"));
        assert_eq!(file(b"<nix/other.nix>"), None);
        assert_eq!(file(b"/nix/fetchurl.nix"), None);
        assert!(is_internal(b"<nix/other.nix>") && !is_internal(b"/nix"));
    }
}
