//! `nix store sign` and `nix store copy-sigs`.

use std::ffi::OsString;
use std::io::Read as _;

use nival::model::signature::SecretKey;
use nival::model::{StorePath, ValidPathInfo};
use nival::ops::copy;
use nival::progress::Progress as _;
use nival::store::LocalStore;
use nival::store::graph::{Graph, Node};
use nival::store::{Store, StoreError};
use nival::sys::{PathError, interrupt};

use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::installables::lookup::select;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::key::parse_secret;
use crate::cli::nix::{Arity, Command};

/// Bytes of a key file that are read: keys are a line.
const MAX_KEY: u64 = 64 * 1024;
/// Paths whose signatures are written together.
const BATCH: usize = 512;

/// `nix store sign`.
#[derive(Default)]
pub struct Sign {
    selection: Selection,
    key_file: Option<OsString>,
}

impl Command for Sign {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        if !matches!(given.name(), "--key-file") {
            return self.selection.flag(given);
        }
        let file = given.value();
        self.key_file = Some(file);
        Ok(true)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.key_file.is_none() { usage("required argument '--key-file' is missing") } else { Ok(()) }
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let file = self.key_file.clone().unwrap_or_default();
        let mut text = String::new();
        std::fs::File::open(&file)
            .and_then(|key| key.take(MAX_KEY).read_to_string(&mut text))
            .map_err(PathError::at("opening file", &file))?;
        let key = parse_secret(context, &text)?;
        let opened = context.open_any(context.settings.store_uri())?;
        let Some(store) = opened.downcast::<LocalStore>() else {
            return self.sign_elsewhere(context, &*opened, arguments, &key);
        };
        let (graph, order, invalid) = self.selection.graph(context, store, arguments, false)?;
        if let Some(path) = invalid.first() {
            return Err(store.invalid(path).into());
        }
        let mut added = 0;
        for nodes in order.chunks(BATCH) {
            let signed = unsigned(store, &graph, nodes, |text| key.sign(text.as_bytes()))?;
            if signed.is_empty() {
                continue;
            }
            store.write(|writer| {
                signed.iter().try_for_each(|info| {
                    added += writer.add_signatures(info)?;
                    Ok(())
                })
            })?;
        }
        context.ui.notice(&format!("added {added} signatures"));
        Ok(())
    }
}

impl Sign {
    /// Signs paths of a binary cache.
    fn sign_elsewhere(
        &self,
        context: &Context,
        store: &dyn Store,
        arguments: &[OsString],
        key: &SecretKey,
    ) -> anyhow::Result<()> {
        let found = select(context, store, &self.selection, arguments)?;
        if let Some(path) = found.invalid.first() {
            return Err(StoreError::Invalid(store.dir().print(path)).into());
        }
        let mut signed = found.items;
        signed.retain_mut(|item| {
            let signature = key.sign(item.info.fingerprint(store.dir()).as_bytes());
            item.info.signatures.insert(signature)
        });
        store.add_signatures(&signed)?;
        context.ui.notice(&format!("added {} signatures", signed.len()));
        Ok(())
    }
}

/// The metadata of those paths that lack a signature, with it.
fn unsigned(
    store: &dyn Store,
    graph: &Graph,
    nodes: &[Node],
    sign: impl Fn(&str) -> String,
) -> Result<Vec<ValidPathInfo>, StoreError> {
    let mut found = Vec::new();
    for node in nodes {
        interrupt::check()?;
        let mut info = store.path_info(&graph.path(*node)?)?;
        let signature = sign(&info.fingerprint(store.dir()));
        if info.signatures.insert(signature) {
            found.push(info);
        }
    }
    Ok(found)
}

/// `nix store copy-sigs`.
#[derive(Default)]
pub struct CopySigs {
    selection: Selection,
    from: Vec<String>,
}

impl Command for CopySigs {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        if !matches!(given.name(), "--substituter") {
            return self.selection.flag(given);
        }
        self.from.push(given.text()?);
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        if self.from.is_empty() {
            return usage("you must specify at least one substituter using '-s'");
        }
        let store = context.open_any(context.settings.store_uri())?;
        let paths: Vec<StorePath> = match store.downcast::<LocalStore>() {
            Some(local) => {
                let (graph, order, invalid) = self.selection.graph(context, local, arguments, false)?;
                if let Some(path) = invalid.first() {
                    return Err(local.invalid(path).into());
                }
                order.into_iter().map(|node| graph.path(node)).collect::<Result<_, _>>()?
            }
            None => {
                let found = select(context, &*store, &self.selection, arguments)?;
                if let Some(path) = found.invalid.first() {
                    return Err(StoreError::Invalid(store.dir().print(path)).into());
                }
                found.items.into_iter().map(|item| item.info.path).collect()
            }
        };
        let mut added = 0;
        for uri in &self.from {
            let source = context.open_any(uri)?;
            added += copy::copy_signatures(&*source, &*store, &paths)?;
        }
        context.ui.notice(&format!("imported {added} signatures"));
        Ok(())
    }
}
