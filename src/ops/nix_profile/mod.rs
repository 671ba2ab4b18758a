//! Profiles as `nix profile` keeps them.
//!
//! ```text
//! ENV/manifest.json = {"elements": {NAME: ELEMENT}, "version": 3}
//! ELEMENT           = {"active": bool, "priority": int, "storePaths": [full path], …}
//! ```
//!
//! Versions 1 and 2 have an array of elements, whose names follow from what they
//! say of themselves; version 1 has other words for the URLs.
//!
//! What else an element says (where it came from) is kept as it is. The
//! environment is addressed by its contents and named `profile`.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::profile::Profile;
use super::user_env::build_env::{BuildEnv, Package};
pub use super::user_env::element::DEFAULT_PRIORITY;
use super::user_env::{self, MAX_MANIFEST, UserEnvError};
use crate::model::{ContentAddressMethod, HashAlgorithm, StoreDir, StorePath, package_name};
use crate::progress::Advice;
use crate::store::api::Store;
use crate::store::error::Conflict;
use crate::store::layout::Layout;

/// The version of the manifest that is written.
const VERSION: u64 = 3;
/// The oldest version that is read.
const OLDEST_VERSION: u64 = 1;

/// What can go wrong with such a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NixProfileError {
    /// The environment, the store, files.
    #[error(transparent)]
    Env(#[from] UserEnvError),
    /// A manifest that cannot be used.
    #[error("cannot read \"{}\": {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A manifest of a version that is not known.
    #[error("profile manifest \"{}\" has unsupported version {version}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
    /// Two packages have the same file.
    #[error("{}", conflict_text(.0))]
    Conflict(Box<Clash>),
}

/// Two packages with the same file, and what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The file that is there.
    pub existing: PathBuf,
    /// The name of the package it is of.
    pub existing_name: String,
    /// The file that was to come.
    pub new: PathBuf,
    /// The path it is of.
    pub new_path: String,
    /// The priority of both.
    pub priority: i64,
}

/// In the words of the original.
fn conflict_text(clash: &Clash) -> String {
    let Clash { existing, existing_name, new, new_path, priority } = clash;
    let (better, worse) = (priority.saturating_sub(1), priority.saturating_add(1));
    format!(
        "An existing package already provides the following file:\n\n         {existing:?}\n\n       \
         This is the conflicting file from the new package:\n\n         {new:?}\n\n       \
         To remove the existing package:\n\n         nix profile remove {existing_name}\n\n       \
         The new package can also be added next to the existing one by assigning a different priority.\n       \
         The conflicting packages have a priority of {priority}.\n       \
         To prioritise the new package:\n\n         nix profile add {new_path} --priority {better}\n\n       \
         To prioritise the existing package:\n\n         nix profile add {new_path} --priority {worse}\n"
    )
}

type Result<T> = std::result::Result<T, NixProfileError>;

/// One package.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileElement {
    /// The paths whose files are linked.
    pub store_paths: Vec<StorePath>,
    /// Whether they are.
    pub active: bool,
    /// The lower number wins.
    pub priority: i64,
    /// Everything else that the manifest says.
    pub other: Map<String, Value>,
}

impl ProfileElement {
    /// A package that is known by its paths only.
    pub fn of_paths(store_paths: Vec<StorePath>, priority: i64) -> Self {
        Self { store_paths, active: true, priority, other: Map::new() }
    }

    /// What it is called where its changes are told: the package's name, which
    /// several elements may have, where nothing but paths is known.
    pub fn title(&self, name: &str) -> String {
        names::title(&self.other).unwrap_or_else(|| match self.store_paths.first() {
            Some(path) if self.other.is_empty() => package_name::split(path.name()).0.to_owned(),
            _ => name.to_owned(),
        })
    }

    /// Whether it came from a flake, which may have something newer.
    pub fn is_of_flake(&self) -> bool {
        names::title(&self.other).is_some()
    }

    /// The outputs that were chosen of a package from a flake, as they are written
    /// after its attribute.
    pub fn chosen_outputs(&self) -> String {
        names::chosen_outputs(&self.other)
    }

    /// A name, where the manifest has none.
    fn name(&self) -> String {
        let by_path = || self.store_paths.first().map(|path| package_name::split(path.name()).0.to_owned());
        names::short(&self.other).or_else(by_path).unwrap_or_default()
    }

    /// The versions of its paths.
    pub fn versions(&self) -> BTreeSet<String> {
        self.store_paths.iter().map(|path| package_name::split(path.name()).1.to_owned()).collect()
    }
}

