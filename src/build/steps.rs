//! The steps of one build, on a thread that has no store: a place to work is made, the builder is
//! run in it, and what it leaves behind is taken in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builtin::{self, Means};
use super::environment::{DescribedPath, Surroundings, environment};
use super::error::BuildError;
use super::log::{LogOptions, LogWriter};
use super::outputs::{self, OutputPlan};
use super::process::{Ended, Limits, Program};
use super::settings::BuildSettings;
use super::workplace::users::BuildUser;
use super::workplace::{Isolation, Workplace, WorkplaceOptions};
use crate::model::derivation::options::{self, BuildOptions};
use crate::model::{Derivation, StoreDir, StorePath};
use crate::progress::{Activity, ActivityId, ActivityKind, Progress};
use crate::store::error::StoreError;
use crate::store::local::batch::Intake;
use crate::sys::remove;

/// What is known of the closures of paths that a builder is told of.
pub type Described = BTreeMap<BTreeSet<StorePath>, Vec<DescribedPath>>;

/// A build with everything that has to be known for it.
pub struct Build {
    /// The derivation.
    pub drv_path: StorePath,
    /// What it says.
    pub drv: Arc<Derivation>,
    /// What it says of its build.
    pub options: BuildOptions,
    /// How builds are made here.
    pub settings: Arc<BuildSettings>,
    /// The store, as the builder sees it.
    pub store_dir: StoreDir,
    /// Where it works.
    pub workplace: WorkplaceOptions,
    /// What is kept of its log.
    pub log: LogOptions,
    /// The closure of what its builder reads.
    pub inputs: BTreeSet<StorePath>,
    /// Outputs that its builder must not see, because they are there already.
    pub redirected: BTreeSet<StorePath>,
    /// What it is told of paths.
    pub described: Described,
    /// Takes in what it makes.
    pub intake: Intake,
    /// What is told when it begins, without dots.
    pub title: String,
}

/// What a build has made.
pub struct Built {
    /// Its outputs, which have no place in the store yet.
    pub made: outputs::Outcome,
    /// What it says of its build.
    pub options: BuildOptions,
    /// The closure of what its builder read.
    pub inputs: BTreeSet<StorePath>,
}

/// Why a build has made nothing.
#[derive(Debug)]
pub enum Reason {
    /// Its builder did not end well.
    Ended(Ended),
    /// Something else.
    Error(BuildError),
    /// A store, while it was built on another machine.
    Store(StoreError),
    /// Another machine has built it, and failed.
    Elsewhere {
        /// Its store.
        uri: String,
        /// It took too long, or was silent for too long.
        timed_out: bool,
        /// What was told of it there.
        message: String,
    },
    /// Another machine cannot be used, or was lost while it built; the next may do.
    Lost {
        /// Its store.
        uri: String,
        /// Why.
        reason: String,
    },
}

/// A build that has made nothing.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub reason: Reason,
    /// The last lines of its log.
    pub tail: Vec<String>,
}

impl Failed {
    /// Whether it was told to end.
    pub fn is_interruption(&self) -> bool {
        match &self.reason {
            Reason::Error(error) => error.is_interruption(),
            Reason::Store(error) => error.is_interruption(),
            Reason::Ended(_) | Reason::Elsewhere { .. } | Reason::Lost { .. } => false,
        }
    }
}

impl From<BuildError> for Box<Failed> {
    fn from(error: BuildError) -> Self {
        Self::new(Failed { reason: Reason::Error(error), tail: Vec::new() })
    }
}

