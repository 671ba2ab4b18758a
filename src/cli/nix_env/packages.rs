//! From arguments to packages: the one place where it is decided what words mean.

use std::path::Path;

use nival::eval::error::Error;
use nival::eval::interpret::Worker;
use nival::eval::value::Position;
use nival::model::{DerivedPath, Outputs, StorePath};
use nival::ops::evaluate::Asked;
use nival::ops::packages::Package;
use nival::ops::packages::choose::best_of_each;
use nival::ops::packages::memory::names::Offer;
use nival::ops::packages::walk::{self, Thrown};
use nival::ops::profile::Profile;
use nival::ops::realise::{no_substituter, output_paths};
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::ops::user_env::offered;
use nival::ops::user_env::selector::{Selector, select};
use nival::store::api::Store;

use super::Call;
use super::offers::Offers;
use super::past::Past;
use crate::cli::context::not_in_store;
use crate::cli::evaluation::{self, Arguments, Stopped};
use crate::cli::installables::expression;
use crate::cli::installables::words::store_path;
use crate::cli::realiser;

/// Where packages come from.
pub enum Origin {
    /// Another profile; words select from what is installed there.
    Profile(Profile),
    /// An expression.
    Expression(Words),
    /// Words are store paths.
    Paths,
}

/// What words mean for an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Selectors of packages by their names.
    Names,
    /// Attribute paths.
    Attributes,
    /// Functions that are called with the expression's value.
    Functions,
}

/// What is to be known of a package.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything that is installed of it and noted with it.
    All,
    /// The path of its output. What else is wrong with it stays unseen.
    Path,
}

/// Hears the names of packages before they are made.
pub type Announce<'a> = &'a (dyn Fn(&[&str]) + Sync);

/// Where the packages of a call come from.
pub fn origin(call: &Call, words: &[String]) -> Origin {
    if let Some(from) = &call.from_profile {
        return Origin::Profile(Profile::new(call.context.absolute(Path::new(from))));
    }
    let given = call.flags.iter().rev().find_map(|given| match given.name() {
        "--attr" => Some(Words::Attributes),
        "--from-expression" => Some(Words::Functions),
        _ => None,
    });
    match (given, words.first()) {
        (Some(words), _) => Origin::Expression(words),
        // One path, and all of them are.
        (None, Some(first)) if first.contains('/') => Origin::Paths,
        (None, _) => Origin::Expression(Words::Names),
    }
}

/// The packages that the arguments mean: made, or only told of in a dry run. Of packages with one name that a
/// selector means, the best one is chosen.
///
/// # Errors
/// Words that mean nothing, or packages that cannot be made.
pub fn packages(
    call: &Call,
    store: &dyn Store,
    detail: Detail,
    announce: Announce<'_>,
) -> anyhow::Result<Vec<Element>> {
    let words = call.texts()?;
    let elements = match origin(call, &words) {
        Origin::Expression(_) if words.is_empty() => Vec::new(),
        Origin::Expression(how) => return of_expression(call, store, how, words, detail, announce),
        origin => known(call, store, &origin, &words)?,
    };
    announce(&elements.iter().map(|element| element.name.as_str()).collect::<Vec<_>>());
    Ok(elements)
}

/// The packages of a profile or at store paths.
pub fn known(
    call: &Call,
    store: &dyn Store,
    origin: &Origin,
    words: &[String],
) -> anyhow::Result<Vec<Element>> {
    let Origin::Profile(profile) = origin else { return of_paths(call, store, words) };
    let installed = user_env::installed(store, profile.link())?;
    let mut selectors = selectors(store, words)?;
    let found: Vec<Element> = select(&installed, &mut selectors)?.into_iter().cloned().collect();
    for element in &found {
        let paths: Vec<&StorePath> = element.outputs.values().chain([&element.out_path]).collect();
        store.add_temp_roots(&paths)?;
        for path in paths {
            require_valid(store, path)?;
        }
    }
    Ok(found)
}

fn of_expression(
    call: &Call,
    store: &dyn Store,
    how: Words,
    words: Vec<String>,
    detail: Detail,
    announce: Announce<'_>,
) -> anyhow::Result<Vec<Element>> {
    let offers = Offers::of(call)?;
    let past = Past::of(call, store, &offers, "")?;
    let mut selectors = if how == Words::Names { selectors(store, &words)? } else { Vec::new() };
    let known = if how == Words::Names { meant(&past, &mut selectors)? } else { None };
    let system = call.context.settings.system().to_owned();
    evaluated(call, store, &past, detail, announce, |worker, arguments, asked| match how {
        Words::Names => {
            let place = offers.place(worker, arguments, asked, "")?;
            let packages = offers.packages(&place, asked, known.as_deref())?;
            best(worker, &system, packages, &mut selectors)
        }
        how => Ok(named(worker, arguments, asked, &offers, how, &words)?),
    })
}

/// The packages that selectors mean, as far as it is remembered which there are.
///
/// # Errors
/// A selector that means none of them.
pub fn meant(past: &Past<'_>, selectors: &mut [Selector]) -> anyhow::Result<Option<Vec<Offer>>> {
    let Some(mut names) = past.names() else { return Ok(None) };
    for selector in &mut *selectors {
        select(&names, std::slice::from_mut(selector))?;
    }
    names.retain(|offer| selectors.iter_mut().any(|selector| selector.matches(offer)));
    Ok(Some(names))
}

