//! Registries: files that say what the names of flakes stand for.
//!
//! ```text
//! { "version": 2,
//!   "flakes": [ { "from": INPUT, "to": INPUT with "dir", "exact": true }, … ] }
//! ```
//!
//! An input is a set of attributes (`model/input`). Of entries for the same input, the first one
//! counts. One that is `exact` counts for just that input; another one also where a branch, tag or
//! commit is asked for, which then is asked of what it leads to. Members of other names say nothing.

use std::path::Path;

use serde_json::{Map, Value};

use crate::model::flake_ref::FlakeRef;
use crate::model::input::indirect::IndirectInput;
use crate::model::input::{self, Input, InputError};
use crate::sys::{self, PathError, atomic};

/// The version of the format.
const VERSION: u64 = 2;
/// Longest file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 26;
/// Entries that may lead on to each other.
const MAX_STEPS: usize = 100;

/// What the names of flakes stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// In the order of the file.
    pub entries: Vec<Entry>,
}

/// What one input stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The input, which mostly is a name.
    pub from: Input,
    /// What it stands for.
    pub to: FlakeRef,
    /// Whether it is this input only, and none with a version.
    pub exact: bool,
}

/// Why a registry cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A file that is no registry.
    #[error("cannot parse flake registry '{file}': {why}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A registry of a version that is not known.
    #[error("flake registry '{file}' has unsupported version {version}")]
    Version {
        /// The file.
        file: String,
        /// The version.
        version: String,
    },
    /// A file that cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A name that no registry knows.
    #[error("cannot find flake '{0}' in the flake registries")]
    Unknown(String),
    /// A name that leads back to itself.
    #[error("cycle detected in flake registry for '{0}'")]
    Cycle(String),
    /// An input that has no versions.
    #[error(transparent)]
    Input(#[from] InputError),
}

/// The result of using registries.
pub type Result<T> = std::result::Result<T, RegistryError>;

impl Registry {
    /// Reads the text of a registry; `file` is told in errors.
    ///
    /// # Errors
    /// [`RegistryError::Format`] and [`RegistryError::Version`].
    pub fn parse(text: &[u8], file: &str) -> Result<Registry> {
        let bad = |why: String| RegistryError::Format { file: file.to_owned(), why };
        let whole: Value = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
        let version = whole.get("version").ok_or_else(|| bad("it has no version".to_owned()))?;
        if version.as_u64() != Some(VERSION) {
            let version = version.to_string();
            return Err(RegistryError::Version { file: file.to_owned(), version });
        }
        let entries = whole.get("flakes").and_then(Value::as_array);
        let entries = entries.ok_or_else(|| bad("it has no list of flakes".to_owned()))?;
        let entries = entries.iter().map(Entry::read).collect::<std::result::Result<_, _>>().map_err(bad)?;
        Ok(Registry { entries })
    }

    /// Reads a file; one that is not there has no entries.
    ///
    /// # Errors
    /// As [`Registry::parse`], and failures to read.
    pub fn read(path: &Path) -> Result<Registry> {
        match sys::read_configured(path, MAX_BYTES) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(error) if error.is_not_found() => Ok(Registry::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// The text of the registry, which ends without a newline.
    pub fn print(&self) -> String {
        let entries = self.entries.iter().map(Entry::json).collect();
        let whole = Map::from_iter([
            ("flakes".to_owned(), Value::Array(entries)),
            ("version".to_owned(), Value::from(VERSION)),
        ]);
        format!("{:#}", Value::Object(whole))
    }

    /// Replaces a file by the registry, in one step.
    ///
    /// # Errors
    /// Failures to write.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
        }
        Ok(atomic::replace_file(path, self.print().as_bytes(), 0o644)?)
    }

    /// Removes what an input stands for. Gives whether there was something.
    pub fn remove(&mut self, from: &Input) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.from != *from);
        self.entries.len() < before
    }

    /// Lets an input stand for something, after all other entries.
    pub fn add(&mut self, entry: Entry) {
        self.remove(&entry.from);
        self.entries.push(entry);
    }

    /// What an input stands for, if the registry knows it.
    ///
    /// # Errors
    /// It leads to an input that cannot have the version that is asked for.
    pub fn lookup(&self, input: &Input) -> std::result::Result<Option<FlakeRef>, InputError> {
        for entry in &self.entries {
            if entry.from == *input {
                return Ok(Some(entry.to.clone()));
            }
            let Input::Indirect(wanted) = input else { continue };
            if entry.exact || Input::Indirect(unversioned(wanted)) != entry.from {
                continue;
            }
            let (reference, rev) = (wanted.reference.as_deref(), wanted.rev.as_ref());
            let to = entry.to.input.with_version(reference, rev)?;
            return Ok(Some(FlakeRef { input: to, dir: entry.to.dir.clone() }));
        }
        Ok(None)
    }
}

fn unversioned(input: &IndirectInput) -> IndirectInput {
    IndirectInput { reference: None, rev: None, ..input.clone() }
}

