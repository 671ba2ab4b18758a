//! What comes before a build, on the thread that has the store: may it be built here, is nobody
//! else at work on it, and what does it have to know?

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::elsewhere::{self, Job, Place};
use super::failure;
use super::graph::Goal;
use super::own;
use crate::build::environment::references_graph;
use crate::build::log::LogOptions;
use crate::build::settings::BuildSettings;
use crate::build::steps::{Build, Described};
use crate::build::workplace::users::BuildUser;
use crate::build::workplace::{Isolation, SandboxOptions, SandboxPath, WorkplaceOptions, sandbox_available};
use crate::model::derivation::options::{self, BuildOptions, OptionsError};
use crate::model::derived_path::Outputs;
use crate::model::{Derivation, StorePath};
use crate::ops::realise::context::{RealiseContext, output_paths};
use crate::ops::realise::farm::Errand;
use crate::settings::SandboxMode;
use crate::store::api::Store as _;
use crate::store::api::realise::RealiseMode;
use crate::store::error::{FailureKinds, RealiseError, Result, StoreError};
use crate::sys::lock::PathLock;

/// What became of the try to begin a goal.
pub(super) enum Begun {
    /// Its outputs are there.
    Valid,
    /// As many builds run as may.
    NoSlot,
    /// Somebody else is at work on it, or there is no user for it.
    Locked,
    /// It can be built.
    Ready(Box<Prepared>),
}

/// A build that can begin.
pub(super) struct Prepared {
    pub job: Job,
    /// The locks of its outputs, by name of the output.
    pub locks: BTreeMap<String, PathLock>,
}

/// Finds out whether a goal can be built now.
///
/// # Errors
/// Why it cannot be built, and errors of the store.
pub(super) fn begin(context: &RealiseContext<'_>, goal: &Goal, has_slot: bool) -> Result<Begun> {
    if own::make(context, goal)? {
        return Ok(Begun::Valid);
    }
    let store = context.store;
    let options = BuildOptions::of(store.dir(), &goal.drv).map_err(|error| {
        failure::of_text(context, goal, misunderstood(context, goal, &error), FailureKinds::default())
    })?;
    require_fetched(context, goal)?;
    let claim = match elsewhere::place(context, goal, &options, has_slot)? {
        Place::Here => None,
        Place::There(claim) => Some(claim),
        Place::Nowhere => return Ok(Begun::NoSlot),
    };
    for warning in &options.warnings {
        context.progress.warn(warning);
    }
    store.check_features(&goal.drv)?;
    // Somebody else may have registered it unchecked.
    store.check_outputs(&goal.path, &goal.drv)?;
    require_resolved(context, goal)?;
    let inputs = inputs(context, &goal.drv)?;
    let Some(locks) = lock(context, goal)? else { return Ok(Begun::Locked) };
    let mut valid = BTreeMap::new();
    for (name, path) in output_paths(store, &goal.path, &goal.drv, &Outputs::All)? {
        if let Some(path) = path
            && store.is_there(&path)?
        {
            valid.insert(name, path);
        }
    }
    if goal.mode == RealiseMode::Normal && goal.wanted.iter().all(|name| valid.contains_key(name)) {
        return Ok(Begun::Valid);
    }
    if let Some(claim) = claim {
        let job = Job::There(Box::new(Errand {
            claim,
            drv_path: goal.path.clone(),
            drv: Arc::clone(&goal.drv),
            options,
            settings: Arc::clone(context.builds),
            inputs: closure(context, &inputs)?,
            direct: inputs,
            present: valid.into_values().collect(),
            log: log(context, &goal.path),
            store: store.options().clone(),
            intake: store.build_intake()?,
        }));
        return Ok(Begun::Ready(Box::new(Prepared { job, locks })));
    }
    let isolation = isolation(context, goal, &options)?;
    // In a sandbox there is nothing at the paths of outputs, whatever there is outside.
    let redirected = if isolation.is_some() { BTreeSet::new() } else { valid.into_values().collect() };
    let user = match user(context, goal)? {
        Who::Ourselves => None,
        Who::User(user) => Some(user),
        Who::Nobody => return Ok(Begun::Locked),
    };
    let closure = closure(context, &inputs)?;
    let described = described(context, goal, &options, &closure)?;
    let mut workplace = WorkplaceOptions::new(build_dir(context), &store.layout().real_store_dir);
    if let Some(mut sandbox) = isolation {
        sandbox.inputs = closure
            .iter()
            .map(|path| (store.real_path(path), PathBuf::from(store.dir().print(path))))
            .collect();
        workplace.isolation = Isolation::Sandbox(sandbox);
    }
    workplace.user = user;
    workplace.bits32 = cfg!(target_arch = "x86_64") && goal.drv.platform == b"i686-linux";
    workplace.filter_syscalls = context.builds.filter_syscalls;
    workplace.allow_new_privileges = context.builds.allow_new_privileges;
    let verb = match goal.mode {
        RealiseMode::Normal => "building",
        RealiseMode::Check => "checking outputs of",
        RealiseMode::Repair => "repairing outputs of",
    };
    let build = Build {
        drv_path: goal.path.clone(),
        drv: Arc::clone(&goal.drv),
        options,
        settings: Arc::clone(context.builds),
        store_dir: store.dir().clone(),
        workplace,
        log: log(context, &goal.path),
        inputs: closure,
        redirected,
        described,
        intake: store.build_intake()?,
        title: format!("{verb} '{}'", store.dir().display(&goal.path)),
    };
    Ok(Begun::Ready(Box::new(Prepared { job: Job::Here(Box::new(build)), locks })))
}