/// The packages that attribute paths or functions name, all of them.
///
/// # Errors
/// They are not there, or cannot be evaluated.
pub fn named<'e>(
    worker: &Worker<'e>,
    arguments: &Arguments<'e>,
    asked: &Asked,
    offers: &Offers,
    how: Words,
    words: &[String],
) -> Result<Vec<Package<'e>>, Error> {
    let value = offers.value(worker, asked)?;
    let directory = worker.shared.world.current_dir();
    let mut found = Vec::new();
    for word in words {
        let (value, path) = match how {
            Words::Functions => {
                let text = nival::eval::sources::Origin::Text;
                let function = worker.evaluate_text(text, word.as_bytes(), &directory)?;
                (worker.call(function, &[value], Position::NONE)?, "")
            }
            _ => (expression::selected(worker, value, word, arguments)?, word.as_str()),
        };
        found.extend(walk::packages(worker, value, path, arguments, Thrown::LeftOut)?);
    }
    Ok(found)
}

/// The best packages that selectors mean, each once.
fn best<'e>(
    worker: &Worker<'e>,
    system: &str,
    packages: Vec<Package<'e>>,
    selectors: &mut [Selector],
) -> Result<Vec<Package<'e>>, Stopped> {
    let mut found: Vec<&Package<'e>> = Vec::new();
    for selector in selectors {
        let matched = select(&packages, std::slice::from_mut(selector)).map_err(anyhow::Error::from)?;
        for package in best_of_each(worker, system, matched.into_iter())? {
            if !found.iter().any(|other| std::ptr::eq(*other, package)) {
                found.push(package);
            }
        }
    }
    Ok(found.into_iter().cloned().collect())
}

/// The packages of an expression that `pick` gives, as [`packages`] has them.
///
/// # Errors
/// They cannot be evaluated, or cannot be made.
pub fn evaluated(
    call: &Call,
    store: &dyn Store,
    past: &Past<'_>,
    detail: Detail,
    announce: Announce<'_>,
    pick: impl for<'e> FnOnce(&Worker<'e>, &Arguments<'e>, &Asked) -> Result<Vec<Package<'e>>, Stopped> + Send,
) -> anyhow::Result<Vec<Element>> {
    let mut elements: Vec<Element> = Vec::new();
    // What is wrong with outputs or `meta` is told once everything is made.
    let mut failed_later = None;
    let (dir, whole, prebuilt) = (store.dir().clone(), call.context.settings.show_trace(), call.prebuilt);
    let force_name = call.force_name.clone();
    past.run(false, |worker, arguments, asked| {
        let packages = pick(worker, arguments, asked)?;
        if !prebuilt {
            let names = packages.iter().map(|package| force_name.as_deref().unwrap_or(&package.name));
            announce(&names.collect::<Vec<_>>());
        }
        for package in &packages {
            elements.push(offered::paths(worker, &dir, package)?);
        }
        if detail == Detail::Path {
            return Ok(());
        }
        for (package, element) in packages.iter().zip(&mut elements) {
            if let Err(error) = offered::complete(worker, &dir, package, element) {
                failed_later = Some(evaluation::told(worker, &error, whole));
                break;
            }
        }
        Ok(())
    })?;
    for element in &mut elements {
        element.name = call.force_name.clone().unwrap_or_else(|| std::mem::take(&mut element.name));
    }
    if prebuilt {
        elements = only_prebuilt(call, store, elements)?;
        announce(&elements.iter().map(|element| element.name.as_str()).collect::<Vec<_>>());
    }
    // A profile that is a path is that of one package; the others are not made.
    if detail == Detail::Path && elements.len() != 1 {
        return Ok(elements);
    }
    make(call, store, &elements)?;
    match failed_later {
        Some(error) if !call.dry_run => Err(error),
        _ => Ok(elements),
    }
}

fn only_prebuilt(call: &Call, store: &dyn Store, elements: Vec<Element>) -> anyhow::Result<Vec<Element>> {
    let paths: Vec<StorePath> = elements.iter().map(|element| element.out_path.clone()).collect();
    let valid = store.valid(&paths)?;
    let known = call.context.substituters().known_in_bulk(store.dir(), &paths, &*call.context.ui)?;
    let is_there = |element: &Element| {
        let path = &element.out_path;
        valid.contains(path) || known.iter().any(|item| item.info.path == *path)
    };
    Ok(elements.into_iter().filter(is_there).collect())
}

/// Makes packages valid, or tells in a dry run what that takes.
fn make(call: &Call, store: &dyn Store, elements: &[Element]) -> anyhow::Result<()> {
    let request = |element: &Element| match &element.drv_path {
        Some(drv) => DerivedPath::built(drv.clone(), Outputs::All),
        None => DerivedPath::opaque(element.out_path.clone()),
    };
    let requests: Vec<DerivedPath> = elements.iter().map(request).collect();
    store.add_temp_roots(&requests.iter().map(|request| &request.path).collect::<Vec<_>>())?;
    if call.dry_run {
        return realiser::tell_missing(&call.context, store, &requests);
    }
    let outcomes = realiser::realise(&call.context, store, &requests)?;
    realiser::require(&call.context, store, &requests, outcomes)
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
    // A derivation that was fetched may have no such output.
    requests.iter().try_for_each(|request| refuse_missing(store, request))?;
    realiser::require(&call.context, store, &requests, outcomes)?;
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
