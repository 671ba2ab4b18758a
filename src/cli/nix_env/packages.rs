//! From arguments to packages: the one place where it is decided what words
//! mean. Selecting from an expression will find its place here.

use std::path::Path;

use nival::model::StorePath;
use nival::ops::profile::Profile;
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::ops::user_env::selector::{Selector, select};
use nival::store::ManagedStore;
use nival::store::managed::Kind;

use super::{Call, needs_language};
use crate::cli::context::not_in_store;
use crate::cli::nix::plan::Plan;
use crate::cli::nix_store::store_path;

/// The packages that the arguments mean.
///
/// # Errors
/// Words that mean nothing, or that need the language.
pub fn packages(call: &Call, store: &dyn ManagedStore) -> anyhow::Result<Vec<Element>> {
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
fn require_valid(store: &dyn ManagedStore, path: &StorePath) -> anyhow::Result<()> {
    anyhow::ensure!(
        store.is_valid(path)?,
        "path '{}' is required, but there is no substituter that can build it",
        store.dir().display(path)
    );
    Ok(())
}

/// Selectors of installed packages.
///
/// # Errors
/// A bad regular expression.
pub fn selectors(store: &dyn ManagedStore, words: &[String]) -> anyhow::Result<Vec<Selector>> {
    words.iter().map(|word| Selector::parse(store.dir(), word).map_err(anyhow::Error::msg)).collect()
}

/// A store path, and which outputs are wanted if it is a derivation:
/// `DRV` for its output `out`, `DRV!NAME,NAME` for others.
struct Word<'w> {
    path: StorePath,
    outputs: Option<&'w str>,
}

fn of_paths(call: &Call, store: &dyn ManagedStore, words: &[String]) -> anyhow::Result<Vec<Element>> {
    let mut parsed = Vec::with_capacity(words.len());
    for word in words {
        let (base, outputs) = match word.split_once('!') {
            Some((base, outputs)) => (base, Some(outputs)),
            None => (word.as_str(), None),
        };
        if !base.contains('/') {
            return Err(not_in_store(&call.context.absolute(Path::new(base))).into());
        }
        parsed.push(Word { path: store_path(&call.context, store, base)?, outputs });
    }
    // Before it is asked whether they are valid, and until everything is done.
    store.add_temp_roots(&parsed.iter().map(|word| &word.path).collect::<Vec<_>>())?;
    // One question for all of them.
    let paths: Vec<StorePath> = parsed.iter().map(|word| word.path.clone()).collect();
    let mut valid = store.valid(&paths)?;
    let missing: Vec<StorePath> = paths.iter().filter(|path| !valid.contains(path)).cloned().collect();
    if !missing.is_empty() {
        let mut plan = Plan::default();
        let obtainable = plan.ask(&call.context, store, &missing)?;
        if obtainable.is_some() {
            plan.tell(&call.context, store);
            obtainable.obtain(&call.context, store, &missing)?;
            valid = store.valid(&paths)?;
        }
    }
    if let Some(missing) = parsed.iter().find(|word| !valid.contains(&word.path)) {
        let missing = store.dir().display(&missing.path);
        anyhow::bail!("path '{missing}' is required, but there is no substituter that can build it");
    }
    parsed.into_iter().map(|word| of_path(store, word)).collect()
}

/// The package at a valid path.
fn of_path(store: &dyn ManagedStore, word: Word<'_>) -> anyhow::Result<Element> {
    let Word { path, outputs } = word;
    if !path.is_derivation() {
        return Ok(Element::of_path(path.name(), path.clone()));
    }
    let known = store.read_derivation(&path)?;
    let names: Vec<&str> = outputs.map_or(vec!["out"], |names| names.split(',').collect());
    let mut element = Element::of_path(path.name(), path.clone());
    element.drv_path = Some(path.clone());
    element.outputs.clear();
    element.output_names.clear();
    for name in names {
        anyhow::ensure!(
            known.outputs.contains_key(name),
            "derivation '{}' does not have output '{name}'",
            store.dir().display(&path)
        );
        let output = output(store, &path, name)?;
        element.outputs.insert(name.to_owned(), output);
        element.output_names.push(name.to_owned());
    }
    let default = element.outputs.get("out").or_else(|| element.outputs.values().next());
    element.out_path = default.cloned().unwrap_or(path);
    Ok(element)
}

/// A valid output of a derivation.
fn output(store: &dyn ManagedStore, drv: &StorePath, name: &str) -> anyhow::Result<StorePath> {
    let outputs = store.derivation_outputs(drv)?;
    let shown = store.dir().display(drv);
    if let Some((_, path)) = outputs.into_iter().find(|(output, _)| output == name) {
        store.add_temp_roots(&[&path])?;
        if let (false, Kind::Daemon(daemon)) = (store.is_valid(&path)?, store.kind()) {
            daemon.build_paths(&[format!("{shown}!{name}")])?;
        }
        if store.is_valid(&path)? {
            return Ok(path);
        }
    }
    anyhow::bail!("cannot build '{shown}': this version of Nival does not build yet")
}
