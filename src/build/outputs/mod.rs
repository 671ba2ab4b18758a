//! What becomes of what a builder has made.
//!
//! ```text
//! is every output there, and its builder's own?
//!   └→ references: hash parts of the inputs and of the outputs themselves, wherever they stand
//!        └→ order: what an output refers to comes before it; no circles
//!             └→ each: the path that the builder wrote → its final one, in contents, names and links;
//!                      hashes; and a copy of it is taken in
//! ```
//!
//! What is taken in is a copy, read through directory handles without following links: nothing
//! that the builder has left running, or linked to from elsewhere, can change it afterwards.

mod address;
mod checks;
mod error;
mod order;
mod plan;
mod survey;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use checks::{ClosureOf, check};
pub use error::OutputsError;
pub use plan::{OutputPlan, PlannedOutput, scratch_path};

use crate::model::content_address::ContentReferences;
use crate::model::references::{Candidates, Scanner};
use crate::model::rewriting::Rewrites;
use crate::model::{StorePath, ValidPathInfo};
use crate::nar::dump::{Manner, Naming, walk_with};
use crate::nar::rewriting::RewritingSink;
use crate::nar::tee::Tee;
use crate::nar::{Discard, Sink};
use crate::progress::silent;
use crate::store::local::batch::{Incoming, Intake};
use crate::store::local::ingest::{Hashes, Ingested};

type Result<T> = std::result::Result<T, OutputsError>;

/// An output that has no place yet.
pub struct TakenOutput {
    /// The name of the output.
    pub name: String,
    /// Its tree.
    pub incoming: Incoming,
    /// What is to be registered of it; it counts as built here, and has no signatures.
    pub info: ValidPathInfo,
    /// Directories within directories.
    pub depth: usize,
}

/// What came of a builder's outputs.
pub struct Outcome {
    /// All of them; what one refers to among them comes before it.
    pub outputs: Vec<TakenOutput>,
    /// An output that is not what was promised: then it has the path of what it is, and is to be
    /// registered all the same, so that one can look at it.
    pub mismatch: Option<OutputsError>,
}

/// Takes in what a builder has written below `outputs_in`, the directory that was the store to it.
/// With `owner` all of it must belong to that user.
///
/// # Errors
/// [`OutputsError`]; what was taken in is dropped then.
pub fn take(
    outputs_in: &Path,
    plan: &OutputPlan<'_>,
    owner: Option<u32>,
    intake: &Intake,
) -> Result<Outcome> {
    for (name, output) in &plan.outputs {
        survey::check(plan, name, &outputs_in.join(output.scratch.base_name()), owner)?;
    }
    let own = plan.outputs.values().map(|output| output.scratch.clone());
    let candidates = Candidates::new(plan.inputs.iter().cloned().chain(own));
    let taking = Taking { outputs_in, plan, owner, intake, candidates };
    // Where nothing is rewritten, once is enough.
    let mut early = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (name, output) in &plan.outputs {
        let nothing = Rewrites::default();
        let references = if plan.is_final() {
            let (ingested, incoming, references) = taking.ingest(output, &nothing)?;
            early.insert(name.as_str(), (ingested, incoming));
            references
        } else {
            taking.walk(output, &nothing, &mut Discard)?
        };
        found.insert(name.as_str(), references);
    }
    let order = order::sort(plan, &found)?;
    let mut paths = Paths::new();
    for output in plan.outputs.values() {
        paths.extend(output.path.clone().map(|path| (&output.scratch, path)));
    }
    let mut outcome = Outcome { outputs: Vec::new(), mismatch: None };
    for name in order {
        let (Some(output), Some(found)) = (plan.outputs.get(name), found.get(name)) else { continue };
        let (taken, mismatch) = taking.take(name, output, found, &paths, early.remove(name))?;
        paths.insert(&output.scratch, taken.info.path.clone());
        outcome.outputs.push(taken);
        outcome.mismatch = outcome.mismatch.or(mismatch);
    }
    Ok(outcome)
}

/// What an output refers to, by the paths that the builder saw.
type Found = BTreeSet<StorePath>;

/// Final paths, by those that the builder saw.
type Paths<'p> = BTreeMap<&'p StorePath, StorePath>;

