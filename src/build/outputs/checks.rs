//! What a derivation says that must be true of its outputs.

use std::collections::{BTreeMap, BTreeSet};

use super::OutputsError;
use super::plan::OutputPlan;
use crate::model::derivation::options::{BuildOptions, OutputCheck};
use crate::model::{StorePath, ValidPathInfo};
use crate::store::error::StoreError;

/// Gives the closures of valid paths: each path with the bytes of its archive.
pub type ClosureOf<'c> = &'c dyn Fn(&BTreeSet<StorePath>) -> Result<BTreeMap<StorePath, u64>, StoreError>;

/// Checks outputs that were made together, in the order of their names.
///
/// # Errors
/// The first check that fails.
pub fn check(
    plan: &OutputPlan<'_>,
    options: &BuildOptions,
    outputs: &BTreeMap<String, &ValidPathInfo>,
    closure_of: ClosureOf<'_>,
) -> Result<(), OutputsError> {
    for (name, info) in outputs {
        let Some(check) = options.check(name) else { continue };
        let checking = Checking { plan, outputs, name, info, closure_of };
        checking.sizes(check)?;
        checking.lists(check)?;
    }
    Ok(())
}

struct Checking<'c> {
    plan: &'c OutputPlan<'c>,
    outputs: &'c BTreeMap<String, &'c ValidPathInfo>,
    name: &'c str,
    info: &'c ValidPathInfo,
    closure_of: ClosureOf<'c>,
}

impl Checking<'_> {
    fn sizes(&self, check: &OutputCheck) -> Result<(), OutputsError> {
        let path = || self.plan.store_dir.print(&self.info.path);
        if let Some(limit) = check.max_size.filter(|limit| self.info.nar_size > *limit) {
            return Err(OutputsError::TooLarge { path: path(), size: self.info.nar_size, limit });
        }
        if let Some(limit) = check.max_closure_size {
            let size = self.closure()?.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
            if size > limit {
                return Err(OutputsError::ClosureTooLarge { path: path(), size, limit });
            }
        }
        Ok(())
    }

    fn lists(&self, check: &OutputCheck) -> Result<(), OutputsError> {
        let own = &self.info.path;
        if let Some(allowed) = &check.allowed_references {
            let allowed = self.paths(allowed)?;
            self.refuse(self.info.references.iter().filter(|path| !allowed.contains(*path)))?;
        }
        if !check.disallowed_references.is_empty() {
            let disallowed = self.paths(&check.disallowed_references)?;
            self.refuse(self.info.references.iter().filter(|path| disallowed.contains(*path)))?;
        }
        if check.allowed_requisites.is_none() && check.disallowed_requisites.is_empty() {
            return Ok(());
        }
        let closure = self.closure()?;
        let requisites = || closure.keys().filter(|path| *path != own);
        if let Some(allowed) = &check.allowed_requisites {
            let allowed = self.paths(allowed)?;
            self.refuse(requisites().filter(|path| !allowed.contains(*path)))?;
        }
        let disallowed = self.paths(&check.disallowed_requisites)?;
        self.refuse(requisites().filter(|path| disallowed.contains(*path)))
    }

    /// Everything that the output leads to, itself included.
    fn closure(&self) -> Result<BTreeMap<StorePath, u64>, OutputsError> {
        let by_path: BTreeMap<&StorePath, &ValidPathInfo> =
            self.outputs.values().map(|info| (&info.path, *info)).collect();
        let mut closure = BTreeMap::new();
        let mut elsewhere = BTreeSet::new();
        let mut open = vec![self.info];
        while let Some(info) = open.pop() {
            if closure.insert(info.path.clone(), info.nar_size).is_some() {
                continue;
            }
            for reference in &info.references {
                match by_path.get(reference) {
                    Some(info) => open.push(info),
                    None => _ = elsewhere.insert(reference.clone()),
                }
            }
        }
        closure.extend((self.closure_of)(&elsewhere)?);
        Ok(closure)
    }

    /// What a list means: store paths, and outputs of the same derivation.
    fn paths(&self, texts: &BTreeSet<String>) -> Result<BTreeSet<StorePath>, OutputsError> {
        let mut paths = BTreeSet::new();
        for text in texts {
            match (self.plan.store_dir.parse(text), self.outputs.get(text)) {
                (Ok(path), _) => _ = paths.insert(path),
                (Err(_), Some(info)) => _ = paths.insert(info.path.clone()),
                (Err(_), None) => {
                    return Err(OutputsError::CheckName {
                        drv: self.plan.drv(),
                        output: self.name.to_owned(),
                        name: text.clone(),
                        valid: self.outputs.keys().cloned().collect(),
                    });
                }
            }
        }
        Ok(paths)
    }

    fn refuse<'r>(&self, refused: impl Iterator<Item = &'r StorePath>) -> Result<(), OutputsError> {
        let paths: Vec<String> = refused.map(|path| self.plan.store_dir.print(path)).collect();
        if paths.is_empty() {
            return Ok(());
        }
        Err(OutputsError::NotAllowed { output: self.plan.store_dir.print(&self.info.path), paths })
    }
}
