//! Realisations: the path that an output of a derivation has, where it does not
//! follow from the derivation alone.
//!
//! ```text
//! id   = "sha256:" BASE16 "!" OUTPUT
//! file = {"dependentRealisations": {ID: BASENAME, …}, "id": ID, "outPath": BASENAME,
//!         "signatures": [SIGNATURE, …]}
//! ```
//!
//! The hash is that of the derivation modulo its output paths (see
//! [`super::derivation::modulo`]). A file has no blanks and its keys in this
//! order; it is read in any order, and other keys are passed over. Signatures
//! are made over the file without them. A file has [`MAX_LEN`] bytes at most.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::hash::{Hash, HashAlgorithm};
use super::signature::{PublicKey, SecretKey, is_well_formed};
use super::store_path::StorePath;

/// Bytes of a realisation as text at most.
pub const MAX_LEN: u64 = 1 << 20;
/// Characters of the name of an output at most: those of the name of a path.
const MAX_OUTPUT: usize = 211;

/// An output of a derivation, by the hash of the derivation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrvOutput {
    /// SHA-256 of the derivation modulo its output paths, in base 16.
    drv_hash: String,
    /// The name of the output.
    output: String,
}

/// The path of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realisation {
    /// The output.
    pub id: DrvOutput,
    /// Its path.
    pub out_path: StorePath,
    /// `KEYNAME:base64`, each over the fingerprint.
    pub signatures: BTreeSet<String>,
    /// Outputs of inputs that were used, and their paths; written by old versions.
    pub dependents: BTreeMap<DrvOutput, StorePath>,
}

/// Why a text is no realisation, or no name of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RealisationError {
    /// The text is not `sha256:BASE16!OUTPUT`.
    #[error("'{0}' is not the name of an output of a derivation ('sha256:HASH!OUTPUT')")]
    Id(String),
    /// The text is not JSON.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// A field is missing, or of another kind.
    #[error("its field '{0}' is missing or not what it should be")]
    Field(&'static str),
    /// The text is too long.
    #[error("it is longer than {MAX_LEN} bytes")]
    TooLong,
}

impl DrvOutput {
    /// Names an output of the derivation with a hash.
    ///
    /// # Errors
    /// [`RealisationError::Id`] for a hash that is not SHA-256, and for what cannot be the name of an
    /// output.
    pub fn new(drv_hash: &Hash, output: &str) -> Result<Self, RealisationError> {
        let wrong = || RealisationError::Id(format!("{drv_hash}!{}", shown(output)));
        if drv_hash.algorithm() != HashAlgorithm::Sha256 || !is_output_name(output) {
            return Err(wrong());
        }
        Ok(Self { drv_hash: drv_hash.to_base16(), output: output.to_owned() })
    }

    /// The hash of the derivation: `sha256:` and base-16 digits.
    pub fn drv_hash(&self) -> String {
        format!("sha256:{}", self.drv_hash)
    }

    /// The name of the output.
    pub fn output(&self) -> &str {
        &self.output
    }
}

impl fmt::Display for DrvOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}!{}", self.drv_hash, self.output)
    }
}

impl FromStr for DrvOutput {
    type Err = RealisationError;

    fn from_str(text: &str) -> Result<Self, RealisationError> {
        let wrong = || RealisationError::Id(shown(text));
        let (hash, output) = text.split_once('!').ok_or_else(wrong)?;
        let hash = Hash::parse(hash, None).map_err(|_| wrong())?;
        Self::new(&hash, output).map_err(|_| wrong())
    }
}

/// Whether a text can be the name of an output, and so a part of a file's name.
pub fn is_output_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_OUTPUT
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-._?=".contains(c))
}

/// A text for messages: of bounded length, and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

impl Realisation {
    /// A realisation without signatures.
    pub fn new(id: DrvOutput, out_path: StorePath) -> Self {
        Self { id, out_path, signatures: BTreeSet::new(), dependents: BTreeMap::new() }
    }

    /// Reads a realisation.
    ///
    /// # Errors
    /// Any [`RealisationError`].
    pub fn parse(text: &[u8]) -> Result<Self, RealisationError> {
        use RealisationError::Field;
        if text.len() as u64 > MAX_LEN {
            return Err(RealisationError::TooLong);
        }
        let value: Value =
            serde_json::from_slice(text).map_err(|error| RealisationError::Json(error.to_string()))?;
        let path = |field, value: Option<&Value>| {
            let name = value.and_then(Value::as_str).ok_or(Field(field))?;
            StorePath::from_base_name(name).map_err(|_| Field(field))
        };
        let id = value.get("id").and_then(Value::as_str).ok_or(Field("id"))?.parse()?;
        let mut found = Self::new(id, path("outPath", value.get("outPath"))?);
        for signature in list(value.get("signatures")).ok_or(Field("signatures"))? {
            let text = signature.as_str().filter(|text| is_well_formed(text)).ok_or(Field("signatures"))?;
            found.signatures.insert(text.to_owned());
        }
        const DEPENDENTS: &str = "dependentRealisations";
        match value.get(DEPENDENTS) {
            None => {}
            Some(Value::Object(map)) => {
                for (id, dependent) in map {
                    found.dependents.insert(id.parse()?, path(DEPENDENTS, Some(dependent))?);
                }
            }
            Some(_) => return Err(Field(DEPENDENTS)),
        }
        Ok(found)
    }

