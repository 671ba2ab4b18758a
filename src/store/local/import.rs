//! Adding the paths of export streams (see [`crate::store::api::export`]).

use std::io::Read;

use super::LocalStore;
use super::batch::Batch;
use super::ingest::Hashes;
use crate::model::{StorePath, ValidPathInfo};
use crate::nar::input::Input;
use crate::nar::reader;
use crate::store::api::export::{ImportStore, read_head, read_tail};
use crate::store::error::Result;

impl ImportStore for LocalStore {
    fn import(&self, stream: &mut dyn Read) -> Result<Vec<StorePath>> {
        LocalStore::import(self, stream)
    }
}

impl LocalStore {
    /// Adds every item of an export stream that is not valid yet, and gives
    /// all their paths in the order of the stream.
    ///
    /// Each item is complete and verified to be an archive before its path
    /// becomes visible. What comes before a bad item stays.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub fn import<R: Read>(&self, stream: R) -> Result<Vec<StorePath>> {
        self.import_from(&mut Input::new(stream))
    }

    /// As [`LocalStore::import`], from a stream after which something else
    /// comes.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub fn import_from<R: Read>(&self, input: &mut Input<R>) -> Result<Vec<StorePath>> {
        let mut batch = self.batch();
        let mut imported = Vec::new();
        loop {
            match self.import_item(input, &mut batch) {
                Ok(Some(path)) => {
                    imported.push(path);
                }
                Ok(None) => break,
                Err(error) => {
                    if !error.is_interruption() {
                        batch.flush()?;
                    }
                    return Err(error);
                }
            }
        }
        batch.flush()?;
        Ok(imported)
    }

    fn import_item<R: Read>(&self, input: &mut Input<R>, batch: &mut Batch<'_>) -> Result<Option<StorePath>> {
        if !read_head(input)? {
            return Ok(None);
        }
        if self.is_read_only() {
            // What is there already needs nothing to be written.
            reader::read(input, &mut crate::nar::Discard)?;
            let tail = read_tail(input, self.dir())?;
            return match self.db().is_valid(&tail.path)? {
                true => Ok(Some(tail.path)),
                false => self.require_writable().map(|()| None),
            };
        }
        let (ingested, incoming, ()) =
            self.take_in(Hashes::new(None, self.watcher()), |sink| Ok(reader::read(input, sink)?))?;
        let tail = read_tail(input, self.dir())?;
        let mut info = ValidPathInfo::new(tail.path.clone(), ingested.nar_hash, ingested.nar_size);
        info.references = tail.references;
        info.deriver = tail.deriver;
        self.warn_of_depth(&tail.path, ingested.depth);
        batch.add(incoming, info)?;
        Ok(Some(tail.path))
    }
}
