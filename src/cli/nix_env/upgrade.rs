//! `--upgrade`.

use std::collections::BTreeSet;
use std::convert::Infallible;

use nival::eval::error::Error;
use nival::eval::interpret::Worker;
use nival::model::package_name::{compare_versions, split};
use nival::model::{StoreDir, StorePath};
use nival::ops::packages::Package;
use nival::ops::packages::memory::names::Offer;
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::ops::user_env::selector::select;
use nival::ops::user_env::upgrade::{Mode, choose};
use nival::progress::Progress as _;
use nival::store::api::Store;

use super::Call;
use super::install::change;
use super::offers::Offers;
use super::packages::{Detail, Origin, Words, evaluated, known, meant, named, origin, selectors};
use super::past::Past;

/// Replaces installed packages by newer ones.
pub fn upgrade(call: Call) -> anyhow::Result<()> {
    let store = &*call.open_store()?;
    let words = call.texts()?;
    let installed = user_env::installed(store, call.profile()?.link())?;
    let replaced = match origin(&call, &words) {
        Origin::Expression(how) => of_expression(&call, store, how, &words, &installed)?,
        origin => {
            let offers = known(&call, store, &origin, &words)?;
            let mut replaced = Vec::new();
            for old in &installed {
                let priority = |offer: &Element| Ok::<_, Infallible>(offer.choice_priority());
                let Ok(best) = choose(old, &offers, call.mode, priority);
                let other = best.filter(|best| best.out_path != old.out_path);
                replaced.extend(other.map(|best| (old.clone(), best.clone())));
            }
            replaced.iter().for_each(|(old, new)| tell(&call.context.ui, old, &new.name));
            replaced
        }
    };
    change(&call, store, |old| {
        let replace = |old: Element| match replaced.iter().find(|(installed, _)| *installed == old) {
            Some((_, new)) => new.clone(),
            None => old,
        };
        Ok(Some(old.into_iter().map(replace).collect()))
    })
}

fn tell(ui: &crate::cli::output::messages::Ui, old: &Element, new: &str) {
    let newer = compare_versions(old.version(), split(new).1).is_le();
    let verb = if newer { "upgrading" } else { "downgrading" };
    ui.notice(&format!("{verb} '{}' to '{new}'", old.name));
}

/// Installed packages, and what an expression offers in their places.
fn of_expression(
    call: &Call,
    store: &dyn Store,
    how: Words,
    words: &[String],
    installed: &[Element],
) -> anyhow::Result<Vec<(Element, Element)>> {
    let offers = Offers::of(call)?;
    let past = Past::of(call, store, &offers, "")?;
    let mut selectors = if how == Words::Names { selectors(store, words)? } else { Vec::new() };
    let known = match how {
        Words::Names if selectors.is_empty() => past.names().map(|names| in_place_of(installed, names)),
        Words::Names => meant(&past, &mut selectors)?,
        _ => None,
    };
    let (dir, mode, ui) = (store.dir().clone(), call.mode, &call.context.ui);
    let mut places = Vec::new();
    let new = evaluated(call, store, &past, Detail::All, &|_| {}, |worker, arguments, asked| {
        let offered: Vec<Package<'_>> = match how {
            Words::Names => {
                let place = offers.place(worker, arguments, asked, "")?;
                let packages = offers.packages(&place, asked, known.as_deref())?;
                let meant = select(&packages, &mut selectors).map_err(anyhow::Error::from)?;
                meant.into_iter().cloned().collect()
            }
            _ => named(worker, arguments, asked, &offers, how, words)?,
        };
        let mut chosen = Vec::new();
        for old in installed {
            let Some((best, path)) = replacement(worker, &dir, old, &offered, mode)? else { continue };
            tell(ui, old, &best.name);
            places.push((old, path));
            chosen.push(best);
        }
        Ok(chosen)
    })?;
    let replaced = places.into_iter().filter_map(|(old, path)| {
        let new = new.iter().find(|new| new.out_path == path)?;
        Some((old.clone(), new.clone()))
    });
    Ok(replaced.collect())
}

/// The packages that have the names of installed ones.
fn in_place_of(installed: &[Element], mut names: Vec<Offer>) -> Vec<Offer> {
    let installed: BTreeSet<&str> = installed.iter().map(Element::package).collect();
    names.retain(|offer| installed.contains(split(&offer.name).0));
    names
}

/// What replaces an installed package, and its path.
fn replacement<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    old: &Element,
    offered: &[Package<'e>],
    mode: Mode,
) -> Result<Option<(Package<'e>, StorePath)>, Error> {
    let Some(best) = choose(old, offered, mode, |offer: &Package<'e>| offer.priority(worker))? else {
        return Ok(None);
    };
    let path = best.querying(best.out_path(worker, dir))?;
    Ok((path != old.out_path).then(|| (best.clone(), path)))
}
