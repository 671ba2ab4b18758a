//! Adding contents to a store, which are named by what they are.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;

use super::Store;
use super::copy::Item;
use crate::model::content_address::ContentReferences;
use crate::model::derivation::DerivationFile;
use crate::model::store_path::check_name;
use crate::model::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, Hasher, StorePath, ValidPathInfo,
};
use crate::nar::content_hash::hash_contents;
use crate::nar::hashing::HashedOutput;
use crate::nar::input::Input;
use crate::nar::writer::{FileOutput, NarWriter};
use crate::nar::{NarError, Sink, dump, reader};
use crate::store::error::{Result, StoreError};

/// Tells a sink of a tree.
pub type Tell<'f> = &'f mut dyn FnMut(&mut dyn Sink) -> std::result::Result<(), NarError>;

/// Adds contents, one after the other.
pub trait Adder {
    /// Adds what `tell` tells of, addressed by its contents, with its references
    /// (not itself among them), and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_content(
        &mut self,
        name: &str,
        kind: (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        tell: Tell<'_>,
    ) -> Result<StorePath>;

    /// Adds the tree at `source` under `name`, addressed by the hash of its archive
    /// or (`Flat`, `Text`) of its one file, and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_source(
        &mut self,
        source: &Path,
        name: &str,
        kind: (ContentAddressMethod, HashAlgorithm),
    ) -> Result<StorePath> {
        // A bad name costs no reading.
        check_name(name).map_err(|reason| StoreError::Name { path: name.to_owned(), reason })?;
        self.add_content(name, kind, BTreeSet::new(), &mut |sink| dump::walk(source, sink))
    }

    /// Adds derivations, each after those that it refers to, whose outputs are known to follow from
    /// them: their caller has worked them out.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_derivations(&mut self, files: Vec<DerivationFile>) -> Result<()> {
        let kind = (ContentAddressMethod::Text, HashAlgorithm::Sha256);
        for file in files {
            let mut tell = |sink: &mut dyn Sink| sink.regular(false, &mut &file.text[..]);
            self.add_content(file.path.name(), kind, file.references, &mut tell)?;
        }
        Ok(())
    }

    /// Makes everything valid that was added and is not yet.
    ///
    /// # Errors
    /// [`StoreError`].
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Adds to a store that takes archives and nothing else: the name of contents
/// follows from the whole of them, so that they are written to a file first.
pub struct SpoolingAdder<'s>(
    /// Where they are added.
    pub &'s dyn Store,
);

impl Adder for SpoolingAdder<'_> {
    fn add_content(
        &mut self,
        name: &str,
        (method, algorithm): (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        tell: Tell<'_>,
    ) -> Result<StorePath> {
        check_name(name).map_err(|reason| StoreError::Name { path: name.to_owned(), reason })?;
        let failed = |error| StoreError::Nar(NarError::Write(error));
        let mut file = tempfile::tempfile().map_err(failed)?;
        let mut spool = FileOutput::new(&file);
        let mut writer = NarWriter::new(HashedOutput::new(&mut spool))?;
        let own = hash_contents((method, algorithm), false, &mut writer, |sink| tell(sink))?;
        let (nar_hash, nar_size) = writer.into_output().finish();
        spool.flush()?;
        drop(spool);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let hash = match own {
            Some(hash) => hash,
            None if algorithm == HashAlgorithm::Sha256 => nar_hash,
            None => hash_file(&mut file, algorithm).map_err(failed)?,
        };
        let ca = ContentAddress { method, hash };
        let wanted = ContentReferences { others: references, itself: false };
        let path = self.0.dir().content_path(name, &ca, &wanted)?;
        let mut info = ValidPathInfo::new(path.clone(), nar_hash, nar_size);
        info.references = wanted.others;
        info.ca = Some(ca);
        if !self.0.is_valid(&path)? {
            take(self.0, &Item { info, file: None }, &file)?;
        }
        Ok(path)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Has a store take an archive that it has not got. A cache must have what the
/// path refers to.
///
/// # Errors
/// Errors of the store; [`StoreError::Reference`].
pub fn take(store: &dyn Store, item: &Item, archive: &File) -> Result<()> {
    if !store.is_closed() {
        let own = &item.info.path;
        let others: Vec<StorePath> =
            item.info.references.iter().filter(|path| *path != own).cloned().collect();
        let valid = store.valid(&others)?;
        if let Some(missing) = others.iter().find(|path| !valid.contains(path)) {
            let (path, reference) = (store.dir().print(own), store.dir().print(missing));
            return Err(StoreError::Reference { path, reference });
        }
    }
    let mut receiver = store.receiver(std::slice::from_ref(item), false)?;
    let taken = receiver.taker.take(item, &mut |sink| reader::read(&mut Input::new(archive), sink))?;
    match receiver.publishes {
        true => receiver.taker.publish(taken)?,
        false => receiver.registrar.register(taken)?,
    }
    receiver.registrar.finish()
}

/// The hash of what is left of a file, which is then at its beginning again.
fn hash_file(file: &mut File, algorithm: HashAlgorithm) -> io::Result<Hash> {
    let mut hasher = Hasher::new(algorithm);
    io::copy(file, &mut hasher)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(hasher.finish())
}
