//! The daemon's side of its protocol, over a local store.
//!
//! A client that is not trusted may ask anything, add what is signed or follows from
//! its contents, and have garbage collected; but not register, repair, or change
//! settings that concern others.

use std::cell::OnceCell;
use std::io::Read;
use std::sync::Arc;

use super::tunnel::{Outlet, Tunnel};
use super::{ClientOptions, Host};
use crate::model::{DerivedPath, StoreDir, StorePath};
use crate::nar::NarError;
use crate::ops::copy::Trust;
use crate::ops::realise::substitute::Substituters;
use crate::ops::realise::{self, Outcome, RealiseContext};
use crate::progress::Progress;
use crate::store::api::realise::RealiseMode;
use crate::store::error::{RequestError, Result, StoreError};
use crate::store::local::LocalStore;
use crate::store::remote::RemoteError;
use crate::store::remote::protocol::wire::{MAX_HELLO, MAX_TEXT, Reader, Writer};
use crate::store::remote::protocol::worker::build_result::{BuildResult, status};
use crate::store::remote::protocol::worker::{CLIENT_HELLO, SERVER_HELLO, Version, build_mode, op, trust};

/// Serves one client until it goes.
///
/// # Errors
/// What ends the connection early; failures of operations are the client's to
/// hear of.
pub fn serve<R: Read, W: Outlet + 'static>(
    input: R,
    output: W,
    host: &mut dyn Host,
    trusted: bool,
    open: impl FnOnce(Arc<dyn Progress>) -> Result<LocalStore>,
) -> Result<()> {
    let mut reader = Reader::new(input);
    reader.input.limit(MAX_HELLO);
    let tunnel = Arc::new(Tunnel::new(Writer::new(output), host.advise()));
    hello(&mut reader, &tunnel, host, trusted)?;
    let store = match open(Arc::clone(&tunnel) as Arc<dyn Progress>) {
        Ok(store) if trusted => store,
        Ok(store) => {
            store.limit_temp_roots(MAX_ROOTS);
            store
        }
        Err(error) => {
            tunnel.fail(&host.told(&error))?;
            return Err(error);
        }
    };
    tunnel.answer(|_| Ok(()))?;
    let mut worker = Worker { reader, tunnel, store, host, trusted, reading: false, opened: OnceCell::new() };
    worker.run()
}

fn hello<R: Read, W: Outlet>(
    reader: &mut Reader<R>,
    tunnel: &Tunnel<W>,
    host: &dyn Host,
    trusted: bool,
) -> Result<()> {
    let broken = |what: &str| {
        StoreError::Remote(RemoteError::Protocol { peer: "the client".to_owned(), what: what.to_owned() })
    };
    if reader.number()? != CLIENT_HELLO {
        return Err(broken("protocol mismatch"));
    }
    tunnel.say(|writer| {
        writer.number(SERVER_HELLO)?;
        writer.number(Version::NEWEST.0)
    })?;
    let theirs = Version(reader.number()?);
    if theirs < Version::OLDEST {
        return Err(broken("the Nix client version is too old"));
    }
    let version = theirs.min(Version::NEWEST);
    tunnel.set_version(version);
    if version.has(38) {
        reader.words_up_to(MAX_WORDS)?;
        tunnel.say(|writer| writer.number(0))?;
    }
    // A processor to run on and room to reserve, which nobody uses any more.
    if reader.boolean()? {
        reader.number()?;
    }
    reader.number()?;
    tunnel.say(|writer| {
        if version.has(33) {
            writer.text(&host.version())?;
        }
        if version.has(35) {
            writer.number(if trusted { trust::TRUSTED } else { trust::NOT_TRUSTED })?;
        }
        Ok(())
    })
}

/// A server and its client.
pub(super) struct Worker<'h, R, W: Outlet> {
    pub reader: Reader<R>,
    pub tunnel: Arc<Tunnel<W>>,
    pub store: LocalStore,
    pub host: &'h mut dyn Host,
    pub trusted: bool,
    /// Arguments are being read: after a failure nobody knows where the next
    /// request begins.
    pub reading: bool,
    /// Once they were needed.
    opened: OnceCell<Substituters>,
}

