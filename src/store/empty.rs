//! A store that has nothing and takes nothing: `dummy://`, and what stands for
//! a store that is not made yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{Result, StoreError};
use crate::model::{StoreDir, StorePath};
use crate::progress::Progress;
use crate::store::api::query::QueryStore;
use crate::store::api::{Item, NarSource, Receiver, Store, usual_parts};

/// A store without any path, which takes none.
pub struct EmptyStore {
    uri: String,
    dir: StoreDir,
    progress: Arc<dyn Progress>,
}

impl EmptyStore {
    /// An empty store with this name in messages.
    pub fn new(uri: String, dir: StoreDir) -> Self {
        Self { uri, dir, progress: crate::progress::silent() }
    }

    fn unsupported(&self, operation: &str) -> StoreError {
        StoreError::unsupported(operation, &self.uri)
    }
}

impl Store for EmptyStore {
    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn dir(&self) -> &StoreDir {
        &self.dir
    }

    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>> {
        Ok(paths.iter().map(|_| None).collect())
    }

    fn valid(&self, _paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        Ok(BTreeSet::new())
    }

    fn all(&self) -> Result<Vec<StorePath>> {
        Err(self.unsupported("queryAllValidPaths"))
    }

    fn source(&self, items: &[Item]) -> Result<Box<dyn NarSource + '_>> {
        match items.first() {
            Some(item) => Err(StoreError::Invalid(self.dir.print(&item.info.path))),
            None => Ok(Box::new(Nothing)),
        }
    }

    fn parallel(&self) -> usize {
        1
    }

    fn receiver(&self, _items: &[Item], _check_signatures: bool) -> Result<Receiver<'_>> {
        Err(self.unsupported("addToStore"))
    }

    fn add_signatures(&self, signed: &[Item]) -> Result<()> {
        if signed.is_empty() { Ok(()) } else { Err(self.unsupported("addSignatures")) }
    }

    fn is_closed(&self) -> bool {
        true
    }

    usual_parts!();
}

impl QueryStore for EmptyStore {}

/// Reads nothing.
struct Nothing;

impl NarSource for Nothing {
    fn read(&self, item: &Item, _sink: &mut dyn crate::nar::Sink) -> Result<()> {
        Err(StoreError::Invalid(item.info.path.base_name().to_owned()))
    }
}
