//! `--install`, `--uninstall`, `--set`, `--set-flag`.

use std::path::Path;

use nival::model::manifest_nix::Value;
use nival::model::package_name;
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::ops::user_env::selector::take_out;
use nival::progress::Progress as _;
use nival::store::api::Store;
use nival::store::error::Conflicts;

use super::Call;
use super::packages::{Detail, packages, selectors};
use crate::cli::error::{Advised, conflicts, usage};

/// Adds packages, in the place of those with the same names.
pub fn install(call: Call) -> anyhow::Result<()> {
    let remove_all = call.has("--remove-all");
    let preserve = call.has("--preserve-installed");
    let store = &*call.open_store()?;
    let ui = &call.context.ui;
    let is_replaced = |old: &Element, new: &[&str]| {
        let package = |name: &str| package_name::split(name).0 == old.package();
        !preserve && !old.is_kept() && new.iter().any(|name| package(name))
    };
    let announce = |old: &[Element], new: &[&str]| {
        if remove_all {
            return;
        }
        for old in old.iter().filter(|old| is_replaced(old, new)) {
            ui.notice(&format!("replacing old '{}'", old.name));
        }
        for name in new {
            ui.notice(&format!("installing '{name}'"));
        }
    };
    let told = user_env::installed(store, call.profile()?.link())?;
    let mut new = packages(&call, store, Detail::All, &|names| announce(&told, names))?;
    for element in &mut new {
        element.name = call.force_name.clone().unwrap_or_else(|| element.name.clone());
    }
    change(&call, store, |old| {
        let mut elements = new.clone();
        if remove_all {
            return Ok(Some(elements));
        }
        let names: Vec<&str> = new.iter().map(|element| element.name.as_str()).collect();
        // Somebody else changed the profile meanwhile.
        if old != told {
            announce(&old, &names);
        }
        elements.extend(old.into_iter().filter(|old| !is_replaced(old, &names)));
        Ok(Some(elements))
    })
}

/// Removes packages.
pub fn uninstall(call: Call) -> anyhow::Result<()> {
    let store = &*call.open_store()?;
    let mut words = call.texts()?;
    // Whatever leads to a store path means that path.
    for word in words.iter_mut().filter(|word| word.contains('/')) {
        *word =
            store.dir().print(&crate::cli::installables::words::store_path(&call.context, store, &*word)?);
    }
    change(&call, store, |mut elements| {
        for mut selector in selectors(store, &words)? {
            let gone = take_out(&mut elements, &mut selector);
            if gone.is_empty() {
                let text = selector.text();
                call.context.ui.warn(&format!("selector '{text}' matched no installed derivations"));
            }
            for element in gone {
                call.context.ui.notice(&format!("uninstalling '{}'", element.name));
            }
        }
        Ok(Some(elements))
    })
}

/// Notes something with installed packages.
pub fn set_flag(call: Call) -> anyhow::Result<()> {
    let words = call.texts()?;
    let [name, value, rest @ ..] = &words[..] else {
        return usage("not enough arguments to '--set-flag'");
    };
    if name == "priority" {
        anyhow::ensure!(value.parse::<i64>().is_ok(), "the priority of a package is a number, not '{value}'");
    }
    let store = &*call.open_store()?;
    change(&call, store, |mut elements| {
        let mut selectors = selectors(store, rest)?;
        user_env::selector::select(&elements, &mut selectors)?;
        for element in &mut elements {
            if selectors.iter_mut().any(|selector| selector.matches(element)) {
                call.context.ui.notice(&format!("setting flag on '{}'", element.name));
                element.meta.insert(name.clone(), Value::String(value.clone()));
            }
        }
        Ok(Some(elements))
    })
}

/// Makes the profile one package.
pub fn set(call: Call) -> anyhow::Result<()> {
    let store = &*call.open_store()?;
    let profile = call.profile()?;
    let found = packages(&call, store, Detail::Path, &|_| {})?;
    let [element] = &found[..] else { anyhow::bail!("--set requires exactly one derivation") };
    if call.dry_run {
        return Ok(());
    }
    let _lock = profile.lock(&*call.context.ui)?;
    profile.add_generation(store, &element.out_path)?;
    Ok(())
}

/// Changes what is installed, unless that is only to be told.
pub fn change(
    call: &Call,
    store: &dyn Store,
    mut how: impl FnMut(Vec<Element>) -> anyhow::Result<Option<Vec<Element>>>,
) -> anyhow::Result<()> {
    let profile = call.profile()?;
    if call.dry_run {
        how(user_env::installed(store, profile.link())?)?;
        return Ok(());
    }
    let mut before = Vec::new();
    let mut after = Vec::new();
    let keep = call.context.settings.keep_env_derivations();
    let changed = user_env::change(store, &profile, keep, |old| -> anyhow::Result<_> {
        before = old.clone();
        let new = how(old)?;
        after = new.clone().unwrap_or_default();
        Ok(new)
    });
    match changed {
        Ok(true) => super::generation::summarise(&call.context, &before, &after),
        Ok(false) => {}
        Err(error) => {
            let conflicts = conflicts(&error);
            let advice = conflicts.and_then(|conflicts| advice(store, conflicts, &before, &after));
            return Err(match advice {
                Some(advice) => Advised { error, advice }.into(),
                None => error,
            });
        }
    }
    Ok(())
}

/// What chooses between two packages with the same file: commands that work as
/// things are, when at most one of them is installed.
fn advice(store: &dyn Store, conflicts: &Conflicts, before: &[Element], after: &[Element]) -> Option<String> {
    let conflict = conflicts.all.first()?;
    let owner = |file: &Path, among: &[Element]| {
        let (path, _) = store.dir().parse_below(file.to_str()?).ok()?;
        let element = among.iter().find(|element| element.outputs.values().any(|output| *output == path))?;
        // A name is an expression, too.
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        let version = element.version();
        let named = element.package().chars().all(plain) && version.chars().all(|c| plain(c) || c == '.');
        Some(if named { element.name.clone() } else { store.dir().print(&path) })
    };
    let (worse, better) = (conflict.priority.saturating_add(1), conflict.priority.saturating_sub(1));
    // A negative number would be a flag.
    let priority = |number: i64| if number < 0 { format!("-- {number}") } else { number.to_string() };
    let (worse, better) = (priority(worse), priority(better));
    let installed = [&conflict.first, &conflict.second].map(|file| owner(file, before));
    Some(match installed {
        [Some(one), None] | [None, Some(one)] => format!(
            "To prefer the new package: nix-env --set-flag priority {worse} '{one}', and the same again; \
             to prefer what is installed: nix-env --set-flag priority {better} '{one}', and the same again; \
             or remove it: nix-env --uninstall '{one}'"
        ),
        [Some(one), Some(_)] => format!(
            "To choose between them: nix-env --set-flag priority {better} '{one}'; \
             or remove one: nix-env --uninstall '{one}'"
        ),
        [None, None] => {
            let one = owner(&conflict.first, after)?;
            format!(
                "To choose between them, install '{one}' alone, give it another priority \
                 (nix-env --set-flag priority {better} '{one}' to prefer it, {worse} to prefer the other), \
                 and then install the rest"
            )
        }
    })
}
