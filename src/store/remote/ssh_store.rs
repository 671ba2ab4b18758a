//! A store behind the serve protocol: `nix-store --serve` on another machine
//! (`ssh://`).

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::sync::Arc;

use crate::model::{StoreDir, StorePath};
use crate::progress::Progress;
use crate::store::api::build::{BuildEnd, BuildOrder, BuildStore};
use crate::store::api::query::QueryStore;
use crate::store::api::{About, Item, NarSource, Receiver, Store, usual_parts};
use crate::store::error::{Result, StoreError};
use crate::store::remote::RemoteError;
use crate::store::remote::channel::ssh_program::Ssh;
use crate::store::remote::client::receive::Nars;
use crate::store::remote::client::send::Sender;
use crate::store::remote::client::session::{self, Link};
use crate::store::remote::protocol::serve::command;
use crate::store::remote::protocol::worker::Version;
use crate::store::remote::protocol::worker::build_result::BuildResult;
use crate::store::remote::protocol::{order, serve};
use crate::sys::threads;

/// A store behind the serve protocol.
pub struct ServingStore {
    uri: String,
    ssh: Ssh,
    dir: StoreDir,
    progress: Arc<dyn Progress>,
    link: RefCell<Option<Arc<Link>>>,
}

impl ServingStore {
    /// A store that is connected to when it is needed.
    pub fn new(uri: String, ssh: Ssh, dir: StoreDir, progress: Arc<dyn Progress>) -> Self {
        Self { uri, ssh, dir, progress, link: RefCell::default() }
    }

    fn link(&self) -> Result<Arc<Link>> {
        if let Some(link) = &*self.link.borrow()
            && !link.is_broken()
        {
            return Ok(Arc::clone(link));
        }
        *self.link.borrow_mut() = None;
        let connection = self.ssh.connect()?;
        let link = Link::to_serve(connection, &self.uri, Arc::clone(&self.progress));
        let link = Arc::new(link.map_err(|error| self.ssh.explain(error))?);
        *self.link.borrow_mut() = Some(Arc::clone(&link));
        Ok(link)
    }

    fn unsupported(&self, what: &'static str) -> StoreError {
        RemoteError::Unsupported { uri: self.uri.clone(), what }.into()
    }
}

/// The answers that were asked about.
pub(in crate::store) fn among(mut answers: BTreeSet<StorePath>, asked: &[StorePath]) -> BTreeSet<StorePath> {
    let asked: BTreeSet<&StorePath> = asked.iter().collect();
    answers.retain(|path| asked.contains(path));
    answers
}

impl Store for ServingStore {
    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn dir(&self) -> &StoreDir {
        &self.dir
    }

    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let asked: BTreeSet<&StorePath> = paths.iter().collect();
        let found: HashMap<StorePath, Item> = self.link()?.call(
            |writer| {
                writer.number(command::QUERY_PATH_INFOS)?;
                writer.paths(&self.dir, paths.iter())
            },
            |reader| {
                let mut found = HashMap::new();
                while let Some(path) = reader.optional_path(&self.dir)? {
                    let info = serve::read_info(reader, &self.dir, path)?;
                    if asked.contains(&info.path) {
                        found.insert(info.path.clone(), Item { info, file: None });
                    }
                }
                Ok(found)
            },
        )?;
        Ok(paths.iter().map(|path| found.get(path).cloned()).collect())
    }

    fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        self.valid_or_fetched(paths, false)
    }

    fn valid_or_fetched(&self, paths: &[StorePath], fetch: bool) -> Result<BTreeSet<StorePath>> {
        let valid = self.link()?.call(
            |writer| {
                writer.number(command::QUERY_VALID_PATHS)?;
                // They are to stay while we are connected.
                writer.boolean(true)?;
                writer.boolean(fetch)?;
                writer.paths(&self.dir, paths.iter())
            },
            |reader| reader.paths(&self.dir),
        )?;
        Ok(among(valid, paths))
    }

    fn all(&self) -> Result<Vec<StorePath>> {
        Err(self.unsupported("listing all paths"))
    }

    fn source(&self, items: &[Item]) -> Result<Box<dyn NarSource + '_>> {
        Ok(Box::new(Nars::new(self.link()?, self.dir.clone(), items)))
    }

    fn parallel(&self) -> usize {
        threads::cores()
    }

    fn receiver(&self, items: &[Item], _check_signatures: bool) -> Result<Receiver<'_>> {
        // The other side never checks them: who may log in is trusted.
        Sender::begin(self.link()?, self.dir.clone(), items, false)
    }

    fn add_signatures(&self, signed: &[Item]) -> Result<()> {
        match signed.is_empty() {
            true => Ok(()),
            false => Err(self.unsupported("adding signatures")),
        }
    }

    fn add_log(&self, _drv: &StorePath, _log: &mut dyn Read) -> Result<()> {
        Err(self.unsupported("adding a build log"))
    }

    fn about(&self) -> Result<About> {
        self.link()?;
        Ok(About::default())
    }

    fn is_closed(&self) -> bool {
        true
    }

    fn builder(&self) -> Option<&dyn BuildStore> {
        Some(self)
    }

    usual_parts!();
}

impl BuildStore for ServingStore {
    fn build(&self, wanted: &BuildOrder<'_>) -> Result<BuildEnd> {
        let link = self.link()?;
        let has = |minor| link.version() >= Version::of(2, minor);
        let mut result = link.call(
            |writer| {
                writer.number(command::BUILD_DERIVATION)?;
                order::write(writer, &self.dir, wanted.path, wanted.drv)?;
                writer.number(wanted.max_silent_time)?;
                writer.number(wanted.timeout)?;
                if has(2) {
                    writer.number(wanted.max_log_size)?;
                }
                if has(3) {
                    // It is built once.
                    writer.number(0)?;
                    writer.number(0)?;
                }
                if has(7) { writer.boolean(wanted.keep_failed) } else { Ok(()) }
            },
            |reader| {
                // The same result, in the words that the other protocol had at the time.
                let version = if has(6) { Version::of(1, 29) } else { Version::of(1, 18) };
                let result = BuildResult::read(reader, version)?;
                if has(3) && !has(6) {
                    (0..4).try_for_each(|_| reader.number().map(drop))?;
                }
                Ok(result)
            },
        )?;
        result.message = session::told(&result.message);
        result.into_end()
    }
}

impl QueryStore for ServingStore {
    fn known_closure(&self, paths: &[StorePath], include_outputs: bool) -> Result<Option<Vec<StorePath>>> {
        // A path that is not valid would end the connection without a word.
        if let Some((path, _)) = paths.iter().zip(self.items(paths)?).find(|(_, item)| item.is_none()) {
            return Err(StoreError::Invalid(self.dir.print(path)));
        }
        let closure = self.link()?.call(
            |writer| {
                writer.number(command::QUERY_CLOSURE)?;
                writer.boolean(include_outputs)?;
                writer.paths(&self.dir, paths.iter())
            },
            |reader| reader.paths(&self.dir),
        )?;
        if let Some(path) = paths.iter().find(|path| !closure.contains(path)) {
            let what = format!("its closure of '{}' lacks that path", self.dir.display(path));
            return Err(RemoteError::Protocol { peer: self.uri.clone(), what }.into());
        }
        Ok(Some(closure.into_iter().collect()))
    }
}
