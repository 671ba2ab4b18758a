//! What binary caches have, for expressions.

use crate::eval::error::Error;
use crate::eval::io::{ClosureFetch, Rewritten};
use crate::model::{StoreDir, StorePath};
use crate::ops::content_addressed;
use crate::ops::copy::{self, CopyOptions};
use crate::store::api::Store;

use super::Backing;
use super::add::{self, of_store};
use super::desk;
use super::world::Asked;

impl Asked {
    /// Copies a path of a binary cache, unless it is there, and gives the path that it has here.
    pub(super) fn fetch_of_cache(&self, fetch: &ClosureFetch) -> Result<Vec<u8>, Error> {
        self.mail.settle()?;
        let dir = &self.options.store_dir;
        let from = add::store_path(dir, &fetch.from_path)?;
        let wanted = match &fetch.rewritten {
            Rewritten::No => Some(from.clone()),
            Rewritten::Unknown => None,
            Rewritten::To(path) => Some(add::store_path(dir, path)?),
        };
        let is_there = wanted.as_ref().map(|path| self.is_known(path)).transpose()? == Some(true);
        if !is_there {
            self.access.check_uri(&fetch.from_store)?;
        }
        let fetch = fetch.clone();
        let path = self.mail.ask(move |desk| {
            let (backing, store) = (desk.backing, desk.backing.store()?);
            match (fetch.rewritten.clone(), wanted) {
                (Rewritten::No, _) => {
                    if !is_there {
                        copy_closure(backing, store, &fetch.from_store, &from)?;
                    }
                    check_kind(store, &from, fetch.input_addressed)?;
                    Ok(from)
                }
                (_, Some(wanted)) if is_there => {
                    check_rewritten(store, &wanted)?;
                    Ok(wanted)
                }
                (_, wanted) => rewrite(backing, store, &fetch.from_store, &from, wanted),
            }
        })?;
        Ok(self.allowed(&path))
    }
}

/// Copies a path with all that it refers to.
fn copy_closure(backing: &dyn Backing, store: &dyn Store, uri: &str, path: &StorePath) -> Result<(), Error> {
    let (source, trust) = backing.elsewhere(uri)?;
    let options = CopyOptions {
        trust: store.requires_signatures().then_some(trust),
        check_signatures: true,
        ..CopyOptions::default()
    };
    let copied = || {
        let plan = copy::plan(&*source, store, std::slice::from_ref(path), &options)?;
        copy::copy(&*source, store, plan, &options, &*backing.progress())?;
        desk::is_valid(store, path)
    };
    match copied().map_err(of_store)? {
        true => Ok(()),
        false => Err(Error::new(format!("path '{}' is not valid", store.dir().display(path)))),
    }
}

/// Makes a copy whose name follows from its contents, which has to be the expected one.
fn rewrite(
    backing: &dyn Backing,
    store: &dyn Store,
    uri: &str,
    path: &StorePath,
    wanted: Option<StorePath>,
) -> Result<StorePath, Error> {
    let (source, _) = backing.elsewhere(uri)?;
    let roots = std::slice::from_ref(path);
    let renamed = content_addressed::make(&*source, store, roots, &*backing.progress()).map_err(of_store)?;
    let dir: &StoreDir = store.dir();
    let Some(found) = renamed.get(path).cloned() else {
        return Err(Error::new(format!("path '{}' is not valid", dir.display(path))));
    };
    let yielded = format!(
        "rewriting '{}' to content-addressed form yielded '{}'",
        dir.display(path),
        dir.display(&found)
    );
    match wanted {
        Some(wanted) if wanted == found => Ok(found),
        Some(wanted) => Err(Error::new(format!("{yielded}, while '{}' was expected", dir.display(&wanted)))),
        None => Err(Error::new(format!(
            "{yielded}\nUse this value for the 'toPath' attribute passed to 'fetchClosure'"
        ))),
    }
}

/// Refuses a path that is named in another way than it was said to be.
fn check_kind(store: &dyn Store, path: &StorePath, input_addressed: bool) -> Result<(), Error> {
    let is_of_contents = store.path_info(path).map_err(of_store)?.ca.is_some();
    let shown = store.dir().display(path);
    match (input_addressed, is_of_contents) {
        (true, true) => Err(Error::new(format!(
            "The store object referred to by 'fromPath' at '{shown}' is not input-addressed, but 'inputAddressed' is \
             set to 'true'.\n\nRemove the 'inputAddressed' attribute (it defaults to 'false') to expect 'fromPath' to \
             be content-addressed"
        ))),
        (false, false) => Err(Error::new(format!(
            "The 'fromPath' value '{shown}' is input-addressed, but 'inputAddressed' is set to 'false' (default).\n\n\
             If you do intend to fetch an input-addressed store path, add\n\n    inputAddressed = true;\n\nto the \
             'fetchClosure' arguments. Who uses such a path needs the public key of the cache among the trusted ones; \
             a path that is named by its contents needs none."
        ))),
        _ => Ok(()),
    }
}

fn check_rewritten(store: &dyn Store, path: &StorePath) -> Result<(), Error> {
    if store.path_info(path).map_err(of_store)?.ca.is_some() {
        return Ok(());
    }
    let shown = store.dir().display(path);
    Err(Error::new(format!(
        "The 'toPath' value '{shown}' is input-addressed, so it can't possibly be the result of rewriting to a \
         content-addressed path.\n\nSet 'toPath' to an empty string to be told the right path."
    )))
}
