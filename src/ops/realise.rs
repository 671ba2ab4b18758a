//! Making paths valid that somebody asked for: what is missing is fetched, and
//! environments, which need no builder, are made.

use std::collections::BTreeSet;

use super::copy::Trust;
use super::substitute::{Fetch, Substituters};
use super::user_env::{self, UserEnvError};
use crate::model::{Derivation, StoreDir, StorePath};
use crate::progress::Progress;
use crate::store::error::{Result, StoreError};
use crate::store::local::LocalStore;
use crate::store::managed::ManagedStore;

/// A path, or outputs of a derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path.
    pub path: StorePath,
    /// Which outputs; `None` for the path itself.
    pub outputs: Option<Outputs>,
}

/// Outputs of a derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outputs {
    /// All of them.
    All,
    /// Those with these names.
    Named(BTreeSet<String>),
}

impl Outputs {
    /// Whether an output is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }

    /// One that is among them and that a derivation does not have.
    pub fn missing(&self, drv: &Derivation) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Named(names) => {
                names.iter().map(String::as_str).find(|name| !drv.outputs.contains_key(*name))
            }
        }
    }

    /// The names and paths of those that `drv` has; no path where it follows
    /// from the build and nobody has built it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn of(
        &self,
        store: &dyn ManagedStore,
        path: &StorePath,
        drv: &Derivation,
    ) -> Result<Vec<(String, Option<StorePath>)>> {
        let known = store.derivation_outputs(path)?;
        let found = |name: &str| known.iter().find(|(known, _)| known == name).map(|(_, path)| path.clone());
        let wanted = drv.outputs.iter().filter(|(name, _)| self.contains(name));
        Ok(wanted
            .map(|(name, output)| (name.clone(), output.path().cloned().or_else(|| found(name))))
            .collect())
    }
}

impl Request {
    /// A path itself.
    pub fn of_path(path: StorePath) -> Self {
        Self { path, outputs: None }
    }

