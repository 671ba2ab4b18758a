//! One build on another machine, on a thread of its own.
//!
//! ```text
//! thread of the build   hears what is told, keeps the log, looks at the clock
//!   └→ second thread    opens the machine's store and this one, sends inputs, orders, fetches outputs
//! ```
//!
//! The second one may wait for a machine that hangs; the first then cancels it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::relay::{Told, relay};
use crate::build::BuildError;
use crate::build::log::{LogOptions, LogWriter};
use crate::build::machines::{Claim, UploadLock};
use crate::build::outputs::{Outcome, TakenOutput};
use crate::build::process::Ended;
use crate::build::settings::BuildSettings;
use crate::build::steps::{Built, Failed, Reason};
use crate::model::derivation::options::BuildOptions;
use crate::model::derived_path::{DerivedPath, Outputs};
use crate::model::{Derivation, StoreDir, StorePath};
use crate::ops::copy::watch::Watch;
use crate::ops::copy::{self, CopyOptions, way};
use crate::progress::{Activity, ActivityId, ActivityKind, Event, Progress, silent};
use crate::store::api::Store;
use crate::store::api::build::{BuildEnd, BuildOrder};
use crate::store::api::realise::RealiseMode;
use crate::store::error::{Result, StoreError};
use crate::store::local::batch::Intake;
use crate::store::local::ingest::Hashes;
use crate::store::local::{LocalOptions, LocalStore};
use crate::sys::interrupt::{self, CancelToken};
use crate::sys::threads::locked;

/// How long nothing may be heard before the clock is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a machine may take to answer for the first time, after which it counts as one that does not.
const PATIENCE: Duration = Duration::from_secs(120);

/// A build that a machine has a place for.
pub struct Errand {
    /// The machine, which keeps the place.
    pub claim: Box<Claim>,
    /// The derivation.
    pub drv_path: StorePath,
    /// What it says.
    pub drv: Arc<Derivation>,
    /// What it says of its build.
    pub options: BuildOptions,
    /// How builds are made.
    pub settings: Arc<BuildSettings>,
    /// What its builder reads.
    pub direct: BTreeSet<StorePath>,
    /// And everything that this refers to.
    pub inputs: BTreeSet<StorePath>,
    /// Outputs that are here already.
    pub present: BTreeSet<StorePath>,
    /// What is kept of the log.
    pub log: LogOptions,
    /// How the store is opened for another thread.
    pub store: LocalOptions,
    /// Takes in the outputs.
    pub intake: Intake,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The machine has not answered.
    Calling(Instant),
    /// Something is sent or fetched.
    Copying,
    /// It builds.
    Building(Instant),
}

/// Why it came to nothing, on the second thread.
enum Trouble {
    /// The machine is no good.
    Lost(StoreError),
    /// It built, and failed.
    Failed { timed_out: bool, message: String },
    /// Something here.
    Here(StoreError),
}

impl Trouble {
    /// What an error means where a machine was asked.
    fn of(error: StoreError) -> Self {
        let is_lost =
            |error: &StoreError| matches!(error, StoreError::Remote(error) if error.is_lost_connection());
        if is_lost(&error) { Self::Lost(error) } else { Self::Here(error) }
    }
}

/// What both threads know.
struct Shared {
    phase: Mutex<Phase>,
    activity: Mutex<ActivityId>,
}

