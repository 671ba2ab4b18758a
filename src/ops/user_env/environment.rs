//! The environment that a derivation stands for, made without a builder.

use std::collections::{BTreeSet, HashSet};

use super::build_env::{BuildEnv, Package};
use super::error::{Result, UserEnvError};
use crate::model::derivation::DerivationOutput;
use crate::model::{Derivation, StoreDir, StorePath};
use crate::nar::Sink;
use crate::store::LocalStore;
use crate::store::api::Store as _;
use crate::store::error::{Conflicts, FailedBuild, RealiseError, StoreError};
use crate::store::local::add::Adder;

/// An environment that is to be made.
pub struct Environment {
    packages: Vec<Package>,
    /// Paths that the packages and everything that is not active have.
    others: Vec<StorePath>,
    manifest: StorePath,
    drv_path: StorePath,
    out: StorePath,
}

/// The builder of every environment.
pub(super) const BUILDER: &str = "builtin:buildenv";

impl Environment {
    /// The environment that a derivation stands for; nothing if it stands for something else.
    ///
    /// # Errors
    /// [`UserEnvError::Build`] for a derivation of an environment that does not say what is in it.
    pub fn of(dir: &StoreDir, drv_path: &StorePath, drv: &Derivation) -> Result<Option<Self>> {
        let outputs: Vec<_> = drv.outputs.iter().collect();
        let [(name, DerivationOutput::InputAddressed(out))] = outputs[..] else { return Ok(None) };
        if drv.builder != BUILDER.as_bytes() || name != "out" {
            return Ok(None);
        }
        let bad = |what: &str| UserEnvError::Build(format!("'{}': {what}", dir.display(drv_path)));
        let text = |name: &str| {
            let value = drv.env.get(name.as_bytes()).ok_or_else(|| bad(&format!("'{name}' is missing")))?;
            std::str::from_utf8(value).map_err(|_| bad(&format!("'{name}' is no text")))
        };
        let manifest = dir.parse(text("manifest")?).map_err(StoreError::from)?;
        let mut packages = Vec::new();
        let mut others = Vec::new();
        let mut words = text("derivations")?.split_ascii_whitespace();
        while let Some(active) = words.next() {
            let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
            let (Some(priority), Some(count)) = (number(), number()) else {
                return Err(bad("'derivations' has no number where one should be"));
            };
            for _ in 0..count {
                let word = words.next().ok_or_else(|| bad("'derivations' ends too early"))?;
                let path = dir.parse(word).map_err(StoreError::from)?;
                others.push(path.clone());
                if active != "false" {
                    packages.push(Package { path, priority });
                }
            }
        }
        Ok(Some(Self { packages, others, manifest, drv_path: drv_path.clone(), out: out.clone() }))
    }

    /// Makes it and adds it with `adder`, which added its derivation and its manifest. Links may
    /// lead to what the manifest refers to, as well.
    ///
    /// # Errors
    /// [`RealiseError::Conflicts`], [`RealiseError::Failed`] and others.
    pub fn add_with(
        mut self,
        store: &LocalStore,
        adder: &mut Adder<'_>,
        of_manifest: BTreeSet<StorePath>,
    ) -> Result<()> {
        store.add_temp_roots(&[&self.out])?;
        if store.db().is_valid(&self.out)? {
            return Ok(());
        }
        self.others = of_manifest.into_iter().collect();
        self.add(store, adder, true)
    }

    /// Makes it and adds it, where its derivation is valid: for somebody who is not `trusted`
    /// only if all of it is among the inputs of the derivation, and nothing is looked at that
    /// not everybody may see.
    ///
    /// # Errors
    /// [`RealiseError::Conflicts`], [`RealiseError::Failed`] and others.
    pub fn make(mut self, store: &LocalStore, drv: &Derivation, trusted: bool) -> Result<()> {
        self.others.push(self.manifest.clone());
        let inputs: Vec<StorePath> = drv.references().into_iter().collect();
        store.add_temp_roots(&self.others.iter().chain([&self.out]).chain(&inputs).collect::<Vec<_>>())?;
        for path in self.others.iter().chain(&inputs) {
            if !store.db().is_valid(path)? {
                return Err(store.invalid(path).into());
            }
        }
        // An older version, or somebody else, may have registered it unchecked.
        store.check_outputs(&self.drv_path, drv)?;
        if !trusted {
            let known = known_paths(store, drv)?;
            if let Some(path) = self.others.iter().find(|path| !known.contains(*path)) {
                let dir = store.dir();
                let (drv_path, path) = (dir.display(&self.drv_path), dir.display(path));
                return Err(UserEnvError::Build(format!("'{drv_path}': '{path}' is not among its inputs")));
            }
        }
        let mut adder = store.adder();
        self.add(store, &mut adder, trusted)?;
        Ok(adder.finish()?)
    }

    /// Makes it and adds it; for somebody who is not `trusted` with the eyes of
    /// nobody, and not as something that needs no signature.
    fn add(self, store: &LocalStore, adder: &mut Adder<'_>, trusted: bool) -> Result<()> {
        let dir = store.dir();
        store.progress().notice(&format!("building '{}'...", dir.display(&self.drv_path)));
        let mut env = BuildEnv::new(store.layout(), store.progress(), dir.print(&self.out));
        env.packages = self.packages;
        let linked = if trusted { env.link_all() } else { env.link_all_as_nobody() };
        env.link("manifest.nix", dir.print(&self.manifest));
        let conflicts = env.conflicts();
        let (drv_path, out) = (dir.print(&self.drv_path), dir.print(&self.out));
        if !conflicts.is_empty() {
            let conflicts = Conflicts { all: conflicts, drv_path, out };
            return Err(StoreError::from(RealiseError::Conflicts(Box::new(conflicts))).into());
        }
        match linked {
            Err(error @ (UserEnvError::Build(_) | UserEnvError::Path(_))) => {
                let failed = FailedBuild { message: error.to_string(), drv_path, out };
                return Err(StoreError::from(RealiseError::Failed(Box::new(failed))).into());
            }
            other => other?,
        }
        // Links may lead to anything that the packages need.
        let own = [self.manifest, self.drv_path.clone()];
        let references = env.references(store, &self.others, own, b"")?;
        let fill = |sink: &mut dyn Sink| env.write(sink);
        Ok(adder.add_built(&self.out, &self.drv_path, references, trusted, fill)?)
    }
}

/// The paths that a derivation may use: its sources, the outputs it names of
/// its input derivations, and what these refer to.
fn known_paths(store: &LocalStore, drv: &Derivation) -> Result<HashSet<StorePath>> {
    let mut inputs: HashSet<StorePath> = drv.input_srcs.iter().cloned().collect();
    for (path, names) in &drv.input_drvs {
        let input = store.queries().read_derivation(path)?;
        let named = input.output_paths().filter(|(name, _)| names.contains(*name));
        inputs.extend(named.map(|(_, output)| output.clone()));
    }
    let mut known = inputs.clone();
    for path in &inputs {
        if let Some(info) = store.db().path_info(path)? {
            known.extend(info.references);
        }
    }
    Ok(known)
}
