//! Do the outputs of derivations follow from what the derivations say?
//!
//! A user who may add a text may add a derivation, and what a derivation names as
//! its output is made under that name. So no name is believed: each is computed
//! from the inputs, when the derivation is registered, and again before anything
//! is made of it, since others may have registered it.

use std::collections::BTreeMap;

use super::LocalStore;
use super::db::check::Checked;
use crate::model::derivation::DerivationOutput;
use crate::model::derivation::aterm::AtermError;
use crate::model::derivation::modulo;
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
        if known.count() > MAX_KNOWN {
            known.clear();
        }
        if modulo::addressing(drv).map_err(wrong)? == modulo::Addressing::Inputs {
            for (input, names) in &drv.input_drvs {
                known.learn(self.dir(), input, |path| self.read_derivation(path))?;
                known.check_names(input, names, name).map_err(wrong)?;
            }
        }
        modulo::check_outputs(drv, self.dir(), name, |input| known.hash(self.dir(), input))?.map_err(wrong)
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
