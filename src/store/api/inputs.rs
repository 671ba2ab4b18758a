//! The hashes that derivations have as inputs of others.

use std::collections::{HashMap, HashSet};

use crate::model::derivation::OutputNames;
use crate::model::derivation::modulo::{self, Modulo, OutputError};
use crate::model::{Derivation, Hash, StoreDir, StorePath};
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

/// Derivations that wait for those of their inputs.
const MAX_WAITING: usize = 1 << 20;

/// Derivations of which the hashes are held at once; the largest package sets have a tenth.
const MAX_KNOWN: usize = 1 << 20;

/// What others need to know of a derivation that is their input.
struct Input {
    hash: Modulo,
    outputs: Box<[Box<str>]>,
}

/// The derivations of which the hashes are known.
#[derive(Default)]
pub struct Inputs(HashMap<StorePath, Input>);

impl Inputs {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The hash of a derivation that was learnt.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for one that was not.
    pub fn hash(&self, dir: &StoreDir, input: &StorePath) -> Result<Modulo> {
        self.0.get(input).map(|input| input.hash).ok_or_else(|| StoreError::Invalid(dir.print(input)))
    }

    /// Checks that an input has the outputs that are wanted of it.
    ///
    /// # Errors
    /// [`OutputError::NoSuchOutput`].
    pub fn check_names(
        &self,
        input: &StorePath,
        names: &OutputNames,
        wanted_by: &str,
    ) -> std::result::Result<(), OutputError> {
        let input = self.0.get(input);
        let has =
            |name: &str| input.is_some_and(|input| input.outputs.iter().any(|output| &**output == name));
        match names.iter().find(|name| !has(name)) {
            None => Ok(()),
            Some(name) => Err(OutputError::NoSuchOutput { output: name.clone(), name: wanted_by.to_owned() }),
        }
    }

    /// Learns the hash of a derivation, and of those it is made of, which `read` reads.
    ///
    /// # Errors
    /// The errors of `read`, and [`StoreError::Row`] for derivations without an end.
    pub fn learn(
        &mut self,
        dir: &StoreDir,
        wanted: &StorePath,
        read: impl Fn(&StorePath) -> Result<Derivation>,
    ) -> Result<()> {
        // Chains can be as long as somebody likes: no recursion, and a text is
        // read again rather than held while its inputs are looked at.
        let mut waiting = vec![(wanted.clone(), false)];
        let mut begun = HashSet::new();
        let row = |path: &StorePath, message: &str| StoreError::Row {
            path: dir.print(path),
            message: message.to_owned(),
        };
        while let Some((path, again)) = waiting.pop() {
            if self.0.contains_key(&path) {
                continue;
            }
            interrupt::check()?;
            let drv = read(&path)?;
            let unknown: Vec<&StorePath> =
                drv.input_drvs.keys().filter(|input| !self.0.contains_key(*input)).collect();
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
            let mut hash = modulo::hash_as_input(&drv, dir, |input| self.hash(dir, input))?;
            let missing = |(input, names): (&StorePath, &OutputNames)| {
                self.check_names(input, names, path.name()).is_err()
            };
            if drv.input_drvs.iter().any(missing) {
                // It was not checked when it was registered.
                hash = Modulo::Deferred(None);
            }
            if self.0.len() >= MAX_KNOWN {
                return Err(row(wanted, "too many derivations are its inputs"));
            }
            let outputs = drv.outputs.keys().map(|name| name.as_str().into()).collect();
            self.0.insert(path, Input { hash, outputs });
        }
        Ok(())
    }

    /// The hash that names the realisations of a derivation; none where each build
    /// has a result of its own.
    ///
    /// # Errors
    /// See [`Inputs::learn`].
    pub fn hash_for_realisations(
        &mut self,
        dir: &StoreDir,
        drv: &Derivation,
        read: impl Fn(&StorePath) -> Result<Derivation>,
    ) -> Result<Option<Hash>> {
        for input in drv.input_drvs.keys() {
            self.learn(dir, input, &read)?;
        }
        modulo::hash_for_realisations(drv, dir, |input| self.hash(dir, input))
    }
}
