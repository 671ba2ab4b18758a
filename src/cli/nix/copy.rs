//! `nix copy`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nival::model::StorePath;
use nival::ops::copy::{self, CopyOptions};
use nival::ops::profile::Profile;
use nival::ops::realise::Outputs;
use nival::progress::Progress as _;
use nival::store::{ManagedStore, Store};

use super::elsewhere::Between;
use super::installable::{Wanted, outputs_of};
use super::selection::Selection;
use super::words::Words;
use super::{Arity, Command};
use crate::cli::context::Context;

/// `nix copy`.
#[derive(Default)]
pub struct Copy {
    selection: Selection,
    between: Between,
    only_named: bool,
    no_check_sigs: bool,
    fetch: bool,
    profile: Option<OsString>,
    out_link: Option<OsString>,
}

impl Command for Copy {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, flag: &str, words: &mut Words, _context: &Context) -> anyhow::Result<bool> {
        let path = |words: &mut Words| words.values(flag).map(|[value]| Some(value));
        match flag {
            "--no-recursive" => self.only_named = true,
            "--no-check-sigs" => self.no_check_sigs = true,
            "-s" | "--substitute-on-destination" => self.fetch = true,
            "--profile" => self.profile = path(words)?,
            "-o" | "--out-link" => self.out_link = path(words)?,
            _ => return Ok(self.between.flag(flag, words)? || self.selection.flag(flag, words)?),
        }
        Ok(true)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.between.check()
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let (source, destination) = self.between.open(context)?;
        let roots = self.roots(context, &*source, arguments)?;
        let trust = match destination.local().filter(|_| !self.no_check_sigs) {
            Some(local) => context.trust_for(local)?,
            None => None,
        };
        let options = CopyOptions {
            only_named: self.only_named,
            trust,
            check_signatures: !self.no_check_sigs,
            fetch: self.fetch,
        };
        let plan = copy::plan(&*source, &*destination, &roots, &options)?;
        copy::copy(&*source, &*destination, plan, &options, &*context.ui)?;
        self.link(context, &*destination, &roots)
    }
}

impl Copy {
    /// The paths that the arguments stand for.
    fn roots(
        &self,
        context: &Context,
        source: &dyn Store,
        arguments: &[OsString],
    ) -> anyhow::Result<Vec<StorePath>> {
        if self.selection.all {
            self.selection.expect_nothing_else(arguments)?;
            return Ok(source.all()?);
        }
        if let Some(local) = source.local() {
            let selected = self.selection.resolve_or_fetch(context, local, arguments)?;
            if let Some(path) = selected.invalid.first() {
                anyhow::bail!(no_substituter(source, path));
            }
            let roots: Vec<StorePath> = selected.valid;
            // Nothing of it is to be collected on the way. What was before this
            // is found when the closure is looked up.
            if !local.is_read_only() {
                local.add_temp_roots(&roots.iter().collect::<Vec<_>>())?;
            }
            return Ok(roots);
        }
        let mut roots = Vec::new();
        let mut local = None;
        for wanted in self.selection.wanted(context, source.dir(), arguments)? {
            match wanted {
                Wanted::Path(path) if self.selection.derivation => {
                    roots.push(deriver(source, &path)?);
                }
                Wanted::Path(path) => roots.push(path),
                Wanted::Outputs(drv, outputs) => {
                    // What is built from it is known where it lies itself.
                    if local.is_none() {
                        local = Some(context.open_store()?);
                    }
                    let local: Option<&Box<dyn ManagedStore>> = local.as_ref();
                    roots.extend(
                        local.map_or(Ok(Vec::new()), |local| local_outputs(&**local, &drv, &outputs))?,
                    );
                }
            }
        }
        roots.sort_unstable();
        roots.dedup();
        let known = source.items(&roots)?;
        let missing: Vec<&StorePath> =
            roots.iter().zip(&known).filter(|(_, item)| item.is_none()).map(|(path, _)| path).collect();
        if let Some(first) = missing.first() {
            context.ui.problem("don't know how to build these paths:");
            for path in &missing {
                context.ui.problem(&format!("  {}", source.dir().display(path)));
            }
            anyhow::bail!(no_substituter(source, first));
        }
        Ok(roots)
    }

    /// Makes what was copied a root, if asked to.
    fn link(&self, context: &Context, destination: &dyn Store, roots: &[StorePath]) -> anyhow::Result<()> {
        if self.profile.is_none() && self.out_link.is_none() {
            return Ok(());
        }
        let Some(local) = destination.local() else {
            let flag = if self.out_link.is_some() { "--out-link" } else { "--profile" };
            anyhow::bail!("'{flag}' is not supported for this Nix store");
        };
        if let Some(link) = &self.out_link {
            for (number, path) in roots.iter().enumerate() {
                local.add_indirect_root(&numbered(&context.absolute(Path::new(link)), number), path)?;
            }
        }
        if let Some(profile) = &self.profile {
            let [path] = roots else {
                anyhow::bail!(
                    "'--profile' requires that the arguments produce a single store path, but there are {}",
                    roots.len()
                );
            };
            set_profile(local, &context.absolute(Path::new(profile)), path)?;
        }
        Ok(())
    }
}

fn set_profile(local: &dyn ManagedStore, link: &Path, path: &StorePath) -> anyhow::Result<()> {
    let profile = Profile::new(link);
    let _lock = profile.lock(local.progress())?;
    let generation = profile.add_generation(local, path)?;
    Ok(profile.switch(generation)?)
}

/// `L`, `L-1`, `L-2`, …
fn numbered(link: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return link.to_owned();
    }
    let mut name = link.as_os_str().to_owned();
    name.push(format!("-{number}"));
    name.into()
}

fn no_substituter(store: &dyn Store, path: &StorePath) -> String {
    format!("path '{}' is required, but there is no substituter that can build it", store.dir().display(path))
}

fn deriver(source: &dyn Store, path: &StorePath) -> anyhow::Result<StorePath> {
    if path.is_derivation() {
        return Ok(path.clone());
    }
    let item = source.items(std::slice::from_ref(path))?.pop().flatten();
    let deriver = item.and_then(|item| item.info.deriver);
    deriver.ok_or_else(|| anyhow::anyhow!("'{}' does not have a known deriver", source.dir().display(path)))
}

/// The outputs of a derivation that lies in the local store.
fn local_outputs(
    local: &dyn ManagedStore,
    drv: &StorePath,
    outputs: &Outputs,
) -> anyhow::Result<Vec<StorePath>> {
    if !local.is_valid(drv)? {
        return Err(local.invalid(drv).into());
    }
    let derivation = local.read_derivation(drv)?;
    outputs_of(local, outputs, drv, &derivation)?
        .into_iter()
        .map(|(name, path)| {
            path.ok_or_else(|| {
                anyhow::anyhow!(
                    "the path of output '{name}' of '{}' is known once it is built",
                    local.dir().display(drv)
                )
            })
        })
        .collect()
}
