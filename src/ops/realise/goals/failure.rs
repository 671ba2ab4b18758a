//! What is told of a derivation that was not built, in the reference's words.

use std::path::PathBuf;

use super::elsewhere;
use super::graph::Goal;
use crate::build::BuildError;
use crate::build::outputs::OutputsError;
use crate::build::process::Ended;
use crate::build::steps::{Failed, Reason};
use crate::model::derivation::DerivationOutput;
use crate::model::{Derivation, StorePath};
use crate::ops::realise::context::RealiseContext;
use crate::store::error::{BuildFailure, FailureKinds, RealiseError, StoreError};
use crate::sys::signal;

/// The error for a build that has failed.
pub(super) fn of_build(context: &RealiseContext<'_>, goal: &Goal, failed: &Failed) -> StoreError {
    let tail = || tail(context, goal, failed);
    match &failed.reason {
        Reason::Ended(Ended::Exited(status)) => {
            let reason = format!("builder failed with exit code {status}.");
            cannot_build(context, goal, &reason, &tail(), of_builder(&goal.drv))
        }
        Reason::Ended(Ended::Signalled(signal)) => {
            let reason = format!("builder failed due to signal {signal} ({}).", signal::name(*signal));
            cannot_build(context, goal, &reason, &tail(), of_builder(&goal.drv))
        }
        Reason::Ended(Ended::TimedOut(seconds) | Ended::Silent(seconds)) => {
            let text = format!("timed out after {seconds} seconds");
            failure(context, goal, text, FailureKinds::TIMEOUT)
        }
        Reason::Ended(Ended::TooMuchLog(bytes)) => {
            let drv = context.store.dir().display(&goal.path);
            let text = format!(
                "building derivation '{drv}' killed after writing more than {bytes} bytes of log output"
            );
            failure(context, goal, text, FailureKinds::default())
        }
        Reason::Error(error) => of_error(context, goal, error),
        Reason::Store(error) => failure(context, goal, told(error), FailureKinds::default()),
        Reason::Elsewhere { uri, timed_out, message } => {
            elsewhere::failed_there(context, goal, (uri, message), *timed_out)
        }
        Reason::Lost { reason, .. } => failure(context, goal, reason.clone(), FailureKinds::default()),
    }
}

/// The error for a build that something went wrong with outside of its builder.
pub(super) fn of_error(context: &RealiseContext<'_>, goal: &Goal, error: &BuildError) -> StoreError {
    if error.is_interruption() {
        return crate::sys::interrupt::Interrupted.into();
    }
    let kinds = match error {
        BuildError::Outputs(OutputsError::Mismatch { .. }) => FailureKinds::HASH,
        _ => FailureKinds::default(),
    };
    failure(context, goal, told(error), kinds)
}

/// The error for an output that differs from the one at `path`; it is kept `beside` that, if anywhere.
pub(super) fn of_difference(
    context: &RealiseContext<'_>,
    goal: &Goal,
    path: &StorePath,
    beside: Option<PathBuf>,
) -> StoreError {
    let (dir, real) = (context.store.dir(), context.store.real_path(path));
    let from = beside.map_or(String::new(), |beside| format!(" from {beside:?}"));
    let drv = dir.display(&goal.path);
    let text = format!("derivation '{drv}' may not be deterministic: output {real:?} differs{from}");
    failure(context, goal, text, FailureKinds::DIFFERENCE)
}

/// The error for a goal in words.
pub(super) fn of_text(
    context: &RealiseContext<'_>,
    goal: &Goal,
    text: String,
    kinds: FailureKinds,
) -> StoreError {
    failure(context, goal, text, kinds)
}

/// An error with what it was part of, as the reference shows both.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("\n       … {error}\n\n       error: {source}"),
    }
}

/// The error for a goal some needs of which have failed.
pub(super) fn of_needs(context: &RealiseContext<'_>, goal: &Goal) -> StoreError {
    let count = match goal.failed {
        1 => "1 dependency".to_owned(),
        count => format!("{count} dependencies"),
    };
    cannot_build(context, goal, &format!("{count} failed."), "", goal.kinds)
}

/// The error for a derivation that no machine may build; `reason` may have several lines.
pub(super) fn impossible(context: &RealiseContext<'_>, goal: &Goal, reason: &str) -> StoreError {
    let drv = context.store.dir().display(&goal.path);
    let text = format!("Cannot build '{drv}'.\n       {reason}");
    failure(context, goal, text, FailureKinds::BUILDER)
}

/// A builder of something that is fetched may succeed another time: its failure has no kind.
fn of_builder(drv: &Derivation) -> FailureKinds {
    let is_fixed = drv.outputs.values().any(|output| matches!(output, DerivationOutput::Fixed { .. }));
    if is_fixed { FailureKinds::default() } else { FailureKinds::BUILDER }
}

pub(super) fn cannot_build(
    context: &RealiseContext<'_>,
    goal: &Goal,
    reason: &str,
    tail: &str,
    kinds: FailureKinds,
) -> StoreError {
    let dir = context.store.dir();
    let mut text = format!("Cannot build '{}'.\n       Reason: {reason}", dir.display(&goal.path));
    let mut outputs: Vec<String> = goal.drv.output_paths().map(|(_, path)| dir.print(path)).collect();
    outputs.sort();
    if !outputs.is_empty() {
        text.push_str("\n       Output paths:");
        for output in outputs {
            text.push_str("\n         ");
            text.push_str(&output);
        }
    }
    text.push_str(tail);
    failure(context, goal, text, kinds)
}

fn failure(context: &RealiseContext<'_>, goal: &Goal, text: String, kinds: FailureKinds) -> StoreError {
    let drv_path = context.store.dir().print(&goal.path);
    RealiseError::Build(Box::new(BuildFailure::new(drv_path, text, kinds))).into()
}

/// The last lines of a log that were not shown, and how to see all of them.
fn tail(context: &RealiseContext<'_>, goal: &Goal, failed: &Failed) -> String {
    if context.progress.shows_logs() || failed.tail.is_empty() {
        return String::new();
    }
    let mut text = format!("\n       Last {} log lines:", failed.tail.len());
    for line in &failed.tail {
        text.push_str(if line.is_empty() { "\n       >" } else { "\n       > " });
        text.push_str(line);
    }
    let features = &context.builds.features;
    let command = if features.contains("nix-command") { "nix log" } else { "nix-store -l" };
    let drv = context.store.dir().display(&goal.path);
    text.push_str(&format!("\n       For full logs, run:\n         {command} {drv}"));
    text
}
