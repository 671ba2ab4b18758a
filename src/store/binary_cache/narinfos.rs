//! What a cache knows of paths: narinfos, read, remembered and stored.

use std::io::Write as _;

use super::disk_cache::Remembered;
use super::transport::Presence;
use super::{BinaryCache, CacheError, encoding};
use crate::http::staged::Staged;
use crate::model::{NarInfo, StorePath, nar_info};
use crate::progress::{Activity, ActivityId, ActivityKind};
use crate::store::api::Item;
use crate::store::compression::{Compression, Effort};
use crate::store::error::Result;
use crate::sys::interrupt;

impl BinaryCache {
    /// What is known of the path with a hash part.
    pub(super) fn narinfo(&self, hash_part: &str) -> std::result::Result<Option<NarInfo>, CacheError> {
        interrupt::check()?;
        if let Some(memory) = &self.memory {
            match memory.lookup(hash_part) {
                Remembered::Nothing => {}
                Remembered::Absent => return Ok(None),
                Remembered::Present(info) => return Ok(Some(*info)),
            }
        }
        let info = match self.fetch_narinfo(hash_part) {
            Err(error @ CacheError::Refused { .. }) => {
                self.tell_refusal(&error);
                return Ok(None);
            }
            fetched => fetched?,
        };
        if let Some(memory) = &self.memory {
            memory.set(hash_part, info.as_ref());
        }
        Ok(info)
    }

    /// The path with a hash part.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn path_from_hash_part(&self, hash_part: &str) -> Result<Option<StorePath>> {
        Ok(self.narinfo(hash_part)?.map(|found| found.info.path))
    }

    pub(super) fn fetch_narinfo(&self, hash_part: &str) -> std::result::Result<Option<NarInfo>, CacheError> {
        let file = format!("{hash_part}.narinfo");
        let Some(text) = self.read_file(&file, nar_info::MAX_LEN)? else { return Ok(None) };
        let uri = || self.transport.uri().to_owned();
        let info = NarInfo::parse(&self.dir, &text).map_err(|reason| CacheError::NarInfo {
            file: file.clone(),
            uri: uri(),
            reason,
        })?;
        if info.info.path.hash_part() != hash_part {
            let (found, wanted) = (self.dir.print(&info.info.path), format!("{hash_part}-…"));
            return Err(CacheError::OtherPath { file, uri: uri(), found, wanted });
        }
        Ok(Some(info))
    }

    pub(super) fn item(&self, path: &StorePath) -> std::result::Result<Option<Item>, CacheError> {
        let (shown, uri) = (self.dir.print(path), self.transport.uri());
        let activity = self.progress.start(&Activity {
            kind: ActivityKind::QueryPathInfo,
            text: &format!("querying info about '{shown}' on '{uri}'"),
            fields: &[&shown, uri],
            parent: ActivityId::NONE,
        });
        let found = self.narinfo(path.hash_part());
        self.progress.stop(activity);
        let Some(NarInfo { info, file }) = found? else { return Ok(None) };
        if info.path != *path {
            return Err(CacheError::OtherPath {
                file: format!("{}.narinfo", path.hash_part()),
                uri: self.transport.uri().to_owned(),
                found: self.dir.print(&info.path),
                wanted: self.dir.print(path),
            });
        }
        Ok(Some(Item { info, file: Some(file) }))
    }

    /// Whether a path is there. What is remembered may have been removed from the
    /// cache, and then it would not be stored again.
    pub(super) fn is_stored(&self, path: &StorePath) -> std::result::Result<bool, CacheError> {
        interrupt::check()?;
        if self.transport.is_remote() {
            let found = self.presence(&format!("{}.narinfo", path.hash_part()))?;
            // An empty one is what is left of something.
            return Ok(!matches!(found, Presence::Absent | Presence::Present(Some(0))));
        }
        // Here it costs next to nothing to look closer.
        let info = match self.fetch_narinfo(path.hash_part()) {
            Ok(Some(info)) => info,
            Ok(None) => return Ok(false),
            Err(error @ (CacheError::NarInfo { .. } | CacheError::OtherPath { .. })) => {
                self.progress.warn(&format!("{error}; it is stored again"));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if self.check_file(&Item { info: info.info, file: None }, &info.file).is_err() {
            return Ok(true);
        }
        match self.transport.find(&info.file.url)? {
            Presence::Present(len) => Ok(len.is_none() || info.file.size.is_none() || len == info.file.size),
            Presence::Absent => Ok(false),
        }
    }

    /// A narinfo that is ready to be stored, and its name.
    pub(super) fn prepare(&self, info: &NarInfo) -> std::result::Result<(String, Staged), CacheError> {
        let name = format!("{}.narinfo", info.info.path.hash_part());
        let text = info.print(&self.dir).into_bytes();
        let text = match self.options.narinfo_coding {
            Compression::None => text,
            coding => {
                let mut encoder = coding.encoder(Effort::small(), Vec::new()).map_err(encoding)?;
                encoder.write_all(&text).and_then(|()| encoder.finish()).map_err(encoding)?
            }
        };
        let staged = self.transport.prepare(&name, text)?;
        Ok((name, staged))
    }

    pub(super) fn store_narinfos(&self, infos: &[NarInfo]) -> std::result::Result<(), CacheError> {
        let files = infos.iter().map(|info| self.prepare(info)).collect::<std::result::Result<_, _>>()?;
        self.transport.put_all(files, self.options.narinfo_coding)?;
        if let Some(memory) = &self.memory {
            infos.iter().for_each(|info| memory.set(info.info.path.hash_part(), Some(info)));
        }
        Ok(())
    }
}