impl Errand {
    /// Builds it there.
    ///
    /// # Errors
    /// [`Failed`]; with [`Reason::Lost`] another machine may be tried.
    pub fn run(self, progress: &dyn Progress) -> std::result::Result<Built, Box<Failed>> {
        let (watcher, hear) = relay(progress.verbosity());
        let shared = Shared {
            phase: Mutex::new(Phase::Calling(Instant::now())),
            activity: Mutex::new(ActivityId::NONE),
        };
        let token = CancelToken::new();
        let mut log = LogWriter::create(&self.log).map_err(BuildError::from)?;
        let ended = std::thread::scope(|scope| {
            let (errand, shared, inner) = (&self, &shared, token.clone());
            let work = move || inner.scope(|| errand.work(watcher, shared, progress));
            let worker = scope.spawn(work);
            let stopped = errand.listen(&hear, shared, &token, &mut log, progress, || worker.is_finished());
            (stopped, worker.join().unwrap_or(Err(Trouble::Here(StoreError::ThreadFailed))))
        });
        let activity = *locked(&shared.activity);
        for told in hear.try_iter() {
            self.pass_on(told, activity, &mut log, progress);
        }
        let logged = log.finish(progress, activity);
        progress.stop(activity);
        let reason = match ended {
            (Some(reason), Err(_)) => reason,
            (_, Ok(outputs)) => {
                logged.map_err(BuildError::from)?;
                let made = Outcome { outputs, mismatch: None };
                return Ok(Built { made, options: self.options, inputs: self.inputs });
            }
            (None, Err(Trouble::Lost(error))) => self.lost(error.to_string()),
            (None, Err(Trouble::Here(error))) => Reason::Store(error),
            (None, Err(Trouble::Failed { timed_out, message })) => {
                if self.settings.keep_failed {
                    progress.warn(KEPT);
                }
                let uri = self.claim.machine.uri.clone();
                Reason::Elsewhere { uri, timed_out, message }
            }
        };
        Err(Box::new(Failed { reason, tail: log.tail().iter().cloned().collect() }))
    }

    fn lost(&self, reason: String) -> Reason {
        Reason::Lost { uri: self.claim.machine.uri.clone(), reason }
    }

    /// Passes on what is told until the other thread has ended; gives why that was made to end.
    fn listen(
        &self,
        hear: &Receiver<Told>,
        shared: &Shared,
        token: &CancelToken,
        log: &mut LogWriter,
        progress: &dyn Progress,
        is_over: impl Fn() -> bool,
    ) -> Option<Reason> {
        let (mut stopped, mut bytes, mut last_word) = (None, 0_u64, Instant::now());
        while !is_over() {
            match hear.recv_timeout(LOOK) {
                Ok(told) => {
                    if let Told::Line(line) = &told {
                        bytes = bytes.saturating_add(line.len() as u64 + 1);
                        last_word = Instant::now();
                    }
                    self.pass_on(told, *locked(&shared.activity), log, progress);
                }
                // Who told has ended, or is about to.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(1)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if stopped.is_some() {
                continue;
            }
            stopped = match *locked(&shared.phase) {
                _ if interrupt::requested() => Some(Reason::Error(interrupt::Interrupted.into())),
                Phase::Calling(since) if since.elapsed() >= PATIENCE => {
                    Some(self.lost(format!("it did not answer within {} seconds", PATIENCE.as_secs())))
                }
                Phase::Building(since) => self.limit(since, last_word.max(since), bytes).map(Reason::Ended),
                Phase::Calling(_) | Phase::Copying => None,
            };
            if stopped.is_some() {
                token.cancel();
            }
        }
        stopped
    }

    /// The limit that a build has come to.
    fn limit(&self, began: Instant, last_word: Instant, bytes: u64) -> Option<Ended> {
        let settings = &self.settings;
        let is_over = |since: Instant, limit: u64| limit > 0 && since.elapsed() >= Duration::from_secs(limit);
        if is_over(began, settings.timeout) {
            Some(Ended::TimedOut(settings.timeout))
        } else if is_over(last_word, settings.max_silent_time) {
            Some(Ended::Silent(settings.max_silent_time))
        } else if settings.max_log_size > 0 && bytes > settings.max_log_size {
            Some(Ended::TooMuchLog(settings.max_log_size))
        } else {
            None
        }
    }

