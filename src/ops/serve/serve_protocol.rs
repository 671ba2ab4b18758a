//! The server's side of the serve protocol: what ssh starts for `ssh://` stores.
//!
//! A user who can start it may do what the user may do; nothing is checked but that
//! archives are what is said of them.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use crate::model::{DerivedPath, StoreDir, StorePath};
use crate::nar::writer::NarWriter;
use crate::nar::{NarError, dump};
use crate::ops::realise::{self, Outcome, RealiseContext};
use crate::ops::serve::Host;
use crate::ops::serve::worker::{MAX_ARGUMENTS, result_of};
use crate::ops::{export, query};
use crate::progress::Progress;
use crate::store::api::{Receiver, Store as _};
use crate::store::error::{RequestError, Result, StoreError};
use crate::store::local::LocalStore;
use crate::store::remote::RemoteError;
use crate::store::remote::protocol::serve;
use crate::store::remote::protocol::serve::command;
use crate::store::remote::protocol::wire::{Reader, Writer};
use crate::store::remote::protocol::worker::Version;

/// Serves one client until it goes; `writable` lets it change the store, and
/// `more` says whether it has sent more already.
///
/// # Errors
/// What goes wrong, which ends the connection: the protocol has no words for it.
pub fn run<R: Read, W: Write>(
    input: R,
    output: W,
    store: &LocalStore,
    host: &dyn Host,
    progress: &dyn Progress,
    writable: bool,
    more: &dyn Fn() -> bool,
) -> Result<()> {
    let mut shell = Shell {
        reader: Reader::new(input),
        writer: Writer::new(output),
        store,
        host,
        progress,
        writable,
        more,
        version: serve::NEWEST,
        unfinished: None,
    };
    shell.hello()?;
    let served = shell.serve();
    // What has arrived in whole stays.
    let finished = shell.finish();
    served.and(finished)
}

struct Shell<'s, R, W: Write> {
    reader: Reader<R>,
    writer: Writer<W>,
    store: &'s LocalStore,
    host: &'s dyn Host,
    progress: &'s dyn Progress,
    writable: bool,
    more: &'s dyn Fn() -> bool,
    version: Version,
    /// Paths that were taken in and are not valid yet, and how many answers
    /// wait for them.
    unfinished: Option<(Receiver<'s>, u64)>,
}

/// Paths that become valid together at most.
const TOGETHER: u64 = 256;

