//! Which of several packages is meant: by system, priority and version.

use std::collections::BTreeMap;

use super::Package;
use super::meta::Meta;
use crate::eval::error::Error;
use crate::eval::interpret::Worker;
use crate::model::package_name::compare_versions;

/// The attribute of `meta` that says which of two packages is preferred.
const PRIORITY: &[u8] = b"priority";

impl<'e> Package<'e> {
    /// The priority where one of several packages is chosen: of two the one with the lower number. A package
    /// that says nothing of it has 0 here, while an environment takes it for 5.
    ///
    /// # Errors
    /// It cannot be evaluated.
    pub fn priority(&self, worker: &Worker<'e>) -> Result<i64, Error> {
        let meta = self.meta(worker, worker.intern(PRIORITY))?;
        Ok(match meta {
            Some(Meta::Int(number)) => number,
            Some(Meta::Text(text)) => text.parse().unwrap_or(0),
            _ => 0,
        })
    }
}

/// Of each package name the one that is meant: one for `system` before all others, then the one of the best
/// priority, then the one of the highest version, then the first. They come by their names.
///
/// # Errors
/// A system or a priority that cannot be evaluated.
pub fn best_of_each<'p, 'e>(
    worker: &Worker<'e>,
    system: &str,
    packages: impl Iterator<Item = &'p Package<'e>>,
) -> Result<Vec<&'p Package<'e>>, Error> {
    let mut best: BTreeMap<&str, &Package<'e>> = BTreeMap::new();
    for package in packages {
        let better = match best.get(package.package()) {
            None => true,
            Some(other) => is_better(worker, system, package, other)?,
        };
        if better {
            best.insert(package.package(), package);
        }
    }
    Ok(best.into_values().collect())
}

fn is_better<'e>(
    worker: &Worker<'e>,
    system: &str,
    package: &Package<'e>,
    other: &Package<'e>,
) -> Result<bool, Error> {
    let fits = (package.system(worker)? == system, other.system(worker)? == system);
    if fits.0 != fits.1 {
        return Ok(fits.0);
    }
    let priorities = (package.priority(worker)?, other.priority(worker)?);
    if priorities.0 != priorities.1 {
        return Ok(priorities.0 < priorities.1);
    }
    Ok(compare_versions(package.version(), other.version()).is_gt())
}
