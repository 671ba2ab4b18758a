//! Telling the progress display how copying goes on.

use std::sync::Mutex;

use crate::model::StoreDir;
use crate::progress::{Activity, ActivityId, ActivityKind, Counts, Progress};
use crate::store::api::Item;
use crate::sys::threads::locked;

/// Where paths come from and go to.
pub(crate) struct Way {
    /// The URI of the source.
    pub from: String,
    /// The URI of the destination.
    pub to: String,
    /// In a message: `from 'A'`, `to 'B'`, or both.
    pub shown: String,
}

/// Watches a number of paths being copied.
pub(crate) struct Watch<'p> {
    progress: &'p dyn Progress,
    dir: StoreDir,
    way: Box<dyn Fn(&Item) -> usize + Sync + 'p>,
    ways: Vec<Way>,
    all: ActivityId,
    counts: Mutex<Counts>,
}

impl<'p> Watch<'p> {
    /// Begins, with words that may be empty; `way` says by which of `ways` a
    /// path goes.
    pub fn new(
        progress: &'p dyn Progress,
        text: &str,
        dir: StoreDir,
        items: &[Item],
        ways: Vec<Way>,
        way: impl Fn(&Item) -> usize + Sync + 'p,
    ) -> Self {
        let all = progress.start(&Activity {
            kind: ActivityKind::CopyPaths,
            text,
            fields: &[],
            parent: ActivityId::NONE,
        });
        let total = items.iter().map(|item| item.info.nar_size).fold(0, u64::saturating_add);
        progress.expect(all, ActivityKind::CopyPath, total);
        let counts = Counts { expected: items.len() as u64, ..Counts::default() };
        Self { progress, dir, way: Box::new(way), ways, all, counts: Mutex::new(counts) }
    }

    /// A path begins to be copied.
    pub fn begin(&self, item: &Item) -> ActivityId {
        self.count(|counts| counts.running += 1);
        let path = self.dir.print(&item.info.path);
        let Some(way) = self.ways.get((self.way)(item)) else { return ActivityId::NONE };
        self.progress.start(&Activity {
            kind: ActivityKind::CopyPath,
            text: &format!("copying path '{path}' {}", way.shown),
            fields: &[&path, &way.from, &way.to],
            parent: self.all,
        })
    }

    /// Its archive has been copied, or not.
    pub fn end(&self, item: &Item, id: ActivityId, well: bool) {
        let size = item.info.nar_size;
        if well {
            self.progress.report(id, Counts { done: size, expected: size, ..Counts::default() });
        }
        self.progress.stop(id);
        self.count(|counts| {
            counts.running -= 1;
            if well { counts.done += 1 } else { counts.failed += 1 }
        });
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = locked(&self.counts);
        change(&mut counts);
        self.progress.report(self.all, *counts);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.progress.stop(self.all);
    }
}
