//! A store behind the worker protocol: the daemon of this machine (`daemon`,
//! `unix://`), or one that ssh leads to (`ssh-ng://`).

mod building;
mod operations;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{DrvOutput, Realisation, StoreDir, StorePath, realisation};
use crate::progress::Progress;
use crate::store::api::add::Adder;
use crate::store::api::build::BuildStore;
use crate::store::api::collect::CollectStore;
use crate::store::api::maintain::MaintainStore;
use crate::store::api::query::QueryStore;
use crate::store::api::realise::RealiseStore;
use crate::store::api::roots::RootStore;
use crate::store::api::{About, Item, NarSource, Receiver, Store};
use crate::store::error::{Result, StoreError};
use crate::store::layout::Layout;
use crate::store::remote::RemoteError;
use crate::store::remote::channel::connection::Connection;
use crate::store::remote::channel::connection::Incoming;
use crate::store::remote::channel::ssh_program::Ssh;
use crate::store::remote::client::receive::Nars;
use crate::store::remote::client::send::Sender;
pub use crate::store::remote::client::session::ClientOptions;
use crate::store::remote::client::session::Link;
use crate::store::remote::daemon_store::operations::SendingAdder;
use crate::store::remote::protocol::wire::Frames;
use crate::store::remote::protocol::worker::op;
use crate::store::remote::ssh_store::among;
use crate::sys::threads;

/// Where the daemon is.
pub enum Endpoint {
    /// Behind a socket of this machine.
    Socket(PathBuf),
    /// Behind a program that ssh starts.
    Ssh(Box<Ssh>),
}

/// A store behind the worker protocol.
pub struct DaemonStore {
    pub(super) uri: String,
    endpoint: Endpoint,
    /// Where its files lie, as this machine sees them; those of another machine
    /// are not looked at.
    pub(super) layout: Layout,
    /// What it is to know of the user's settings, if anything.
    options: Option<ClientOptions>,
    pub(super) progress: Arc<dyn Progress>,
    link: RefCell<Option<Arc<Link>>>,
}

impl DaemonStore {
    /// A store that is connected to when it is needed.
    pub fn new(
        uri: String,
        endpoint: Endpoint,
        layout: Layout,
        options: Option<ClientOptions>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self { uri, endpoint, layout, options, progress, link: RefCell::default() }
    }

    /// The connection, which is made if need be.
    pub(super) fn link(&self) -> Result<Arc<Link>> {
        if let Some(link) = &*self.link.borrow()
            && !link.is_broken()
        {
            return Ok(Arc::clone(link));
        }
        // An old connection goes first.
        *self.link.borrow_mut() = None;
        let connection = match &self.endpoint {
            Endpoint::Socket(path) => Connection::to_socket(path)?,
            Endpoint::Ssh(ssh) => ssh.connect()?,
        };
        let link = Link::to_worker(connection, &self.uri, self.options.as_ref(), Arc::clone(&self.progress));
        let link = Arc::new(link.map_err(|error| match (&self.endpoint, error) {
            (Endpoint::Ssh(ssh), error) => ssh.explain(error),
            (Endpoint::Socket(_), StoreError::Remote(RemoteError::Lost { reason, .. })) => {
                StoreError::Remote(RemoteError::Unusable { uri: self.uri.clone(), reason })
            }
            (Endpoint::Socket(_), error) => error,
        })?);
        *self.link.borrow_mut() = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Whether its files are those of this machine.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.endpoint, Endpoint::Socket(_))
    }
}

impl DaemonStore {
    /// The paths among them that are valid now; with `fetch`, what substituters have is made valid first.
    fn ask_valid(&self, paths: &[StorePath], fetch: bool) -> Result<BTreeSet<StorePath>> {
        let (dir, link) = (self.dir(), self.link()?);
        let valid = link.call(
            |writer| {
                writer.number(op::QUERY_VALID_PATHS)?;
                writer.paths(dir, paths.iter())?;
                if link.version().has(27) { writer.boolean(fetch) } else { Ok(()) }
            },
            |reader| reader.paths(dir),
        )?;
        Ok(among(valid, paths))
    }
}

impl Store for DaemonStore {
    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn dir(&self) -> &StoreDir {
        &self.layout.store_dir
    }

    fn items(&self, paths: &[StorePath]) -> Result<Vec<Option<Item>>> {
        let dir = self.dir();
        self.link()?.calls(
            paths,
            |writer, path| {
                writer.number(op::QUERY_PATH_INFO)?;
                writer.path(dir, path)
            },
            |reader, path| match reader.boolean()? {
                true => Ok(Some(Item { info: reader.info(dir, path.clone())?, file: None })),
                false => Ok(None),
            },
        )
    }

    fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        self.valid_or_fetched(paths, false)
    }

    fn valid_or_fetched(&self, paths: &[StorePath], fetch: bool) -> Result<BTreeSet<StorePath>> {
        let valid = self.ask_valid(paths, fetch)?;
        if valid.is_empty() {
            return Ok(valid);
        }
        // A daemon keeps nothing because it was asked about it. With a root first, the second answer stays true.
        self.add_temp_roots(&valid.iter().collect::<Vec<_>>())?;
        self.ask_valid(&valid.into_iter().collect::<Vec<_>>(), false)
    }

    fn all(&self) -> Result<Vec<StorePath>> {
        let dir = self.dir();
        let ask = |reader: &mut Incoming| reader.paths(dir);
        let all = self.link()?.call(|writer| writer.number(op::QUERY_ALL_VALID_PATHS), ask)?;
        Ok(all.into_iter().collect())
    }

    fn source(&self, items: &[Item]) -> Result<Box<dyn NarSource + '_>> {
        Ok(Box::new(Nars::new(self.link()?, self.dir().clone(), items)))
    }

    fn parallel(&self) -> usize {
        threads::cores()
    }

    fn receiver(&self, items: &[Item], check_signatures: bool) -> Result<Receiver<'_>> {
        Sender::begin(self.link()?, self.dir().clone(), items, check_signatures)
    }

    fn add_signatures(&self, signed: &[Item]) -> Result<()> {
        let dir = self.dir();
        self.link()?.calls(
            signed,
            |writer, item| {
                writer.number(op::ADD_SIGNATURES)?;
                writer.path(dir, &item.info.path)?;
                writer.texts(item.info.signatures.iter())
            },
            |reader, _| reader.number().map(drop),
        )?;
        Ok(())
    }

    fn log(&self, path: &StorePath) -> Result<Option<Box<dyn Read + '_>>> {
        if !self.is_here() {
            return Ok(None);
        }
        let drv = if path.is_derivation() {
            Some(path.clone())
        } else {
            let item = self.items(std::slice::from_ref(path))?.pop().flatten();
            item.and_then(|item| item.info.deriver)
        };
        match drv {
            Some(drv) => Ok(self.layout.open_log(&drv)?.map(|log| log as Box<dyn Read>)),
            None => Ok(None),
        }
    }

    fn add_log(&self, drv: &StorePath, log: &mut dyn Read) -> Result<()> {
        let link = self.link()?;
        if !link.version().has(32) {
            return Err(self.too_old(&link, "adding a build log"));
        }
        link.call(
            |writer| {
                writer.number(op::ADD_BUILD_LOG)?;
                writer.text(drv.base_name())?;
                let mut frames = Frames::default();
                let mut on = frames.on(writer);
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    crate::sys::interrupt::check()?;
                    let count = log.read(&mut buffer).map_err(crate::nar::NarError::Read)?;
                    if count == 0 {
                        return on.finish();
                    }
                    on.write_all(&buffer[..count]).map_err(crate::nar::NarError::Write)?;
                }
            },
            |reader| reader.number().map(drop),
        )
    }

    fn realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        let (dir, link) = (self.dir(), self.link()?);
        if !link.version().has(27) {
            return Ok(None);
        }
        link.call(
            |writer| {
                writer.number(op::QUERY_REALISATION)?;
                writer.text(&id.to_string())
            },
            |reader| {
                if !link.version().has(31) {
                    let paths = reader.paths(dir)?;
                    return Ok(paths.into_iter().next_back().map(|path| Realisation::new(id.clone(), path)));
                }
                // Read one after the other: a server may say more than it was asked.
                let mut found = None;
                reader.each(|reader| {
                    let text = reader.text(realisation::MAX_LEN as usize)?;
                    match Realisation::parse(text.as_bytes()) {
                        Ok(realisation) if realisation.id == *id => found = Some(realisation),
                        Ok(_) => {}
                        Err(_) => return Err(link.protocol("its realisation is none")),
                    }
                    Ok(())
                })?;
                Ok(found)
            },
        )
    }

    fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        let (dir, link) = (self.dir(), self.link()?);
        if !link.version().has(27) {
            return Err(self.too_old(&link, "registering a realisation"));
        }
        link.call(
            |writer| {
                writer.number(op::REGISTER_DRV_OUTPUT)?;
                if link.version().has(31) {
                    return writer.text(&realisation.print());
                }
                writer.text(&realisation.id.to_string())?;
                writer.path(dir, &realisation.out_path)
            },
            |_| Ok(()),
        )
    }

    fn about(&self) -> Result<About> {
        let link = self.link()?;
        Ok(About { version: link.server.clone(), trusted: link.trusted })
    }

    fn is_closed(&self) -> bool {
        true
    }

    fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    fn is_valid(&self, path: &StorePath) -> Result<bool> {
        let dir = self.dir();
        self.ask(op::IS_VALID_PATH, |writer| writer.path(dir, path), Incoming::boolean)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn queries(&self) -> &dyn QueryStore {
        self
    }

    fn adder(&self) -> Box<dyn Adder + '_> {
        Box::new(SendingAdder(self))
    }

    fn files(&self) -> Option<&Layout> {
        self.is_here().then_some(&self.layout)
    }

    fn roots(&self) -> Option<&dyn RootStore> {
        Some(self)
    }

    fn collector(&self) -> Option<&dyn CollectStore> {
        Some(self)
    }

    fn realiser(&self) -> Option<&dyn RealiseStore> {
        Some(self)
    }

    fn builder(&self) -> Option<&dyn BuildStore> {
        Some(self)
    }

    fn maintainer(&self) -> Option<&dyn MaintainStore> {
        Some(self)
    }
}

impl DaemonStore {
    fn too_old(&self, link: &Link, what: &'static str) -> StoreError {
        RemoteError::TooOld { uri: self.uri.clone(), found: link.version().to_string(), what }.into()
    }
}