impl<'s, R: Read, W: Write> Shell<'s, R, W> {
    fn hello(&mut self) -> Result<()> {
        if self.reader.number()? != serve::CLIENT_HELLO {
            return Err(broken("protocol mismatch"));
        }
        self.writer.number(serve::SERVER_HELLO)?;
        self.writer.number(serve::NEWEST.0)?;
        self.writer.flush()?;
        self.version = Version(self.reader.number()?).min(serve::NEWEST);
        if self.version < serve::OLDEST_CLIENT {
            return Err(broken(&format!("it speaks version {}, which is too old", self.version)));
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            // A client that has sent everything waits for the answers; who has not
            // lets many paths become valid at once.
            if self.unfinished.is_some() && !self.reader.input.has_more() && !(self.more)() {
                self.finish()?;
            }
            match self.reader.input.at_end() {
                Ok(false) => {}
                // A client that goes between two requests is not missed.
                Ok(true) | Err(NarError::Interrupted(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            self.reader.input.limit(MAX_ARGUMENTS);
            let asked = self.reader.number()?;
            if asked != command::ADD_TO_STORE_NAR {
                self.finish()?;
            }
            self.command(asked)?;
            if self.unfinished.is_none() {
                self.writer.flush()?;
            }
        }
    }

    /// Makes valid what was taken in, and says so.
    fn finish(&mut self) -> Result<()> {
        let Some((mut receiver, answers)) = self.unfinished.take() else { return Ok(()) };
        receiver.registrar.finish()?;
        (0..answers).try_for_each(|_| self.writer.number(1))?;
        self.writer.flush()
    }

    fn require_writable(&self, what: &str) -> Result<()> {
        match self.writable {
            true => Ok(()),
            false => Err(RequestError::NotPermitted(format!("{what} paths is not allowed")).into()),
        }
    }

    fn command(&mut self, asked: u64) -> Result<()> {
        let dir = self.store.dir().clone();
        match asked {
            command::QUERY_VALID_PATHS => {
                let lock = self.reader.boolean()?;
                let fetch = self.reader.boolean()?;
                let paths: Vec<StorePath> = self.reader.paths(&dir)?.into_iter().collect();
                let lock = lock && self.writable;
                if lock {
                    self.store.add_temp_roots(&paths.iter().collect::<Vec<_>>())?;
                }
                if fetch && self.writable {
                    let requests: Vec<DerivedPath> = paths.iter().cloned().map(DerivedPath::opaque).collect();
                    self.realise(&requests)?;
                }
                // Only those who ask for it keep what they ask about.
                let valid = if lock { self.store.valid(&paths)? } else { self.store.valid_now(&paths)? };
                self.writer.paths(&dir, valid.iter())
            }
            command::QUERY_PATH_INFOS => {
                let paths = self.reader.paths(&dir)?;
                for path in &paths {
                    let info = self.store.db().path_info(path)?;
                    if let Some(info) = info {
                        serve::write_info(&mut self.writer, &dir, &info, self.version)?;
                    }
                }
                self.writer.text("")
            }
            command::DUMP_STORE_PATH => {
                let path = self.reader.path(&dir)?;
                self.store.path_info(&path)?;
                let mut nar = NarWriter::new(&mut self.writer)?;
                Ok(dump::walk(&self.store.real_path(&path), &mut nar)?)
            }
            command::EXPORT_PATHS => {
                self.reader.number()?;
                let paths: Vec<StorePath> = self.reader.paths(&dir)?.into_iter().collect();
                export::export(self.store, &paths, &mut self.writer)
            }
            command::IMPORT_PATHS => {
                self.require_writable("importing")?;
                self.reader.input.limit(u64::MAX);
                self.store.import_from(&mut self.reader.input)?;
                self.writer.number(1)
            }
            command::QUERY_CLOSURE => {
                let include_outputs = self.reader.boolean()?;
                let paths: Vec<StorePath> = self.reader.paths(&dir)?.into_iter().collect();
                let graph = query::closure(self.store, &paths, include_outputs)?;
                let closure = graph.nodes().map(|node| graph.path(node)).collect::<Result<BTreeSet<_>>>()?;
                self.writer.paths(&dir, closure.iter())
            }
            command::BUILD_PATHS => self.build_paths(&dir),
            command::BUILD_DERIVATION => self.build_derivation(&dir),
            command::ADD_TO_STORE_NAR => self.add(&dir),
            _ => Err(broken(&format!("unknown serve command {asked}"))),
        }
    }

    fn add(&mut self, dir: &StoreDir) -> Result<()> {
        self.require_writable("importing")?;
        let info = serve::read_added(&mut self.reader, dir)?;
        // An archive follows.
        self.reader.input.limit(u64::MAX);
        let (mut receiver, answers) = match self.unfinished.take() {
            Some(unfinished) => unfinished,
            None => (self.store.receiver(&[], false)?, 0),
        };
        let added =
            crate::ops::serve::add::add(self.store, &mut receiver, None, info, &mut self.reader.input);
        self.unfinished = Some((receiver, answers + u64::from(added.is_ok())));
        added?;
        if answers + 1 >= TOGETHER { self.finish() } else { Ok(()) }
    }

    fn options(&mut self) -> Result<()> {
        // How long it may be silent, and how long it may take.
        let mut count = 2;
        // How long its log may be.
        count += u32::from(self.version >= Version::of(2, 2));
        // How often it is built, and whether that has to be the same.
        count += 2 * u32::from(self.version >= Version::of(2, 3));
        // Whether failed builds stay on disk.
        count += u32::from(self.version >= Version::of(2, 7));
        (0..count).try_for_each(|_| self.reader.number().map(drop))
    }

    fn realise(&self, requests: &[DerivedPath]) -> Result<Vec<Outcome>> {
        let substituters = self.host.substituters();
        let trust = match self.store.options().require_sigs {
            true => Some(self.host.trust()?),
            false => None,
        };
        let builds = self.host.builds();
        let context =
            RealiseContext::new(self.store, &substituters, trust.as_ref(), true, &builds, self.progress);
        context.realise(requests, &mut |_| ())
    }

    fn build_paths(&mut self, dir: &StoreDir) -> Result<()> {
        self.require_writable("building")?;
        let mut requests = Vec::new();
        self.reader.each(|reader| {
            requests.push(DerivedPath::parse(dir, &reader.word()?, true)?);
            Ok(())
        })?;
        self.options()?;
        let failed = self.realise(&requests)?.into_iter().find_map(|outcome| match outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        });
        match failed {
            None => self.writer.number(0),
            Some(error) => {
                self.writer.number(1)?;
                self.writer.text(&error.to_string())
            }
        }
    }

    fn build_derivation(&mut self, dir: &StoreDir) -> Result<()> {
        self.require_writable("building")?;
        crate::ops::serve::read_derivation(&mut self.reader, dir)?;
        self.options()?;
        let result = result_of(realise::build_sent().unwrap_or_else(Outcome::Failed));
        if self.version >= Version::of(2, 6) {
            // As the worker protocol has it without times of processors.
            return result.write(&mut self.writer, Version::of(1, 29));
        }
        self.writer.number(result.status)?;
        self.writer.text(&result.message)?;
        if self.version < Version::of(2, 3) {
            return Ok(());
        }
        (0..4).try_for_each(|_| self.writer.number(0))
    }
}

fn broken(what: &str) -> StoreError {
    let error = RemoteError::Protocol { peer: "the client".to_owned(), what: what.to_owned() };
    error.into()
}
