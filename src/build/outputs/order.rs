//! The order of outputs: what one refers to comes before it.

use std::collections::{BTreeMap, BTreeSet};

use super::OutputsError;
use super::plan::OutputPlan;
use crate::model::StorePath;

/// Sorts the names of outputs of which it is known what each refers to, by the paths that the
/// builder saw.
///
/// # Errors
/// [`OutputsError::Cycle`].
pub fn sort<'p>(
    plan: &'p OutputPlan<'_>,
    found: &BTreeMap<&str, BTreeSet<StorePath>>,
) -> Result<Vec<&'p str>, OutputsError> {
    let names: BTreeMap<&StorePath, &str> =
        plan.outputs.iter().map(|(name, output)| (&output.scratch, name.as_str())).collect();
    let below = |name: &str| -> Vec<&'p str> {
        let paths = found.get(name).into_iter().flatten();
        let below: BTreeSet<&str> =
            paths.filter_map(|path| names.get(path).copied()).filter(|other| *other != name).collect();
        below.into_iter().collect()
    };
    let mut sorted = Vec::new();
    let mut done = BTreeSet::new();
    for name in plan.outputs.keys() {
        // What is on the way, and what of the references of each is still to be looked at.
        let mut open: Vec<(&str, Vec<&str>)> = Vec::new();
        if !done.contains(name.as_str()) {
            open.push((name, below(name)));
        }
        while let Some((from, left)) = open.last_mut() {
            let from = *from;
            if left.is_empty() {
                open.pop();
                done.insert(from);
                sorted.push(from);
                continue;
            }
            let next = left.remove(0);
            if open.iter().any(|(name, _)| *name == next) {
                return Err(OutputsError::Cycle {
                    drv: plan.drv(),
                    output: next.to_owned(),
                    from: from.to_owned(),
                });
            }
            if !done.contains(next) {
                open.push((next, below(next)));
            }
        }
    }
    Ok(sorted)
}
