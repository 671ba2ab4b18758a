//! What stores can do. Every store is a [`Store`]; what only some can do is asked
//! for: files on this machine, roots, collecting, checking. Questions about graphs
//! and adding contents have bodies here, so that every store has them.

pub mod add;
pub mod build;
pub mod collect;
pub mod copy;
pub mod export;
pub mod inputs;
pub mod look;
pub mod maintain;
pub mod query;
pub mod raw_path;
pub mod realise;
pub mod roots;

use std::any::Any;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use copy::{Fill, Item, NarSource, NarTaker, Receiver, Registrar, Taken};
pub use raw_path::RawPath;

use crate::model::{
    ContentAddressMethod, Derivation, DrvOutput, HashAlgorithm, Realisation, StoreDir, StorePath,
    ValidPathInfo,
};
use crate::nar::Sink;
use crate::progress::Progress;
use crate::store::error::{Result, StoreError};
use crate::store::layout::Layout;
use add::{Adder, Tell};
use collect::CollectStore;
use export::ImportStore;
use maintain::{DumpStore, MaintainStore, RepairStore};
use query::QueryStore;
use realise::RealiseStore;
use roots::RootStore;

/// Methods of [`Store`] that are the same in every store which is a [`QueryStore`],
/// has its progress in a field, and takes contents as an archive whose hash is
/// known. A trait has no bodies for them: they need the type of the store.
macro_rules! usual_parts {
    () => {
        fn progress(&self) -> &dyn $crate::progress::Progress {
            &*self.progress
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self
        }

        fn queries(&self) -> &dyn $crate::store::api::query::QueryStore {
            self
        }

        fn adder(&self) -> Box<dyn $crate::store::api::add::Adder + '_> {
            Box::new($crate::store::api::add::SpoolingAdder(self))
        }
    };
}
pub(in crate::store) use usual_parts;

/// What a store says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The version of the program behind it.
    pub version: Option<String>,
    /// Whether it trusts this user, if it says so.
    pub trusted: Option<bool>,
}

/// How a store counts where paths are fetched from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// What comes from it needs no signatures.
    pub trusted: bool,
    /// The store with the lower number is asked first.
    pub priority: i64,
    /// It wants to be asked about many paths at once.
    pub mass_query: bool,
}

/// A store: paths can be looked up in it, and copied from and to it.
pub trait Store: Any {
    /// Its name in messages.
    fn uri(&self) -> String;

    /// The directory its paths are named by.
    fn dir(&self) -> &StoreDir;

    /// What hears of the work on this store.
    fn progress(&self) -> &dyn Progress;

    /// What is known of each of the paths that is valid, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>>;

    /// Finds which of the paths are valid. Where the store can be collected, those
    /// stay until it is closed.
    ///
    /// # Errors
    /// [`StoreError`].
    fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>>;

