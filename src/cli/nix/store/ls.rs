//! `nix store ls` and `nix store cat`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use nival::nar::writer::{FileOutput, Output as _};
use nival::store::Store;
use nival::store::api::look::Place;

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::nix::{Arity, Command};
use crate::cli::output::listing::Options;
use crate::cli::output::streams::stdout_file;

/// `nix store ls`.
#[derive(Default)]
pub struct StoreLs(Options);

impl Command for StoreLs {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.0.flag(given))
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        self.0.check()?;
        let store = &*context.open_store()?;
        let place = place(store, arguments)?;
        let name = place.names.last().cloned().unwrap_or_default();
        self.0.print(&name, |visitor| Ok(store.list(&place, self.0.levels(), visitor)?))
    }
}

/// `nix store cat`.
#[derive(Default)]
pub struct StoreCat;

impl Command for StoreCat {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = &*context.open_store()?;
        let place = place(store, arguments)?;
        let mut output = FileOutput::new(stdout_file());
        store.read_file(&place, &mut |contents| output.contents(contents))?;
        Ok(output.flush()?)
    }
}

/// What the only argument names.
fn place(store: &dyn Store, arguments: &[OsString]) -> anyhow::Result<Place> {
    let word = arguments.first().map(|word| word.as_bytes()).unwrap_or_default();
    Ok(Place::parse(store.dir(), word)?)
}
