//! What may be asked for: a store path, or outputs of a derivation.
//!
//! ```text
//! path  = STOREPATH | STOREPATH "!" names     (protocols, nix-store, nix-env)
//!                   | STOREPATH "^" names     (nix)
//! names = "*" | NAME {"," NAME}
//! ```
//!
//! In old protocols, and for `nix-store --realise`, a derivation alone stands for
//! all of its outputs.

use std::collections::BTreeSet;
use std::fmt;

use super::derivation::Derivation;
use super::realisation::is_output_name;
use super::store_path::{StoreDir, StorePath, StorePathError};

/// Outputs of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outputs {
    /// All outputs.
    All,
    /// The outputs with these names.
    Named(BTreeSet<String>),
}

impl Outputs {
    /// Reads `*`, or names with commas between them.
    pub fn parse(text: &str) -> Self {
        match text {
            "*" => Self::All,
            names => Self::Named(names.split(',').map(str::to_owned).collect()),
        }
    }

    /// As [`Outputs::parse`]; `None` where a name is not that of an output.
    pub fn parse_strictly(text: &str) -> Option<Self> {
        let outputs = Self::parse(text);
        match &outputs {
            Self::Named(names) if !names.iter().all(|name| is_output_name(name)) => None,
            _ => Some(outputs),
        }
    }

    /// Whether an output is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }

    /// The first of these outputs that a derivation does not have.
    pub fn missing(&self, drv: &Derivation) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Named(names) => {
                names.iter().map(String::as_str).find(|name| !drv.outputs.contains_key(*name))
            }
        }
    }
}

impl fmt::Display for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Named(names) => {
                f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// A request: a path, or outputs of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DerivedPath {
    /// The path, or that of the derivation.
    pub path: StorePath,
    /// Which outputs; `None` for the path itself.
    pub outputs: Option<Outputs>,
}

impl DerivedPath {
    /// A request for a path itself.
    pub fn opaque(path: StorePath) -> Self {
        Self { path, outputs: None }
    }

    /// A request for outputs of a derivation.
    pub fn built(drv_path: StorePath, outputs: Outputs) -> Self {
        Self { path: drv_path, outputs: Some(outputs) }
    }

    /// Reads a request as the protocols write it (`!`). With `plain_is_all` a
    /// derivation alone stands for all of its outputs.
    ///
    /// # Errors
    /// [`StorePathError`] for what is no path of this store.
    pub fn parse(dir: &StoreDir, text: &str, plain_is_all: bool) -> Result<Self, StorePathError> {
        let (path, outputs) = match text.split_once('!') {
            Some((path, names)) => (path, Some(Outputs::parse(names))),
            None => (text, None),
        };
        let path = dir.parse(path)?;
        let outputs = outputs.or_else(|| (plain_is_all && path.is_derivation()).then_some(Outputs::All));
        Ok(Self { path, outputs })
    }

    /// Prints a request as the protocols write it.
    pub fn print(&self, dir: &StoreDir) -> String {
        self.print_with(dir, '!')
    }

    /// Prints a request as `nix` writes it (`^`).
    pub fn print_with_caret(&self, dir: &StoreDir) -> String {
        self.print_with(dir, '^')
    }

    fn print_with(&self, dir: &StoreDir, separator: char) -> String {
        let path = dir.print(&self.path);
        match &self.outputs {
            None => path,
            Some(outputs) => format!("{path}{separator}{outputs}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let dir = StoreDir::default();
        let drv = "/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo.drv";
        for text in [drv.to_owned(), format!("{drv}!*"), format!("{drv}!dev,out")] {
            let read = DerivedPath::parse(&dir, &text, false).unwrap();
            assert_eq!(read.print(&dir), text);
            assert_eq!(read.print_with_caret(&dir), text.replace('!', "^"));
        }
        assert_eq!(DerivedPath::parse(&dir, drv, true).unwrap().outputs, Some(Outputs::All));
        assert!(DerivedPath::parse(&dir, "x", true).is_err());
    }

    #[test]
    fn output_names() {
        assert_eq!(Outputs::parse_strictly("*"), Some(Outputs::All));
        let named = |names: &[&str]| Some(Outputs::Named(names.iter().map(|n| (*n).to_owned()).collect()));
        assert_eq!(Outputs::parse_strictly("out"), named(&["out"]));
        assert_eq!(Outputs::parse_strictly("out,dev,out"), named(&["dev", "out"]));
        for bad in ["", "*,out", "out,*", "ou t", ",", "out,"] {
            assert_eq!(Outputs::parse_strictly(bad), None, "{bad}");
        }
    }
}
