//! The content addresses of outputs that have one.

use std::path::Path;

use super::OutputsError;
use super::plan::OutputPlan;
use crate::model::content_address::{ContentPathError, ContentReferences};
use crate::model::derivation::DerivationOutput;
use crate::model::rewriting::Rewrites;
use crate::model::store_path::output_path_name;
use crate::model::{ContentAddress, ContentAddressMethod, HashAlgorithm, HashFormat, StorePath};
use crate::nar::content_hash::hash_contents;
use crate::nar::modulo::ModuloHash;
use crate::nar::writer::NarWriter;
use crate::nar::{Discard, NarError, Sink};

/// What a content address is made of.
#[derive(Debug, Clone, Copy)]
pub struct Address {
    method: ContentAddressMethod,
    algorithm: HashAlgorithm,
}

/// That of an output, if it has one.
pub fn of(kind: &DerivationOutput) -> Option<Address> {
    let (method, algorithm) = match kind {
        DerivationOutput::Fixed { ca, .. } => (ca.method, ca.hash.algorithm()),
        DerivationOutput::Floating(method, algorithm) | DerivationOutput::Impure(method, algorithm) => {
            (*method, *algorithm)
        }
        DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred => return None,
    };
    Some(Address { method, algorithm })
}

impl Address {
    /// The content address of the output at `real`, which `fill` tells of, with its own path, which
    /// it has for the builder, blanked out in an archive.
    pub fn hash(
        self,
        real: &Path,
        own: &StorePath,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), OutputsError>,
    ) -> Result<ContentAddress, OutputsError> {
        let Self { method, algorithm } = self;
        if method == ContentAddressMethod::NixArchive {
            let mut rewrites = Rewrites::default();
            rewrites.blank(own);
            let mut writer = NarWriter::new(ModuloHash::new(&rewrites, algorithm))?;
            fill(&mut writer)?;
            return Ok(ContentAddress { method, hash: writer.into_output().finish() });
        }
        if matches!(method, ContentAddressMethod::Flat | ContentAddressMethod::Text) && !is_plain(real) {
            return Err(OutputsError::NotPlain(real.to_owned()));
        }
        let mut failed = None;
        let hash = hash_contents((method, algorithm), true, &mut Discard, |sink| {
            fill(sink).map_err(|error| {
                failed = Some(error);
                NarError::Changed(real.to_owned())
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        match hash? {
            Some(hash) => Ok(ContentAddress { method, hash }),
            None => Err(OutputsError::Changed(real.to_owned())),
        }
    }
}

/// Whether it is a regular file that is not executable.
fn is_plain(real: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::symlink_metadata(real).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o100 == 0)
}

/// The path that follows from a content address.
pub fn path(
    plan: &OutputPlan<'_>,
    ca: &ContentAddress,
    references: &ContentReferences,
    output: &str,
) -> Result<StorePath, OutputsError> {
    plan.store_dir.content_path(&output_path_name(plan.name(), output), ca, references).map_err(|error| {
        match error {
            ContentPathError::References(_) => OutputsError::ReferencesNotAllowed(plan.name().to_owned()),
            ContentPathError::SelfReference(_) => OutputsError::TextSelfReference,
            error => error.into(),
        }
    })
}

/// Compares an output with what was promised of it, if anything was; gives in which way it is
/// something else.
///
/// # Errors
/// It is what was promised, but refers to something.
pub fn check(
    plan: &OutputPlan<'_>,
    kind: &DerivationOutput,
    found: &ContentAddress,
    path: &StorePath,
    references: &ContentReferences,
) -> Result<Option<OutputsError>, OutputsError> {
    let DerivationOutput::Fixed { ca, .. } = kind else { return Ok(None) };
    if ca.hash != found.hash {
        let (specified, got) = (ca.hash.prefixed(HashFormat::Sri), found.hash.prefixed(HashFormat::Sri));
        return Ok(Some(OutputsError::Mismatch { drv: plan.drv(), specified, got }));
    }
    let own = references.itself.then_some(path);
    match references.others.iter().chain(own).min() {
        None => Ok(None),
        Some(first) => Err(OutputsError::FixedReferences {
            drv: plan.drv(),
            count: references.others.len() + usize::from(references.itself),
            example: plan.store_dir.print(first),
        }),
    }
}
