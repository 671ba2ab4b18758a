//! Which outputs a builder makes, where it writes them, and where they belong.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Hash;
use crate::model::derivation::options::BuildOptions;
use crate::model::derivation::{Derivation, DerivationOutput};
use crate::model::hash::HashAlgorithm;
use crate::model::store_path::{NameError, StoreDir, StorePath, output_path_name};

/// An output that is to be made.
#[derive(Debug, Clone)]
pub struct PlannedOutput {
    /// How its path comes about.
    pub kind: DerivationOutput,
    /// Its path, if that is known.
    pub path: Option<StorePath>,
    /// The path that the builder writes.
    pub scratch: StorePath,
    /// Whether it counts as referring to nothing.
    pub discard_references: bool,
}

/// The outputs of a derivation.
pub struct OutputPlan<'p> {
    /// The store, as the builder sees it.
    pub store_dir: &'p StoreDir,
    /// The derivation.
    pub drv_path: &'p StorePath,
    /// Each by its name.
    pub outputs: BTreeMap<String, PlannedOutput>,
    /// What may be referred to beside the outputs: the closure of the inputs.
    pub inputs: &'p BTreeSet<StorePath>,
}

impl<'p> OutputPlan<'p> {
    /// The outputs of a derivation. A builder that would see outputs which are there already writes
    /// those for which `redirect` says so to other paths.
    ///
    /// # Errors
    /// A name that makes no path.
    pub fn new(
        store_dir: &'p StoreDir,
        drv_path: &'p StorePath,
        drv: &Derivation,
        options: &BuildOptions,
        inputs: &'p BTreeSet<StorePath>,
        redirect: impl Fn(&StorePath) -> bool,
    ) -> Result<Self, NameError> {
        let mut outputs = BTreeMap::new();
        for (name, kind) in &drv.outputs {
            let path = kind.path().cloned();
            let scratch = match &path {
                Some(path) if !redirect(path) => path.clone(),
                _ => scratch_path(store_dir, drv_path, name)?,
            };
            let discard_references = options.unsafe_discard_references.contains(name);
            outputs.insert(
                name.clone(),
                PlannedOutput { kind: kind.clone(), path, scratch, discard_references },
            );
        }
        Ok(Self { store_dir, drv_path, outputs, inputs })
    }

    /// Whether the builder writes every output where it belongs, and none is named by its contents.
    pub(super) fn is_final(&self) -> bool {
        let is_final = |output: &PlannedOutput| matches!(&output.kind, DerivationOutput::InputAddressed(path) if *path == output.scratch);
        self.outputs.values().all(is_final)
    }

    /// The path that the builder writes for each output.
    pub fn scratch(&self) -> BTreeMap<String, StorePath> {
        self.outputs.iter().map(|(name, output)| (name.clone(), output.scratch.clone())).collect()
    }

    /// The name of the derivation.
    pub fn name(&self) -> &str {
        self.drv_path.name().strip_suffix(".drv").unwrap_or(self.drv_path.name())
    }

    /// The full path of the derivation.
    pub(super) fn drv(&self) -> String {
        self.store_dir.print(self.drv_path)
    }
}

/// The path that a builder writes an output to where that cannot be the final one: that of the kind
/// `rewrite:DRV:name:OUTPUT` with a hash of zeros, which has the same length.
///
/// # Errors
/// A name that makes no path.
pub fn scratch_path(dir: &StoreDir, drv_path: &StorePath, output: &str) -> Result<StorePath, NameError> {
    let name = drv_path.name().strip_suffix(".drv").unwrap_or(drv_path.name());
    let kind = format!("rewrite:{}:name:{output}", drv_path.base_name());
    let zeros = Hash::from_bytes(HashAlgorithm::Sha256, &[0; 32]).unwrap_or(Hash::sha256(b""));
    dir.make_path(&kind, &zeros, &output_path_name(name, output))
}
