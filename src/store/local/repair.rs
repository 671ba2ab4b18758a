//! Giving a damaged path its contents back, from another store that has it.

use std::sync::Arc;

use super::LocalStore;
use super::ingest::Hashes;
use crate::model::StorePath;
use crate::store::api::Store;
use crate::store::error::{Result, StoreError};
use crate::sys::lock::PathLock;

impl LocalStore {
    /// Replaces a valid path by what one of `sources` holds for it, if that is
    /// what is registered here; false if none of them has it.
    ///
    /// The replacement is complete, verified and on disk before it takes the
    /// place of the damaged path, in one step. The contents are no longer those
    /// that were built here.
    ///
    /// # Errors
    /// [`StoreError`] of this store; what is wrong with a source is told as a
    /// warning.
    pub fn repair_path(&self, path: &StorePath, sources: &[&dyn Store]) -> Result<bool> {
        self.try_repair(path, sources).map(|failed| failed.is_none())
    }

    /// As [`LocalStore::repair_path`], for a path that must be repaired.
    ///
    /// # Errors
    /// Also when no source has it: [`StoreError::NoSource`], [`StoreError::Unrepairable`].
    pub fn require_repair(&self, path: &StorePath, sources: &[&dyn Store]) -> Result<()> {
        match self.try_repair(path, sources)? {
            None => Ok(()),
            Some(reasons) if reasons.is_empty() => Err(StoreError::NoSource(self.dir().print(path))),
            Some(reasons) => {
                let (path, reason) = (self.dir().print(path), reasons.join(", "));
                Err(StoreError::Unrepairable { path, reason })
            }
        }
    }

    /// Why none of the sources could repair the path, if so.
    fn try_repair(&self, path: &StorePath, sources: &[&dyn Store]) -> Result<Option<Vec<String>>> {
        self.add_temp_roots(&[path])?;
        let wanted = self.path_info(path)?.nar_hash;
        let mut reasons = Vec::new();
        for source in sources {
            let from = self.source_name(*source, path);
            if source.dir() != self.dir() {
                reasons.push(format!("'{from}' is for another store directory"));
                continue;
            }
            let failed = |error: &StoreError| {
                self.progress().warn(&format!("cannot repair from '{from}': {error}"));
                format!("'{from}' failed")
            };
            let item = match source.items(std::slice::from_ref(path)) {
                Ok(mut items) => items.pop().flatten(),
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => {
                    reasons.push(failed(&error));
                    continue;
                }
            };
            let Some(item) = item else {
                reasons.push(format!("'{from}' does not have it"));
                continue;
            };
            let hashes = Hashes::new(None, Arc::new(crate::progress::Silent));
            let taken =
                self.take_in(hashes, |sink| source.source(std::slice::from_ref(&item))?.read(&item, sink));
            let (ingested, incoming) = match taken {
                Ok((ingested, incoming, ())) => (ingested, incoming),
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => {
                    reasons.push(failed(&error));
                    continue;
                }
            };
            if ingested.nar_hash != wanted {
                self.progress().warn(&format!("'{from}' is not what is registered here"));
                reasons.push(format!("'{from}' has something else"));
                continue;
            }
            self.progress().notice(&format!("copying path '{}' from '{from}'...", self.dir().display(path)));
            let _lock = PathLock::acquire(&self.layout().lock_path(path), || {
                self.progress().notice(&format!("waiting for lock on '{}'...", self.dir().display(path)));
            })?;
            // Somebody may have deleted it, or repaired it with other contents.
            let Some(row) =
                self.db().raw_path(path)?.filter(|row| row.nar_hash().is_ok_and(|hash| hash == wanted))
            else {
                return Err(self.invalid(path));
            };
            incoming.exchange(&self.place()?, path, self.options().sync)?;
            if row.ultimate {
                self.write(|writer| writer.set(row.id, "ultimate", None::<i64>))?;
            }
            return Ok(None);
        }
        Ok(Some(reasons))
    }

    /// Where a source has a path, for messages.
    fn source_name(&self, source: &dyn Store, path: &StorePath) -> String {
        match source.files().filter(|_| source.is_direct()) {
            Some(files) => files.real_path(path).display().to_string(),
            None => source.uri(),
        }
    }
}