/// Refuses what this machine cannot build, for the first reason there is.
pub(super) fn require_able(context: &RealiseContext<'_>, goal: &Goal, options: &BuildOptions) -> Result<()> {
    let builds = context.builds;
    let platform = String::from_utf8_lossy(&goal.drv.platform);
    let is_own = goal.drv.builder.starts_with(b"builtin:");
    let reason = if builds.max_jobs == 0 && !is_own {
        "Reason: local builds are disabled (max-jobs = 0)\n       Hint: set 'max-jobs' to a non-zero value to \
         enable local builds, or configure remote builders via 'builders'"
            .to_owned()
    } else if !is_own && platform != builds.system && !builds.extra_platforms.contains(&*platform) {
        format!(
            "Reason: platform mismatch\n       Required system: '{platform}'\n       Current system: '{}'",
            builds.system
        )
    } else if !options.required_system_features.is_subset(&builds.system_features) {
        let list = |features: &BTreeSet<String>| features.iter().cloned().collect::<Vec<_>>().join(", ");
        format!(
            "Reason: missing system features\n       Required features: {{{}}}\n       Available features: {{{}}}",
            list(&options.required_system_features),
            list(&builds.system_features)
        )
    } else {
        return Ok(());
    };
    Err(failure::impossible(context, goal, &reason))
}

/// Refuses what has to be written anew before it can be built, and what each build makes another of.
fn require_resolved(context: &RealiseContext<'_>, goal: &Goal) -> Result<()> {
    let store = context.store;
    let later = |what| Err(RealiseError::NotAvailable(what).into());
    if options::is_impure(&goal.drv) {
        return later("building an impure derivation");
    }
    for path in goal.drv.input_drvs.keys() {
        let input = store.queries().read_derivation(path)?;
        if input.outputs.values().any(|output| output.path().is_none()) {
            return later("building with inputs whose paths follow from their contents");
        }
    }
    Ok(())
}

/// Refuses what could not be fetched although it should have been.
fn require_fetched(context: &RealiseContext<'_>, goal: &Goal) -> Result<()> {
    let unfetched = context.unfetched.borrow();
    let failed =
        goal.drv.output_paths().any(|(name, path)| goal.wanted.contains(name) && unfetched.contains(path));
    if failed && !context.builds.fallback {
        return Err(RealiseError::SubstitutesFailed(context.store.dir().print(&goal.path)).into());
    }
    Ok(())
}

