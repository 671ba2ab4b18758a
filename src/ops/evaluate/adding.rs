//! What an evaluation adds to the store: paths are worked out at once, files are read once where they
//! are small enough to be held, and the thread that has the store writes meanwhile.

use std::collections::BTreeSet;

use crate::eval::error::{Error, Kind};
use crate::eval::io::{self, Filter};
use crate::model::derivation::DerivationFile;
use crate::model::{ContentAddressMethod, Hash, StorePath};

use super::add::{self, Source, of_store};
use super::desk::{self, Addition, Contents};
use super::sources::Fingerprint;
use super::tree::Tree;
use super::world::{Asked, lock, path_of};

impl Asked {
    /// Adds files and gives their store path.
    pub(super) fn add_files(
        &self,
        addition: &io::Addition<'_>,
        filter: Option<Filter<'_>>,
    ) -> Result<StorePath, Error> {
        let path = self.real(addition.path)?;
        self.access.check_followed(path_of(addition.path), false)?;
        let name = add::name_text(addition.name)?.to_owned();
        let dir = &self.options.store_dir;
        let method = match addition.recursive {
            true => ContentAddressMethod::NixArchive,
            false => ContentAddressMethod::Flat,
        };
        let expected = Self::expected(addition.expected)?;
        if let Some(hash) = expected {
            let wanted = add::content_path(dir, &name, method, hash, BTreeSet::new())?;
            if self.is_known(&wanted)? {
                return Ok(wanted);
            }
        }
        let source = match filter {
            Some(filter) if addition.recursive => {
                Source::Filtered(Tree::new(&path, path_of(addition.path), filter)?)
            }
            _ => Source::Whole(path.clone()),
        };
        let remembered = if addition.recursive { self.look_up(&source) } else { None };
        if let Some((_, Some(hash))) = &remembered
            && expected.is_none_or(|expected| expected == *hash)
        {
            let wanted = add::content_path(dir, &name, method, *hash, BTreeSet::new())?;
            if self.options.read_only || self.is_known(&wanted)? {
                self.progress.detail(&format!("'{}' is as it was when it was read", path.display()));
                return Ok(wanted);
            }
        }
        let (hash, archive) = match addition.recursive {
            true => source.archive_hash(!self.options.read_only)?,
            false => (add::flat_hash(&path)?, None),
        };
        if let Some((before, _)) = &remembered {
            self.remember(&source, before, &hash);
        }
        if expected.is_some_and(|expected| expected != hash) {
            let path = path_of(addition.path).display();
            let message = format!("store path mismatch in (possibly filtered) path added from '{path}'");
            return Err(Error::of(Kind::Other, message));
        }
        let result = add::content_path(dir, &name, method, hash, BTreeSet::new())?;
        let from = archive.map_or(Contents::Files(source), Contents::Archive);
        self.send(&result, || {
            let path = result.clone();
            Addition::Content { path, method, references: BTreeSet::new(), from }
        })?;
        Ok(result)
    }

    /// The fingerprint of what is to be added, and the hash that is remembered with it.
    fn look_up(&self, source: &Source) -> Option<(Fingerprint, Option<Hash>)> {
        let dir = self.options.source_memory.as_ref()?;
        let fingerprint = Fingerprint::of(source)?;
        let hash = lock(&self.sources).get(dir, &*self.progress)?.look_up(&fingerprint);
        Some((fingerprint, hash))
    }

    /// Remembers the hash of what was read, if it is still what it was before.
    fn remember(&self, source: &Source, before: &Fingerprint, hash: &Hash) {
        let Some(dir) = &self.options.source_memory else { return };
        if Fingerprint::of(source).as_ref() == Some(before)
            && let Some(sources) = lock(&self.sources).get(dir, &*self.progress)
        {
            sources.remember(before, hash);
        }
    }

    /// Adds a fetched tree, also where evaluation only reads: what reads files of it looks into the store.
    /// Gives its store path and the hash of its archive, which is the expected one if there is any.
    pub(super) fn add_fetched(
        &self,
        name: &str,
        source: Source,
        expected: impl FnOnce(Hash) -> Result<(), Error>,
    ) -> Result<(StorePath, Hash), Error> {
        let (hash, archive) = source.archive_hash(true)?;
        expected(hash)?;
        let method = ContentAddressMethod::NixArchive;
        let path = add::content_path(&self.options.store_dir, name, method, hash, BTreeSet::new())?;
        if lock(&self.known).insert(path.clone()) {
            let from = archive.map_or(Contents::Files(source), Contents::Archive);
            let references = BTreeSet::new();
            self.mail.add(Addition::Content { path: path.clone(), method, references, from })?;
        }
        Ok((path, hash))
    }

    /// Adds a text and gives its store path.
    pub(super) fn add_file(
        &self,
        name: &[u8],
        text: &[u8],
        references: &[Vec<u8>],
    ) -> Result<StorePath, Error> {
        let dir = &self.options.store_dir;
        let name = add::name_text(name)?.to_owned();
        let references = references.iter().map(|path| add::store_path(dir, path));
        let references = references.collect::<Result<BTreeSet<_>, Error>>()?;
        let method = ContentAddressMethod::Text;
        let path = add::content_path(dir, &name, method, Hash::sha256(text), references.clone())?;
        self.send(&path, || {
            let (path, from) = (path.clone(), Contents::Text(text.to_vec()));
            Addition::Content { path, method, references, from }
        })?;
        Ok(path)
    }

    /// Adds a derivation.
    pub(super) fn add_new_derivation(&self, file: DerivationFile) -> Result<(), Error> {
        let path = file.path.clone();
        self.send(&path, || Addition::Derivation(file))
    }

    /// Sends what is to be added at a path to the thread with the store, unless that was done before.
    fn send(&self, path: &StorePath, addition: impl FnOnce() -> Addition) -> Result<(), Error> {
        if self.options.read_only || !lock(&self.known).insert(path.clone()) {
            return Ok(());
        }
        self.mail.add(addition())
    }

    /// Whether a path was added before, or is valid in the store.
    pub(super) fn is_known(&self, path: &StorePath) -> Result<bool, Error> {
        if lock(&self.known).contains(path) {
            return Ok(true);
        }
        let wanted = path.clone();
        let valid =
            self.mail.ask(move |desk| desk::is_valid(desk.backing.store()?, &wanted).map_err(of_store))?;
        if valid {
            lock(&self.known).insert(path.clone());
        }
        Ok(valid)
    }
}
