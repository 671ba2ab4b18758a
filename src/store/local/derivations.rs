//! Do the outputs of derivations follow from what the derivations say?
//!
//! A user who may add a text may add a derivation, and what a derivation names as
//! its output is made under that name. So no name is believed: each is computed
//! from the inputs, when the derivation is registered, and again before anything
//! is made of it, since others may have registered it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::LocalStore;
use super::db::check::Checked;
use crate::model::derivation::aterm::AtermError;
use crate::model::derivation::modulo::{self, Modulo, OutputError};
use crate::model::derivation::{DerivationOutput, OutputNames};
use crate::model::{ContentAddressMethod, Derivation, HashAlgorithm, StorePath};
use crate::settings::FeatureDisabled;
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

/// Experimental features without which some kinds of outputs, and of addresses of
/// contents, are refused.
pub const FEATURES: [&str; 5] =
    ["ca-derivations", "impure-derivations", "dynamic-derivations", "git-hashing", "blake3-hashes"];

/// Derivations whose hashes are remembered.
const MAX_KNOWN: usize = 100_000;
/// Derivations that wait for those of their inputs.
const MAX_WAITING: usize = 1 << 20;

/// What others need to know of a derivation that is their input.
pub(super) struct Input {
    hash: Modulo,
    outputs: Box<[Box<str>]>,
}

impl LocalStore {
    /// Checks a derivation that lies in its place and is to be registered.
    pub(super) fn check_derivation(&self, path: &StorePath) -> Result<()> {
        self.checked_derivation(path).map(drop)
    }

    /// Reads a derivation that lies in its place and is to be registered.
    pub(super) fn checked_derivation(&self, path: &StorePath) -> Result<Derivation> {
        let drv = self.read_derivation(path)?;
        self.check_features(&drv)?;
        self.check_outputs(path, &drv)?;
        Ok(drv)
    }

    /// Checks that every output path of a derivation follows from its inputs or
    /// its promised content.
    ///
    /// # Errors
    /// [`StoreError::DerivationOutput`], and inputs that cannot be read.
    pub fn check_outputs(&self, path: &StorePath, drv: &Derivation) -> Result<()> {
        let name = path.name().strip_suffix(".drv").unwrap_or(path.name());
        let wrong = |reason| StoreError::DerivationOutput { path: self.dir().print(path), reason };
        let known = &mut *self.known_inputs.borrow_mut();
        if known.len() > MAX_KNOWN {
            known.clear();
        }
        if modulo::addressing(drv).map_err(wrong)? == modulo::Addressing::Inputs {
            for (input, names) in &drv.input_drvs {
                self.learn_input(input, known)?;
                check_names(names, known.get(input), name).map_err(wrong)?;
            }
        }
        modulo::check_outputs(drv, self.dir(), name, |input| self.known_hash(input, known))?.map_err(wrong)
    }

    /// Refuses kinds of outputs that are not enabled.
    ///
    /// # Errors
    /// The feature.
    pub fn check_features(&self, drv: &Derivation) -> Result<()> {
        for output in drv.outputs.values() {
            let (method, algorithm, kind) = match output {
                DerivationOutput::Fixed { ca, .. } => (ca.method, ca.hash.algorithm(), None),
                DerivationOutput::Floating(method, algorithm) => {
                    (*method, *algorithm, Some("ca-derivations"))
                }
                DerivationOutput::Impure(method, algorithm) => {
                    (*method, *algorithm, Some("impure-derivations"))
                }
                DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred => continue,
            };
            if method == ContentAddressMethod::Text {
                self.require_feature("dynamic-derivations", " (text-hashed derivation output)")?;
            }
            self.check_addressing(method, algorithm)?;
            if let Some(feature) = kind {
                self.require_feature(feature, "")?;
            }
        }
        Ok(())
    }

    /// Refuses ways to address contents that are not enabled.
    ///
    /// # Errors
    /// The feature.
    pub fn check_addressing(&self, method: ContentAddressMethod, algorithm: HashAlgorithm) -> Result<()> {
        if method == ContentAddressMethod::Git {
            self.require_feature("git-hashing", "")?;
        }
        if algorithm == HashAlgorithm::Blake3 {
            self.require_feature("blake3-hashes", "")?;
        }
        Ok(())
    }

    pub(super) fn require_feature(&self, feature: &str, what: &str) -> Result<()> {
        if self.options.features.contains(&feature) {
            return Ok(());
        }
        Err(FeatureDisabled { feature: feature.to_owned(), what: what.to_owned() }.into())
    }

