//! `nix store repair`.

use std::ffi::OsString;

use nival::progress::Progress as _;

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::{Arity, Command};
use crate::cli::repair::repair;

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
        // What is missing is there, and sound, once it is fetched.
        let (selected, invalid) = self.0.select_or_fetch(context, store, arguments)?;
        if let Some(path) = invalid.first() {
            return Err(store.invalid(path).into());
        }
        let paths = selected.paths()?;
        for path in &paths {
            context.ui.notice(&format!("checking path '{}'...", store.dir().display(path)));
        }
        repair(context, store, &paths, |context, path| {
            context.ui.notice(&format!("path '{}' is corrupted or missing!", store.dir().display(path)));
        })
    }
}
