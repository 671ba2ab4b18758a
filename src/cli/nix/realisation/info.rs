//! `nix realisation info`: which paths outputs have, and who has signed that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use nival::model::{DrvOutput, Realisation, StorePath};
use nival::ops::{derivations, query};
use nival::store::api::Store;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::{Resolved, Selection, deriver, not_known, paths_of};
use crate::cli::installables::store_path::outputs_of;
use crate::cli::nix::{Arity, Command};
use crate::cli::output::json::Style;
use crate::cli::output::streams::Out;
use crate::cli::realiser;

/// `nix realisation info`.
#[derive(Default)]
pub struct Info {
    selection: Selection,
    style: Style,
}

/// What is printed, in this order.
#[derive(Default)]
struct Found {
    /// Realisations by their paths.
    realisations: BTreeMap<(StorePath, DrvOutput), Realisation>,
    /// Paths that no derivation was named for.
    paths: BTreeSet<StorePath>,
}

impl Command for Info {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.style.flag(given) || self.selection.flag(given)?)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        context.settings.require_feature(Some("ca-derivations"))?;
        let opened = context.open_any(context.settings.store_uri())?;
        let store = &*opened;
        let found = self.find(context, store, arguments)?;
        if self.style.json {
            return self.print_json(store, &found);
        }
        let mut out = Out::new();
        for ((path, _), realisation) in &found.realisations {
            out.line(format_args!("{} {}", realisation.id, store.dir().display(path)))?;
        }
        for path in &found.paths {
            out.line(store.dir().display(path))?;
        }
        out.finish()
    }
}

impl Info {
    fn find(&self, context: &Context, store: &dyn Store, arguments: &[OsString]) -> anyhow::Result<Found> {
        let mut found = Found::default();
        if self.selection.all {
            self.selection.expect_nothing_else(arguments)?;
            found.paths = store.all()?.into_iter().collect();
            return Ok(found);
        }
        let wanted = self.selection.wanted(context, store.dir(), arguments)?;
        if !self.selection.derivation {
            realiser::tell_missing(context, store, &wanted)?;
        }
        for wanted in &wanted {
            if self.selection.derivation {
                found.paths.insert(deriver(store, &wanted.path)?);
                continue;
            }
            let mut paths = BTreeSet::new();
            if let Some(unclear) = paths_of(store, wanted, &mut paths)? {
                return Err(unclear.error);
            }
            let resolved = Resolved::of(store, paths)?;
            if let Some(invalid) = resolved.invalid.first() {
                return Err(store.invalid(invalid).into());
            }
            let Some(outputs) = &wanted.outputs else {
                found.paths.extend(resolved.valid);
                continue;
            };
            let drv = store.queries().read_derivation(&wanted.path)?;
            for (name, path) in outputs_of(store, outputs, &wanted.path, &drv)? {
                let path = path.ok_or_else(|| not_known(store, &name, &wanted.path))?;
                let Some(id) = derivations::output_id(store, &drv, &name)? else { continue };
                let known = store.realisation(&id)?.filter(|known| known.out_path == path);
                let known = known.unwrap_or_else(|| Realisation::new(id.clone(), path.clone()));
                found.realisations.insert((path, id), known);
            }
        }
        if self.selection.recursive {
            let roots: Vec<StorePath> =
                found.realisations.keys().map(|(path, _)| path).chain(&found.paths).cloned().collect();
            let graph = query::closure(store, &roots, false)?;
            for node in graph.nodes() {
                found.paths.insert(graph.path(node)?);
            }
        }
        Ok(found)
    }

    fn print_json(&self, store: &dyn Store, found: &Found) -> anyhow::Result<()> {
        let mut json = self.style.writer();
        json.array()?;
        for realisation in found.realisations.values() {
            json.value(&serde_json::from_str::<Value>(&realisation.print())?)?;
        }
        for path in &found.paths {
            json.value(&json!({ "opaquePath": store.dir().print(path) }))?;
        }
        json.end_array()?;
        json.finish()
    }
}
