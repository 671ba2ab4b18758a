//! What the contents of a path tell: hash, size, references, content address.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::content_address::ContentReferences;
use crate::model::references::{Candidates, Scanner};
use crate::model::rewriting::Rewrites;
use crate::model::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, Hasher, StoreDir, StorePath, ValidPathInfo,
};
use crate::nar::git::GitHasher;
use crate::nar::hashing::HashPipe;
use crate::nar::modulo::ModuloHash;
use crate::nar::writer::{NarWriter, Output};
use crate::nar::{Contents, NarError, dump};
use crate::store::error::Result;
use crate::sys::interrupt;

/// What the contents of a path tell.
pub(super) struct Examined {
    /// The hash of the archive.
    pub(super) hash: Hash,
    /// Its size.
    pub(super) size: u64,
    /// The hash of the contents alone, of a file.
    pub(super) flat: Option<Hash>,
    /// The candidates whose hash parts stand in it.
    pub(super) references: BTreeSet<StorePath>,
}

/// Hashes a tree and looks for paths in it.
pub(super) fn examine(real: &Path, candidates: &Candidates) -> Result<Examined> {
    examine_by(HashAlgorithm::Sha256, real, candidates)
}

fn examine_by(algorithm: HashAlgorithm, real: &Path, candidates: &Candidates) -> Result<Examined> {
    let mut reading = Reading {
        algorithm,
        nar: Hasher::new(algorithm),
        size: 0,
        flat: None,
        scanner: Scanner::new(candidates),
        buffer: vec![0; 128 * 1024],
    };
    let mut writer = NarWriter::new(&mut reading)?;
    dump::walk(real, &mut writer)?;
    let is_file = std::fs::symlink_metadata(real).is_ok_and(|meta| meta.is_file());
    Ok(Examined {
        hash: reading.nar.finish(),
        size: reading.size,
        flat: reading.flat.take().filter(|_| is_file).map(Hasher::finish),
        references: reading.scanner.finish(),
    })
}

/// The content address of SHA-256 that leads to a path with a hash and references,
/// if one does; `flat` is the hash of the contents alone, where it is a file.
pub(super) fn content_address(
    dir: &StoreDir,
    info: &ValidPathInfo,
    flat: Option<Hash>,
) -> Option<ContentAddress> {
    let mut addresses =
        vec![ContentAddress { method: ContentAddressMethod::NixArchive, hash: info.nar_hash }];
    for method in [ContentAddressMethod::Text, ContentAddressMethod::Flat] {
        addresses.extend(flat.map(|hash| ContentAddress { method, hash }));
    }
    addresses.into_iter().find(|address| leads_to(dir, info, address))
}

/// The content address that leads to a path, of any method and algorithm, if one
/// does; the contents lie in `real` and are read again for each algorithm.
///
/// # Errors
/// [`StoreError::Nar`](crate::store::StoreError::Nar) if they cannot be read.
pub(super) fn any_content_address(
    dir: &StoreDir,
    info: &ValidPathInfo,
    real: &Path,
    flat: Option<Hash>,
) -> Result<Option<ContentAddress>> {
    if let Some(found) = content_address(dir, info, flat) {
        return Ok(Some(found));
    }
    if info.references.contains(&info.path) {
        let method = ContentAddressMethod::NixArchive;
        let found = ContentAddress { method, hash: hash_without_itself(real, &info.path)? };
        return Ok(Some(found).filter(|found| leads_to(dir, info, found)));
    }
    if !info.references.is_empty() {
        // Only what was tried may have references.
        return Ok(None);
    }
    let nothing = Candidates::new([]);
    for algorithm in HashAlgorithm::ALL {
        let examined = examine_by(algorithm, real, &nothing)?;
        let flat = examined.flat.map(|hash| (ContentAddressMethod::Flat, hash));
        let git = (ContentAddressMethod::Git, git_hash(real, algorithm)?);
        let archive = (ContentAddressMethod::NixArchive, examined.hash);
        for (method, hash) in [archive, git].into_iter().chain(flat) {
            let address = ContentAddress { method, hash };
            if leads_to(dir, info, &address) {
                return Ok(Some(address));
            }
        }
    }
    Ok(None)
}

fn leads_to(dir: &StoreDir, info: &ValidPathInfo, address: &ContentAddress) -> bool {
    let mut references = ContentReferences { others: info.references.clone(), itself: false };
    references.itself = references.others.remove(&info.path);
    dir.content_path(info.path.name(), address, &references).is_ok_and(|path| path == info.path)
}

/// The hash of the archive with the path's own hash part blanked out.
fn hash_without_itself(real: &Path, path: &StorePath) -> Result<Hash> {
    let mut own = Rewrites::default();
    own.blank(path);
    let mut archive = NarWriter::new(ModuloHash::new(&own, HashAlgorithm::Sha256))?;
    dump::walk(real, &mut archive)?;
    Ok(archive.into_output().finish())
}

fn git_hash(real: &Path, algorithm: HashAlgorithm) -> Result<Hash> {
    let mut archive = NarWriter::new(HashPipe::without_thread(HashAlgorithm::Sha256))?;
    let mut hasher = GitHasher::new(&mut archive, algorithm);
    dump::walk(real, &mut hasher)?;
    Ok(hasher.finish()?)
}

/// Hashes and scans an archive.
struct Reading<'c> {
    algorithm: HashAlgorithm,
    nar: Hasher,
    size: u64,
    /// Of the contents of the first file, which is the only one of a path that
    /// is a file.
    flat: Option<Hasher>,
    scanner: Scanner<'c>,
    buffer: Vec<u8>,
}

impl Output for &mut Reading<'_> {
    fn write(&mut self, data: &[u8]) -> std::result::Result<(), NarError> {
        self.nar.update(data);
        self.scanner.update(data);
        self.size += data.len() as u64;
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> std::result::Result<(), NarError> {
        let mut flat = self.flat.is_none().then(|| Hasher::new(self.algorithm));
        while contents.remaining() > 0 {
            interrupt::check()?;
            let mut buffer = std::mem::take(&mut self.buffer);
            let count = contents.read(&mut buffer)?;
            self.write(&buffer[..count])?;
            if let Some(flat) = &mut flat {
                flat.update(&buffer[..count]);
            }
            self.buffer = buffer;
        }
        if flat.is_some() {
            self.flat = flat;
        }
        Ok(())
    }
}