    pub(super) fn known_hash(&self, input: &StorePath, known: &HashMap<StorePath, Input>) -> Result<Modulo> {
        known.get(input).map(|input| input.hash).ok_or_else(|| self.invalid(input))
    }

    /// Computes the hash that a derivation has as an input of others, which
    /// depends on those of its own inputs.
    pub(super) fn learn_input(
        &self,
        wanted: &StorePath,
        known: &mut HashMap<StorePath, Input>,
    ) -> Result<()> {
        // Chains can be as long as somebody likes: no recursion, and a text is
        // read again rather than held while its inputs are looked at.
        let mut waiting = vec![(wanted.clone(), false)];
        let mut begun = HashSet::new();
        let row = |path: &StorePath, message: &str| StoreError::Row {
            path: self.dir().print(path),
            message: message.to_owned(),
        };
        while let Some((path, again)) = waiting.pop() {
            if known.contains_key(&path) {
                continue;
            }
            interrupt::check()?;
            let drv = self.read_derivation(&path)?;
            let unknown: Vec<&StorePath> =
                drv.input_drvs.keys().filter(|input| !known.contains_key(*input)).collect();
            if !unknown.is_empty() {
                if again || !begun.insert(path.clone()) {
                    return Err(row(&path, "derivations refer to each other in a circle"));
                }
                if waiting.len() + unknown.len() > MAX_WAITING {
                    return Err(row(&path, "too many derivations are its inputs"));
                }
                let unknown: Vec<_> = unknown.into_iter().map(|input| (input.clone(), false)).collect();
                waiting.push((path, true));
                waiting.extend(unknown);
                continue;
            }
            let mut hash = modulo::hash_as_input(&drv, self.dir(), |input| self.known_hash(input, known))?;
            let missing = |(input, names): (&StorePath, &OutputNames)| {
                check_names(names, known.get(input), path.name()).is_err()
            };
            if drv.input_drvs.iter().any(missing) {
                // It was not checked when it was registered.
                hash = Modulo::Deferred(None);
            }
            let outputs = drv.outputs.keys().map(|name| name.as_str().into()).collect();
            known.insert(path, Input { hash, outputs });
        }
        Ok(())
    }

    /// Checks the derivations that are registered: versions before this check
    /// took them as they came. True if all is well.
    pub(super) fn verify_derivations(&self, rows: &[Checked]) -> Result<bool> {
        let mut sound = true;
        for path in rows.iter().map(|row| &row.path).filter(|path| path.is_derivation()) {
            interrupt::check()?;
            let drv = match self.read_derivation(path) {
                Ok(drv) => drv,
                // An extended form that we do not know; or its absence was told of already.
                Err(
                    StoreError::Derivation { reason: AtermError::WithVersion, .. } | StoreError::Missing(_),
                ) => {
                    continue;
                }
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => {
                    self.progress().problem(&format!("cannot check derivation: {error}"));
                    sound = false;
                    continue;
                }
            };
            match self.check_outputs(path, &drv) {
                Ok(()) => {}
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => {
                    sound = false;
                    self.tell_of_derivation(path, &drv, &error)?;
                }
            }
        }
        Ok(sound)
    }

    /// Says what is wrong with a derivation, and what may be wrong because of it.
    fn tell_of_derivation(&self, path: &StorePath, drv: &Derivation, error: &StoreError) -> Result<()> {
        let shown = self.dir().print(path);
        self.progress().problem(&format!("derivation '{shown}' cannot be trusted: {error}"));
        let outputs: BTreeMap<_, _> = drv.output_paths().collect();
        for (name, output) in outputs {
            if let Ok(Some(info)) = self.db().path_info(output)
                && info.deriver.as_ref() == Some(path)
            {
                self.progress().problem(&format!(
                    "path '{}' was made as its output '{name}': whoever wrote the derivation has chosen that \
                     path",
                    self.dir().display(output)
                ));
            }
        }
        Ok(())
    }
}

/// Checks that an input has the outputs that are wanted of it.
fn check_names(
    names: &OutputNames,
    input: Option<&Input>,
    wanted_by: &str,
) -> std::result::Result<(), OutputError> {
    let has = |name: &str| input.is_some_and(|input| input.outputs.iter().any(|output| &**output == name));
    match names.iter().find(|name| !has(name)) {
        None => Ok(()),
        Some(name) => Err(OutputError::NoSuchOutput { output: name.clone(), name: wanted_by.to_owned() }),
    }
}
