//! A store without a database of its own behind it, binary caches and
//! `nix-store --serve` for example, used like one: whatever follows from asking
//! about paths, reading archives and taking them. It has no roots, and nothing in
//! it is collected.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::binary_cache::BinaryCache;
use super::error::{Result, StoreError};
use super::local::add::hash_contents;
use super::local::gc::{GcOptions, GcReport};
use super::local::roots::{RootSearch, Roots};
use super::local::{Layout, LocalStore};
use super::managed::{Kind, ManagedStore, Tell};
use crate::model::content_address::ContentReferences;
use crate::model::{
    ContentAddress, ContentAddressMethod, Derivation, DrvOutput, Hash, HashAlgorithm, Hasher, Realisation,
    StoreDir, StorePath, ValidPathInfo,
};
use crate::nar::hashing::HashedOutput;
use crate::nar::input::Input;
use crate::nar::writer::{FileOutput, NarWriter};
use crate::nar::{Contents, NarError, Sink, reader};
use crate::progress::Progress;
use crate::store::api::{About, Item, NarSource, Receiver, Store};
use crate::store::remote::protocol::wire::MAX_TEXT;

/// See the module.
pub struct Elsewhere {
    store: Box<dyn Store>,
    /// Where the files would be if it were the local store.
    layout: Layout,
    progress: Arc<dyn Progress>,
}

impl Elsewhere {
    /// Uses a store like one with a database.
    pub fn new(store: Box<dyn Store>, layout: Layout, progress: Arc<dyn Progress>) -> Self {
        let layout = Layout { store_dir: store.dir().clone(), ..layout };
        Self { store, layout, progress }
    }

    fn unsupported(&self, operation: &str) -> StoreError {
        StoreError::Uri(format!("operation '{operation}' is not supported by store '{}'", self.store.uri()))
    }

    fn no_collection(&self) -> StoreError {
        StoreError::Uri(format!("Garbage collection not supported by store '{}'", self.store.uri()))
    }
}

/// Has a store take an archive that it has not got. A cache must have what the
/// path refers to.
///
/// # Errors
/// Those of the store; [`StoreError::Reference`].
pub fn take(store: &dyn Store, item: &Item, archive: &File) -> Result<()> {
    if store.cache().is_some() {
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

impl Store for Elsewhere {
    fn uri(&self) -> String {
        self.store.uri()
    }

    fn dir(&self) -> &StoreDir {
        self.store.dir()
    }

    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>> {
        self.store.items(paths)
    }

    fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        self.store.valid(paths)
    }

    fn valid_or_fetched(&self, paths: &[StorePath], fetch: bool) -> Result<BTreeSet<StorePath>> {
        self.store.valid_or_fetched(paths, fetch)
    }

    fn all(&self) -> Result<Vec<StorePath>> {
        self.store.all()
    }

    fn source(&self, items: &[Item]) -> Result<Box<dyn NarSource + '_>> {
        self.store.source(items)
    }

    fn parallel(&self) -> usize {
        self.store.parallel()
    }

    fn receiver(&self, items: &[Item], check_signatures: bool) -> Result<Receiver<'_>> {
        self.store.receiver(items, check_signatures)
    }

    fn add_signatures(&self, signed: &[Item]) -> Result<()> {
        self.store.add_signatures(signed)
    }

    fn log(&self, path: &StorePath) -> Result<Option<Box<dyn Read + '_>>> {
        self.store.log(path)
    }

    fn add_log(&self, drv: &StorePath, log: &mut dyn Read) -> Result<()> {
        self.store.add_log(drv, log)
    }

    fn realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        self.store.realisation(id)
    }

    fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        self.store.register_realisation(realisation)
    }

    fn closure(&self, paths: &[StorePath], include_outputs: bool) -> Result<Option<Vec<StorePath>>> {
        self.store.closure(paths, include_outputs)
    }

    fn about(&self) -> Result<About> {
        self.store.about()
    }

    fn takes_closures(&self) -> bool {
        self.store.takes_closures()
    }

    fn local(&self) -> Option<&LocalStore> {
        self.store.local()
    }

    fn cache(&self) -> Option<&BinaryCache> {
        self.store.cache()
    }

    fn managed(&self) -> Option<&dyn ManagedStore> {
        Some(self)
    }
}

