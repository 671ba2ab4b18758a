//! Derivations: what to run to make some store paths.

pub mod aterm;
pub mod modulo;
pub mod options;
pub mod placeholder;

use std::collections::{BTreeMap, BTreeSet};

use super::content_address::{ContentAddress, ContentAddressMethod};
use super::hash::HashAlgorithm;
use super::store_path::{StoreDir, StorePath};

/// A text that may hold any byte.
pub type Bytes = Vec<u8>;
/// Names of outputs.
pub type OutputNames = BTreeSet<String>;

/// How the path of an output comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DerivationOutput {
    /// Known from the inputs.
    InputAddressed(StorePath),
    /// Known from the promised content.
    Fixed {
        /// The path that follows from it.
        path: StorePath,
        /// The promise.
        ca: ContentAddress,
    },
    /// Known once built.
    Floating(ContentAddressMethod, HashAlgorithm),
    /// Known once built, and different each time.
    Impure(ContentAddressMethod, HashAlgorithm),
    /// Input-addressed, but an input is not known before it is built.
    Deferred,
}

impl DerivationOutput {
    /// The path, where it is known before building.
    pub fn path(&self) -> Option<&StorePath> {
        match self {
            Self::InputAddressed(path) | Self::Fixed { path, .. } => Some(path),
            Self::Floating(..) | Self::Impure(..) | Self::Deferred => None,
        }
    }
}

/// The contents of a `.drv` file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derivation {
    /// Output name → how its path comes about.
    pub outputs: BTreeMap<String, DerivationOutput>,
    /// Derivation → the outputs of it that are used.
    pub input_drvs: BTreeMap<StorePath, OutputNames>,
    /// Other store paths that are used.
    pub input_srcs: BTreeSet<StorePath>,
    /// The system it runs on.
    pub platform: Bytes,
    /// The program.
    pub builder: Bytes,
    /// Its arguments.
    pub args: Vec<Bytes>,
    /// Its environment.
    pub env: BTreeMap<Bytes, Bytes>,
}

/// A derivation as a file of a store.
#[derive(Clone, Debug)]
pub struct DerivationFile {
    /// Its store path, which follows from text and references.
    pub path: StorePath,
    /// Its contents.
    pub text: Vec<u8>,
    /// What it refers to.
    pub references: BTreeSet<StorePath>,
    /// Its outputs and their paths, as far as these are known before it is built.
    pub outputs: Vec<(String, StorePath)>,
}

impl Derivation {
    /// Every path that the text names and a valid path must therefore refer to:
    /// inputs of both kinds.
    pub fn references(&self) -> BTreeSet<StorePath> {
        self.input_drvs.keys().chain(&self.input_srcs).cloned().collect()
    }

    /// Output names and their paths, where known before building.
    pub fn output_paths(&self) -> impl Iterator<Item = (&str, &StorePath)> {
        self.outputs.iter().filter_map(|(name, output)| Some((name.as_str(), output.path()?)))
    }

    /// The same, as a list.
    pub fn known_outputs(&self) -> Vec<(String, StorePath)> {
        self.output_paths().map(|(name, path)| (name.to_owned(), path.clone())).collect()
    }

    /// Reads a `.drv` file; see [`aterm`].
    ///
    /// # Errors
    /// See [`aterm::AtermError`].
    pub fn parse(dir: &StoreDir, text: &[u8]) -> Result<Self, aterm::AtermError> {
        aterm::parse(dir, text)
    }

    /// Writes a `.drv` file; see [`aterm`].
    pub fn print(&self, dir: &StoreDir) -> Bytes {
        aterm::print(self, dir)
    }
}
