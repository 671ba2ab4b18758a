//! The local store as one that paths are copied from and to.

use std::any::Any;
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use crate::model::path_info::is_verifiable;
use crate::model::rewriting::Rewrites;
use crate::model::{
    ContentAddressMethod, Derivation, DrvOutput, Realisation, StoreDir, StorePath, ValidPathInfo,
};
use crate::nar::content_hash::hash_contents;
use crate::nar::modulo::ModuloHash;
use crate::nar::tee::Tee;
use crate::nar::{Sink, dump};
use crate::progress::Progress;
use crate::store::api::add::Adder;
use crate::store::api::collect::CollectStore;
use crate::store::api::export::ImportStore;
use crate::store::api::maintain::{DumpStore, MaintainStore, RepairStore};
use crate::store::api::query::QueryStore;
use crate::store::api::roots::RootStore;
use crate::store::api::{Fill, Item, NarSource, NarTaker, Receiver, Registrar, Store, Taken};
use crate::store::error::{Result, StoreError, check_nar};
use crate::store::local::batch::{Batch, Incoming, Intake};
use crate::store::local::ingest::Hashes;
use crate::store::local::{Layout, LocalStore};
use crate::sys::threads;

/// Bytes of a tree that are held in memory: many are on their way at once.
const HELD: usize = 256 * 1024;
/// Archives from this size on are hashed on a thread of their own.
const LARGE: u64 = 4 << 20;

impl LocalStore {
    /// The paths among them that are valid; nothing keeps them so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn valid_now(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let db = self.db();
        db.snapshot(|| {
            let mut valid = BTreeSet::new();
            for path in paths {
                // What is gone from the disk is copied again.
                if db.is_valid(path)? && !self.is_gone(path) {
                    valid.insert(path.clone());
                }
            }
            Ok(valid)
        })
    }
}

impl Store for LocalStore {
    fn uri(&self) -> String {
        "local".to_owned()
    }

    fn dir(&self) -> &StoreDir {
        LocalStore::dir(self)
    }

    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>> {
        let db = self.db();
        let item = |path| Ok(db.path_info(path)?.map(|info| Item { info, file: None }));
        db.snapshot(|| paths.iter().map(item).collect())
    }

    fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        // With a root first, no collection comes in between.
        if !self.is_read_only() {
            self.add_temp_roots(&paths.iter().collect::<Vec<_>>())?;
        }
        self.valid_now(paths)
    }

    fn all(&self) -> Result<Vec<StorePath>> {
        let mut all = Vec::new();
        self.db().each_name(|_, name| all.extend(StorePath::from_base_name(name)))?;
        Ok(all)
    }

    fn source(&self, _items: &[Item]) -> Result<Box<dyn NarSource + '_>> {
        Ok(Box::new(Trees { layout: self.layout().clone() }))
    }

    fn parallel(&self) -> usize {
        threads::cores()
    }

    fn receiver(&self, _items: &[Item], _check_signatures: bool) -> Result<Receiver<'_>> {
        let intake = self.intake(HELD)?;
        Ok(Receiver {
            taker: Box::new(Taker { intake, dir: self.dir().clone(), watcher: self.watcher() }),
            registrar: Box::new(Rows { batch: self.batch() }),
            parallel: threads::cores(),
            publishes: false,
        })
    }

    fn requires_signatures(&self) -> bool {
        self.options().require_sigs
    }

    fn check_features(&self, drv: &Derivation) -> Result<()> {
        LocalStore::check_features(self, drv)
    }

    fn add_signatures(&self, signed: &[Item]) -> Result<()> {
        self.write(|writer| signed.iter().try_for_each(|item| writer.add_signatures(&item.info).map(drop)))
    }

    fn log(&self, path: &StorePath) -> Result<Option<Box<dyn Read + '_>>> {
        self.open_log(path)
    }

    fn add_log(&self, drv: &StorePath, log: &mut dyn Read) -> Result<()> {
        LocalStore::add_log(self, drv, log)
    }

    fn uses_realisations(&self) -> bool {
        Self::uses_realisations(self)
    }

    fn realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        self.known_realisation(id)
    }

    fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        self.add_realisation(realisation)
    }

    fn progress(&self) -> &dyn Progress {
        LocalStore::progress(self)
    }

    fn is_valid(&self, path: &StorePath) -> Result<bool> {
        self.db().is_valid(path)
    }

    fn is_there(&self, path: &StorePath) -> Result<bool> {
        LocalStore::is_there(self, path)
    }

    fn is_closed(&self) -> bool {
        true
    }

    fn is_direct(&self) -> bool {
        true
    }

    fn is_read_only(&self) -> bool {
        LocalStore::is_read_only(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn queries(&self) -> &dyn QueryStore {
        self
    }

    fn adder(&self) -> Box<dyn Adder + '_> {
        Box::new(LocalStore::adder(self))
    }

    fn files(&self) -> Option<&Layout> {
        Some(self.layout())
    }

    fn roots(&self) -> Option<&dyn RootStore> {
        Some(self)
    }

    fn collector(&self) -> Option<&dyn CollectStore> {
        Some(self)
    }

    fn maintainer(&self) -> Option<&dyn MaintainStore> {
        Some(self)
    }

    fn repairer(&self) -> Option<&dyn RepairStore> {
        Some(self)
    }

    fn dumper(&self) -> Option<&dyn DumpStore> {
        Some(self)
    }

    fn importer(&self) -> Option<&dyn ImportStore> {
        Some(self)
    }
}

