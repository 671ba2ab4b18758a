//! `nix store verify`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nival::model::{HashAlgorithm, StoreDir, StorePath, ValidPathInfo};
use nival::nar::NarError;
use nival::nar::hashing::HashPipe;
use nival::nar::writer::NarWriter;
use nival::ops::copy::Trust;
use nival::progress::{Progress as _, Unit};
use nival::store::LocalStore;
use nival::store::api::{Item, NarSource};
use nival::store::local::verify::{Damage, Expected};
use nival::store::{Store, StoreError};
use nival::sys::interrupt;
use nival::sys::threads::{locked, on_threads};

use crate::cli::context::Context;
use crate::cli::error::Exit;
use crate::cli::flags::parse::Given;
use crate::cli::installables::lookup::select;
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
        let opened = context.open_any(context.settings.store_uri())?;
        let dir = opened.dir().clone();
        let mut check =
            Check { context, dir: &dir, trust, substituters, needed: self.signatures_needed, outcome: 0 };
        let Some(store) = opened.downcast::<LocalStore>() else {
            self.verify_elsewhere(&*opened, arguments, &mut check)?;
            return check.end();
        };
        let (graph, order, invalid) = self.selection.graph(context, store, arguments, false)?;
        let mut work: Vec<Expected> = Vec::with_capacity(order.len());
        let mut total = 0u64;
        for node in order {
            interrupt::check()?;
            let path = graph.path(node)?;
            let raw = store.db().raw_path(&path)?.ok_or_else(|| store.invalid(&path))?;
            total = total.saturating_add(raw.nar_size);
            work.push(Expected { path, hash: raw.nar_hash()?, size: raw.nar_size });
        }
        drop(graph);
        let progress = &context.ui;
        progress.begin("verifying", Some(total), Unit::Bytes);
        let mut done = 0;
        let mut tell = |path: &StorePath, damage| {
            done += 1;
            progress.count(done, work.len() as u64);
            check.path(&store.path_info(path)?, damage, !self.no_trust)
        };
        let result = if self.no_contents {
            work.iter().try_for_each(|Expected { path, .. }| {
                interrupt::check()?;
                tell(path, None)
            })
        } else {
            store.verify_contents(&work, tell)
        };
        progress.end();
        result?;
        for path in &invalid {
            context.ui.error(&store.invalid(path).to_string());
            check.outcome |= FAILED;
        }
        check.end()
    }
}

impl Verify {
    /// Paths of a binary cache, whose archives are read from it.
    fn verify_elsewhere(
        &self,
        store: &dyn Store,
        arguments: &[OsString],
        check: &mut Check<'_>,
    ) -> anyhow::Result<()> {
        let found = select(check.context, store, &self.selection, arguments)?;
        let source = store.source(if self.no_contents { &[] } else { &found.items })?;
        let next = AtomicUsize::new(0);
        let damages: Mutex<BTreeMap<usize, Damage>> = Mutex::default();
        let threads = if self.no_contents { 0 } else { store.parallel().min(found.items.len()) };
        if threads > 0 {
            let items = &found.items;
            let read = || -> Result<(), StoreError> {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { return Ok(()) };
                    if let Some(damage) = damage(&*source, item)? {
                        locked(&damages).insert(number, damage);
                    }
                }
            };
            on_threads(threads, read)?;
        }
        let mut damages = damages.into_inner().unwrap_or_default();
        for (number, item) in found.items.iter().enumerate() {
            check.path(&item.info, damages.remove(&number), !self.no_trust)?;
        }
        for path in &found.invalid {
            check.context.ui.error(&StoreError::Invalid(store.dir().print(path)).to_string());
            check.outcome |= FAILED;
        }
        Ok(())
    }
}

/// What is wrong with the archive of a path, if anything is.
fn damage(source: &dyn NarSource, item: &Item) -> Result<Option<Damage>, StoreError> {
    let mut writer = NarWriter::new(HashPipe::without_thread(HashAlgorithm::Sha256))?;
    match source.read(item, &mut writer) {
        Ok(()) => {}
        Err(error) if error.is_interruption() => return Err(error),
        Err(error) => return Ok(Some(Damage::Unreadable(NarError::Sink(Box::new(error))))),
    }
    let (found, _) = writer.into_output().finish();
    let (expected, found) = (item.info.nar_hash, found);
    Ok((found != expected).then_some(Damage::Modified { expected, found }))
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
