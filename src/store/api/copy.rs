//! What copying needs of stores: archives are read from one and taken by another.
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

use std::any::Any;

use crate::model::{NarFile, ValidPathInfo};
use crate::nar::{NarError, Sink};
use crate::store::error::{Result, StoreError};

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
    /// Tells a sink of the archive of a path. The taker checks hash and
    /// size.
    ///
    /// # Errors
    /// Errors of the store and of the sink.
    fn read(&self, item: &Item, sink: &mut dyn Sink) -> Result<()>;

    /// Says what more is known of why the archive of an item was not taken.
    fn explain(&self, item: &Item, error: StoreError) -> StoreError {
        let _ = item;
        error
    }

    /// Hears that nobody will read the archive of an item any more: it was read,
    /// or the taker has it already, or failed (not `well`).
    ///
    /// # Errors
    /// Errors of the store.
    fn done(&self, item: &Item, well: bool) -> Result<()> {
        let _ = (item, well);
        Ok(())
    }
}

/// A path that a store has taken in and not made visible yet: a ticket that means
/// something to the store that gave it only.
pub struct Taken(Option<Box<dyn Any + Send>>);

impl Taken {
    /// A ticket that holds what its store needs to make the path visible.
    pub fn new(held: impl Any + Send) -> Self {
        Self(Some(Box::new(held)))
    }

    /// A ticket for a path of which nothing more need be done.
    pub fn done() -> Self {
        Self(None)
    }

    /// What the ticket holds, if it is a `T`.
    pub fn redeem<T: Any>(self) -> Option<Box<T>> {
        self.0?.downcast().ok()
    }
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
