//! User environments: what is installed in a profile, and the tree of symlinks
//! to it.
//!
//! ```text
//! installed packages → manifest.nix, a text in the store
//!   └→ user-environment.drv (builder builtin:buildenv) → its output: the tree, with a link to the manifest
//! ```
//!
//! Each of the three paths follows from the one before it, so that the same
//! packages have the same environment in every implementation.

pub mod build_env;
pub mod element;
mod inside;
pub mod selector;
pub mod upgrade;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use crate::model::derivation::{DerivationOutput, modulo};
use crate::model::manifest_nix::{ManifestError, Value};
use crate::model::store_path::NameError;
use crate::model::{Derivation, DerivedPath, Outputs, StoreDir, StorePath};
use crate::nar::Sink;
use crate::ops::profile::{Profile, ProfileError};
use crate::store::api::realise::{RealiseMode, RealiseStore};
use crate::store::error::StoreError;
use crate::store::local::add::Adder;
use crate::store::{LocalStore, Store};
use crate::sys::PathError;
use build_env::{BuildEnv, Conflicts, Package};
use element::Element;

/// What can go wrong with a user environment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserEnvError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A name that makes no store path.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Packages have the same file.
    #[error("{0}")]
    Conflicts(Conflicts),
    /// A package that cannot be part of an environment.
    #[error("{0}")]
    Build(String),
    /// `manifest.nix` cannot be read.
    #[error("cannot read \"{}\": {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: ManifestError,
    },
    /// `manifest.nix` does not say what is installed.
    #[error("cannot read \"{}\": {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The profile leads to an environment that is gone.
    #[error("profile \"{}\" leads to something that does not exist", .0.display())]
    Dangling(PathBuf),
    /// The environment cannot be built.
    #[error("{}", .0.message)]
    Failed(Box<FailedBuild>),
    /// The profile is kept by `nix profile`.
    #[error("profile \"{}\" is incompatible with 'nix-env'; please use 'nix profile' instead", .0.display())]
    OtherTool(PathBuf),
}

/// A build that failed, and what it was to make.
#[derive(Debug, Clone)]
pub struct FailedBuild {
    /// What is wrong.
    pub message: String,
    /// The full path of the derivation.
    pub drv_path: String,
    /// The full path of its output.
    pub out: String,
}

/// The result of working on user environments.
pub type Result<T> = std::result::Result<T, UserEnvError>;

/// Largest manifest that is read.
pub(super) const MAX_MANIFEST: u64 = 64 << 20;

/// A file of the environment that a profile's link leads to; nothing where there
/// is no profile yet, no environment behind it, or no such file in it.
///
/// # Errors
/// A link or a file that leads to something that is gone: that must not be
/// taken for an empty profile.
pub fn file_of_profile(store: &dyn Store, link: &Path, name: &str) -> Result<Option<PathBuf>> {
    let missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    match std::fs::symlink_metadata(link) {
        Err(error) if missing(&error) => return Ok(None),
        Err(error) => return Err(PathError::new("getting status of", link, error).into()),
        Ok(_) => {}
    }
    let env = match store.resolve(link) {
        Ok(env) => env,
        Err(error) if missing(&error) => return Err(UserEnvError::Dangling(link.to_owned())),
        Err(error) => return Err(PathError::new("following", link, error).into()),
    };
    let file = env.join(name);
    match std::fs::symlink_metadata(&file) {
        Err(error) if missing(&error) || error.kind() == std::io::ErrorKind::NotADirectory => {
            return Ok(None);
        }
        Err(error) => return Err(PathError::new("getting status of", file, error).into()),
        Ok(_) => {}
    }
    store.resolve(&file).map(Some).map_err(|error| PathError::new("opening file", file, error).into())
}

