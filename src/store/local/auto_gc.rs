//! Collecting by itself when room runs short (`min-free`, `max-free`).
//!
//! ```text
//! STATE/auto-gc = SECONDS " " SINCE        a collection freed nothing: none for so many seconds
//! ```

use std::time::{Duration, Instant};

use crate::store::LocalStore;
use crate::store::api::collect::{GcOptions, GcReport};
use crate::store::error::Result;
use crate::store::local::gc::Keep;
use crate::sys::clock::now;
use crate::sys::{PathError, atomic};

/// When to collect, and how much.
#[derive(Debug, Clone, Copy)]
pub struct AutoGc {
    /// Bytes; with less room a collection begins.
    pub min_free: u64,
    /// Bytes; with so much room it ends.
    pub max_free: u64,
    /// How often to look.
    pub interval: Duration,
    /// What keeps paths besides references.
    pub keep: Keep,
}

/// Seconds without another try after one that freed nothing, at first and at most.
const FIRST_PAUSE: i64 = 60;
const LONGEST_PAUSE: i64 = 3600;
/// Longest content of the file that is read.
const MAX_NOTE: u64 = 64;

impl LocalStore {
    /// Collects garbage if there is little room left. What this process needs
    /// has temporary roots by now, and no path lock is held.
    ///
    /// A failure is told, and does not keep anybody from going on.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`](crate::store::StoreError::Interrupted) once the work is to end.
    pub(super) fn collect_if_short(&self) -> Result<()> {
        let Some(auto) = self.options().auto_gc.filter(|auto| auto.min_free > 0) else { return Ok(()) };
        let looked = self.looked_for_room.get();
        if looked.is_some_and(|looked| looked.elapsed() < auto.interval) {
            return Ok(());
        }
        self.looked_for_room.set(Some(Instant::now()));
        match self.make_room(&auto) {
            Err(error) if error.is_interruption() => Err(error),
            Err(error) => {
                self.progress().warn(&format!("the automatic collection failed: {error}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn make_room(&self, auto: &AutoGc) -> Result<()> {
        let before = self.free_space()?;
        if before >= auto.min_free || self.is_paused() {
            return Ok(());
        }
        let wanted = auto.max_free.saturating_sub(before);
        self.progress().notice(&format!("running auto-GC to free {wanted} bytes"));
        // Another connection: this one may be in use by the caller.
        let mut options = self.options().clone();
        options.auto_gc = None;
        let collector = LocalStore::open(options, self.watcher())?;
        let mut report = GcReport::default();
        let gc = GcOptions { max_freed: wanted, ..GcOptions::new(auto.keep) };
        collector.collect_garbage(&gc, &mut report)?;
        let path = self.layout().state_dir.join("auto-gc");
        if report.deleted == 0 {
            let pause = self
                .pause()
                .map_or(FIRST_PAUSE, |(pause, _)| pause.saturating_mul(2).clamp(FIRST_PAUSE, LONGEST_PAUSE));
            self.progress()
                .notice(&format!("there was nothing to delete; no automatic collection for {pause} seconds"));
            atomic::replace_file(&path, format!("{pause} {}", now()).as_bytes(), 0o644)?;
        } else {
            let _ = std::fs::remove_file(&path);
        }
        Ok(())
    }

    /// Whether no collection is to begin now. A time in the future is no time.
    fn is_paused(&self) -> bool {
        self.pause().is_some_and(|(pause, since)| {
            let passed = now().saturating_sub(since);
            (0..pause.min(LONGEST_PAUSE)).contains(&passed)
        })
    }

    /// How long no collection is to begin, in seconds, and since when.
    fn pause(&self) -> Option<(i64, i64)> {
        let note = crate::sys::read_regular(&self.layout().state_dir.join("auto-gc"), MAX_NOTE).ok()?;
        let (pause, since) = std::str::from_utf8(&note).ok()?.trim().split_once(' ')?;
        Some((pause.parse().ok()?, since.parse().ok()?))
    }

    /// Bytes that anybody may still write to the file system of the store.
    fn free_space(&self) -> Result<u64> {
        let dir = &self.layout().real_store_dir;
        let stat = rustix::fs::statvfs(dir).map_err(PathError::at("asking for the free space of", dir))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