struct Taking<'t> {
    outputs_in: &'t Path,
    plan: &'t OutputPlan<'t>,
    owner: Option<u32>,
    intake: &'t Intake,
    candidates: Candidates,
}

impl Taking<'_> {
    /// Takes an output in, with store paths in it replaced, and finds what it referred to before.
    fn ingest(&self, output: &PlannedOutput, rewrites: &Rewrites) -> Result<(Ingested, Incoming, Found)> {
        let hashes = Hashes::new(None, silent());
        let (ingested, incoming, found) =
            self.intake.take_in(hashes, |sink| Ok(self.walk(output, rewrites, sink)))?;
        Ok((ingested, incoming, found?))
    }

    /// Tells a sink of an output, with store paths in it replaced, and finds what it referred to
    /// before.
    fn walk(&self, output: &PlannedOutput, rewrites: &Rewrites, sink: &mut dyn Sink) -> Result<Found> {
        let real = self.outputs_in.join(output.scratch.base_name());
        let renamed = renamed(rewrites);
        let naming: Naming<'_> = &renamed;
        let manner = Manner { naming: (!rewrites.is_empty()).then_some(naming), owner: self.owner };
        let scanner = Scanner::new(&self.candidates);
        let mut found = if rewrites.is_empty() {
            let mut tee = Tee::new(sink, scanner)?;
            walk_with(&real, manner, &mut tee)?;
            tee.into_output().finish()
        } else {
            let mut rewriting = RewritingSink::new(sink, rewrites);
            let mut tee = Tee::new(&mut rewriting, scanner)?;
            walk_with(&real, manner, &mut tee)?;
            tee.into_output().finish()
        };
        if output.discard_references {
            found.clear();
        }
        Ok(found)
    }

    /// Gives an output its path, and takes it in unless that was done early; all that it refers to
    /// has its path.
    fn take(
        &self,
        name: &str,
        output: &PlannedOutput,
        found: &Found,
        paths: &Paths<'_>,
        early: Option<(Ingested, Incoming)>,
    ) -> Result<(TakenOutput, Option<OutputsError>)> {
        let own = &output.scratch;
        let mut rewrites = Rewrites::default();
        for (scratch, path) in paths.iter().filter(|(scratch, _)| **scratch != own) {
            rewrites.replace(scratch, path);
        }
        let mut references = ContentReferences::default();
        for path in found {
            if path == own {
                references.itself = true;
            } else {
                references.others.insert(paths.get(path).unwrap_or(path).clone());
            }
        }
        let real = self.outputs_in.join(own.base_name());
        let address = address::of(&output.kind);
        let (path, ca, mismatch) = match (address, &output.path) {
            (None, Some(path)) => (path.clone(), None, None),
            (None, None) => return Err(OutputsError::Changed(real)),
            (Some(address), _) => {
                let ca = address.hash(&real, own, |sink| self.walk(output, &rewrites, sink).map(drop))?;
                let path = address::path(self.plan, &ca, &references, name)?;
                let mismatch = address::check(self.plan, &output.kind, &ca, &path, &references)?;
                (path, Some(ca), mismatch)
            }
        };
        rewrites.replace(own, &path);
        let (ingested, incoming) = match early {
            Some(early) => early,
            None => {
                let (ingested, incoming, again) = self.ingest(output, &rewrites)?;
                if again != *found {
                    return Err(OutputsError::Changed(real));
                }
                (ingested, incoming)
            }
        };
        let mut info = ValidPathInfo::new(path.clone(), ingested.nar_hash, ingested.nar_size);
        info.references = references.others;
        info.references.extend(references.itself.then_some(path));
        info.deriver = Some(self.plan.drv_path.clone());
        info.ultimate = true;
        info.ca = ca;
        let taken = TakenOutput { name: name.to_owned(), incoming, info, depth: ingested.depth };
        Ok((taken, mismatch))
    }
}

/// What names become when store paths in them are replaced.
fn renamed(rewrites: &Rewrites) -> impl for<'n> Fn(&'n [u8]) -> Cow<'n, [u8]> {
    |name| {
        let mut renamed = name.to_vec();
        if rewrites.apply(&mut renamed) { Cow::Owned(renamed) } else { Cow::Borrowed(name) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