/// What is installed in the environment that a profile's link leads to; nothing
/// where there is none.
///
/// # Errors
/// [`UserEnvError`].
pub fn installed(store: &dyn Store, link: &Path) -> Result<Vec<Element>> {
    if file_of_profile(store, link, "manifest.json")?.is_some() {
        return Err(UserEnvError::OtherTool(link.to_owned()));
    }
    let path = link.join("manifest.nix");
    let Some(real) = file_of_profile(store, link, "manifest.nix")? else { return Ok(Vec::new()) };
    let text = crate::sys::read_regular(&real, MAX_MANIFEST)?;
    let text = String::from_utf8(text)
        .map_err(|_| UserEnvError::Content { path: path.clone(), reason: "it is not UTF-8".to_owned() })?;
    let value =
        Value::parse(&text).map_err(|reason| UserEnvError::Manifest { path: path.clone(), reason })?;
    element::read_all(store.dir(), &value).map_err(|reason| UserEnvError::Content { path, reason })
}

/// Puts packages into an environment and gives its path. What it needs is
/// safe from collection until the store is closed.
///
/// # Errors
/// [`UserEnvError`]; conflicts among the packages for one.
pub fn build(store: &dyn Store, elements: &[Element]) -> Result<StorePath> {
    let dir = store.dir();
    let mut references: BTreeSet<StorePath> = BTreeSet::new();
    for element in elements {
        references.extend(element.outputs.values().cloned());
        references.extend(element.drv_path.clone());
    }
    store.add_temp_roots(&references.iter().collect::<Vec<_>>())?;
    let text = element::print_all(dir, elements);
    let Some(store) = store.downcast::<LocalStore>() else {
        let realiser = store.realiser();
        let realiser = realiser.ok_or_else(|| StoreError::unsupported("buildPaths", &store.uri()))?;
        return build_by(store, realiser, elements, &text, references);
    };
    // One sync and one transaction for all three.
    let mut adder = store.adder();
    let manifest = adder.add_text(MANIFEST, text.as_bytes(), references.clone())?;
    let (drv, out) = derivation_of(store.dir(), &manifest, elements)?;
    let sources = BTreeSet::from([manifest.clone()]);
    let drv_path = adder.add_text(&format!("{NAME}.drv"), &drv.print(dir), sources)?;
    store.add_temp_roots(&[&out])?;
    if store.db().is_valid(&out)? {
        adder.finish()?;
        return Ok(out);
    }
    store.progress().notice(&format!("building '{}'...", dir.display(&drv_path)));
    let active = elements.iter().filter(|element| element.is_active());
    let packages = active.flat_map(|element| {
        let priority = element.priority();
        element.outputs.values().map(move |path| Package { path: path.clone(), priority })
    });
    let env = Environment {
        packages: packages.collect(),
        others: references.into_iter().collect(),
        manifest,
        drv_path,
        out: out.clone(),
    };
    env.add(store, &mut adder, true)?;
    adder.finish()?;
    Ok(out)
}

/// Has another program build it: only that may add what does not follow from its
/// contents.
fn build_by(
    store: &dyn Store,
    realiser: &dyn RealiseStore,
    elements: &[Element],
    text: &str,
    references: BTreeSet<StorePath>,
) -> Result<StorePath> {
    let dir = store.dir();
    let manifest = store.add_text(MANIFEST, text.as_bytes(), references)?;
    let (drv, out) = derivation_of(dir, &manifest, elements)?;
    store.add_temp_roots(&[&out])?;
    let sources = BTreeSet::from([manifest]);
    let drv_path = store.add_text(&format!("{NAME}.drv"), &drv.print(dir), sources)?;
    realiser.realise(&[DerivedPath::built(drv_path.clone(), Outputs::All)], RealiseMode::Normal)?;
    Ok(out)
}

/// The derivation of an environment, and its output.
fn derivation_of(
    dir: &StoreDir,
    manifest: &StorePath,
    elements: &[Element],
) -> Result<(Derivation, StorePath)> {
    let mut drv = derivation(dir, manifest, elements);
    modulo::fill_in_outputs(&mut drv, dir, NAME)?;
    match drv.outputs.get("out").cloned() {
        Some(DerivationOutput::InputAddressed(out)) => Ok((drv, out)),
        _ => Err(UserEnvError::Build("the environment has no output path".to_owned())),
    }
}

