//! `nix log` and `nix store copy-log`.

use std::ffi::OsString;
use std::path::Path;

use nival::progress::Progress as _;

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::store::info::url;
use crate::cli::stores::Endpoints;

/// `nix log`.
#[derive(Default)]
pub struct Log(Selection);

impl Command for Log {
    fn arity(&self) -> Arity {
        Arity::at_most(1)
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        self.0.installable_flag(given)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = context.open_any(context.settings.store_uri())?;
        for wanted in self.0.wanted(context, store.dir(), arguments)? {
            let shown = wanted.print_with_caret(store.dir());
            if let Some(mut log) = store.log(&wanted.path)? {
                let uri = if store.is_direct() { url(context) } else { store.uri() };
                context.ui.notice(&format!("got build log for '{shown}' from '{uri}'"));
                super::copy_out(&mut log, Path::new(&shown))?;
                continue;
            }
            // The substituter that offers the path may have kept the log, too.
            let substituters = context.substituters();
            let mut found = None;
            for substituter in substituters.iter() {
                match substituter.log(&wanted.path) {
                    Ok(log) => found = log.map(|log| (substituter.uri(), log)),
                    Err(error) => context.ui.warn(&error.to_string()),
                }
                if found.is_some() {
                    break;
                }
            }
            let Some((uri, mut log)) = found else {
                anyhow::bail!("build log of '{shown}' is not available");
            };
            context.ui.notice(&format!("got build log for '{shown}' from '{uri}'"));
            super::copy_out(&mut log, Path::new(&shown))?;
        }
        Ok(())
    }
}

/// `nix store copy-log`.
#[derive(Default)]
pub struct CopyLog {
    selection: Selection,
    between: Endpoints,
}

impl Command for CopyLog {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.between.flag(given)? || self.selection.flag(given)?)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.between.check()
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let (source, destination) = self.between.open(context)?;
        for wanted in self.selection.wanted(context, source.dir(), arguments)? {
            let path = &wanted.path;
            let drv = match path.is_derivation() {
                true => Some(path.clone()),
                false => {
                    let item = source.items(std::slice::from_ref(path))?.pop().flatten();
                    item.and_then(|item| item.info.deriver)
                }
            };
            let log = drv.as_ref().map(|drv| source.log(drv)).transpose()?.flatten();
            let (Some(drv), Some(mut log)) = (drv, log) else {
                anyhow::bail!("build log for '{}' is not available", wanted.print_with_caret(source.dir()));
            };
            destination.add_log(&drv, &mut *log)?;
        }
        Ok(())
    }
}