    /// As [`Store::valid`]; where the store can, and is asked to, it fetches those
    /// that it lacks from elsewhere first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn valid_or_fetched(&self, paths: &[StorePath], fetch: bool) -> Result<BTreeSet<StorePath>> {
        let _ = fetch;
        self.valid(paths)
    }

    /// All valid paths.
    ///
    /// # Errors
    /// [`StoreError`]; also for stores that cannot list them.
    fn all(&self) -> Result<Vec<StorePath>>;

    /// Whether a path is valid.
    ///
    /// # Errors
    /// [`StoreError`].
    fn is_valid(&self, path: &StorePath) -> Result<bool> {
        Ok(!self.valid(std::slice::from_ref(path))?.is_empty())
    }

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
        item.map(|item| item.info).ok_or_else(|| StoreError::Invalid(self.dir().print(path)))
    }

    /// What reads the archives of `items`, which are begun in this order, each
    /// once.
    ///
    /// # Errors
    /// [`StoreError`].
    fn source(&self, items: &[Item]) -> Result<Box<dyn NarSource + '_>>;

    /// Tells `sink` of the archive of a path of which single files are looked at. A store
    /// that keeps such archives on this machine takes it from there.
    ///
    /// # Errors
    /// [`StoreError`], and those of the sink.
    fn look_into(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        self.source(std::slice::from_ref(item))?.read(item, sink)
    }

    /// As [`Store::look_into`], for a sink that reads no contents of files: a store that has
    /// a listing of the archive tells what stands in that.
    ///
    /// # Errors
    /// [`StoreError`], and those of the sink.
    fn list_archive(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        self.look_into(item, sink)
    }

    /// Archives that are worth being read at the same time.
    fn parallel(&self) -> usize;

    /// Begins to take paths in, which come in this order. Where the store checks
    /// signatures by itself, it does so if it is asked to.
    ///
    /// # Errors
    /// [`StoreError`].
    fn receiver(&self, items: &[Item], check_signatures: bool) -> Result<Receiver<'_>>;

    /// Whether every path that it has comes with all that the path refers to.
    fn is_closed(&self) -> bool {
        false
    }

    /// Whether its answers cost no round trip: this process works on its database.
    fn is_direct(&self) -> bool {
        false
    }

    /// Whether nothing can be written.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Whether what is copied to it needs signatures, unless somebody says that it does not.
    fn requires_signatures(&self) -> bool {
        false
    }

    /// How it counts as a substituter.
    fn standing(&self) -> Standing {
        Standing::default()
    }

    /// Refuses a derivation with kinds of outputs that are not enabled, where the store knows
    /// what is enabled.
    ///
    /// # Errors
    /// [`StoreError::FeatureDisabled`].
    fn check_features(&self, drv: &Derivation) -> Result<()> {
        let _ = drv;
        Ok(())
    }

    /// Adds signatures to valid paths.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_signatures(&self, signed: &[Item]) -> Result<()>;

    /// Opens the build log of a derivation, or of the one that made a path, if there
    /// is one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn log(&self, path: &StorePath) -> Result<Option<Box<dyn Read + '_>>> {
        let _ = path;
        Ok(None)
    }

    /// Keeps the build log of a derivation.
    ///
    /// # Errors
    /// [`StoreError`]; also for a store that keeps no logs.
    fn add_log(&self, drv: &StorePath, log: &mut dyn Read) -> Result<()> {
        let _ = (drv, log);
        Err(StoreError::unsupported("addBuildLog", &self.uri()))
    }

    /// Whether the store is asked about realisations.
    fn uses_realisations(&self) -> bool {
        true
    }

    /// The realisation of an output of a derivation, if the store knows it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        let _ = id;
        Ok(None)
    }

    /// Registers a realisation, whose path is valid. The signatures of one that says the
    /// same already are kept; where another path is registered for the output, it depends
    /// on the store: the local one refuses, a cache takes the new one.
    ///
    /// # Errors
    /// [`StoreError`]; also for a store that cannot keep realisations.
    fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        let _ = realisation;
        Err(StoreError::unsupported("registerDrvOutput", &self.uri()))
    }

    /// What it says of itself; where it is elsewhere, it is asked.
    ///
    /// # Errors
    /// [`StoreError`].
    fn about(&self) -> Result<About> {
        Ok(About { version: None, trusted: Some(true) })
    }

    /// The store itself, for [`downcast`](#method.downcast).
    fn as_any(&self) -> &dyn Any;

    /// Questions about graphs, derivations and hash parts.
    fn queries(&self) -> &dyn QueryStore;

    /// Begins to add contents.
    fn adder(&self) -> Box<dyn Adder + '_>;

    /// Where its files lie, if they can be seen from this machine.
    fn files(&self) -> Option<&Layout> {
        None
    }

    /// Roots, if there are any.
    fn roots(&self) -> Option<&dyn RootStore> {
        None
    }

    /// Collecting garbage, if that can be done.
    fn collector(&self) -> Option<&dyn CollectStore> {
        None
    }

    /// Making paths valid, if another program does that for this store.
    fn realiser(&self) -> Option<&dyn RealiseStore> {
        None
    }

    /// Building single derivations for others, if another program does that.
    fn builder(&self) -> Option<&dyn build::BuildStore> {
        None
    }

    /// Checking and optimising, if that can be done.
    fn maintainer(&self) -> Option<&dyn MaintainStore> {
        None
    }

    /// Repairing single paths, if that can be done.
    fn repairer(&self) -> Option<&dyn RepairStore> {
        None
    }

    /// The database as a text, if it is this process's.
    fn dumper(&self) -> Option<&dyn DumpStore> {
        None
    }

    /// Adding several paths of an export stream at a time, if that can be done.
    fn importer(&self) -> Option<&dyn ImportStore> {
        None
    }
}