/// An environment that is to be made.
struct Environment {
    packages: Vec<Package>,
    /// Paths that the packages and everything that is not active have.
    others: Vec<StorePath>,
    manifest: StorePath,
    drv_path: StorePath,
    out: StorePath,
}

impl Environment {
    /// Makes it and adds it; for somebody who is not `trusted` with the eyes of
    /// nobody, and not as something that needs no signature.
    fn add(self, store: &LocalStore, adder: &mut Adder<'_>, trusted: bool) -> Result<()> {
        let dir = store.dir();
        let mut env = BuildEnv::new(store.layout(), store.progress(), dir.print(&self.out));
        env.packages = self.packages;
        let linked = if trusted { env.link_all() } else { env.link_all_as_nobody() };
        env.link("manifest.nix", dir.print(&self.manifest));
        let conflicts = env.conflicts();
        let (drv_path, out) = (dir.print(&self.drv_path), dir.print(&self.out));
        if !conflicts.is_empty() {
            return Err(UserEnvError::Conflicts(Conflicts { all: conflicts, drv_path, out, advice: None }));
        }
        match linked {
            Err(error @ (UserEnvError::Build(_) | UserEnvError::Path(_))) => {
                let message = error.to_string();
                return Err(UserEnvError::Failed(Box::new(FailedBuild { message, drv_path, out })));
            }
            other => other?,
        }
        // Links may lead to anything that the packages need.
        let own = [self.manifest, self.drv_path.clone()];
        let references = env.references(store, &self.others, own, b"")?;
        let fill = |sink: &mut dyn Sink| env.write(sink);
        Ok(adder.add_built(&self.out, &self.drv_path, references, trusted, fill)?)
    }
}

/// Makes the environment that a derivation of somebody's stands for; false if it
/// stands for something else. Unless the somebody is `trusted`, nothing is looked
/// at for it that not everybody may see.
///
/// # Errors
/// [`UserEnvError`].
pub fn make(store: &LocalStore, drv_path: &StorePath, trusted: bool) -> Result<bool> {
    let drv = store.queries().read_derivation(drv_path)?;
    let outputs: Vec<_> = drv.outputs.iter().collect();
    let [(name, DerivationOutput::InputAddressed(out))] = outputs[..] else { return Ok(false) };
    if drv.builder != b"builtin:buildenv" || name != "out" {
        return Ok(false);
    }
    store.check_features(&drv)?;
    let dir = store.dir();
    let bad = |what: &str| UserEnvError::Build(format!("'{}': {what}", dir.display(drv_path)));
    let text = |name: &str| {
        let value = drv.env.get(name.as_bytes()).ok_or_else(|| bad(&format!("'{name}' is missing")))?;
        std::str::from_utf8(value).map_err(|_| bad(&format!("'{name}' is no text")))
    };
    let manifest = dir.parse(text("manifest")?).map_err(StoreError::from)?;
    let mut packages = Vec::new();
    let mut others = Vec::new();
    let mut words = text("derivations")?.split_ascii_whitespace();
    while let Some(active) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
        let (Some(priority), Some(count)) = (number(), number()) else {
            return Err(bad("'derivations' has no number where one should be"));
        };
        for _ in 0..count {
            let word = words.next().ok_or_else(|| bad("'derivations' ends too early"))?;
            let path = dir.parse(word).map_err(StoreError::from)?;
            others.push(path.clone());
            if active != "false" {
                packages.push(Package { path, priority });
            }
        }
    }
    others.push(manifest.clone());
    let inputs: Vec<StorePath> = drv.references().into_iter().collect();
    store.add_temp_roots(&others.iter().chain([out]).chain(&inputs).collect::<Vec<_>>())?;
    for path in others.iter().chain(&inputs) {
        if !store.db().is_valid(path)? {
            return Err(store.invalid(path).into());
        }
    }
    // An older version, or somebody else, may have registered it unchecked.
    store.check_outputs(drv_path, &drv)?;
    if !trusted {
        let known = known_paths(store, &drv)?;
        if let Some(path) = others.iter().find(|path| !known.contains(*path)) {
            return Err(bad(&format!("'{}' is not among its inputs", dir.display(path))));
        }
    }
    // The manifest refers to whatever is installed.
    store.progress().notice(&format!("building '{}'...", dir.display(drv_path)));
    let mut adder = store.adder();
    let env = Environment { packages, others, manifest, drv_path: drv_path.clone(), out: out.clone() };
    env.add(store, &mut adder, trusted)?;
    adder.finish()?;
    Ok(true)
}

