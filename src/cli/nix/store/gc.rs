//! `nix store gc`, `nix store delete` and `nix store optimise`.

use std::collections::HashSet;
use std::ffi::OsString;

use crate::cli::collect;
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::{Arity, Command};

/// `nix store gc`.
#[derive(Default)]
pub struct Gc {
    dry_run: bool,
    max: Option<u64>,
}

impl Command for Gc {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--dry-run" => self.dry_run = true,
            "--max" => self.max = Some(given.number()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.dry_run && self.max.is_some() {
            return usage("options --max and --dry-run cannot be combined");
        }
        Ok(())
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        if self.dry_run {
            return collect::dry_run(context, &HashSet::new());
        }
        collect::collect(context, self.max, None)
    }
}

/// `nix store delete`.
#[derive(Default)]
pub struct Delete {
    selection: Selection,
    ignore_liveness: bool,
}

impl Command for Delete {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        if given.name() == "--ignore-liveness" {
            self.ignore_liveness = true;
            return Ok(true);
        }
        self.selection.flag(given)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = &*context.open_any_to_collect()?;
        let (selected, invalid) = self.selection.select(context, store, arguments, false)?;
        let mut paths = invalid;
        paths.extend(selected.paths()?);
        collect::delete(context, store, &paths, self.ignore_liveness)
    }
}

/// `nix store optimise`.
#[derive(Default)]
pub struct Optimise;

impl Command for Optimise {
    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        collect::optimise(context)
    }
}
