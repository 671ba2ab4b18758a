//! What copying needs of a store.
//!
//! A store belongs to one thread; what moves archives between two of them is
//! shared by many:
//!
//! ```text
//! Store::source   → NarSource::read ─┐ many threads
//! Store::receiver → NarTaker::take  ←┘ at once
//!                   NarTaker::publish   likewise, when all references are there;
//!                   or Registrar::register, on the store's own thread
//! ```

use std::collections::BTreeSet;
use std::io::Read;

use crate::model::{DrvOutput, NarFile, NarInfo, Realisation, StoreDir, StorePath, ValidPathInfo};
use crate::nar::{NarError, Sink};
use crate::store::binary_cache::BinaryCache;
use crate::store::error::{Result, StoreError};
use crate::store::local::LocalStore;
use crate::store::local::batch::Incoming;
use crate::store::managed::ManagedStore;

/// A path, and what its store knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The metadata.
    pub info: ValidPathInfo,
    /// The stored archive, where there is one.
    pub file: Option<NarFile>,
}

/// Fills a sink with the archive of a path.
pub type Fill<'f> = &'f mut dyn FnMut(&mut dyn Sink) -> std::result::Result<(), NarError>;

/// Reads archives, on any thread.
pub trait NarSource: Send + Sync {
    /// Tells a sink of the archive of a path. Whoever takes it checks hash and
    /// size.
    ///
    /// # Errors
    /// Those of the store and of the sink.
    fn read(&self, item: &Item, sink: &mut dyn Sink) -> Result<()>;

    /// Says what more is known of why the archive of an item was not taken.
    fn explain(&self, item: &Item, error: StoreError) -> StoreError {
        let _ = item;
        error
    }

    /// Hears that nobody will read the archive of an item any more: it was read,
    /// or whoever takes it has it already, or failed (not `well`).
    ///
    /// # Errors
    /// Those of the store.
    fn done(&self, item: &Item, well: bool) -> Result<()> {
        let _ = (item, well);
        Ok(())
    }
}

/// A path that is complete, but not to be seen yet.
pub enum Taken {
    /// A tree for a local store.
    Tree(Box<(Incoming, ValidPathInfo)>),
    /// A cache has its archive.
    Uploaded(Box<NarInfo>),
    /// Another program has it.
    Sent,
}

/// Takes archives, on any thread.
pub trait NarTaker: Send + Sync {
    /// Takes the archive that `fill` tells of, and makes sure that it is what
    /// the metadata says.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`]; nothing is then left of it.
    fn take(&self, item: &Item, fill: Fill<'_>) -> Result<Taken>;

    /// Makes a path visible; whatever it refers to is. Only called where
    /// [`Receiver::publishes`].
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn publish(&self, taken: Taken) -> Result<()>;
}

/// Makes paths visible, on the store's own thread.
pub trait Registrar {
    /// Takes a path over whose references were taken over before.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn register(&mut self, taken: Taken) -> Result<()>;

    /// Makes everything visible that was taken over.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn finish(&mut self) -> Result<()>;

    /// Whether what was published is known to stay when something fails later.
    fn keeps(&self) -> bool {
        true
    }
}

/// Where copied paths go.
pub struct Receiver<'s> {
    /// For all threads.
    pub taker: Box<dyn NarTaker + 's>,
    /// For the one of the store.
    pub registrar: Box<dyn Registrar + 's>,
    /// Archives that are worth being on their way at the same time.
    pub parallel: usize,
    /// Threads make paths visible, and not the store's own.
    pub publishes: bool,
}

/// What a store says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The version of the program behind it.
    pub version: Option<String>,
    /// Whether it trusts this user, if it says so.
    pub trusted: Option<bool>,
}

/// A store that paths can be copied from and to.
pub trait Store {
    /// Its name in messages.
    fn uri(&self) -> String;

    /// The directory its paths are named by.
    fn dir(&self) -> &StoreDir;

    /// What is known of each of the paths that is valid, in their order.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>>;

    /// Those of the paths that are valid.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>>;

    /// As [`Store::valid`]; where the store can, and is asked to, it fetches those
    /// that it lacks from elsewhere first.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn valid_or_fetched(&self, paths: &[StorePath], fetch: bool) -> Result<BTreeSet<StorePath>> {
        let _ = fetch;
        self.valid(paths)
    }

    /// All valid paths.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`]; also for stores that cannot list them.
    fn all(&self) -> Result<Vec<StorePath>>;

    /// What reads its archives: those of `items`, which are begun in this order,
    /// each once.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn source(&self, items: &[Item]) -> Result<Box<dyn NarSource + '_>>;

    /// Archives that are worth being read at the same time.
    fn parallel(&self) -> usize;

    /// Begins to take paths in, which come in this order. Where the store checks
    /// signatures by itself, it does so if it is asked to.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn receiver(&self, items: &[Item], check_signatures: bool) -> Result<Receiver<'_>>;

    /// Adds signatures to valid paths.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn add_signatures(&self, signed: &[Item]) -> Result<()>;

    /// Opens the build log of a derivation, or of the one that made a path.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn log(&self, path: &StorePath) -> Result<Option<Box<dyn Read + '_>>>;

    /// Keeps the build log of a derivation.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn add_log(&self, drv: &StorePath, log: &mut dyn Read) -> Result<()>;

    /// The realisation of an output of a derivation, if the store knows it.
    ///
    /// # Errors
    /// [`super::error::StoreError`].
    fn realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        let _ = id;
        Ok(None)
    }

    /// Registers a realisation, whose path is valid.
    ///
    /// # Errors
    /// [`super::error::StoreError`]; also for a store that cannot keep realisations.
    fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        let _ = realisation;
        Err(StoreError::Uri(format!(
            "operation 'registerDrvOutput' is not supported by store '{}'",
            self.uri()
        )))
    }

    /// Everything that valid paths lead to, and with `include_outputs` the valid
    /// outputs of derivations in it, if the store finds that out by itself.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`]; also for a path that is not valid.
    fn closure(&self, paths: &[StorePath], include_outputs: bool) -> Result<Option<Vec<StorePath>>> {
        let _ = (paths, include_outputs);
        Ok(None)
    }

    /// What it says of itself; where it is elsewhere, it is asked.
    ///
    /// # Errors
    /// [`crate::store::error::StoreError`].
    fn about(&self) -> Result<About> {
        Ok(About { version: None, trusted: Some(true) })
    }

    /// Whether it has whatever the paths that it has refer to.
    fn takes_closures(&self) -> bool {
        self.local().is_some()
    }

    /// The local store, if this is one: it knows closures and roots, and what
    /// it has it has with all references.
    fn local(&self) -> Option<&LocalStore> {
        None
    }

    /// The same store with everything that belongs to one, as far as it can be
    /// had.
    fn managed(&self) -> Option<&dyn ManagedStore> {
        None
    }

    /// The binary cache, if this is one.
    fn cache(&self) -> Option<&BinaryCache> {
        None
    }
}
