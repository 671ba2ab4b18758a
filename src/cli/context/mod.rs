//! What every program has at hand: settings, surroundings, the user.

mod taken;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nival::build::settings::BuildSettings;
use nival::fetch::memory::Memory;
use nival::model::StoreDir;
use nival::model::signature::PublicKey;
use nival::ops::copy::Trust;
use nival::ops::prefetch::Means;
use nival::ops::realise::substitute::Substituters;
use nival::progress::Progress;
use nival::settings::table::Effect;
use nival::settings::value::lexically_normal;
use nival::settings::{self, Environment, Machine, Settings};
use nival::store::api::collect::Keep;
use nival::store::layout::Layout;
use nival::store::local::LocalOptions;
use nival::store::open::Unmade;
use nival::store::open::uri;
use nival::store::open::uri::{StoreKind, StoreUri, Surroundings};
use nival::store::{LocalStore, Store, StoreError, open};

use crate::cli::error::Usage;
use crate::cli::output::messages::{Logs, Ui, level};
use crate::cli::output::streams::Out;
use crate::cli::output::version::{NIX_VERSION, VERSION};

/// One run of a program.
pub struct Context {
    /// The name it was called by.
    pub program: String,
    /// Variables.
    pub environment: Environment,
    /// User, processors and so on.
    pub machine: Machine,
    /// From files, variables and the command line.
    pub settings: Settings,
    /// Messages.
    pub ui: Arc<Ui>,
    /// Where relative paths begin.
    pub current_dir: PathBuf,
    /// `--version` was given.
    pub version_wanted: bool,
    /// `--help` was given.
    pub help_wanted: bool,
    /// `--no-gc-warning` was given.
    pub no_gc_warning: bool,
    /// `--readonly-mode` was given.
    pub readonly_mode: bool,
    /// Experimental features whose flags were given.
    pub gated: Vec<Option<&'static str>>,
    /// Settings that the user gave on the command line.
    pub given: BTreeSet<&'static str>,
    /// The user was told which settings of building change nothing.
    pub told_of_building: std::cell::Cell<bool>,
}

impl Context {
    /// Loads the settings.
    ///
    /// # Errors
    /// Bad configuration files and variables.
    pub fn new(program: &str, environment: Environment, ui: Arc<Ui>) -> anyhow::Result<Self> {
        let machine = Machine::detect();
        let current_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let settings = settings::load(&environment, &machine, parse_store_uri)?;
        let mut context = Self {
            program: program.to_owned(),
            environment,
            machine,
            settings,
            ui,
            current_dir,
            version_wanted: false,
            help_wanted: false,
            no_gc_warning: false,
            readonly_mode: false,
            gated: Vec::new(),
            given: BTreeSet::new(),
            told_of_building: std::cell::Cell::new(false),
        };
        if context.is_nix() {
            context.ui.set_logs(Logs::Hidden);
        }
        context.tell_warnings();
        nival::nar::case_hack::enable(context.settings.use_case_hack());
        Ok(context)
    }

    /// `NAME (Nival, like Nix) X.Y.Z`; with `-v` also where everything is.
    pub fn print_version(&self) -> anyhow::Result<()> {
        let mut out = Out::new();
        out.line(format_args!("{} (Nival, like Nix) {NIX_VERSION}", self.program))?;
        if self.ui.verbosity() > level::INFO {
            let dirs = self.environment.directories()?;
            let (home, _) = self.machine.home(&self.environment);
            let files: Vec<String> = self
                .environment
                .user_conf_files(home.as_deref())
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let others: Vec<&str> = self.settings.extra_platforms().iter().map(String::as_str).collect();
            out.line(format_args!("System type: {}", self.settings.system()))?;
            out.line(format_args!("Additional system types: {}", others.join(", ")))?;
            out.line(format_args!("Nival: {VERSION}"))?;
            out.line("Features: gc, signed-caches")?;
            out.line(format_args!(
                "System configuration file: \"{}\"",
                dirs.conf.join("nix.conf").display()
            ))?;
            out.line(format_args!("User configuration files: {}", files.join(":")))?;
            out.line(format_args!("Store directory: {}", dirs.store.display()))?;
            out.line(format_args!("State directory: \"{}\"", dirs.state.display()))?;
        }
        out.finish()
    }

    /// Whether this is the program `nix`.
    pub fn is_nix(&self) -> bool {
        self.program == "nix"
    }

    /// Prints what the settings have to complain about.
    pub fn tell_warnings(&mut self) {
        for warning in self.settings.take_warnings() {
            self.ui.warn(&warning.to_string());
        }
    }

