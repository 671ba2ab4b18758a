//! Sizes of closures in any store: unpacked, and as they are stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::copy;
use crate::model::StorePath;
use crate::store::api::{Item, Store};
use crate::store::error::Result;

/// The sizes of the closures of some paths.
#[derive(Default)]
pub struct ClosureSizes(HashMap<StorePath, Sizes>);

/// The sizes of one closure.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sizes {
    /// Bytes of its archives.
    pub unpacked: u64,
    /// Bytes of the stored files.
    pub download: u64,
}

impl ClosureSizes {
    /// Asks the store for everything that the paths refer to.
    pub fn of(store: &dyn Store, items: &[Item]) -> Result<Self> {
        let roots: Vec<StorePath> = items.iter().map(|item| item.info.path.clone()).collect();
        let all: BTreeMap<StorePath, Item> =
            copy::closure(store, &roots)?.into_iter().map(|item| (item.info.path.clone(), item)).collect();
        let mut sizes = HashMap::with_capacity(roots.len());
        for root in roots {
            let (mut seen, mut waiting) = (BTreeSet::from([&root]), vec![&root]);
            let mut total = Sizes::default();
            while let Some(item) = waiting.pop().and_then(|path| all.get(path)) {
                total.unpacked = total.unpacked.saturating_add(item.info.nar_size);
                let download = item.file.as_ref().and_then(|file| file.size).unwrap_or(0);
                total.download = total.download.saturating_add(download);
                waiting.extend(item.info.references.iter().filter(|path| seen.insert(path)));
            }
            sizes.insert(root, total);
        }
        Ok(Self(sizes))
    }

    /// The sizes of the closure of one of the paths.
    pub fn get(&self, path: &StorePath) -> Sizes {
        self.0.get(path).copied().unwrap_or_default()
    }
}