    fn pass_on(&self, told: Told, activity: ActivityId, log: &mut LogWriter, progress: &dyn Progress) {
        match told {
            Told::Line(mut line) => {
                line.push('\n');
                // The build goes on without its log; the end says so.
                let _ = log.write(line.as_bytes(), progress, activity);
            }
            Told::Notice(text) => progress.notice(&text),
            Told::Warning(text) => progress.warn(&text),
            Told::Problem(text) => progress.problem(&text),
            Told::Detail(text) => progress.detail(&text),
            Told::Event(event @ (Event::Start { .. } | Event::Stop(_) | Event::Result { .. })) => {
                progress.forward(&event);
            }
        }
    }

    /// The build itself, on the second thread.
    fn work(
        &self,
        watcher: Arc<dyn Progress>,
        shared: &Shared,
        progress: &dyn Progress,
    ) -> std::result::Result<Vec<TakenOutput>, Trouble> {
        let machine = &self.claim.machine;
        let open = || {
            let (store, warnings) = self.settings.open(&machine.store_uri(), Arc::clone(&watcher))?;
            warnings.iter().for_each(|warning| watcher.warn(warning));
            let about = store.about()?;
            Ok((store, about))
        };
        // Whatever is wrong with it, another machine may do.
        let (there, about) = open().map_err(|error: StoreError| match error.is_interruption() {
            true => Trouble::Here(error),
            false => Trouble::Lost(error),
        })?;
        let here = LocalStore::open(self.store.clone(), Arc::clone(&watcher)).map_err(Trouble::Here)?;
        self.begin(here.dir(), shared, progress);
        // Somebody whom it does not trust cannot say what a derivation is: it has to see that.
        let sends_drv = about.trusted == Some(false);
        self.send_inputs(&here, &*there, sends_drv, progress).map_err(Trouble::of)?;
        *locked(&shared.phase) = Phase::Building(Instant::now());
        let end = match sends_drv {
            true => self.request(&*there),
            false => self.order(&*there),
        };
        let paths = match end.map_err(Trouble::of)? {
            BuildEnd::Built(paths) => paths,
            BuildEnd::Failed { timed_out, message } => return Err(Trouble::Failed { timed_out, message }),
        };
        *locked(&shared.phase) = Phase::Copying;
        self.fetch_outputs(&here, &*there, &paths, progress).map_err(Trouble::of)
    }

    fn begin(&self, dir: &StoreDir, shared: &Shared, progress: &dyn Progress) {
        *locked(&shared.phase) = Phase::Copying;
        let (drv, uri) = (dir.print(&self.drv_path), &self.claim.machine.uri);
        let text = format!("building '{drv}' on '{uri}'");
        let fields = [drv.as_str(), uri.as_str()];
        let kind = ActivityKind::Build;
        *locked(&shared.activity) =
            progress.start(&Activity { kind, text: &text, fields: &fields, parent: ActivityId::NONE });
    }

    /// Sends what the machine lacks of the inputs.
    fn send_inputs(
        &self,
        here: &LocalStore,
        there: &dyn Store,
        sends_drv: bool,
        progress: &dyn Progress,
    ) -> Result<()> {
        let machine = &self.claim.machine;
        let waiting = || progress.notice(&format!("waiting for the upload lock to '{}'", machine.uri));
        // What another build sends meanwhile is there afterwards, and not sent again.
        let _lock = UploadLock::acquire(&here.layout().state_dir, machine, waiting)?;
        let fetch = self.settings.builders_use_substitutes;
        let options = CopyOptions { fetch, ..CopyOptions::default() };
        let mut roots: Vec<StorePath> = self.direct.iter().cloned().collect();
        roots.extend(sends_drv.then(|| self.drv_path.clone()));
        let plan = copy::plan(here, there, &roots, &options)?;
        copy::copy(here, there, plan, &options, progress)?;
        Ok(())
    }

