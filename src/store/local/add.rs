//! Adding a file or tree of this machine to the store.

use std::collections::BTreeSet;
use std::path::Path;

use super::LocalStore;
use super::batch::Batch;
use super::ingest::Hashes;
use crate::model::content_address::ContentReferences;
use crate::model::derivation::DerivationFile;
use crate::model::{ContentAddress, ContentAddressMethod, HashAlgorithm, StorePath, ValidPathInfo};
use crate::nar::content_hash::hash_contents;
use crate::nar::hashing::HashPipe;
use crate::nar::writer::NarWriter;
use crate::nar::{NarError, Sink, dump};
use crate::store::api;
use crate::store::error::{Result, StoreError};

/// Adds files and trees, several at a time; see [`LocalStore::adder`].
pub struct Adder<'s> {
    store: &'s LocalStore,
    batch: Batch<'s>,
}

impl LocalStore {
    /// Begins to add files and trees.
    pub fn adder(&self) -> Adder<'_> {
        Adder { store: self, batch: self.batch() }
    }
}

impl Adder<'_> {
    /// Adds a file with the given text and references, and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_text(
        &mut self,
        name: &str,
        text: &[u8],
        references: BTreeSet<StorePath>,
    ) -> Result<StorePath> {
        let kind = (ContentAddressMethod::Text, HashAlgorithm::Sha256);
        self.add_content(name, kind, references, |sink| sink.regular(false, &mut &text[..]))
    }

    /// Adds what `fill` tells of under `name`, addressed by its contents, with
    /// its references (not itself among them), and gives its path.
    ///
    /// # Errors
    /// [`StoreError`]; for `Flat` and `Text` also for anything but a file.
    pub fn add_content(
        &mut self,
        name: &str,
        (method, algorithm): (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        fill: impl FnOnce(&mut dyn Sink) -> std::result::Result<(), NarError>,
    ) -> Result<StorePath> {
        // A bad name costs no reading.
        crate::model::store_path::check_name(name)
            .map_err(|reason| StoreError::Name { path: name.to_owned(), reason })?;
        if self.store.is_read_only() {
            return self.find_content(name, (method, algorithm), references, fill);
        }
        let archive = method == ContentAddressMethod::NixArchive;
        let hashes = Hashes::new(archive.then_some(algorithm), self.store.watcher());
        let (ingested, incoming, own) =
            self.store.take_in(hashes, |sink| Ok(hash_contents((method, algorithm), false, sink, fill)?))?;
        let hash = own.or(ingested.other).unwrap_or(ingested.nar_hash);
        let ca = ContentAddress { method, hash };
        let wanted = ContentReferences { others: references, itself: false };
        let path = self.store.dir().content_path(name, &ca, &wanted)?;
        let mut info = ValidPathInfo::new(path.clone(), ingested.nar_hash, ingested.nar_size);
        info.references = wanted.others;
        info.ca = Some(ca);
        self.store.warn_of_depth(&path, ingested.depth);
        self.batch.add(incoming, info)?;
        Ok(path)
    }

    /// The path that content has, if it is there already: nothing can be added.
    fn find_content(
        &self,
        name: &str,
        (method, algorithm): (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        fill: impl FnOnce(&mut dyn Sink) -> std::result::Result<(), NarError>,
    ) -> Result<StorePath> {
        let mut writer = NarWriter::new(HashPipe::new(algorithm))?;
        let own = hash_contents((method, algorithm), false, &mut writer, fill)?;
        let hash = own.unwrap_or_else(|| writer.into_output().finish().0);
        let wanted = ContentReferences { others: references, itself: false };
        let path = self.store.dir().content_path(name, &ContentAddress { method, hash }, &wanted)?;
        match self.store.db().is_valid(&path)? {
            true => Ok(path),
            false => self.store.require_writable().map(|()| path),
        }
    }

    /// Adds a tree, as `fill` tells of it, as the output of a derivation that
    /// is valid or was added before, with its references. Those who ask for a
    /// signature take it without one if it is `ultimate`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_built(
        &mut self,
        path: &StorePath,
        deriver: &StorePath,
        references: BTreeSet<StorePath>,
        ultimate: bool,
        fill: impl FnOnce(&mut dyn Sink) -> std::result::Result<(), NarError>,
    ) -> Result<()> {
        let hashes = Hashes::new(None, self.store.watcher());
        let (ingested, incoming, ()) = self.store.take_in(hashes, |sink| Ok(fill(sink)?))?;
        let mut info = ValidPathInfo::new(path.clone(), ingested.nar_hash, ingested.nar_size);
        info.references = references;
        info.deriver = Some(deriver.clone());
        info.ultimate = ultimate;
        self.batch.add(incoming, info)
    }

    /// Makes everything added valid.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish(mut self) -> Result<()> {
        self.batch.flush()
    }
}

/// Gives the path that adding the tree at `source` would give; nothing is written, and
/// no store is needed.
///
/// # Errors
/// [`StoreError`].
pub fn compute_path(
    dir: &crate::model::StoreDir,
    source: &Path,
    name: &str,
    method: ContentAddressMethod,
    algorithm: HashAlgorithm,
) -> Result<StorePath> {
    let walk = |sink: &mut dyn Sink| dump::walk(source, sink);
    let hash = match hash_contents((method, algorithm), false, &mut crate::nar::Discard, walk)? {
        Some(hash) => hash,
        None => dump::hash(source, algorithm)?.0,
    };
    Ok(dir.content_path(name, &ContentAddress { method, hash }, &ContentReferences::default())?)
}

impl api::add::Adder for Adder<'_> {
    fn add_content(
        &mut self,
        name: &str,
        kind: (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        tell: api::add::Tell<'_>,
    ) -> Result<StorePath> {
        Adder::add_content(self, name, kind, references, |sink| tell(sink))
    }

    fn add_derivations(&mut self, files: Vec<DerivationFile>) -> Result<()> {
        self.store.require_writable()?;
        self.batch.add_derivations(files)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Adder::finish(*self)
    }
}