    /// The user's progress display.
    pub fn progress(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.ui) as Arc<dyn Progress>
    }

    /// Opens the store that the settings name.
    ///
    /// # Errors
    /// [`StoreError`], or a usage error for a URI that cannot be read.
    pub fn open_store(&self) -> anyhow::Result<Box<dyn Store>> {
        open::require_cache(&self.parse_uri(self.settings.store_uri())?)?;
        self.open_store_to_add()
    }

    /// The store directory of the store that the settings name; it is opened only if it is not one of this
    /// machine.
    ///
    /// # Errors
    /// As [`Context::open_store`].
    pub fn store_dir(&self) -> anyhow::Result<StoreDir> {
        let uri = self.parse_uri(self.settings.store_uri())?;
        match uri::local_options(&uri, &self.surroundings()) {
            Ok((options, _)) => Ok(options.layout.store_dir),
            // A cache that is not there is made, as it is when something is added.
            Err(_) => Ok(self.open_store_to_add()?.dir().clone()),
        }
    }

    /// Where the parts of a store lie, if this process works on it itself.
    ///
    /// # Errors
    /// The text names no store.
    pub fn layout_of(&self, uri: &str) -> anyhow::Result<Option<Layout>> {
        let uri = self.parse_uri(uri)?;
        Ok(uri::local_options(&uri, &self.surroundings()).ok().map(|(options, _)| options.layout))
    }

    fn parse_uri(&self, text: &str) -> anyhow::Result<StoreUri> {
        Ok(StoreUri::parse(text, &self.current_dir).map_err(|error| Usage(error.to_string()))?)
    }

    /// As [`Context::open_store`]; a cache that is not there is made.
    pub fn open_store_to_add(&self) -> anyhow::Result<Box<dyn Store>> {
        let uri = self.parse_uri(self.settings.store_uri())?;
        let (store, warnings) = open::open(&uri, &self.surroundings(), self.progress())?;
        warnings.iter().for_each(|warning| self.ui.warn(warning));
        if store.is_direct() {
            self.warn_of_local_store();
        }
        Ok(store)
    }

    /// Opens the store that the settings name, to be worked on by this process.
    pub fn open_local_store(&self) -> anyhow::Result<LocalStore> {
        Ok(LocalStore::open(self.local_options()?, self.progress())?)
    }

    /// As [`Context::open_store`], to collect its garbage.
    pub fn open_any_to_collect(&self) -> anyhow::Result<Box<dyn Store>> {
        let uri = self.parse_uri(self.settings.store_uri())?;
        match open::is_remote(&uri, &self.surroundings())? {
            true => self.open_store(),
            false => Ok(Box::new(self.open_store_to_collect()?)),
        }
    }

    /// Opens the store that the settings name, to collect its garbage.
    pub fn open_store_to_collect(&self) -> anyhow::Result<LocalStore> {
        let mut options = self.local_options()?;
        options.use_reserve = true;
        Ok(LocalStore::open(options, self.progress())?)
    }

    /// How the store that the settings name would be opened.
    pub fn local_options(&self) -> anyhow::Result<LocalOptions> {
        self.store_options(self.settings.store_uri())
    }

    /// The directory of the user's own profiles; that of the machine's store,
    /// whichever store is worked on.
    pub fn profiles_dir(&self) -> Option<PathBuf> {
        if self.machine.is_root() {
            return Some(self.environment.directories().ok()?.state.join("profiles/per-user/root"));
        }
        Some(self.environment.state_home(self.machine.home(&self.environment).0.as_deref())?.join("profiles"))
    }

    fn home(&self) -> anyhow::Result<PathBuf> {
        let (home, _) = self.machine.home(&self.environment);
        home.ok_or_else(|| anyhow::anyhow!("cannot determine your home directory"))
    }

    /// The user's directory for state.
    fn state_home(&self) -> anyhow::Result<PathBuf> {
        let home = self.home()?;
        self.environment
            .state_home(Some(&home))
            .ok_or_else(|| anyhow::anyhow!("cannot determine your home directory"))
    }

    /// The user's link to the profile in use, whether or not it is there.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn profile_link(&self) -> anyhow::Result<PathBuf> {
        Ok(match self.settings.use_xdg_base_directories() {
            true => self.state_home()?.join("profile"),
            false => self.home()?.join(".nix-profile"),
        })
    }

    /// The directory of what packages are chosen from by default.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn default_expression(&self) -> anyhow::Result<PathBuf> {
        Ok(match self.settings.use_xdg_base_directories() {
            true => self.state_home()?.join("defexpr"),
            false => self.home()?.join(".nix-defexpr"),
        })
    }

    /// The list of the user's channels.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn channels_file(&self) -> anyhow::Result<PathBuf> {
        Ok(match self.settings.use_xdg_base_directories() {
            true => self.state_home()?.join("channels"),
            false => self.home()?.join(".nix-channels"),
        })
    }

    /// The profile that is worked on unless another one is named.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn default_profile(&self) -> anyhow::Result<PathBuf> {
        if let Some(profile) = self.environment.non_empty("NIX_PROFILE") {
            return Ok(self.absolute(Path::new(profile)));
        }
        let link = self.profile_link()?;
        match std::fs::read_link(&link) {
            Ok(target) => {
                let base = link.parent().unwrap_or(Path::new("/")).to_owned();
                Ok(self.absolute(&base.join(target)))
            }
            // Something else is there: then that is the profile.
            Err(_) if std::fs::symlink_metadata(&link).is_ok() => Ok(link),
            Err(_) => match self.profiles_dir() {
                Some(dir) => Ok(dir.join("profile")),
                None => Ok(link),
            },
        }
    }

    /// Makes the user's links to the profile and (with `expressions`) channels where
    /// they are missing; those to the profile only if none was named (`unnamed`).
    ///
    /// # Errors
    /// Files that cannot be made.
    pub fn make_user_links(&self, unnamed: bool, expressions: bool) -> anyhow::Result<()> {
        let Some(profiles) = self.profiles_dir() else { return Ok(()) };
        let state = self.environment.directories()?.state;
        let make_dir = |dir: &Path| {
            std::fs::create_dir_all(dir).map_err(nival::sys::PathError::at("creating directory", dir))
        };
        let make_link = |link: &Path, target: &Path| -> anyhow::Result<()> {
            match std::os::unix::fs::symlink(target, link) {
                // Whatever is there is the user's.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                made => Ok(made.map_err(nival::sys::PathError::at("creating symlink", link))?),
            }
        };
        make_dir(&profiles)?;
        let root_profiles = state.join("profiles/per-user/root");
        if unnamed {
            if self.machine.is_root() {
                make_link(&state.join("profiles/default"), &root_profiles.join("profile"))?;
            }
            let link = self.profile_link()?;
            // Without a home there is nothing to put it into.
            if link.parent().is_some_and(Path::exists) || self.settings.use_xdg_base_directories() {
                link.parent().map_or(Ok(()), make_dir)?;
                make_link(&link, &profiles.join("profile"))?;
            }
        }
        if !expressions {
            return Ok(());
        }
        let expressions = self.default_expression()?;
        if std::fs::symlink_metadata(&expressions).is_ok() || !self.home()?.exists() {
            return Ok(());
        }
        make_dir(&expressions)?;
        if self.machine.is_root() {
            return make_link(&expressions.join("channels"), &root_profiles.join("channels"));
        }
        make_link(&expressions.join("channels"), &profiles.join("channels"))?;
        make_link(&expressions.join("channels_root"), &root_profiles.join("channels"))
    }

    /// Opens a store of any kind; a cache has to be there.
    ///
    /// # Errors
    /// A usage error for a URI that cannot be read, and those of the store.
    pub fn open_any(&self, uri: &str) -> anyhow::Result<Box<dyn Store>> {
        let uri = self.parse_uri(uri)?;
        open::require_cache(&uri)?;
        self.open_with(&uri, &self.surroundings())
    }

    /// Opens a store of any kind; what is not there is made.
    pub fn open_to_write(&self, uri: &str) -> anyhow::Result<Box<dyn Store>> {
        self.open_with(&self.parse_uri(uri)?, &self.surroundings())
    }

    /// What stands for a store that would have to be made, until it is known
    /// that something can be put into it.
    pub fn unmade(&self, uri: &str) -> anyhow::Result<Option<Unmade>> {
        Ok(open::unmade(&self.parse_uri(uri)?, &self.surroundings())?)
    }

    fn open_with(&self, uri: &StoreUri, around: &Surroundings<'_>) -> anyhow::Result<Box<dyn Store>> {
        let (store, warnings) = open::open(uri, around, self.progress())?;
        for warning in warnings {
            self.ui.warn(&warning);
        }
        if store.is_direct() {
            self.warn_of_local_store();
        }
        Ok(store)
    }

    /// Whose signatures count, by the settings.
    ///
    /// # Errors
    /// Keys that are none.
    pub fn trust(&self) -> anyhow::Result<Trust> {
        let parse = |key: &String| {
            let name = key.split_once(':').map_or(key.as_str(), |(name, _)| name);
            PublicKey::parse(key).map_err(|error| anyhow::anyhow!("trusted-public-keys: '{name}': {error}"))
        };
        Ok(Trust { keys: self.settings.trusted_public_keys().iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// What opening a store needs to know.
    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            environment: &self.environment,
            machine: &self.machine,
            settings: &self.settings,
            current_dir: &self.current_dir,
            patient: true,
        }
    }

    /// What was downloaded before for a store, as long as it counts; nothing where that cannot be
    /// remembered, of which the user is told.
    pub fn memory_of_downloads(&self, dir: &StoreDir) -> Option<Memory> {
        let (home, _) = self.machine.home(&self.environment);
        let cache_dir = self.environment.cache_home(home.as_deref())?;
        match Memory::open(&cache_dir, dir.as_str(), self.settings.tarball_ttl()) {
            Ok(memory) => Some(memory),
            Err(why) => {
                self.ui.detail(&why);
                None
            }
        }
    }

    /// How what is downloaded comes here: what was downloaded before is looked at only in `memory`.
    pub fn means<'m>(&self, memory: Option<&'m Memory>) -> Means<'m> {
        Means { http: open::http_settings(&self.surroundings()), progress: self.progress(), memory }
    }

    /// How derivations are built here.
    pub fn builds(&self) -> Arc<BuildSettings> {
        let http = open::http_settings(&self.surroundings());
        Arc::new(BuildSettings::new(&self.settings, self.environment.clone(), http))
    }

    /// The stores that missing paths may come from. Those that cannot be used
    /// are told of.
    pub fn substituters(&self) -> Substituters {
        let mut substituters = Substituters::default();
        if !self.settings.substitute() {
            return substituters;
        }
        for uri in self.settings.substituters() {
            match self.open_substituter(uri) {
                Ok(store) => substituters.push(store),
                Err(error) => {
                    let text = crate::cli::error::text(&error);
                    self.ui.warn(&format!("{text}; '{}' is not asked", nival::http::url::shown(uri)))
                }
            }
        }
        substituters
    }

    /// Whose signatures a store needs, if it needs any.
    ///
    /// # Errors
    /// Keys that are none.
    pub fn trust_for(&self, store: &dyn Store) -> anyhow::Result<Option<Trust>> {
        if store.requires_signatures() { Ok(Some(self.trust()?)) } else { Ok(None) }
    }

    fn open_substituter(&self, uri: &str) -> anyhow::Result<Box<dyn Store>> {
        let parsed = StoreUri::parse(uri, &self.current_dir)?;
        if !matches!(parsed.kind, StoreKind::Local(_)) {
            open::require_cache(&parsed)?;
            let around = Surroundings { patient: false, ..self.surroundings() };
            return self.open_with(&parsed, &around);
        }
        // Only to be read, and nothing is to be made where there is none.
        let mut options = self.store_options(uri)?;
        options.read_only = true;
        Ok(Box::new(LocalStore::open(options, nival::progress::silent())?))
    }

    fn store_options(&self, uri: &str) -> anyhow::Result<LocalOptions> {
        let uri = self.parse_uri(uri)?;
        let (options, warnings) = uri::local_options(&uri, &self.surroundings())?;
        for warning in warnings {
            self.ui.warn(&warning);
        }
        self.warn_of_local_store();
        Ok(options)
    }

    /// What the settings promise, and a store of this machine does not keep.
    fn warn_of_local_store(&self) {
        self.warn_of_missing_group();
        if !self.told_of_building.replace(true) {
            self.warn_without_effect(|effect| effect == Effect::OfBuilding);
        }
    }

    /// Builds as root need users to build as.
    fn warn_of_missing_group(&self) {
        let group = self.settings.build_users_group();
        if group.is_empty() || !self.machine.is_root() {
            return;
        }
        let known = std::fs::read_to_string("/etc/group")
            .is_ok_and(|text| text.lines().any(|line| line.split(':').next() == Some(group)));
        if !known {
            self.ui.warn(&format!("the group '{group}' specified in 'build-users-group' does not exist"));
        }
    }

    /// What keeps paths alive besides references, by the settings.
    pub fn keep(&self) -> Keep {
        Keep { derivations: self.settings.keep_derivations(), outputs: self.settings.keep_outputs() }
    }

    /// A path from the command line, absolute and without `.`, `..` and
    /// doubled slashes; symlinks stay.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        let path = self.current_dir.join(path);
        // The current directory is absolute, and so is what is joined to it.
        lexically_normal(&path).unwrap_or(path)
    }
}

/// For settings that hold store URIs.
fn parse_store_uri(text: &str) -> Option<String> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    StoreUri::parse(text, &here).ok().map(|uri| uri.to_string())
}

/// The error for a path that is not below the store directory.
pub fn not_in_store(path: &Path) -> StoreError {
    nival::model::store_path::StorePathError::NotInStore(path.display().to_string()).into()
}
