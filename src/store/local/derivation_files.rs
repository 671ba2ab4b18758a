//! Adding derivations that were just worked out: many small files, whose contents, references and
//! outputs are known, so that nothing of them is read again.

use std::collections::BTreeSet;

use super::batch::Batch;
use crate::model::content_address::ContentReferences;
use crate::model::derivation::DerivationFile;
use crate::model::{ContentAddress, ContentAddressMethod, Hash, StorePath, ValidPathInfo};
use crate::nar::Sink as _;
use crate::nar::writer::NarWriter;
use crate::store::error::Result;

/// What an archive of one file has besides its contents, roughly.
const HEAD: usize = 128;

impl Batch<'_> {
    /// Adds derivations, each after those that it refers to.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a reference to a path that is neither valid nor in the batch, and
    /// those of a flush.
    pub(super) fn add_derivations(&mut self, files: Vec<DerivationFile>) -> Result<()> {
        for file in &files {
            self.keep_apart_from_locks(&file.path)?;
        }
        self.check_references(&files)?;
        let intake = self.store.intake(0)?;
        for file in files {
            if self.paths.contains(&file.path) {
                continue;
            }
            let info = self.info(&file)?;
            self.push(intake.take_text(file.text), info, Some(file.outputs))?;
        }
        Ok(())
    }

    /// What is registered of a derivation.
    fn info(&self, file: &DerivationFile) -> Result<ValidPathInfo> {
        let ca = ContentAddress { method: ContentAddressMethod::Text, hash: Hash::sha256(&file.text) };
        let references = ContentReferences { others: file.references.clone(), itself: false };
        let path = self.store.dir().content_path(file.path.name(), &ca, &references)?;
        if path != file.path {
            return Err(self.store.invalid(&file.path));
        }
        let mut archive = NarWriter::new(Vec::with_capacity(file.text.len() + HEAD))?;
        archive.regular(false, &mut &file.text[..])?;
        let archive = archive.into_output();
        let mut info = ValidPathInfo::new(path, Hash::sha256(&archive), archive.len() as u64);
        info.references = references.others;
        info.ca = Some(ca);
        Ok(info)
    }

    /// Checks that everything is valid, or among these, that derivations refer to.
    fn check_references(&self, files: &[DerivationFile]) -> Result<()> {
        let (mut earlier, mut others) = (BTreeSet::new(), BTreeSet::<&StorePath>::new());
        for file in files {
            let is_other = |path: &&StorePath| !earlier.contains(path) && !self.paths.contains(*path);
            others.extend(file.references.iter().filter(is_other));
            earlier.insert(&file.path);
        }
        // First a root, then the question whether it is valid: no collection comes in between.
        let others: Vec<&StorePath> = others.into_iter().collect();
        self.store.add_temp_roots(&others)?;
        let db = self.store.db();
        db.snapshot(|| {
            match others.iter().find_map(|path| match db.is_valid(path) {
                Ok(true) => None,
                Ok(false) => Some(self.store.invalid(path)),
                Err(error) => Some(error),
            }) {
                Some(error) => Err(error),
                None => Ok(()),
            }
        })
    }
}