/// The trees of the store.
struct Trees {
    layout: Layout,
}

impl NarSource for Trees {
    fn read(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        Ok(dump::walk(&self.layout.real_path(&item.info.path), sink)?)
    }
}

struct Taker {
    intake: Intake,
    dir: StoreDir,
    watcher: Arc<dyn Progress>,
}

impl NarTaker for Taker {
    fn take(&self, item: &Item, fill: Fill<'_>) -> Result<Taken> {
        let info = &item.info;
        if let Some(ca) = &info.ca
            && !info.is_content_addressed(&self.dir)
        {
            return Err(StoreError::ContentAddress { path: self.dir.print(&info.path), ca: ca.to_string() });
        }
        // The hash that its content address is made of.
        let algorithm = info.ca.as_ref().map(|ca| ca.hash.algorithm());
        let method = info.ca.as_ref().map_or(ContentAddressMethod::NixArchive, |ca| ca.method);
        let archive = method == ContentAddressMethod::NixArchive;
        let hashes = match info.nar_size < LARGE {
            true => Hashes::without_thread(algorithm.filter(|_| archive), Arc::clone(&self.watcher)),
            false => Hashes::new(algorithm.filter(|_| archive), Arc::clone(&self.watcher)),
        };
        let (ingested, mut incoming, own) = self.intake.take_in(hashes, |sink| match algorithm {
            // Its own name in it is blanked out.
            Some(algorithm) if archive && info.references.contains(&info.path) => {
                let mut own = Rewrites::default();
                own.blank(&info.path);
                let mut modulo = Tee::new(sink, ModuloHash::new(&own, algorithm))?;
                fill(&mut modulo)?;
                Ok(Some(modulo.into_output().finish()))
            }
            Some(algorithm) => Ok(hash_contents((method, algorithm), true, sink, |sink| fill(sink))?),
            None => Ok(fill(sink).map(|()| None)?),
        })?;
        check_nar(&self.dir, info, ingested.nar_hash, ingested.nar_size)?;
        let found = own.or(ingested.other).unwrap_or(ingested.nar_hash);
        if let Some(ca) = &info.ca
            && is_verifiable(info)
            && ca.hash != found
        {
            return Err(StoreError::ContentMismatch {
                path: self.dir.print(&info.path),
                expected: ca.hash.to_string(),
                found: found.to_string(),
            });
        }
        let mut info = info.clone();
        (info.nar_hash, info.nar_size) = (ingested.nar_hash, ingested.nar_size);
        // Built elsewhere.
        info.ultimate = false;
        if incoming.held_bytes() > HELD / 2 {
            incoming.settle()?;
        }
        Ok(Taken::new((incoming, info)))
    }

    fn publish(&self, _taken: Taken) -> Result<()> {
        // Rows are the store's own thread's.
        Ok(())
    }
}

struct Rows<'s> {
    batch: Batch<'s>,
}

impl Registrar for Rows<'_> {
    fn register(&mut self, taken: Taken) -> Result<()> {
        let tree = taken.redeem::<(Incoming, ValidPathInfo)>();
        let (incoming, info) = *tree.ok_or(StoreError::ForeignPath)?;
        self.batch.add(incoming, info)
    }

    fn finish(&mut self) -> Result<()> {
        self.batch.flush()
    }
}
