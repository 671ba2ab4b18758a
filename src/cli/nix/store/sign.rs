//! `nix store sign` and `nix store copy-sigs`.

use std::ffi::OsString;
use std::io::Read as _;

use nival::ops::{copy, sign};
use nival::progress::Progress as _;
use nival::sys::PathError;

use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::key::parse_secret;
use crate::cli::nix::{Arity, Command};

/// Bytes of a key file that are read: keys are a line.
const MAX_KEY: u64 = 64 * 1024;

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
        let store = &*context.open_any(context.settings.store_uri())?;
        let selected = self.selection.select_valid(context, store, arguments)?;
        let added = sign::sign(&selected, &key)?;
        context.ui.notice(&format!("added {added} signatures"));
        Ok(())
    }
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
        let store = &*context.open_any(context.settings.store_uri())?;
        let paths = self.selection.select_valid(context, store, arguments)?.paths()?;
        let mut added = 0;
        for uri in &self.from {
            let source = context.open_any(uri)?;
            added += copy::copy_signatures(&*source, store, &paths)?;
        }
        context.ui.notice(&format!("imported {added} signatures"));
        Ok(())
    }
}