/// The paths that a builder reads, without what they refer to.
fn inputs(context: &RealiseContext<'_>, drv: &Derivation) -> Result<BTreeSet<StorePath>> {
    let store = context.store;
    let mut inputs = drv.input_srcs.clone();
    for (path, names) in &drv.input_drvs {
        let input = store.queries().read_derivation(path)?;
        for (name, found) in output_paths(store, path, &input, &Outputs::Named(names.clone()))? {
            let unknown = || StoreError::Invalid(format!("{}!{name}", store.dir().print(path)));
            inputs.insert(found.ok_or_else(unknown)?);
        }
    }
    store.add_temp_roots(&inputs.iter().collect::<Vec<_>>())?;
    match inputs.iter().find_map(|path| match store.is_there(path) {
        Ok(true) => None,
        Ok(false) => Some(store.invalid(path)),
        Err(error) => Some(error),
    }) {
        None => Ok(inputs),
        Some(error) => Err(error),
    }
}

fn closure(context: &RealiseContext<'_>, inputs: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>> {
    let inputs: Vec<StorePath> = inputs.iter().cloned().collect();
    let graph = context.store.queries().closure(&inputs, false)?;
    graph.nodes().map(|node| graph.path(node)).collect()
}

/// Takes the locks of all outputs, or none if somebody has one of them.
fn lock(context: &RealiseContext<'_>, goal: &Goal) -> Result<Option<BTreeMap<String, PathLock>>> {
    let store = context.store;
    let mut locks = BTreeMap::new();
    for (name, output) in &goal.drv.outputs {
        let lock = match output.path() {
            Some(path) => store.try_lock(path)?,
            None => store.try_lock_output(&goal.path, name)?,
        };
        let Some(lock) = lock else {
            if !goal.told_of_waiting.replace(true) {
                let locked = match output.path() {
                    Some(path) => store.dir().print(path),
                    None => format!("{}!{name}", store.dir().display(&goal.path)),
                };
                context.progress.notice(&format!("waiting for lock on '{locked}'..."));
            }
            return Ok(None);
        };
        locks.insert(name.clone(), lock);
    }
    Ok(Some(locks))
}

/// Who a builder runs as.
enum Who {
    Ourselves,
    User(BuildUser),
    /// Every user is taken.
    Nobody,
}

/// The user that a builder runs as.
fn user(context: &RealiseContext<'_>, goal: &Goal) -> Result<Who> {
    let Some(group) = &context.builds.users_group else { return Ok(Who::Ourselves) };
    if !rustix::process::geteuid().is_root() {
        return Ok(Who::Ourselves);
    }
    let pool = context.store.layout().state_dir.join("userpool");
    let taken = BuildUser::take(&pool, group).map_err(|error| failure::of_error(context, goal, &error))?;
    if taken.is_none() && !goal.told_of_waiting.replace(true) {
        let drv = context.store.dir().display(&goal.path);
        context.progress.notice(&format!("waiting for a free build user ID for '{drv}'..."));
    }
    Ok(taken.map_or(Who::Nobody, Who::User))
}