/// What follows from what a store can do.
impl dyn Store + '_ {
    /// The error for a path that is not valid.
    pub fn invalid(&self, path: &StorePath) -> StoreError {
        StoreError::Invalid(self.dir().print(path))
    }

    /// Protects paths from collection until the store is closed. Where nothing is
    /// collected, nothing need be done.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_temp_roots(&self, paths: &[&StorePath]) -> Result<()> {
        self.roots().map_or(Ok(()), |roots| roots.add_temp_roots(paths))
    }

    /// Gives the roots of the store to a caller that lists them.
    ///
    /// # Errors
    /// [`StoreError::NoCollection`] where there are none.
    pub fn require_roots(&self) -> Result<&dyn RootStore> {
        self.roots().ok_or_else(|| StoreError::NoCollection(self.uri()))
    }

    /// Gives the roots of the store to a caller that makes a link one of them.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] where there are none.
    pub fn require_root_links(&self) -> Result<&dyn RootStore> {
        self.roots().ok_or_else(|| StoreError::unsupported("addIndirectRoot", &self.uri()))
    }

    /// Gives what collects the store's garbage.
    ///
    /// # Errors
    /// [`StoreError::NoCollection`].
    pub fn require_collector(&self) -> Result<&dyn CollectStore> {
        self.collector().ok_or_else(|| StoreError::NoCollection(self.uri()))
    }

    /// Gives what checks and optimises the store.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for `operation`.
    pub fn require_maintainer(&self, operation: &str) -> Result<&dyn MaintainStore> {
        self.maintainer().ok_or_else(|| StoreError::unsupported(operation, &self.uri()))
    }

    /// Adds what `tell` tells of, addressed by its contents, with its references
    /// (not itself among them), and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_content(
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

    /// Adds a tree, as [`Adder::add_source`] does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_source(
        &self,
        source: &Path,
        name: &str,
        kind: (ContentAddressMethod, HashAlgorithm),
    ) -> Result<StorePath> {
        let mut adder = self.adder();
        let path = adder.add_source(source, name, kind)?;
        adder.finish()?;
        Ok(path)
    }

    /// Adds a file with the given text and references, and gives its path.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_text(&self, name: &str, text: &[u8], references: BTreeSet<StorePath>) -> Result<StorePath> {
        let kind = (ContentAddressMethod::Text, HashAlgorithm::Sha256);
        self.add_content(name, kind, references, &mut |sink| sink.regular(false, &mut &text[..]))
    }

    /// Where a path really lies, or would if the store were this machine's.
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        match self.files() {
            Some(layout) => layout.real_path(path),
            None => PathBuf::from(self.dir().print(path)),
        }
    }

    /// The real path without symlinks of something that exists, with links as
    /// they are meant in this store.
    ///
    /// # Errors
    /// Errors of the system: `NotFound` for links that lead nowhere.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match self.files() {
            Some(layout) => layout.resolve(path),
            None => path.canonicalize(),
        }
    }

    /// The store as a `T`, if it is one. Only `ops/realise` asks, which works on the local
    /// store itself; everybody else asks what a store can do.
    pub fn downcast<T: Store>(&self) -> Option<&T> {
        self.as_any().downcast_ref()
    }
}
