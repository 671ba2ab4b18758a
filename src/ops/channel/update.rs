//! From the URL of a channel to the derivation of its tree.
//!
//! | URL | what is fetched |
//! |---|---|
//! | ends in `.tar.gz`, `.tar.xz` or `.tar.bz2` | that |
//! | any other | `nixexprs.tar.xz`, else `nixexprs.tar.bz2`, below where it leads |

use std::collections::{BTreeMap, BTreeSet};

use super::tree::BUILDER;
use crate::fetch::url::file_name;
use crate::fetch::{FetchError, Result};
use crate::model::derivation::{DerivationOutput, modulo};
use crate::model::{Derivation, StoreDir, StorePath};
use crate::ops::prefetch::{Means, Prefetch};
use crate::ops::user_env::element::Element;
use crate::store::api::Store;
use crate::store::error::StoreError;

/// The endings of URLs that are those of tarballs.
const TARBALLS: [&str; 3] = [".tar.gz", ".tar.xz", ".tar.bz2"];
/// The system that channels are for.
const SYSTEM: &str = "builtin";

/// A channel whose tarball is in the store.
pub struct Update {
    /// The derivation of its tree, which is valid.
    pub drv_path: StorePath,
    /// The tree, which has to be made valid.
    pub out: StorePath,
}

/// Fetches the tarball of the channel `name` behind `url`, and adds the derivation of its tree. Both
/// are kept until the store is closed.
///
/// # Errors
/// [`FetchError`]; of several places that are tried, that of the last one.
pub fn fetch(store: &dyn Store, means: &Means<'_>, name: &str, url: &str) -> Result<Update> {
    let check = crate::model::store_path::check_name(name);
    check.map_err(|reason| StoreError::Name { path: name.to_owned(), reason })?;
    let tarball = match is_tarball(url) {
        true => Prefetch::file(url.to_owned()).run(store, means)?.path,
        false => below(store, means, name, url)?,
    };
    let (drv, out) = derivation_of(store.dir(), name, &tarball)?;
    store.add_temp_roots(&[&out])?;
    let text = drv.print(store.dir());
    let drv_path = store.add_text(&format!("{name}.drv"), &text, BTreeSet::from([tarball]))?;
    Ok(Update { drv_path, out })
}

fn is_tarball(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    TARBALLS.iter().any(|ending| path.ends_with(ending))
}

/// Fetches the tarball that lies below where a URL leads.
fn below(store: &dyn Store, means: &Means<'_>, name: &str, url: &str) -> Result<StorePath> {
    // A directory of this machine leads nowhere else.
    let base = match url.starts_with("file:") {
        true => url.to_owned(),
        false => {
            // Where there is no name in the URL, that of the channel is one.
            let name = file_name(url).unwrap_or_else(|_| name.to_owned());
            let page = Prefetch { name: Some(name), ..Prefetch::file(url.to_owned()) };
            page.run(store, means)?.version.map_or_else(|| url.to_owned(), |version| version.url)
        }
    };
    let get = |file: &str| Prefetch::file(format!("{base}/{file}")).run(store, means);
    match get("nixexprs.tar.xz") {
        Err(error) if error.is_interruption() => Err(error),
        Err(_) => get("nixexprs.tar.bz2").map(|fetched| fetched.path),
        Ok(fetched) => Ok(fetched.path),
    }
}

/// The derivation of a channel's tree, and its output.
fn derivation_of(dir: &StoreDir, name: &str, tarball: &StorePath) -> Result<(Derivation, StorePath)> {
    let env = [
        ("builder", BUILDER.to_owned()),
        ("channelName", name.to_owned()),
        ("name", name.to_owned()),
        ("out", String::new()),
        ("preferLocalBuild", "1".to_owned()),
        ("src", dir.print(tarball)),
        ("system", SYSTEM.to_owned()),
    ];
    let mut drv = Derivation {
        // The path is still to be found.
        outputs: BTreeMap::from([("out".to_owned(), DerivationOutput::InputAddressed(tarball.clone()))]),
        input_srcs: BTreeSet::from([tarball.clone()]),
        platform: SYSTEM.into(),
        builder: BUILDER.into(),
        env: env.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes())).collect(),
        ..Derivation::default()
    };
    let filled = modulo::fill_in_outputs(&mut drv, dir, name);
    filled.map_err(|reason| StoreError::Name { path: name.to_owned(), reason })?;
    match drv.outputs.get("out").cloned() {
        Some(DerivationOutput::InputAddressed(out)) => Ok((drv, out)),
        _ => Err(FetchError::Channel(format!("channel '{name}' has no output path"))),
    }
}

/// A channel as it is installed: its tree is at `path`.
pub fn element(name: &str, path: StorePath) -> Element {
    Element { system: Some(SYSTEM.to_owned()), ..Element::of_path(name, path) }
}