impl Build {
    /// Builds it.
    ///
    /// # Errors
    /// [`Failed`]; nothing of it is left then, but its log, and its directory if that is wanted.
    pub fn run(self, progress: &dyn Progress) -> Result<Built, Box<Failed>> {
        let redirect = |path: &StorePath| self.redirected.contains(path);
        let (dir, drv_path) = (&self.store_dir, &self.drv_path);
        let plan = OutputPlan::new(dir, drv_path, &self.drv, &self.options, &self.inputs, redirect)
            .map_err(|error| BuildError::Outputs(error.into()))?;
        let scratch = plan.scratch();
        // What a builder of ours makes is ours.
        let is_program = builtin::name(&self.drv.builder).is_none();
        let owner = self.workplace.user.as_ref().map(BuildUser::uid).filter(|_| is_program);
        if matches!(self.workplace.isolation, Isolation::Host) {
            // Whatever is there was not registered: somebody was interrupted.
            for path in scratch.values() {
                remove::remove(&self.workplace.store_dir.join(path.base_name())).map_err(BuildError::from)?;
            }
        }
        let real_store = self.workplace.store_dir.clone();
        let workplace = Workplace::make(self.workplace)?;
        let around = Surroundings {
            store_dir: dir,
            inside: workplace.inside(),
            cores: match self.settings.cores {
                0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
                cores => cores,
            },
            scratch: &scratch,
            variable: &|name| self.settings.environment.get(name).map(ToOwned::to_owned),
            graph: &|paths| {
                let known = self.described.get(paths).cloned();
                known.ok_or_else(|| StoreError::Missing(dir.print(drv_path)))
            },
        };
        let made = environment(&self.drv, &self.options, &around).map_err(BuildError::from)?;
        let mut log = LogWriter::create(&self.log).map_err(BuildError::from)?;
        let program = Program {
            builder: &self.drv.builder,
            args: &made.arguments,
            env: &made.variables,
            files: &made.files,
        };
        let mut at_work = AtWork { workplace, progress, keep_failed: self.settings.keep_failed };
        let shown = dir.print(drv_path);
        let begin = || {
            let (kind, parent) = (ActivityKind::Build, ActivityId::NONE);
            let fields = [shown.as_str(), ""];
            progress.start(&Activity { kind, text: &self.title, fields: &fields, parent })
        };
        let (activity, ended) = match builtin::name(&self.drv.builder) {
            None => {
                let builder = at_work.workplace.start(&program)?;
                let activity = begin();
                (activity, builder.watch(&limits(&self.settings), &mut log, progress, activity))
            }
            Some(name) => {
                let activity = begin();
                let out = scratch.get("out").map_or("", |path| path.base_name());
                let work = |_: &Path, outputs_in: &Path| {
                    let means = Means {
                        variables: program.env,
                        out: &outputs_in.join(out),
                        may_fetch: options::is_fixed(&self.drv) || options::is_impure(&self.drv),
                        http: self.settings.http.clone(),
                        progress: crate::progress::silent(),
                    };
                    builtin::run(&name, &means)
                };
                (activity, at_work.workplace.run_builtin(work, &mut log, progress, activity))
            }
        };
        let logged = log.finish(progress, activity);
        progress.stop(activity);
        let places = at_work.workplace.outputs_in().to_owned();
        let is_shared = places == real_store;
        // What was written aside goes, whatever becomes of the build.
        let _aside = Aside(
            plan.outputs
                .values()
                .filter(|output| is_shared && output.path.as_ref() != Some(&output.scratch))
                .map(|output| places.join(output.scratch.base_name()))
                .collect(),
        );
        let reason = match (ended, logged) {
            (Ok(Ended::Exited(0)), Ok(())) => {
                match outputs::take(at_work.workplace.outputs_in(), &plan, owner, &self.intake) {
                    Ok(made) => {
                        drop(plan);
                        return Ok(Built { made, options: self.options, inputs: self.inputs });
                    }
                    Err(error) => Reason::Error(error.into()),
                }
            }
            (Ok(Ended::Exited(0)), Err(error)) => Reason::Error(error.into()),
            (Ok(ended), _) => Reason::Ended(ended),
            (Err(error), _) => Reason::Error(error),
        };
        let failed = Failed { reason, tail: log.tail().iter().cloned().collect() };
        if !failed.is_interruption() {
            at_work.keep();
        }
        Err(Box::new(failed))
    }
}

/// Paths that are removed at the end.
struct Aside(Vec<PathBuf>);

impl Drop for Aside {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed now goes with the next collection.
            let _ = remove::remove(path);
        }
    }
}

/// A place where a builder works, whose directory may be kept after it has failed.
struct AtWork<'p> {
    workplace: Workplace,
    progress: &'p dyn Progress,
    keep_failed: bool,
}

impl AtWork<'_> {
    fn keep(self) {
        if self.keep_failed {
            match self.workplace.keep() {
                Ok(kept) => self.progress.notice(&format!("note: keeping build directory {kept:?}")),
                Err(error) => self.progress.warn(&error.to_string()),
            }
        }
    }
}

fn limits(settings: &BuildSettings) -> Limits {
    let some = |number: u64| (number > 0).then_some(number);
    Limits {
        timeout: some(settings.timeout),
        silence: some(settings.max_silent_time),
        log_size: some(settings.max_log_size),
    }
}
