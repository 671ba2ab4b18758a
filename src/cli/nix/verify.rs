//! `nix store verify`.

use std::ffi::OsString;

use nival::model::signature::PublicKey;
use nival::model::{Hash, StorePath, ValidPathInfo};
use nival::nar::NarError;
use nival::progress::{Progress as _, Unit};
use nival::store::local::verify::Damage;
use nival::store::{LocalStore, StoreError};
use nival::sys::interrupt;

use super::selection::Selection;
use super::words::Words;
use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::error::Exit;

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

    fn flag(&mut self, flag: &str, words: &mut Words, _context: &Context) -> anyhow::Result<bool> {
        match flag {
            "--no-contents" => self.no_contents = true,
            "--no-trust" => self.no_trust = true,
            "-n" | "--sigs-needed" => self.signatures_needed = words.number(flag)?,
            "-s" | "--substituter" => self.substituters.push(words.text(flag)?),
            _ => return self.selection.flag(flag, words),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        if let Some(uri) = self.substituters.first() {
            anyhow::bail!("signatures of '{uri}' cannot be asked for by this version of Nival yet");
        }
        let store = context.open_store()?;
        let (graph, order, invalid) = self.selection.graph(context, &store, arguments, false)?;
        let keys = context.settings.trusted_public_keys().iter().map(|key| PublicKey::parse(key));
        let keys = if self.no_trust { Vec::new() } else { keys.collect::<Result<Vec<_>, _>>()? };
        let mut work: Vec<(StorePath, Hash)> = Vec::with_capacity(order.len());
        let mut total = 0u64;
        for node in order {
            interrupt::check()?;
            let path = graph.path(node)?;
            let raw = store.db().raw_path(&path)?.ok_or_else(|| store.invalid(&path))?;
            total = total.saturating_add(raw.nar_size);
            work.push((path, raw.nar_hash()?));
        }
        drop(graph);
        let mut check = Check { context, store: &store, keys, needed: self.signatures_needed, outcome: 0 };
        let progress = &context.ui;
        progress.begin("verifying store paths", Some(total), Unit::Bytes);
        let result = if self.no_contents {
            work.iter().try_for_each(|(path, _)| {
                interrupt::check()?;
                check.path(path, None, !self.no_trust)
            })
        } else {
            store.verify_contents(&work, |path, damage| check.path(path, damage, !self.no_trust))
        };
        progress.end();
        result?;
        for path in &invalid {
            context.ui.error(&store.invalid(path).to_string());
            check.outcome |= FAILED;
        }
        match check.outcome {
            0 => Ok(()),
            outcome => Err(Exit(outcome).into()),
        }
    }
}

/// Tells of what is found and keeps the bits.
struct Check<'a> {
    context: &'a Context,
    store: &'a LocalStore,
    keys: Vec<PublicKey>,
    needed: u64,
    outcome: u8,
}

impl Check<'_> {
    /// Tells of one path, whose contents have been looked at.
    fn path(&mut self, path: &StorePath, damage: Option<Damage>, trust: bool) -> Result<(), StoreError> {
        let ui = &self.context.ui;
        let shown = self.store.dir().print(path);
        ui.notice(&format!("checking '{shown}'..."));
        match damage {
            None => {}
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
        if trust && !self.is_trusted(&self.store.path_info(path)?) {
            self.outcome |= UNTRUSTED;
            ui.problem(&format!("path '{shown}' is untrusted"));
        }
        Ok(())
    }

    /// Built here (unless signatures are asked for), addressed by its
    /// contents, or signed by enough trusted keys.
    fn is_trusted(&self, info: &ValidPathInfo) -> bool {
        if (self.needed == 0 && info.ultimate) || info.is_content_addressed(self.store.dir()) {
            return true;
        }
        let fingerprint = info.fingerprint(self.store.dir());
        let good =
            |signature: &&String| self.keys.iter().any(|key| key.verify(fingerprint.as_bytes(), signature));
        info.signatures.iter().filter(good).count() as u64 >= self.needed.max(1)
    }
}