/// What a builder sees of this machine, where that is not everything.
fn isolation(
    context: &RealiseContext<'_>,
    goal: &Goal,
    options: &BuildOptions,
) -> Result<Option<SandboxOptions>> {
    let (store, builds) = (context.store, context.builds);
    let dir = store.dir();
    let refuse = |text: String| Err(failure::of_text(context, goal, text, FailureKinds::default()));
    let wanted = match builds.sandbox {
        SandboxMode::Enabled if options.no_chroot => {
            let drv = dir.display(&goal.path);
            return refuse(format!(
                "derivation '{drv}' has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'"
            ));
        }
        SandboxMode::Enabled => true,
        SandboxMode::Disabled => false,
        SandboxMode::Relaxed => !options.no_chroot,
    };
    let allowed = |path: &str| {
        let path = std::path::Path::new(path);
        builds.allowed_impure_host_deps.iter().any(|allowed| path.starts_with(allowed))
    };
    for path in &options.impure_host_deps {
        let path = String::from_utf8_lossy(path);
        if !allowed(&path) {
            let drv = dir.display(&goal.path);
            return refuse(format!(
                "derivation '{drv}' requested impure path '{path}', but it was not in allowed-impure-host-deps"
            ));
        }
    }
    let real = &store.layout().real_store_dir;
    let is_elsewhere = real.as_path() != std::path::Path::new(dir.as_str());
    if !wanted && !is_elsewhere {
        return Ok(None);
    }
    if let Err(error) = sandbox_available() {
        if !builds.sandbox_fallback || is_elsewhere {
            return Err(failure::of_error(context, goal, &error));
        }
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        context
            .progress
            .warn(&format!("building without a sandbox, because there is none to be had: {cause}"));
        return Ok(None);
    }
    let chroot = real.join(format!("{}.chroot", goal.path.base_name()));
    let mut sandbox = SandboxOptions::new(chroot, dir.as_str());
    sandbox.build_dir = PathBuf::from(&builds.sandbox_build_dir);
    sandbox.dev_shm_size.clone_from(&builds.dev_shm_size);
    sandbox.with_kvm = builds.system_features.contains("kvm");
    sandbox.network = options::is_fixed(&goal.drv) || options::is_impure(&goal.drv);
    sandbox.must_drop_groups = builds.must_drop_groups;
    sandbox.certificates.clone_from(&builds.certificates);
    sandbox.paths = sandbox_paths(builds, options);
    Ok(Some(sandbox))
}

fn sandbox_paths(builds: &BuildSettings, options: &BuildOptions) -> Vec<SandboxPath> {
    let settings = builds.sandbox_paths.iter().map(|(inside, mount)| SandboxPath {
        inside: PathBuf::from(inside),
        outside: PathBuf::from(&mount.source),
        optional: mount.optional,
    });
    let asked = options.impure_host_deps.iter().map(|path| {
        let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
        SandboxPath { inside: path.clone(), outside: path, optional: true }
    });
    settings.chain(asked).collect()
}

fn build_dir(context: &RealiseContext<'_>) -> PathBuf {
    context.builds.build_dir.clone().unwrap_or_else(|| context.store.layout().state_dir.join("builds"))
}

fn log(context: &RealiseContext<'_>, drv: &StorePath) -> LogOptions {
    let builds = context.builds;
    let compress = builds.compress_log;
    let file = builds.keep_log.then(|| context.store.layout().new_log(drv, compress));
    LogOptions { file, compress, tail: builds.log_lines }
}

/// What is told of options that cannot be understood.
fn misunderstood(context: &RealiseContext<'_>, goal: &Goal, error: &OptionsError) -> String {
    let told = match error {
        OptionsError::NoNumber(_) => return error.to_string(),
        OptionsError::Attribute { .. } => failure::told(error),
        _ => format!("\n       error: {error}"),
    };
    format!("\n       … while parsing derivation '{}'\n{told}", context.store.dir().display(&goal.path))
}

/// What a builder is told of the closures of paths, which must all be among its inputs.
fn described(
    context: &RealiseContext<'_>,
    goal: &Goal,
    options: &BuildOptions,
    closure: &BTreeSet<StorePath>,
) -> Result<Described> {
    let mut described = Described::new();
    for paths in options.export_references_graph.values() {
        if let Some(path) = paths.iter().find(|path| !closure.contains(path)) {
            let path = context.store.dir().display(path);
            let text = format!(
                "cannot export references of path '{path}' because it is not in the input closure of the derivation"
            );
            return Err(failure::of_text(context, goal, text, FailureKinds::BUILDER));
        }
        if !described.contains_key(paths) {
            described.insert(paths.clone(), references_graph(context.store, paths)?);
        }
    }
    Ok(described)
}
