//! `--switch-profile`, `--switch-generation`, `--rollback`,
//! `--list-generations`, `--delete-generations`.

use std::collections::BTreeMap;
use std::path::Path;

use nival::ops::profile::{Generation, Obsolete, ProfileError};
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::progress::Progress as _;
use nival::store::api::Store;
use serde_json::{Value, json};

use super::Call;
use crate::cli::context::Context;
use crate::cli::error::{Usage, usage};
use crate::cli::output::streams::Out;

/// Makes another profile the user's.
pub fn switch_profile(call: Call) -> anyhow::Result<()> {
    let [target] = &call.arguments[..] else { return usage("exactly one argument expected") };
    call.open_store()?;
    let target = call.context.absolute(Path::new(target));
    let link = call.context.profile_link()?;
    if std::fs::symlink_metadata(&target).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        call.context.ui.warn(&format!("there is no profile \"{}\" yet", target.display()));
    }
    if call.dry_run {
        return Ok(());
    }
    Ok(nival::sys::atomic::replace_symlink(&link, &target)?)
}

fn switch(call: &Call, number: Option<u64>, force: bool) -> anyhow::Result<()> {
    let store = call.open_store()?;
    let refused = |generation: &Generation| {
        let why = generation.gone(&*store).filter(|_| !force)?;
        Some(format!("{why} ('--force' switches to it all the same)"))
    };
    Ok(call.profile()?.switch_generation(number, call.dry_run, refused, &*call.context.ui)?)
}

/// Makes a generation the current one.
pub fn switch_generation(call: Call) -> anyhow::Result<()> {
    let force = call.has("--force");
    let words = call.texts()?;
    let [word] = &words[..] else { return usage("exactly one argument expected") };
    match word.parse() {
        Ok(number) => switch(&call, Some(number), force),
        Err(_) => usage("expected a generation number"),
    }
}

/// Makes the generation before the current one the current one.
pub fn rollback(call: Call) -> anyhow::Result<()> {
    let force = call.has("--force");
    if !call.arguments.is_empty() {
        return usage("no arguments expected");
    }
    switch(&call, None, force)
}

/// Deletes generations.
pub fn delete(call: Call) -> anyhow::Result<()> {
    let words = call.texts()?;
    if words.is_empty() {
        // Nothing is to be deleted, from a store that has to be there.
        return call.open_store().map(drop);
    }
    let obsolete = Obsolete::parse(&words).map_err(told)?;
    call.open_store()?;
    call.profile()?.delete_generations(&obsolete, call.dry_run, &*call.context.ui).map_err(told)?;
    Ok(())
}

/// Words that make no sense come with a hint at the help.
fn told(error: ProfileError) -> anyhow::Error {
    if error.is_usage() { Usage(error.to_string()).into() } else { error.into() }
}

/// Lists the generations.
pub fn list(call: Call) -> anyhow::Result<()> {
    let as_json = call.has("--json");
    if !call.arguments.is_empty() {
        return usage("no arguments expected");
    }
    let store = &*call.open_store()?;
    let profile = call.profile()?;
    let generations = profile.generations()?;
    let mut out = Out::new();
    if as_json {
        let values = describe_all(store, &generations.all, generations.current)?;
        out.line(Value::Array(values))?;
        return out.finish();
    }
    for generation in &generations.all {
        let mark = if Some(generation.number) == generations.current { "(current)" } else { "" };
        let time = nival::sys::clock::local_time(generation.created);
        out.line(format_args!("{:4}   {time}   {mark}", generation.number))?;
    }
    out.finish()?;
    for generation in &generations.all {
        if let Some(why) = generation.gone(store) {
            call.context.ui.warn(&format!("profile version {} {why}", generation.number));
        }
    }
    Ok(())
}

/// What each generation is, and what changed with it.
fn describe_all(
    store: &dyn Store,
    generations: &[Generation],
    current: Option<u64>,
) -> anyhow::Result<Vec<Value>> {
    let mut values = Vec::new();
    let mut before: Vec<Element> = Vec::new();
    for generation in generations {
        // Of another tool, or of none: then nothing is known of its packages.
        let elements = user_env::installed(store, &generation.link).ok();
        let target = std::fs::read_link(&generation.link).ok();
        let path = target.as_ref().and_then(|target| store.dir().parse(&target.to_string_lossy()).ok());
        let size = path.as_ref().and_then(|path| closure_size(store, path).ok());
        let mut value = json!({
            "number": generation.number,
            "date": nival::sys::clock::utc_time(generation.created),
            "current": Some(generation.number) == current,
            "storePath": target.map(|target| target.display().to_string()),
            "gone": generation.gone(store).is_some(),
            "closureSize": size,
        });
        let changes = elements.as_ref().map(|elements| {
            let changes = changes(&before, elements);
            let list = changes
                .iter()
                .map(|(package, (old, new))| json!({"package": package, "before": old, "after": new}));
            Value::Array(list.collect())
        });
        if let Some(object) = value.as_object_mut() {
            object.insert("changes".to_owned(), changes.unwrap_or(Value::Null));
        }
        values.push(value);
        before = elements.unwrap_or_default();
    }
    Ok(values)
}

fn closure_size(store: &dyn Store, path: &nival::model::StorePath) -> anyhow::Result<u64> {
    let graph = nival::ops::query::closure(store, std::slice::from_ref(path), false)?;
    Ok(graph.nodes().map(|node| graph.nar_size(node)).sum())
}

/// Versions of a package, before and after.
type Change = (Vec<String>, Vec<String>);

/// The packages whose versions or paths differ.
fn changes(before: &[Element], after: &[Element]) -> BTreeMap<String, Change> {
    let mut found: BTreeMap<String, (Vec<&Element>, Vec<&Element>)> = BTreeMap::new();
    for element in before {
        found.entry(element.package().to_owned()).or_default().0.push(element);
    }
    for element in after {
        found.entry(element.package().to_owned()).or_default().1.push(element);
    }
    let paths = |elements: &[&Element]| -> Vec<nival::model::StorePath> {
        let mut paths: Vec<_> =
            elements.iter().flat_map(|element| element.outputs.values().cloned()).collect();
        paths.sort();
        paths
    };
    let versions =
        |elements: &[&Element]| elements.iter().map(|element| element.version().to_owned()).collect();
    found
        .into_iter()
        .filter(|(_, (old, new))| paths(old) != paths(new))
        .map(|(package, (old, new))| (package, (versions(&old), versions(&new))))
        .collect()
}

/// Says on a terminal what a change came to.
pub fn summarise(context: &Context, before: &[Element], after: &[Element]) {
    if !context.ui.is_terminal() {
        return;
    }
    let shown = |versions: &[String]| {
        let words: Vec<&str> = versions
            .iter()
            .map(|version| if version.is_empty() { "(no version)" } else { version })
            .collect();
        words.join(", ")
    };
    for (package, (old, new)) in changes(before, after) {
        let line = match (old.is_empty(), new.is_empty()) {
            (true, _) => format!("  + {package} {}", shown(&new)),
            (_, true) => format!("  - {package} {}", shown(&old)),
            _ => format!("  * {package} {} → {}", shown(&old), shown(&new)),
        };
        context.ui.hint(&line);
    }
}