    /// Reads `PATH`, `DRV!NAME,NAME` or `DRV!*`. In old protocols (`plain_is_all`)
    /// a derivation alone means all of its outputs.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(dir: &StoreDir, text: &str, plain_is_all: bool) -> Result<Self> {
        let (path, outputs) = match text.split_once('!') {
            Some((path, "*")) => (path, Some(Outputs::All)),
            Some((path, names)) => {
                (path, Some(Outputs::Named(names.split(',').map(str::to_owned).collect())))
            }
            None => (text, None),
        };
        let path = dir.parse(path)?;
        let outputs = outputs.or_else(|| (plain_is_all && path.is_derivation()).then_some(Outputs::All));
        Ok(Self { path, outputs })
    }

    /// As it is read.
    pub fn print(&self, dir: &StoreDir) -> String {
        let path = dir.print(&self.path);
        match &self.outputs {
            None => path,
            Some(Outputs::All) => format!("{path}!*"),
            Some(Outputs::Named(names)) => {
                format!("{path}!{}", names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was there.
    Valid,
    /// Something was fetched.
    Fetched,
    /// Something was made.
    Made,
    /// It cannot be had, and why.
    Failed(StoreError),
}

/// What is missing, and where it would come from.
#[derive(Default)]
pub struct Missing {
    /// Derivations that would have to be built.
    pub build: BTreeSet<StorePath>,
    /// What would be fetched.
    pub fetch: Fetch,
    /// Paths that nobody has.
    pub unknown: BTreeSet<StorePath>,
}

/// What requests are fulfilled with.
pub struct Means<'m> {
    /// Where they are to be valid.
    pub store: &'m LocalStore,
    /// What is fetched from.
    pub substituters: &'m Substituters,
    /// Whose signatures count, if they have to.
    pub trust: Option<&'m Trust>,
    /// Whoever asks may see what this process sees.
    pub trusted: bool,
    /// Whoever watches.
    pub progress: &'m dyn Progress,
}

impl Means<'_> {
    /// The paths that a request stands for; `None` while the derivation itself
    /// is missing. To `keep` it is to protect it from collection.
    fn paths(&self, request: &Request, keep: bool) -> Result<Option<Vec<StorePath>>> {
        let Some(outputs) = &request.outputs else { return Ok(Some(vec![request.path.clone()])) };
        if keep {
            self.store.add_temp_roots(&[&request.path])?;
        }
        if !self.store.is_there(&request.path)? {
            return Ok(None);
        }
        let drv = self.store.read_derivation(&request.path)?;
        if let Some(name) = outputs.missing(&drv) {
            return Err(StoreError::Input(format!(
                "derivation '{}' does not have wanted outputs '{name}'",
                self.store.dir().display(&request.path)
            )));
        }
        let paths = outputs.of(self.store, &request.path, &drv)?.into_iter().map(|(name, path)| {
            path.ok_or_else(|| {
                StoreError::Input(format!(
                    "the path of output '{name}' of '{}' is known once it is built",
                    self.store.dir().display(&request.path)
                ))
            })
        });
        paths.collect::<Result<_>>().map(Some)
    }

    /// Those of the paths that are not valid; all of them are kept from
    /// collection.
    fn invalid(&self, paths: &[StorePath]) -> Result<Vec<StorePath>> {
        self.store.add_temp_roots(&paths.iter().collect::<Vec<_>>())?;
        let mut invalid = Vec::new();
        for path in paths {
            if !self.store.is_there(path)? {
                invalid.push(path.clone());
            }
        }
        Ok(invalid)
    }

    /// Finds out what is missing.
    ///
    /// # Errors
    /// Those of the store; requests that make no sense.
    pub fn missing(&self, requests: &[Request]) -> Result<Missing> {
        let mut missing = Missing::default();
        let mut wanted = BTreeSet::new();
        let mut of_derivations: Vec<(StorePath, Vec<StorePath>)> = Vec::new();
        for request in requests {
            match self.paths(request, false)? {
                // What it would lead to is known once it is here.
                None => drop(wanted.insert(request.path.clone())),
                Some(paths) => {
                    // A question keeps nothing from being collected.
                    let valid = self.store.valid_now(&paths)?;
                    let invalid: Vec<_> = paths.into_iter().filter(|path| !valid.contains(path)).collect();
                    wanted.extend(invalid.iter().cloned());
                    if request.outputs.is_some() && !invalid.is_empty() {
                        of_derivations.push((request.path.clone(), invalid));
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok(missing);
        }
        missing.fetch = self.plan(&wanted.iter().cloned().collect::<Vec<_>>())?;
        let fetch = &missing.fetch;
        let mut built = BTreeSet::new();
        for (drv, paths) in of_derivations {
            if paths.iter().any(|path| !fetch.has(path)) {
                missing.build.insert(drv);
                built.extend(paths);
            }
        }
        missing.unknown =
            wanted.into_iter().filter(|path| !fetch.has(path) && !built.contains(path)).collect();
        Ok(missing)
    }

    fn plan(&self, wanted: &[StorePath]) -> Result<Fetch> {
        match self.substituters.is_empty() || wanted.is_empty() {
            true => Ok(Fetch::default()),
            false => self.substituters.plan(self.store, wanted, self.trust, self.progress),
        }
    }

    fn fetch(&self, wanted: &[StorePath]) -> Result<()> {
        let fetch = self.plan(wanted)?;
        match fetch.is_empty() {
            true => Ok(()),
            false => self.substituters.fetch(self.store, wanted, fetch, self.trust, self.progress),
        }
    }

    /// Fulfils requests; every outcome is for itself.
    ///
    /// # Errors
    /// Those of the store, and signals.
    pub fn realise(&self, requests: &[Request]) -> Result<Vec<Outcome>> {
        // Derivations first, then everything that is missing at once.
        let drvs: Vec<StorePath> = requests
            .iter()
            .filter(|request| request.outputs.is_some())
            .map(|request| request.path.clone())
            .collect();
        self.fetch(&self.invalid(&drvs)?)?;
        let mut before = Vec::new();
        let mut wanted = BTreeSet::new();
        for request in requests {
            // What makes no sense is told of below.
            let paths = self.paths(request, true).ok().flatten().unwrap_or_default();
            let invalid = self.invalid(&paths)?;
            wanted.extend(invalid.iter().cloned());
            before.push(invalid.is_empty());
        }
        self.fetch(&wanted.into_iter().collect::<Vec<_>>())?;
        requests.iter().zip(before).map(|(request, was_valid)| self.outcome(request, was_valid)).collect()
    }

    fn outcome(&self, request: &Request, was_valid: bool) -> Result<Outcome> {
        let shown = || self.store.dir().print(&request.path);
        let paths = match self.paths(request, true) {
            Ok(Some(paths)) => paths,
            Ok(None) => {
                let text = format!("failed to obtain derivation of '{}'", shown());
                return Ok(Outcome::Failed(StoreError::Input(text)));
            }
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) => return Ok(Outcome::Failed(error)),
        };
        let invalid = self.invalid(&paths)?;
        if invalid.is_empty() {
            return Ok(if was_valid { Outcome::Valid } else { Outcome::Fetched });
        }
        if request.outputs.is_none() {
            return Ok(Outcome::Failed(StoreError::Input(format!(
                "path '{}' is required, but there is no substituter that can build it",
                shown()
            ))));
        }
        let made = user_env::make(self.store, &request.path, self.trusted);
        match made {
            Ok(true) => Ok(Outcome::Made),
            Ok(false) => Ok(Outcome::Failed(StoreError::Input(format!(
                "cannot build '{}': its outputs are not valid, no substituter has them, and building is not \
                 available in this version of Nival",
                shown()
            )))),
            Err(UserEnvError::Store(error)) if error.is_interruption() => Err(error),
            Err(UserEnvError::Store(error)) => Ok(Outcome::Failed(error)),
            Err(error) => Ok(Outcome::Failed(StoreError::Input(error.to_string()))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let dir = StoreDir::default();
        let drv = "/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo.drv";
        for text in [drv.to_owned(), format!("{drv}!*"), format!("{drv}!dev,out")] {
            assert_eq!(Request::parse(&dir, &text, false).unwrap().print(&dir), text);
        }
        assert_eq!(Request::parse(&dir, drv, true).unwrap().outputs, Some(Outputs::All));
        assert!(Request::parse(&dir, "x", true).is_err());
    }
}
