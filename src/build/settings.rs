//! How derivations are built here, as the settings say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::http::settings::HttpSettings;
use crate::progress::Progress;
use crate::settings::value::{Mount, SandboxMode};
use crate::settings::{Environment, Machine, Settings};
use crate::store::api::Store;
use crate::store::error::Result;
use crate::store::open;
use crate::store::open::uri::{StoreUri, Surroundings};

/// How derivations are built. Made by [`BuildSettings::new`], and changed field by field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BuildSettings {
    /// The system of this machine.
    pub system: String,
    /// Other systems whose programs run here.
    pub extra_platforms: BTreeSet<String>,
    /// What this machine offers to builds that ask for it.
    pub system_features: BTreeSet<String>,
    /// Builds at a time; 0 for none on this machine.
    pub max_jobs: u64,
    /// What builders are told of processors; 0 for all.
    pub cores: u64,
    /// After a failure, what does not depend on it goes on.
    pub keep_going: bool,
    /// Directories of failed builds stay.
    pub keep_failed: bool,
    /// What cannot be fetched although it should be is built.
    pub fallback: bool,
    /// What does not want to be fetched is fetched all the same.
    pub always_allow_substitutes: bool,
    /// Seconds that a build may take; 0 for any.
    pub timeout: u64,
    /// Seconds that a builder may be silent; 0 for any.
    pub max_silent_time: u64,
    /// Bytes that a builder may print; 0 for any.
    pub max_log_size: u64,
    /// Logs are kept.
    pub keep_log: bool,
    /// They are compressed.
    pub compress_log: bool,
    /// Lines of a log that are shown with a failure.
    pub log_lines: usize,
    /// The group whose members builders run as; none for the user of this process.
    pub users_group: Option<String>,
    /// Whether builds are isolated.
    pub sandbox: SandboxMode,
    /// They run without, where the system has no means to isolate them.
    pub sandbox_fallback: bool,
    /// What is seen of this machine inside, by the path there.
    pub sandbox_paths: BTreeMap<String, Mount>,
    /// Where a builder sees its directory.
    pub sandbox_build_dir: String,
    /// The size of `/dev/shm`, as mount options have it.
    pub dev_shm_size: String,
    /// The certificates for builders with a network.
    pub certificates: Option<PathBuf>,
    /// Files outside that derivations may ask for.
    pub allowed_impure_host_deps: BTreeSet<String>,
    /// System calls that make setuid files or extended attributes fail.
    pub filter_syscalls: bool,
    /// A build in a sandbox fails where groups cannot be given up.
    pub must_drop_groups: bool,
    /// Builders may gain privileges.
    pub allow_new_privileges: bool,
    /// Where build directories are made; none for below the state directory.
    pub build_dir: Option<PathBuf>,
    /// A program that is run before each build.
    pub pre_build_hook: Option<PathBuf>,
    /// A program that is run after each build.
    pub post_build_hook: Option<PathBuf>,
    /// A program that compares outputs that differ.
    pub diff_hook: Option<PathBuf>,
    /// Files of the keys that outputs are signed with.
    pub secret_key_files: Vec<PathBuf>,
    /// Seconds between two looks for something that another process has.
    pub poll_interval: u64,
    /// The features for experiments that are enabled.
    pub features: BTreeSet<String>,
    /// The variables that builds with fixed outputs may ask for.
    pub environment: Environment,
    /// How requests to servers are made.
    pub http: HttpSettings,
    /// Machines that build for this one, as [`crate::build::machines`] reads them.
    pub builders: String,
    /// They fetch inputs themselves where they can.
    pub builders_use_substitutes: bool,
    /// Where files that the settings name without a full name lie.
    pub current_dir: PathBuf,
    /// All settings, with which stores of such machines are opened.
    pub settings: Arc<Settings>,
    /// All settings as a text, for programs that are run after a build.
    pub config: String,
}

impl BuildSettings {
    /// What `settings` say; `environment` is that of this process, and `http` says how requests are made.
    pub fn new(settings: &Settings, environment: Environment, http: HttpSettings) -> Self {
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        let path = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
        let config: Vec<String> = settings
            .iter()
            .map(|shown| format!("{} = {}\n", shown.row.name, shown.value.to_text()))
            .collect();
        Self {
            system: settings.system().to_owned(),
            extra_platforms: settings.extra_platforms().clone(),
            system_features: settings.system_features().clone(),
            max_jobs: settings.max_jobs(),
            cores: settings.cores(),
            keep_going: settings.keep_going(),
            keep_failed: settings.keep_failed(),
            fallback: settings.fallback(),
            always_allow_substitutes: settings.always_allow_substitutes(),
            timeout: unsigned(settings.timeout()),
            max_silent_time: unsigned(settings.max_silent_time()),
            max_log_size: settings.max_build_log_size(),
            keep_log: settings.keep_build_log(),
            compress_log: settings.compress_build_log(),
            log_lines: usize::try_from(settings.log_lines()).unwrap_or(usize::MAX),
            users_group: Some(settings.build_users_group().to_owned()).filter(|group| !group.is_empty()),
            sandbox: settings.sandbox(),
            sandbox_fallback: settings.sandbox_fallback(),
            sandbox_paths: settings.sandbox_paths().clone(),
            sandbox_build_dir: settings.sandbox_build_dir().to_owned(),
            dev_shm_size: settings.sandbox_dev_shm_size().to_owned(),
            certificates: settings.ssl_cert_file().map(PathBuf::from),
            allowed_impure_host_deps: settings.allowed_impure_host_deps().clone(),
            filter_syscalls: settings.filter_syscalls(),
            must_drop_groups: settings.require_drop_supplementary_groups(),
            allow_new_privileges: settings.allow_new_privileges(),
            build_dir: settings.build_dir().map(PathBuf::from),
            pre_build_hook: path(settings.pre_build_hook()),
            post_build_hook: path(settings.post_build_hook()),
            diff_hook: settings.diff_hook().filter(|_| settings.run_diff_hook()).map(PathBuf::from),
            secret_key_files: settings.secret_key_files().iter().map(PathBuf::from).collect(),
            poll_interval: settings.build_poll_interval(),
            features: settings.experimental_features().clone(),
            environment,
            http,
            builders: settings.builders().to_owned(),
            builders_use_substitutes: settings.builders_use_substitutes(),
            current_dir: std::path::absolute(".").unwrap_or_default(),
            settings: Arc::new(settings.clone()),
            config: config.concat(),
        }
    }

    /// Opens the store of a machine, with warnings for the user.
    ///
    /// # Errors
    /// Those of [`open::open`].
    pub fn open(&self, uri: &str, progress: Arc<dyn Progress>) -> Result<(Box<dyn Store>, Vec<String>)> {
        let around = Surroundings {
            environment: &self.environment,
            machine: &Machine::detect(),
            settings: &self.settings,
            current_dir: &self.current_dir,
            patient: true,
        };
        open::open(&StoreUri::parse(uri, &self.current_dir)?, &around, progress)
    }
}
