//! `nix log`.

use std::ffi::OsString;
use std::path::Path;

use nival::progress::Progress as _;

use super::selection::Selection;
use super::store::url;
use super::words::Words;
use super::{Arity, Command};
use crate::cli::context::Context;

/// `nix log`.
#[derive(Default)]
pub struct Log(Selection);

impl Command for Log {
    fn arity(&self) -> Arity {
        Arity::at_most(1)
    }

    fn flag(&mut self, flag: &str, words: &mut Words, _context: &Context) -> anyhow::Result<bool> {
        self.0.installable_flag(flag, words)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = context.open_store()?;
        for wanted in self.0.wanted(context, store.dir(), arguments)? {
            let shown = wanted.shown(store.dir());
            let Some(mut log) = store.open_log(wanted.path())? else {
                anyhow::bail!("build log of '{shown}' is not available");
            };
            context.ui.notice(&format!("got build log for '{shown}' from '{}'", url(context)));
            super::copy_out(&mut log, Path::new(&shown))?;
        }
        Ok(())
    }
}
