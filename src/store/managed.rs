//! A store with everything that belongs to one: questions about any path, roots,
//! collection. It is the local one, one that a daemon works on for us, or, with
//! less of it, any other (see [`super::elsewhere`]).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{Result, StoreError};
use super::local::gc::{GcOptions, GcReport};
use super::local::roots::{RootSearch, Roots};
use super::local::{Layout, LocalStore};
use crate::model::{ContentAddressMethod, Derivation, HashAlgorithm, StorePath, ValidPathInfo};
use crate::nar::{NarError, Sink};
use crate::progress::Progress;
use crate::store::api::Store;
use crate::store::remote::daemon_store::DaemonStore;

/// Tells a sink of a tree.
pub type Tell<'f> = &'f mut dyn FnMut(&mut dyn Sink) -> std::result::Result<(), NarError>;

/// Which one it is: some things have a better way in one of them.
pub enum Kind<'s> {
    /// Worked on by this process.
    Local(&'s LocalStore),
    /// Worked on by a daemon.
    Daemon(&'s DaemonStore),
    /// Used like one, without a database behind it.
    Elsewhere,
}

/// See the module.
pub trait ManagedStore: Store {
    /// Which one it is.
    fn kind(&self) -> Kind<'_>;

    /// Where its files lie.
    fn layout(&self) -> &Layout;

    /// Whoever watches.
    fn progress(&self) -> &dyn Progress;

    /// Whether its files are those of this machine.
    fn is_here(&self) -> bool {
        true
    }

    /// Whether nothing can be written.
    fn is_read_only(&self) -> bool;

    /// Whether a path is valid.
    ///
    /// # Errors
    /// [`StoreError`].
    fn is_valid(&self, path: &StorePath) -> Result<bool>;

    /// Whether a path is valid and was not deleted behind the back of the store,
    /// as far as that can be seen.
    ///
    /// # Errors
    /// [`StoreError`].
    fn is_there(&self, path: &StorePath) -> Result<bool> {
        self.is_valid(path)
    }

    /// The metadata of a valid path.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] and others.
    fn path_info(&self, path: &StorePath) -> Result<ValidPathInfo> {
        let item = self.items(std::slice::from_ref(path))?.pop().flatten();
        item.map(|item| item.info).ok_or_else(|| self.invalid(path))
    }

    /// The valid paths that refer to any of some paths.
    ///
    /// # Errors
    /// [`StoreError`].
    fn referrers(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>>;

    /// The valid derivations that make a path.
    ///
    /// # Errors
    /// [`StoreError`].
    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>>;

    /// The outputs of a derivation of which the paths are known, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>>;

    /// The valid path with a hash part.
    ///
    /// # Errors
    /// [`StoreError`].
    fn path_from_hash_part(&self, part: &str) -> Result<Option<StorePath>>;

    /// Protects paths from collection until the store is closed.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_temp_roots(&self, paths: &[&StorePath]) -> Result<()>;

    /// Makes a symlink that is there a root.
    ///
    /// # Errors
    /// [`StoreError`].
    fn register_indirect_root(&self, link: &Path) -> Result<()>;

    /// Finds every root.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find_roots(&self, search: RootSearch) -> Result<Roots>;

    /// Adds what `tell` tells of, addressed by its contents, with its references
    /// (not itself among them), and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_content(
        &self,
        name: &str,
        kind: (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        tell: Tell<'_>,
    ) -> Result<StorePath>;

    /// Deletes what no root leads to.
    ///
    /// # Errors
    /// [`StoreError`]; `report` tells what was done also then.
    fn collect_garbage(&self, options: &GcOptions, report: &mut GcReport) -> Result<()>;

    /// Deletes some paths if nothing keeps them.
    ///
    /// # Errors
    /// [`StoreError`]; `report` tells what was done also then.
    fn delete_paths(
        &self,
        paths: &[StorePath],
        ignore_liveness: bool,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<()>;

    /// Links equal files; gives the number of those that could not be.
    ///
    /// # Errors
    /// [`StoreError`].
    fn link_equal_files(&self) -> Result<u64>;

    /// Checks paths, with `contents` also what they hold; `repair` has what is
    /// damaged fetched from these stores, or from those that the daemon knows.
    /// True if all is well.
    ///
    /// # Errors
    /// [`StoreError`].
    fn verify(&self, contents: bool, repair: Option<&[&dyn Store]>) -> Result<bool>;

    /// Makes `link`, which is absolute, a symlink to `path` and a root.
    ///
    /// # Errors
    /// Something else than a symlink is at `link`; [`StoreError`].
    fn add_indirect_root(&self, link: &Path, path: &StorePath) -> Result<()> {
        self.add_temp_roots(&[path])?;
        super::local::roots::indirect::make_link(self.dir(), link, path)?;
        self.register_indirect_root(link)
    }

    /// Adds the tree at `source` under `name`, addressed by the hash of its
    /// archive or (`Flat`, `Text`) of its one file, and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_source(
        &self,
        source: &Path,
        name: &str,
        kind: (ContentAddressMethod, HashAlgorithm),
    ) -> Result<StorePath> {
        crate::model::store_path::check_name(name)
            .map_err(|reason| StoreError::Name { path: name.to_owned(), reason })?;
        self.add_content(name, kind, BTreeSet::new(), &mut |sink| crate::nar::dump::walk(source, sink))
    }

    /// Adds a file with the given text and references, and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_text(&self, name: &str, text: &[u8], references: BTreeSet<StorePath>) -> Result<StorePath> {
        let kind = (ContentAddressMethod::Text, HashAlgorithm::Sha256);
        self.add_content(name, kind, references, &mut |sink| sink.regular(false, &mut &text[..]))
    }

    /// The error for a path that is not valid.
    fn invalid(&self, path: &StorePath) -> StoreError {
        StoreError::Invalid(self.dir().print(path))
    }

    /// Reads a derivation that lies in the store, valid or not.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Derivation`], file errors.
    fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        self.layout().read_derivation(path)
    }

    /// Where a path really lies.
    fn real_path(&self, path: &StorePath) -> PathBuf {
        self.layout().real_path(path)
    }

    /// The real path without symlinks of something that exists, with links as
    /// they are meant in this store.
    ///
    /// # Errors
    /// Those of the system: `NotFound` for links that lead nowhere.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.layout().resolve(path)
    }
}