/// What is in a profile.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifest {
    /// By name.
    pub elements: BTreeMap<String, ProfileElement>,
    /// It was read from a profile of `nix-env`.
    pub of_nix_env: bool,
}

impl Manifest {
    /// Reads that of the environment at `dir`; an empty one where there is
    /// none.
    ///
    /// # Errors
    /// [`NixProfileError`].
    pub fn read(store: &dyn Store, dir: &Path) -> Result<Self> {
        let path = dir.join("manifest.json");
        let Some(real) = user_env::file_of_profile(store, dir, "manifest.json")? else {
            return Self::of_nix_env(store, dir);
        };
        let text = crate::sys::read_regular(&real, MAX_MANIFEST).map_err(UserEnvError::from)?;
        match Self::parse(store.dir(), &text) {
            Ok(Ok(manifest)) => Ok(manifest),
            Ok(Err(version)) => Err(NixProfileError::Version { path, version }),
            Err(reason) => Err(NixProfileError::Manifest { path, reason }),
        }
    }

    fn of_nix_env(store: &dyn Store, dir: &Path) -> Result<Self> {
        let of_nix_env = user_env::file_of_profile(store, dir, "manifest.nix")?.is_some();
        let mut manifest = Self { of_nix_env, ..Self::default() };
        for element in user_env::installed(store, dir)? {
            let paths = element.outputs.values().cloned().collect();
            let mut converted = ProfileElement::of_paths(paths, element.priority());
            converted.active = element.is_active();
            manifest.add(&converted.name(), converted);
        }
        Ok(manifest)
    }

    /// Reads a manifest; of a version that is not known, only that.
    fn parse(dir: &StoreDir, text: &[u8]) -> std::result::Result<std::result::Result<Self, u64>, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let value = value.as_object().ok_or("it is no object")?;
        let version = match value.get("version") {
            None => 0,
            Some(version) => version.as_u64().ok_or("its version is no number")?,
        };
        if !(OLDEST_VERSION..=VERSION).contains(&version) {
            return Ok(Err(version));
        }
        let mut manifest = Self::default();
        match value.get("elements") {
            None => {}
            Some(Value::Object(elements)) => {
                for (name, element) in elements {
                    manifest.elements.insert(name.clone(), parse_element(dir, version, name, element)?);
                }
            }
            Some(Value::Array(elements)) => {
                for (number, element) in elements.iter().enumerate() {
                    let element = parse_element(dir, version, &number.to_string(), element)?;
                    manifest.add(&element.name(), element);
                }
            }
            Some(_) => return Err("its elements are no list".to_owned()),
        }
        Ok(Ok(manifest))
    }

    /// As JSON, the form of the file.
    pub fn to_json(&self, dir: &StoreDir) -> Value {
        let mut elements = Map::new();
        for (name, element) in &self.elements {
            let paths: Vec<String> = element.store_paths.iter().map(|path| dir.print(path)).collect();
            let mut members: BTreeMap<String, Value> = element.other.clone().into_iter().collect();
            members.insert("active".to_owned(), element.active.into());
            members.insert("priority".to_owned(), element.priority.into());
            members.insert("storePaths".to_owned(), paths.into());
            elements.insert(name.clone(), Value::Object(members.into_iter().collect()));
        }
        json!({"elements": elements, "version": VERSION})
    }

    /// Adds a package under a name, or that name and a number.
    pub fn add(&mut self, name: &str, element: ProfileElement) {
        let mut free = name.to_owned();
        let mut number = 0;
        while self.elements.contains_key(&free) {
            number += 1;
            free = format!("{name}-{number}");
        }
        self.elements.insert(free, element);
    }

    /// Builds the environment.
    ///
    /// # Errors
    /// [`NixProfileError`]; a conflict for one. `old` tells which of two
    /// packages was there before.
    pub fn build(&self, store: &dyn Store, old: &Self) -> Result<StorePath> {
        let dir = store.dir();
        let named = Layout::of_names(dir);
        let files = store.files().unwrap_or(&named);
        let mut env = BuildEnv::new(files, store.progress(), "profile".to_owned());
        let mut paths: Vec<StorePath> = Vec::new();
        for element in self.elements.values() {
            paths.extend(element.store_paths.iter().cloned());
            if element.active {
                let packages = element
                    .store_paths
                    .iter()
                    .map(|path| Package { path: path.clone(), priority: element.priority });
                env.packages.extend(packages);
            }
        }
        let store_error = |error| NixProfileError::Env(UserEnvError::Store(error));
        store.add_temp_roots(&paths.iter().collect::<Vec<_>>()).map_err(store_error)?;
        env.link_all()?;
        if let Some(conflict) = env.conflicts().first() {
            return Err(NixProfileError::Conflict(Box::new(self.clash(dir, conflict, old))));
        }
        let text = self.to_json(dir).to_string();
        let references = env.references(store, &paths, [], text.as_bytes())?;
        env.file("manifest.json", text.into_bytes());
        let kind = (ContentAddressMethod::NixArchive, HashAlgorithm::Sha256);
        store.add_content("profile", kind, references, &mut |sink| env.write(sink)).map_err(store_error)
    }

    /// Which package of a conflict was there, and which one is new.
    fn clash(&self, dir: &StoreDir, conflict: &Conflict, old: &Self) -> Clash {
        let owner = |file: &Path| {
            let path = dir.parse_below(&file.to_string_lossy()).ok().map(|(path, _)| path);
            let found = self
                .elements
                .iter()
                .find(|(_, element)| path.iter().any(|p| element.store_paths.contains(p)));
            (
                found.map(|(name, _)| name.clone()).unwrap_or_default(),
                path.map(|path| dir.print(&path)).unwrap_or_default(),
            )
        };
        let (mut existing, mut new) = (&conflict.first, &conflict.second);
        let is_old = |file: &Path| old.elements.contains_key(&owner(file).0);
        if is_old(new) && !is_old(existing) {
            std::mem::swap(&mut existing, &mut new);
        }
        Clash {
            existing: existing.clone(),
            existing_name: owner(existing).0,
            new: new.clone(),
            new_path: owner(new).1,
            priority: conflict.priority,
        }
    }
}