    /// Prints the realisation as [`Realisation::parse`] reads it.
    pub fn print(&self) -> String {
        let mut map = self.unsigned();
        let signatures = self.signatures.iter().cloned().map(Value::String).collect();
        map.insert("signatures".to_owned(), Value::Array(signatures));
        Value::Object(map).to_string()
    }

    /// The text that signatures are made over.
    pub fn fingerprint(&self) -> String {
        Value::Object(self.unsigned()).to_string()
    }

    fn unsigned(&self) -> Map<String, Value> {
        let text = |path: &StorePath| Value::String(path.base_name().to_owned());
        let dependents = self.dependents.iter().map(|(id, path)| (id.to_string(), text(path))).collect();
        let fields = [
            ("dependentRealisations", Value::Object(dependents)),
            ("id", Value::String(self.id.to_string())),
            ("outPath", text(&self.out_path)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Adds the signature of a key.
    pub fn sign(&mut self, key: &SecretKey) {
        self.signatures.insert(key.sign(self.fingerprint().as_bytes()));
    }

    /// Drops every signature that is not by one of some keys.
    pub fn keep_signatures_of(&mut self, keys: &[PublicKey]) {
        let fingerprint = self.fingerprint();
        self.signatures
            .retain(|signature| keys.iter().any(|key| key.verify(fingerprint.as_bytes(), signature)));
    }

    /// Whether one of some keys has signed the realisation.
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        let fingerprint = self.fingerprint();
        let signed = |key: &PublicKey| self.signatures.iter().any(|s| key.verify(fingerprint.as_bytes(), s));
        !self.signatures.is_empty() && keys.iter().any(signed)
    }
}

/// The elements of a list, none where there is no list; `None` for anything else.
fn list(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        None => Some(&[]),
        Some(Value::Array(list)) => Some(list),
        Some(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by the reference.
    const SIGNED: &str = concat!(
        r#"{"dependentRealisations":{},"#,
        r#""id":"sha256:b5716d6ed31a51b9cbc60f03d7c5f69e7b98ae96058c7eec4d53e0e4d47c300c!out","#,
        r#""outPath":"1jm88wq94p2xfpxxm2a6hh5bb47lvf1w-s","#,
        r#""signatures":["k-1:/o1wg3jL9xLHvZTiSej0X/F+AVEqBXp+jQbiLkSO1IhbP+TaaZTgBkNkWP+S/ZClp/tRY7Dz5wGh3nsfFy9MDQ=="]}"#
    );

    #[test]
    fn the_text_of_the_reference() {
        let read = Realisation::parse(SIGNED.as_bytes()).unwrap();
        assert_eq!(read.id.output(), "out");
        assert_eq!(read.print(), SIGNED);
        let key = PublicKey::parse("k-1:afLO/CUF5dh42+Xs2jpP6cgn7ZPDcBsdmZT/RgeTS+A=").unwrap();
        assert!(read.is_signed_by(std::slice::from_ref(&key)));
        let mut other = read.clone();
        other.out_path = StorePath::from_base_name("2jm88wq94p2xfpxxm2a6hh5bb47lvf1w-s").unwrap();
        assert!(!other.is_signed_by(&[key]));
    }

    #[test]
    fn dependents_are_kept() {
        let mut realisation = Realisation::parse(SIGNED.as_bytes()).unwrap();
        realisation.dependents.insert(realisation.id.clone(), realisation.out_path.clone());
        assert_eq!(Realisation::parse(realisation.print().as_bytes()).unwrap(), realisation);
    }

    #[test]
    fn what_is_no_realisation() {
        for (from, to) in [
            ("sha256:", "sha1:"),
            ("!out", "!../out"),
            ("!out", ""),
            ("1jm88", "/1jm88"),
            ("[", "{"),
            ("k-1:", ""),
            ("{}", "[]"),
            (r#""outPath""#, r#""path""#),
        ] {
            let text = SIGNED.replacen(from, to, 1);
            assert!(Realisation::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = Realisation::parse(text.as_bytes());
            let _ = text.parse::<DrvOutput>();
        }
    }
}