impl ManagedStore for LocalStore {
    fn kind(&self) -> Kind<'_> {
        Kind::Local(self)
    }

    fn layout(&self) -> &Layout {
        LocalStore::layout(self)
    }

    fn progress(&self) -> &dyn Progress {
        LocalStore::progress(self)
    }

    fn is_read_only(&self) -> bool {
        LocalStore::is_read_only(self)
    }

    fn is_valid(&self, path: &StorePath) -> Result<bool> {
        self.db().is_valid(path)
    }

    fn is_there(&self, path: &StorePath) -> Result<bool> {
        LocalStore::is_there(self, path)
    }

    fn referrers(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let db = self.db();
        let mut found = BTreeSet::new();
        for path in paths {
            found.extend(db.referrers(path)?);
        }
        Ok(found)
    }

    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        self.db().valid_derivers(path)
    }

    fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        self.known_outputs(drv)
    }

    fn path_from_hash_part(&self, part: &str) -> Result<Option<StorePath>> {
        self.db().path_from_hash_part(part)
    }

    fn add_temp_roots(&self, paths: &[&StorePath]) -> Result<()> {
        LocalStore::add_temp_roots(self, paths)
    }

    fn register_indirect_root(&self, link: &Path) -> Result<()> {
        LocalStore::register_indirect_root(self, link)
    }

    fn find_roots(&self, search: RootSearch) -> Result<Roots> {
        LocalStore::find_roots(self, search)
    }

    fn add_content(
        &self,
        name: &str,
        kind: (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        tell: Tell<'_>,
    ) -> Result<StorePath> {
        let mut adder = self.adder();
        let path = adder.add_content(name, kind, references, tell)?;
        adder.finish()?;
        Ok(path)
    }

    fn collect_garbage(&self, options: &GcOptions, report: &mut GcReport) -> Result<()> {
        LocalStore::collect_garbage(self, options, report)
    }

    fn delete_paths(
        &self,
        paths: &[StorePath],
        ignore_liveness: bool,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<()> {
        LocalStore::delete_paths(self, paths, ignore_liveness, options, report)
    }

    fn link_equal_files(&self) -> Result<u64> {
        Ok(self.optimise()?.failed)
    }

    fn verify(&self, contents: bool, repair: Option<&[&dyn Store]>) -> Result<bool> {
        LocalStore::verify(self, contents, repair)
    }
}
