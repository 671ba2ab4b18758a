//! `nix store repair`.

use std::ffi::OsString;

use nival::progress::Progress as _;

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::{Arity, Command};
use crate::cli::nix_store::maintain;

/// `nix store repair`.
#[derive(Default)]
pub struct Repair(Selection);

impl Command for Repair {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        self.0.flag(given)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = &*context.open_store()?;
        let (graph, valid, invalid) = self.0.graph(context, store, arguments, false)?;
        if let Some(path) = invalid.first() {
            return Err(store.invalid(path).into());
        }
        let mut paths = Vec::new();
        for node in valid {
            let path = graph.path(node)?;
            context.ui.notice(&format!("checking path '{}'...", store.dir().display(&path)));
            paths.push(path);
        }
        maintain::repair(context, store, &paths, |context, path| {
            context.ui.notice(&format!("path '{}' is corrupted or missing!", store.dir().display(path)));
        })
    }
}