impl<R: Read, W: Outlet + 'static> Worker<'_, R, W> {
    fn run(&mut self) -> Result<()> {
        loop {
            match self.reader.input.at_end() {
                Ok(false) => {}
                // A client that goes between two requests is not missed.
                Ok(true) | Err(NarError::Interrupted(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            self.reader.input.limit(if self.trusted { MAX_ARGUMENTS } else { MAX_OF_STRANGER });
            let operation = self.reader.number()?;
            self.reading = true;
            let result = self.operation(operation);
            match result {
                Ok(()) => {}
                Err(error) if error.is_interruption() => {
                    // The client went, or a signal ends the server.
                    let _ = self.tunnel.fail(&self.host.told(&error));
                    return Err(error);
                }
                Err(error) => {
                    self.tunnel.fail(&self.host.told(&error))?;
                    if self.reading {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// All arguments are read; the client waits, and hears what goes on.
    pub(super) fn begin(&mut self) {
        self.reading = false;
        // Archives and logs are not held in memory.
        self.reader.input.limit(u64::MAX);
        self.tunnel.begin();
    }

    pub(super) fn version(&self) -> Version {
        self.tunnel.version()
    }

    pub(super) fn dir(&self) -> StoreDir {
        self.store.dir().clone()
    }

    pub(super) fn answer(&self, answer: impl FnOnce(&mut Writer<W>) -> Result<()>) -> Result<()> {
        self.tunnel.answer(answer)
    }

    pub(super) fn path(&mut self) -> Result<StorePath> {
        self.reader.path(self.store.dir())
    }

    fn operation(&mut self, operation: u64) -> Result<()> {
        match operation {
            op::SET_OPTIONS => self.set_options(),
            op::ADD_TO_STORE => self.add_to_store(),
            op::ADD_TEXT_TO_STORE => self.add_text(),
            op::ADD_TO_STORE_NAR => self.add_nar(),
            op::ADD_MULTIPLE_TO_STORE => self.add_multiple(),
            op::ADD_BUILD_LOG => self.add_log(),
            op::ADD_SIGNATURES => self.add_signatures(),
            op::ADD_TEMP_ROOT => {
                let path = self.path()?;
                self.begin();
                self.store.add_temp_roots(&[&path])?;
                self.done()
            }
            op::ADD_INDIRECT_ROOT => self.add_indirect_root(),
            op::ADD_PERM_ROOT => self.add_permanent_root(),
            op::SYNC_WITH_GC => {
                self.begin();
                self.done()
            }
            op::FIND_ROOTS => self.find_roots(),
            op::COLLECT_GARBAGE => self.collect(),
            op::OPTIMISE_STORE => {
                self.begin();
                self.store.optimise()?;
                self.done()
            }
            op::VERIFY_STORE => self.verify(),
            op::NAR_FROM_PATH => self.nar_from_path(),
            op::ENSURE_PATH => {
                let path = self.path()?;
                self.begin();
                self.realise_all(&[DerivedPath::opaque(path)], RealiseMode::Normal)?;
                self.done()
            }
            op::BUILD_PATHS => {
                let requests = self.requests()?;
                let mode = self.build_mode()?;
                self.begin();
                self.realise_all(&requests, mode)?;
                self.done()
            }
            op::BUILD_PATHS_WITH_RESULTS => self.build_with_results(),
            op::BUILD_DERIVATION => self.build_derivation(),
            op::REGISTER_DRV_OUTPUT => self.register_realisation(),
            _ => self.query(operation),
        }
    }

    pub(super) fn done(&self) -> Result<()> {
        self.answer(|writer| writer.number(1))
    }

    fn set_options(&mut self) -> Result<()> {
        let reader = &mut self.reader;
        let mut options = ClientOptions {
            keep_failed: reader.boolean()?,
            keep_going: reader.boolean()?,
            fallback: reader.boolean()?,
            verbosity: reader.number()?,
            max_jobs: reader.number()?,
            max_silent_time: reader.number()?,
            ..ClientOptions::default()
        };
        reader.number()?;
        options.build_output = reader.number()? == 0;
        reader.number()?;
        reader.number()?;
        options.cores = reader.number()?;
        options.substitute = reader.boolean()?;
        let overrides = &mut options.overrides;
        reader.each(|reader| {
            if overrides.len() >= MAX_SETTINGS {
                return Err(NarError::TooLong.into());
            }
            overrides.push((reader.word()?, reader.text(MAX_SETTING)?));
            Ok(())
        })?;
        self.tunnel.set_verbosity(options.verbosity);
        self.begin();
        // They may be others now.
        self.opened = OnceCell::new();
        for warning in self.host.set_options(&options, self.trusted) {
            self.tunnel.warn(&warning);
        }
        self.answer(|_| Ok(()))
    }

    pub(super) fn requests(&mut self) -> Result<Vec<DerivedPath>> {
        let (dir, old) = (self.dir(), !self.version().has(30));
        let mut requests = Vec::new();
        self.reader.each(|reader| {
            requests.push(DerivedPath::parse(&dir, &reader.word()?, old)?);
            Ok(())
        })?;
        Ok(requests)
    }

    /// Reads in which way requests are to be fulfilled.
    fn build_mode(&mut self) -> Result<RealiseMode> {
        match self.reader.number()? {
            build_mode::NORMAL => Ok(RealiseMode::Normal),
            build_mode::REPAIR if !self.trusted => {
                let why = "repairing is not allowed because you are not in 'trusted-users'";
                Err(RequestError::NotPermitted(why.to_owned()).into())
            }
            build_mode::REPAIR => Ok(RealiseMode::Repair),
            build_mode::CHECK => Ok(RealiseMode::Check),
            _ => Err(RequestError::Malformed("Invalid build mode".to_owned()).into()),
        }
    }

    /// The stores that missing paths may come from, opened once.
    pub(super) fn substituters(&self) -> &Substituters {
        self.opened.get_or_init(|| self.host.substituters())
    }

    /// What a store needs to fetch from elsewhere.
    pub(super) fn with_realise_context<T>(
        &self,
        work: impl FnOnce(&RealiseContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let trust = self.needed_trust()?;
        let trusted = self.trusted;
        let builds = self.host.builds();
        work(&RealiseContext::new(
            &self.store,
            self.substituters(),
            trust.as_ref(),
            trusted,
            &builds,
            &*self.tunnel,
        ))
    }

    /// Whose signatures paths from elsewhere need, if any.
    pub(super) fn needed_trust(&self) -> Result<Option<Trust>> {
        if self.store.options().require_sigs { self.host.trust().map(Some) } else { Ok(None) }
    }

    pub(super) fn fetch(&self, paths: &[StorePath]) -> Result<()> {
        let requests: Vec<DerivedPath> = paths.iter().cloned().map(DerivedPath::opaque).collect();
        // What cannot be had is not there afterwards, which is the answer.
        self.with_realise_context(|context| context.realise(&requests, &mut |_| ())).map(drop)
    }

    fn realise_all(&self, requests: &[DerivedPath], mode: RealiseMode) -> Result<()> {
        let outcomes =
            self.with_realise_context(|context| context.realise_as(requests, mode, &mut |_| ()))?;
        let tell =
            &mut |error: &StoreError| self.tunnel.problem(&format!("error: {}", self.host.told(error)));
        realise::require(self.store.dir(), requests, outcomes, tell)
    }

    fn build_with_results(&mut self) -> Result<()> {
        let requests = self.requests()?;
        let mode = self.build_mode()?;
        self.begin();
        let outcomes =
            self.with_realise_context(|context| context.realise_as(&requests, mode, &mut |_| ()))?;
        let (dir, version) = (self.dir(), self.version());
        let mut results = Vec::with_capacity(requests.len());
        for (request, outcome) in requests.iter().zip(outcomes) {
            let mut result = result_of(outcome);
            if result.is_good() {
                match realise::realisations(&self.store, request) {
                    Ok(outputs) => {
                        let outputs = outputs.into_iter();
                        result.outputs =
                            outputs.map(|output| (output.id.to_string(), output.print())).collect();
                    }
                    Err(error) if error.is_interruption() => return Err(error),
                    // Only the one that asked for these outputs is told.
                    Err(error) => result = result_of(Outcome::Failed(error)),
                }
            }
            results.push((request, result));
        }
        self.answer(|writer| {
            writer.number(results.len() as u64)?;
            for (request, result) in results {
                writer.text(&request.print(&dir))?;
                result.write(writer, version)?;
            }
            Ok(())
        })
    }

    /// Its arguments are read, so that what follows is understood.
    fn build_derivation(&mut self) -> Result<()> {
        super::read_derivation(&mut self.reader, &self.store.dir().clone())?;
        self.reader.number()?;
        self.begin();
        let (result, version) = (result_of(realise::build_sent()?), self.version());
        self.answer(|writer| result.write(writer, version))
    }

    fn add_signatures(&mut self) -> Result<()> {
        let path = self.path()?;
        let signatures = self.reader.words_up_to(MAX_WORDS)?;
        self.begin();
        let mut info = self.store.path_info(&path)?;
        check_signatures(&signatures, self.trusted)?;
        info.signatures = signatures.into_iter().collect();
        let most = if self.trusted { usize::MAX } else { MAX_SIGNATURES };
        self.store.write(|writer| writer.add_signatures_up_to(&info, most).map(drop))?;
        self.done()
    }

    fn nar_from_path(&mut self) -> Result<()> {
        let path = self.path()?;
        self.begin();
        // Before anything of it is sent.
        self.store.path_info(&path)?;
        let real = self.store.real_path(&path);
        std::fs::symlink_metadata(&real).map_err(crate::sys::PathError::at("getting status of", &real))?;
        // What goes wrong from here on ends the connection: it is in the middle
        // of the answer.
        self.reading = true;
        self.answer(|writer| {
            let mut nar = crate::nar::writer::NarWriter::new(writer)?;
            Ok(crate::nar::dump::walk(&real, &mut nar)?)
        })?;
        self.reading = false;
        Ok(())
    }
}

/// Refuses what can be no signature, and what a stranger wants to be kept as one
/// although it is much longer than one.
pub(super) fn check_signatures<'s>(
    signatures: impl IntoIterator<Item = &'s String>,
    trusted: bool,
) -> Result<()> {
    let fits = |text: &String| {
        crate::model::signature::is_well_formed(text) && (trusted || text.len() <= MAX_SIGNATURE)
    };
    match signatures.into_iter().find(|text| !fits(text)) {
        None => Ok(()),
        Some(bad) => {
            let shown: String = bad.chars().take(100).flat_map(char::escape_debug).collect();
            Err(RequestError::CorruptSignature(shown).into())
        }
    }
}

/// Signatures that a path may have of clients who are not trusted.
pub(super) const MAX_SIGNATURES: usize = 64;
/// Bytes of each of them; a signature is 88, and the rest the name of its key.
const MAX_SIGNATURE: usize = 512;
/// Words of a list that holds no paths.
const MAX_WORDS: usize = 4096;
/// Settings that a client may name.
const MAX_SETTINGS: usize = 4096;
/// Paths that a stranger may protect while it is connected.
const MAX_ROOTS: usize = 1 << 18;
/// Bytes of the arguments of a stranger's request at most: some 300,000 paths.
const MAX_OF_STRANGER: u64 = 32 << 20;
/// Bytes of the arguments of a request at most: a text of [`MAX_TEXT`], or the
/// names of some 600,000 paths.
pub(super) const MAX_ARGUMENTS: u64 = MAX_TEXT as u64 + (1 << 20);
/// Bytes of the value of a setting at most.
const MAX_SETTING: usize = 64 * 1024;

pub(super) fn result_of(outcome: Outcome) -> BuildResult {
    let of = |status| BuildResult { status, ..BuildResult::default() };
    match outcome {
        Outcome::Valid => of(status::ALREADY_VALID),
        Outcome::Fetched => of(status::SUBSTITUTED),
        Outcome::Made => of(status::BUILT),
        Outcome::Failed(error) => {
            // Clients indent it.
            let message = error.to_string().replace("\n       ", "\n");
            BuildResult { message, ..of(status_of(&error)) }
        }
    }
}

/// What a client is told of the kind of a failure.
fn status_of(error: &StoreError) -> u64 {
    match error.failure_kinds() {
        kinds if kinds.difference => status::NOT_DETERMINISTIC,
        kinds if kinds.hash => status::OUTPUT_REJECTED,
        kinds if kinds.timeout => status::TIMED_OUT,
        kinds if kinds.builder => status::PERMANENT_FAILURE,
        _ => status::MISC_FAILURE,
    }
}