    /// Has it build the derivation, as it is sent.
    fn order(&self, there: &dyn Store) -> Result<BuildEnd> {
        let Some(builder) = there.builder() else { return self.request(there) };
        let mut drv = (*self.drv).clone();
        drv.input_srcs.clone_from(&self.direct);
        drv.input_drvs.clear();
        builder.build(&BuildOrder {
            path: &self.drv_path,
            drv: &drv,
            max_silent_time: self.settings.max_silent_time,
            timeout: self.settings.timeout,
            max_log_size: self.settings.max_log_size,
            keep_failed: self.settings.keep_failed,
        })
    }

    /// Has it build the derivation, which was copied there.
    fn request(&self, there: &dyn Store) -> Result<BuildEnd> {
        let Some(realiser) = there.realiser() else {
            return Err(StoreError::unsupported("building", &there.uri()));
        };
        let request = DerivedPath { path: self.drv_path.clone(), outputs: Some(Outputs::All) };
        match realiser.realise(&[request], RealiseMode::Normal) {
            Ok(()) => Ok(BuildEnd::Built(BTreeMap::new())),
            Err(StoreError::Remote(error)) if !error.is_lost_connection() => {
                Ok(BuildEnd::Failed { timed_out: false, message: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in the outputs that are not here. They have no place before the thread that has the
    /// locks gives them one.
    fn fetch_outputs(
        &self,
        here: &LocalStore,
        there: &dyn Store,
        told: &BTreeMap<String, StorePath>,
        progress: &dyn Progress,
    ) -> Result<Vec<TakenOutput>> {
        let mut names = BTreeMap::new();
        for (name, output) in &self.drv.outputs {
            let path = output.path().or_else(|| told.get(name));
            let Some(path) = path else {
                return Err(StoreError::Missing(format!("{}!{name}", here.dir().display(&self.drv_path))));
            };
            names.insert(path.clone(), name.clone());
        }
        let paths: Vec<StorePath> =
            names.keys().filter(|path| !self.present.contains(*path)).cloned().collect();
        let mut items = Vec::new();
        for (path, item) in paths.iter().zip(there.items(&paths)?) {
            items.push(item.ok_or_else(|| StoreError::Invalid(here.dir().print(path)))?);
        }
        let items = copy::in_reference_order(items);
        let is_known = |path: &StorePath| self.inputs.contains(path) || names.contains_key(path);
        for item in &items {
            if let Some(reference) = item.info.references.iter().find(|path| !is_known(path)) {
                let (path, reference) = (here.dir().print(&item.info.path), here.dir().print(reference));
                return Err(StoreError::Reference { path, reference });
            }
        }
        let text = format!("copying {} paths", items.len());
        let watch = Watch::new(progress, &text, here.dir().clone(), &items, vec![way(there, here)], |_| 0);
        let source = there.source(&items)?;
        let mut outputs = Vec::new();
        for item in &items {
            let id = watch.begin(item);
            let taken = self.intake.take_in(Hashes::new(None, silent()), |sink| source.read(item, sink));
            watch.end(item, id, taken.is_ok());
            source.done(item, taken.is_ok())?;
            let (ingested, incoming, ()) = taken.map_err(|error| source.explain(item, error))?;
            if (ingested.nar_hash, ingested.nar_size) != (item.info.nar_hash, item.info.nar_size) {
                return Err(StoreError::HashChanged {
                    path: here.dir().print(&item.info.path),
                    expected: item.info.nar_hash.to_string(),
                    found: ingested.nar_hash.to_string(),
                });
            }
            let mut info = item.info.clone();
            info.ultimate = false;
            let name = names.get(&info.path).cloned().unwrap_or_default();
            outputs.push(TakenOutput { name, incoming, info, depth: ingested.depth });
        }
        Ok(outputs)
    }
}

/// Said of a failed build whose directory may be kept.
const KEPT: &str = "The failed build directory was kept on the remote builder due to `--keep-failed`. You can re-run \
                    the command with `--builders ''` to disable remote building for this invocation.";
