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
pub(super) mod environment;
pub(super) mod error;
mod inside;
pub mod offered;
pub mod selector;
pub mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::model::derivation::{DerivationOutput, modulo};
use crate::model::manifest_nix::Value;
use crate::model::{Derivation, DerivedPath, Outputs, StoreDir, StorePath};
use crate::ops::profile::Profile;
use crate::ops::realise::{self, Worker};
use crate::store::Store;
use crate::store::api::realise::{RealiseMode, RealiseStore};
use crate::store::error::StoreError;
use crate::sys::PathError;
use element::Element;
use environment::BUILDER;
pub use error::{Result, UserEnvError};

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
    let local = match realise::worker(store) {
        Worker::Here(local) => local,
        Worker::By(realiser) => return build_by(store, realiser, elements, &text, references),
        Worker::Nobody => return Err(StoreError::unsupported("buildPaths", &store.uri()).into()),
    };
    // One sync and one transaction for all three.
    let mut adder = local.adder();
    let manifest = adder.add_text(MANIFEST, text.as_bytes(), references.clone())?;
    let (drv, out) = derivation_of(dir, &manifest, elements)?;
    let sources = BTreeSet::from([manifest]);
    let drv_path = adder.add_text(&format!("{NAME}.drv"), &drv.print(dir), sources)?;
    realise::build_added(local, &mut adder, &drv_path, &drv, references)?;
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
        ("builder", BUILDER.to_owned()),
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
        builder: BUILDER.into(),
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