/// Follows registries, of which earlier ones come first, until they lead no further.
///
/// # Errors
/// [`RegistryError::Unknown`] if a name is left, [`RegistryError::Cycle`], [`RegistryError::Input`].
pub fn resolve(reference: &FlakeRef, registries: &[Registry]) -> Result<FlakeRef> {
    let mut found = reference.clone();
    for _ in 0..MAX_STEPS {
        let mut next = None;
        for registry in registries {
            next = registry.lookup(&found.input)?;
            if next.is_some() {
                break;
            }
        }
        match next {
            Some(mut next) => {
                if next.dir.is_empty() {
                    next.dir.clone_from(&found.dir);
                }
                found = next;
            }
            None if matches!(found.input, Input::Indirect(_)) => {
                return Err(RegistryError::Unknown(found.input.url().to_string()));
            }
            None => return Ok(found),
        }
    }
    Err(RegistryError::Cycle(reference.input.url().to_string()))
}

impl Entry {
    fn read(value: &Value) -> std::result::Result<Entry, String> {
        let member = |name: &str| value.get(name).ok_or_else(|| format!("an entry has no '{name}'"));
        let attributes = |name: &str| input::from_json(member(name)?).map_err(|error| error.to_string());
        let exact = match value.get("exact") {
            None => false,
            Some(Value::Bool(exact)) => *exact,
            Some(_) => return Err("'exact' of an entry is not a Boolean".to_owned()),
        };
        Ok(Entry {
            from: Input::from_attributes(&attributes("from")?).map_err(|error| error.to_string())?,
            to: FlakeRef::from_attributes(&attributes("to")?).map_err(|error| error.to_string())?,
            exact,
        })
    }

    fn json(&self) -> Value {
        let mut entry = Map::new();
        if self.exact {
            entry.insert("exact".to_owned(), Value::Bool(true));
        }
        entry.insert("from".to_owned(), input::to_json(&self.from.attributes()));
        entry.insert("to".to_owned(), input::to_json(&self.to.attributes()));
        Value::Object(entry)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const REV: &str = "fa866f85814ba2080d39e950fb3d8c966c5b522a";

    /// A registry of pairs of references.
    fn registry(pairs: &[(&str, &str)]) -> Registry {
        let parse = |text: &str| FlakeRef::parse(text).unwrap();
        let entry = |(from, to): &(&str, &str)| Entry {
            from: parse(from.trim_start_matches('=')).input,
            to: parse(to),
            exact: from.starts_with('='),
        };
        Registry { entries: pairs.iter().map(entry).collect() }
    }

    fn resolved(text: &str, registries: &[Registry]) -> Result<String> {
        resolve(&FlakeRef::parse(text).unwrap(), registries).map(|found| found.url().to_string())
    }

    #[test]
    fn names_lead_on() {
        let registries = [
            registry(&[("a", "github:o/r"), ("a", "path:/second"), ("b", "a/x"), ("=c", "path:/c")]),
            registry(&[("a", "path:/later"), ("d", "path:/d?dir=e"), ("f/x", "path:/f"), ("l", "l")]),
        ];
        for (text, found) in [
            ("a", "github:o/r".to_owned()),
            ("a/v", "github:o/r/v".to_owned()),
            (&format!("a/{REV}"), format!("github:o/r/{REV}")),
            ("b", "github:o/r/x".to_owned()),
            ("b/y", "github:o/r/y".to_owned()),
            ("c", "path:/c".to_owned()),
            ("flake:d?dir=x", "path:/d?dir=e".to_owned()),
            ("f/x", "path:/f".to_owned()),
            ("github:o/x", "github:o/x".to_owned()),
        ] {
            assert_eq!(resolved(text, &registries).unwrap(), found);
        }
        for text in ["c/v", "f", "f/y", "nosuch"] {
            assert!(matches!(resolved(text, &registries), Err(RegistryError::Unknown(_))), "{text}");
        }
        assert!(matches!(resolved("d/v", &registries), Err(RegistryError::Input(_))));
        assert!(matches!(resolved("l", &registries), Err(RegistryError::Cycle(_))));
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/registry.json");
        assert_eq!(Registry::read(&file).unwrap(), Registry::default());
        let mut wanted = registry(&[("=a", "path:/d?dir=e"), ("b", "github:o/r/x")]);
        wanted.write(&file).unwrap();
        assert_eq!(Registry::read(&file).unwrap(), wanted);
        let text = concat!(
            "{\n  \"flakes\": [\n    {\n      \"exact\": true,\n      \"from\": {\n        \"id\": \"a\",\n",
            "        \"type\": \"indirect\"\n      },\n      \"to\": {\n        \"dir\": \"e\",\n",
            "        \"path\": \"/d\",\n        \"type\": \"path\"\n      }\n    }\n  ],\n  \"version\": 2\n}"
        );
        assert!(wanted.remove(&FlakeRef::parse("b").unwrap().input));
        assert_eq!(wanted.print(), text);
        assert!(!wanted.remove(&FlakeRef::parse("b").unwrap().input));
    }

    #[test]
    fn no_registries() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"version\":2}",
            "{\"version\":2,\"flakes\":{}}",
            "{\"version\":2,\"flakes\":[{}]}",
            "{\"version\":2,\"flakes\":[{\"from\":{\"type\":\"indirect\",\"id\":\"a\"},\"to\":{\"type\":null}}]}",
        ] {
            let found = Registry::parse(text.as_bytes(), "f");
            assert!(matches!(found, Err(RegistryError::Format { .. })), "{text}");
        }
        let found = Registry::parse(b"{\"version\":3,\"flakes\":[]}", "f");
        assert_eq!(found.unwrap_err().to_string(), "flake registry 'f' has unsupported version 3");
    }
}
