//! What every program has at hand: settings, surroundings, the user.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nival::progress::Progress;
use nival::settings::value::lexically_normal;
use nival::settings::{self, Environment, Machine, Settings};
use nival::store::local::gc::liveness::Keep;
use nival::store::local::{Layout, LocalOptions};
use nival::store::uri::{self, StoreKind, StoreUri, Surroundings};
use nival::store::{LocalStore, StoreError};

use super::error::Usage;
use super::ui::Ui;

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
    /// Experimental features whose flags were given.
    pub gated: Vec<Option<&'static str>>,
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
            gated: Vec::new(),
        };
        context.tell_warnings();
        Ok(context)
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
    pub fn open_store(&self) -> anyhow::Result<LocalStore> {
        let uri = self.settings.store_uri();
        self.open_store_at(uri)
    }

    /// Opens the store that the settings name, to collect its garbage.
    ///
    /// # Errors
    /// See [`Context::open_store`].
    pub fn open_store_to_collect(&self) -> anyhow::Result<LocalStore> {
        let mut options = self.local_options()?;
        options.use_reserve = true;
        Ok(LocalStore::open(options, self.progress())?)
    }

    /// How the store that the settings name would be opened.
    ///
    /// # Errors
    /// See [`Context::open_store`].
    pub fn local_options(&self) -> anyhow::Result<LocalOptions> {
        self.store_options(self.settings.store_uri())
    }

    /// The directory of the user's own profiles.
    pub fn profiles_dir(&self, layout: &Layout) -> Option<PathBuf> {
        if self.machine.is_root() {
            return Some(layout.state_dir.join("profiles/per-user/root"));
        }
        Some(self.environment.state_home(self.machine.home(&self.environment).0.as_deref())?.join("profiles"))
    }

    /// Opens the store that `uri` names.
    ///
    /// # Errors
    /// See [`Context::open_store`].
    pub fn open_store_at(&self, uri: &str) -> anyhow::Result<LocalStore> {
        Ok(LocalStore::open(self.store_options(uri)?, self.progress())?)
    }

    /// The other stores on this machine that `substituters` names, for reading.
    /// Those that cannot be used are told of.
    ///
    /// # Errors
    /// Usage errors.
    pub fn local_substituters(&self) -> anyhow::Result<Vec<LocalStore>> {
        let mut stores = Vec::new();
        for uri in self.settings.substituters() {
            let parsed = StoreUri::parse(uri, &self.current_dir).map_err(|error| Usage(error.to_string()))?;
            if !matches!(parsed.kind, StoreKind::Local(_)) {
                self.ui.warn(&format!(
                    "cannot repair from '{uri}': this version of Nival repairs from local stores"
                ));
                continue;
            }
            let mut options = self.store_options(uri)?;
            options.read_only = true;
            match LocalStore::open(options, nival::progress::silent()) {
                Ok(store) => stores.push(store),
                Err(error) => self.ui.warn(&format!("cannot repair from '{uri}': {error}")),
            }
        }
        Ok(stores)
    }

    fn store_options(&self, uri: &str) -> anyhow::Result<LocalOptions> {
        let uri = StoreUri::parse(uri, &self.current_dir).map_err(|error| Usage(error.to_string()))?;
        let around = Surroundings {
            environment: &self.environment,
            machine: &self.machine,
            settings: &self.settings,
            current_dir: &self.current_dir,
        };
        let (options, warnings) = uri::local_options(&uri, &around)?;
        for warning in warnings {
            self.ui.warn(&warning);
        }
        self.warn_of_missing_group();
        Ok(options)
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