/// Reads an element; `name` is for messages.
fn parse_element(
    dir: &StoreDir,
    version: u64,
    name: &str,
    element: &Value,
) -> std::result::Result<ProfileElement, String> {
    let mut other = element.as_object().cloned().ok_or(format!("'{name}' is no object"))?;
    let mut store_paths = Vec::new();
    let paths = match other.remove("storePaths") {
        None => Vec::new(),
        Some(Value::Array(paths)) => paths,
        Some(_) => return Err(format!("the store paths of '{name}' are no list")),
    };
    for path in paths {
        let path = path.as_str().ok_or(format!("'{name}' has a store path that is no text"))?;
        store_paths.push(dir.parse(path).map_err(|error| error.to_string())?);
    }
    let active = match other.remove("active") {
        None => true,
        Some(active) => active.as_bool().ok_or(format!("'{name}' is neither active nor inactive"))?,
    };
    let priority = match other.remove("priority") {
        None => DEFAULT_PRIORITY,
        Some(priority) => priority.as_i64().ok_or(format!("the priority of '{name}' is no number"))?,
    };
    if version < VERSION {
        upgrade_source(&mut other);
    }
    Ok(ProfileElement { store_paths, active, priority, other })
}

/// What version 3 says of where a package came from, of what older ones said.
fn upgrade_source(other: &mut Map<String, Value>) {
    for (old, new) in [("uri", "url"), ("originalUri", "originalUrl")] {
        if let (Some(value), false) = (other.remove(old), other.contains_key(new)) {
            other.insert(new.to_owned(), value);
        }
    }
    if names::title(other).is_none() {
        other.clear();
        return;
    }
    let mut outputs = other.remove("outputs").unwrap_or_default();
    if let Value::Array(names) = &mut outputs {
        names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    other.insert("outputs".to_owned(), outputs);
}

/// Changes what is in a profile, as `change` does with the manifest; false if
/// it says that there is nothing to do. What another process changes meanwhile
/// is not overwritten. A profile of `nix-env` is converted, which is told.
///
/// # Errors
/// [`NixProfileError`].
pub fn change<E: From<NixProfileError>>(
    store: &dyn Store,
    profile: &Profile,
    mut change: impl FnMut(&mut Manifest) -> std::result::Result<bool, E>,
) -> std::result::Result<(), E> {
    let failed = |error| E::from(NixProfileError::Env(UserEnvError::Profile(error)));
    let mut converted = false;
    let made = profile.change(store, failed, || {
        let old = Manifest::read(store, profile.link())?;
        let mut new = old.clone();
        new.of_nix_env = false;
        if !change(&mut new)? {
            return Ok(None);
        }
        converted = old.of_nix_env;
        Ok(Some(new.build(store, &old)?))
    })?;
    if made && converted {
        let (link, progress) = (profile.link().display().to_string(), store.progress());
        let advice = progress.advice(Advice::GoBack(&link));
        progress.warn(&format!(
            "profile \"{link}\" was kept by 'nix-env' until now, which cannot change it any more{advice}"
        ));
    }
    Ok(())
}
