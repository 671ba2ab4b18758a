//! `nix store verify`.

use std::ffi::OsString;

use nival::model::{StoreDir, ValidPathInfo};
use nival::nar::NarError;
use nival::ops::copy::Trust;
use nival::ops::verify::{Damage, Options, verify};
use nival::progress::Progress as _;
use nival::store::{Store, StoreError};

use crate::cli::context::Context;
use crate::cli::error::Exit;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::{Arity, Command};

/// The bits of the exit status.
const MODIFIED: u8 = 1;
const UNTRUSTED: u8 = 2;
const FAILED: u8 = 4;

/// `nix store verify`.
#[derive(Default)]
pub struct Verify {
    selection: Selection,
    no_contents: bool,
    no_trust: bool,
    signatures_needed: u64,
    substituters: Vec<String>,
}

impl Command for Verify {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--no-contents" => self.no_contents = true,
            "--no-trust" => self.no_trust = true,
            "--sigs-needed" => self.signatures_needed = given.number()?,
            "--substituter" => self.substituters.push(given.text()?),
            _ => return self.selection.flag(given),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let substituters = self.substituters.iter().map(|uri| context.open_any(uri));
        let substituters = substituters.collect::<anyhow::Result<Vec<_>>>()?;
        let trust = if self.no_trust { Trust::default() } else { context.trust()? };
        let store = &*context.open_any(context.settings.store_uri())?;
        let needed = self.signatures_needed;
        let mut check = Check { context, dir: store.dir(), trust, substituters, needed, outcome: 0 };
        let (selected, invalid) = self.selection.select(context, store, arguments, false)?;
        let mut options = Options::default();
        options.contents = !self.no_contents;
        verify(&selected, options, &context.progress(), |info, damage| {
            check.path(info, damage, !self.no_trust)
        })?;
        for path in &invalid {
            context.ui.error(&store.invalid(path).to_string());
            check.outcome |= FAILED;
        }
        check.end()
    }
}

/// Tells of what is found and keeps the bits.
struct Check<'a> {
    context: &'a Context,
    dir: &'a StoreDir,
    trust: Trust,
    /// Whose signatures count as well.
    substituters: Vec<Box<dyn Store>>,
    needed: u64,
    outcome: u8,
}

impl Check<'_> {
    /// Tells of one path, whose contents have been looked at.
    fn path(&mut self, info: &ValidPathInfo, damage: Option<Damage>, trust: bool) -> Result<(), StoreError> {
        let ui = &self.context.ui;
        let shown = self.dir.print(&info.path);
        ui.item(&format!("checking '{shown}'..."));
        match damage {
            None | Some(Damage::Size { expected: 0, .. }) => {}
            Some(Damage::Size { expected, found }) => {
                self.outcome |= MODIFIED;
                ui.problem(&format!("path '{shown}' was registered with size {expected}, but has {found}"));
            }
            Some(Damage::Modified { expected, found }) => {
                self.outcome |= MODIFIED;
                ui.problem(&format!(
                    "path '{shown}' was modified! expected hash '{expected}', got '{found}'"
                ));
            }
            Some(Damage::Unreadable(error)) => {
                self.outcome |= FAILED;
                match error {
                    NarError::Missing(_) => ui.error(&format!("path '{shown}/' does not exist")),
                    error => ui.error(&error.to_string()),
                }
                return Ok(());
            }
        }
        if trust && !self.is_trusted(info)? {
            self.outcome |= UNTRUSTED;
            self.context.ui.problem(&format!("path '{shown}' is untrusted"));
        }
        Ok(())
    }

    /// Built here (unless signatures are asked for), addressed by its
    /// contents, or signed by enough trusted keys.
    fn is_trusted(&self, info: &ValidPathInfo) -> Result<bool, StoreError> {
        if (self.needed == 0 && info.ultimate) || info.is_content_addressed(self.dir) {
            return Ok(true);
        }
        let needed = self.needed.max(1);
        if self.trust.good_signatures(self.dir, info) >= needed {
            return Ok(true);
        }
        let mut info = info.clone();
        for substituter in &self.substituters {
            let item = substituter.items(std::slice::from_ref(&info.path))?.pop().flatten();
            info.signatures.extend(item.into_iter().flat_map(|item| item.info.signatures));
            if self.trust.good_signatures(self.dir, &info) >= needed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn end(&self) -> anyhow::Result<()> {
        match self.outcome {
            0 => Ok(()),
            outcome => Err(Exit(outcome).into()),
        }
    }
}
