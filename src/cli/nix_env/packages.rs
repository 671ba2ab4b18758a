//! From arguments to packages: the one place where it is decided what words
//! mean. Selecting from an expression will find its place here.

use std::path::Path;

use nival::model::{DerivedPath, Outputs, StorePath};
use nival::ops::profile::Profile;
use nival::ops::realise::{Outcome, no_substituter, output_paths};
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::ops::user_env::selector::{Selector, select};
use nival::store::api::Store;

use super::{Call, needs_language};
use crate::cli::context::not_in_store;
use crate::cli::installables::words::store_path;
use crate::cli::realiser;

/// The packages that the arguments mean.
///
/// # Errors
/// Words that mean nothing, or that need the language.
pub fn packages(call: &Call, store: &dyn Store) -> anyhow::Result<Vec<Element>> {
    let words = call.texts()?;
    if let Some(from) = &call.from_profile {
        let profile = Profile::new(call.context.absolute(Path::new(from)));
        let installed = user_env::installed(store, profile.link())?;
        let mut selectors = selectors(store, &words)?;
        let found: Vec<Element> = select(&installed, &mut selectors)?.into_iter().cloned().collect();
        for element in &found {
            let paths: Vec<&StorePath> = element.outputs.values().chain([&element.out_path]).collect();
            store.add_temp_roots(&paths)?;
            for path in paths {
                require_valid(store, path)?;
            }
        }
        return Ok(found);
    }
    if call.expression {
        return Err(needs_language("choosing packages from an expression"));
    }
    match words.first() {
        None => Ok(Vec::new()),
        // One path, and all of them are.
        Some(first) if first.contains('/') => of_paths(call, store, &words),
        Some(first) => Err(needs_language(&format!("choosing a package by its name ('{first}')"))),
    }
}

/// What is installed must be there.
fn require_valid(store: &dyn Store, path: &StorePath) -> anyhow::Result<()> {
    if store.is_valid(path)? { Ok(()) } else { Err(no_substituter(store.dir(), path).into()) }
}

/// Selectors of installed packages.
///
/// # Errors
/// A bad regular expression.
pub fn selectors(store: &dyn Store, words: &[String]) -> anyhow::Result<Vec<Selector>> {
    words.iter().map(|word| Selector::parse(store.dir(), word).map_err(anyhow::Error::msg)).collect()
}

/// The packages at store paths: `PATH`, `DRV` for its output `out`, or `DRV!NAME,NAME`.
fn of_paths(call: &Call, store: &dyn Store, words: &[String]) -> anyhow::Result<Vec<Element>> {
    let mut requests = Vec::with_capacity(words.len());
    for word in words {
        let (base, outputs) = match word.split_once('!') {
            Some((base, outputs)) => (base, outputs),
            None => (word.as_str(), "out"),
        };
        if !base.contains('/') {
            return Err(not_in_store(&call.context.absolute(Path::new(base))).into());
        }
        let path = store_path(&call.context, store, base)?;
        let outputs = path.is_derivation().then(|| Outputs::parse(outputs));
        requests.push(DerivedPath { path, outputs });
    }
    // Before it is asked whether they are valid, and until everything is done.
    store.add_temp_roots(&requests.iter().map(|request| &request.path).collect::<Vec<_>>())?;
    for request in &requests {
        refuse_missing(store, request)?;
    }
    let outcomes = realiser::realise(&call.context, store, &requests)?;
    for (request, outcome) in requests.iter().zip(outcomes) {
        refuse_missing(store, request)?;
        if let Outcome::Failed(error) = outcome {
            return Err(error.into());
        }
    }
    requests.into_iter().map(|request| of_path(store, request)).collect()
}

/// Refuses an output that a valid derivation does not have.
fn refuse_missing(store: &dyn Store, request: &DerivedPath) -> anyhow::Result<()> {
    let Some(outputs) = &request.outputs else { return Ok(()) };
    if !store.is_valid(&request.path)? {
        return Ok(());
    }
    match outputs.missing(&store.queries().read_derivation(&request.path)?) {
        None => Ok(()),
        Some(name) => {
            let drv = store.dir().display(&request.path);
            anyhow::bail!("derivation '{drv}' does not have output '{name}'")
        }
    }
}

/// The package at a valid path, or that valid outputs are.
fn of_path(store: &dyn Store, request: DerivedPath) -> anyhow::Result<Element> {
    let DerivedPath { path, outputs } = request;
    let mut element = Element::of_path(path.name(), path.clone());
    let Some(outputs) = outputs else { return Ok(element) };
    let known = output_paths(store, &path, &store.queries().read_derivation(&path)?, &outputs)?;
    element.drv_path = Some(path.clone());
    element.outputs = known.into_iter().filter_map(|(name, output)| Some((name, output?))).collect();
    element.output_names = element.outputs.keys().cloned().collect();
    let default = element.outputs.get("out").or_else(|| element.outputs.values().next());
    element.out_path = default.cloned().unwrap_or(path);
    Ok(element)
}