impl ManagedStore for Elsewhere {
    fn kind(&self) -> Kind<'_> {
        Kind::Elsewhere
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    fn is_here(&self) -> bool {
        false
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn is_valid(&self, path: &StorePath) -> Result<bool> {
        Ok(!self.store.valid(std::slice::from_ref(path))?.is_empty())
    }

    fn referrers(&self, _paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        Err(self.unsupported("queryReferrers"))
    }

    fn valid_derivers(&self, _path: &StorePath) -> Result<BTreeSet<StorePath>> {
        // Nobody keeps that for it, and the reference answers the same.
        Ok(BTreeSet::new())
    }

    fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        let outputs = self.read_derivation(drv)?.outputs.into_iter();
        Ok(outputs.filter_map(|(name, output)| Some((name, output.path()?.clone()))).collect())
    }

    fn path_from_hash_part(&self, part: &str) -> Result<Option<StorePath>> {
        match self.store.cache() {
            Some(cache) => cache.path_from_hash_part(part),
            None => Err(self.unsupported("queryPathFromHashPart")),
        }
    }

    fn add_temp_roots(&self, _paths: &[&StorePath]) -> Result<()> {
        // Nothing is collected.
        Ok(())
    }

    fn register_indirect_root(&self, _link: &Path) -> Result<()> {
        Err(self.unsupported("addIndirectRoot"))
    }

    fn find_roots(&self, _search: RootSearch) -> Result<Roots> {
        Err(self.no_collection())
    }

    fn add_content(
        &self,
        name: &str,
        (method, algorithm): (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        tell: Tell<'_>,
    ) -> Result<StorePath> {
        crate::model::store_path::check_name(name)
            .map_err(|reason| StoreError::Name { path: name.to_owned(), reason })?;
        // Its name follows from the whole of it, and is wanted first.
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
        let path = self.dir().content_path(name, &ca, &wanted)?;
        let mut info = ValidPathInfo::new(path.clone(), nar_hash, nar_size);
        info.references = wanted.others;
        info.ca = Some(ca);
        if !self.is_valid(&path)? {
            take(&*self.store, &Item { info, file: None }, &file)?;
        }
        Ok(path)
    }

    fn collect_garbage(&self, _options: &GcOptions, _report: &mut GcReport) -> Result<()> {
        Err(self.no_collection())
    }

    fn delete_paths(
        &self,
        _paths: &[StorePath],
        _ignore_liveness: bool,
        _options: &GcOptions,
        _report: &mut GcReport,
    ) -> Result<()> {
        Err(self.no_collection())
    }

    fn link_equal_files(&self) -> Result<u64> {
        Err(self.unsupported("optimiseStore"))
    }

    fn verify(&self, _contents: bool, _repair: Option<&[&dyn Store]>) -> Result<bool> {
        Err(self.unsupported("verifyStore"))
    }

    fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        let item = self.items(std::slice::from_ref(path))?.pop().flatten();
        let item = item.ok_or_else(|| self.invalid(path))?;
        let mut text = Text(Vec::new());
        self.source(std::slice::from_ref(&item))?.read(&item, &mut text)?;
        Derivation::parse(self.dir(), &text.0)
            .map_err(|source| StoreError::Derivation { path: self.dir().print(path), source })
    }
}

/// The hash of what is left of a file, which is then at its beginning again.
fn hash_file(file: &mut File, algorithm: HashAlgorithm) -> io::Result<Hash> {
    let mut hasher = Hasher::new(algorithm);
    io::copy(file, &mut hasher)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(hasher.finish())
}

/// Keeps the contents of the one file that a derivation is.
struct Text(Vec<u8>);

fn no_derivation(what: &str) -> NarError {
    NarError::Sink(format!("it is a {what}, and derivations are files").into())
}

impl Sink for Text {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        Err(no_derivation("directory"))
    }

    fn entry(&mut self, _name: &CStr) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn regular(
        &mut self,
        _executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        if contents.remaining() > MAX_TEXT as u64 {
            return Err(NarError::TooLong);
        }
        let mut buffer = vec![0; 64 * 1024];
        while contents.remaining() > 0 {
            let count = contents.read(&mut buffer)?;
            self.0.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }

    fn symlink(&mut self, _target: &CStr) -> std::result::Result<(), NarError> {
        Err(no_derivation("symlink"))
    }
}