/// The paths that a derivation may use: its sources, the outputs it names of
/// its input derivations, and what these refer to.
fn known_paths(store: &LocalStore, drv: &Derivation) -> Result<HashSet<StorePath>> {
    let mut inputs: HashSet<StorePath> = drv.input_srcs.iter().cloned().collect();
    for (path, names) in &drv.input_drvs {
        let input = store.queries().read_derivation(path)?;
        let named = input.output_paths().filter(|(name, _)| names.contains(*name));
        inputs.extend(named.map(|(_, output)| output.clone()));
    }
    let mut known = inputs.clone();
    for path in &inputs {
        if let Some(info) = store.db().path_info(path)? {
            known.extend(info.references);
        }
    }
    Ok(known)
}

/// The name of every environment.
const NAME: &str = "user-environment";
/// The name of every manifest.
const MANIFEST: &str = "env-manifest.nix";

/// The derivation of the environment; its output path is still to be found.
fn derivation(dir: &StoreDir, manifest: &StorePath, elements: &[Element]) -> Derivation {
    let mut words: Vec<String> = Vec::new();
    for element in elements {
        words.push(element.active_word());
        words.push(element.priority_word());
        words.push(element.outputs.len().to_string());
        words.extend(element.outputs.values().map(|path| dir.print(path)));
    }
    let env = [
        ("allowSubstitutes", String::new()),
        ("builder", "builtin:buildenv".to_owned()),
        ("derivations", words.join(" ")),
        ("manifest", dir.print(manifest)),
        ("name", NAME.to_owned()),
        ("out", String::new()),
        ("preferLocalBuild", "1".to_owned()),
        ("system", "builtin".to_owned()),
    ];
    Derivation {
        outputs: BTreeMap::from([("out".to_owned(), DerivationOutput::InputAddressed(manifest.clone()))]),
        input_srcs: BTreeSet::from([manifest.clone()]),
        platform: b"builtin".to_vec(),
        builder: b"builtin:buildenv".to_vec(),
        env: env.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes())).collect(),
        ..Derivation::default()
    }
}

/// Changes what is installed in a profile, as `change` says of what is: its
/// answer, or nothing for no change. True if there is a new generation. With
/// `keep_derivations` the manifest tells the derivations, where they are known,
/// and so keeps them (`keep-env-derivations`).
///
/// What another process changes meanwhile is not overwritten: the change is
/// made again on top.
///
/// # Errors
/// [`UserEnvError`] and those of `change`.
pub fn change<E: From<UserEnvError>>(
    store: &dyn Store,
    profile: &Profile,
    keep_derivations: bool,
    mut change: impl FnMut(Vec<Element>) -> std::result::Result<Option<Vec<Element>>, E>,
) -> std::result::Result<bool, E> {
    let failed = |error| E::from(UserEnvError::from(error));
    profile.change(store, failed, || {
        let Some(mut elements) = change(installed(store, profile.link())?)? else { return Ok(None) };
        if !keep_derivations {
            elements.iter_mut().for_each(|element| element.drv_path = None);
        }
        Ok(Some(build(store, &elements)?))
    })
}
