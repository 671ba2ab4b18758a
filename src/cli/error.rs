//! A failure → its wording and the exit status.

use nival::nar::NarError;
use nival::ops::user_env::UserEnvError;
use nival::ops::user_env::build_env::Conflicts;
use nival::progress::Progress as _;
use nival::settings::{LoadError, ValueError};
use nival::store::StoreError;

use crate::cli::output::messages::Ui;

/// The words on the command line make no sense; a hint at `--help` follows.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The failure has been told already; only the status is left.
#[derive(Debug, thiserror::Error)]
#[error("exit status {0}")]
pub struct Exit(pub u8);

/// Nobody reads the output any more, which is no failure worth a message.
#[derive(Debug, thiserror::Error)]
#[error("broken pipe")]
pub struct BrokenPipe {
    /// What the program ends with.
    pub status: u8,
}

/// A usage error, ready to be returned.
pub fn usage<T>(message: impl Into<String>) -> anyhow::Result<T> {
    Err(Usage(message.into()).into())
}

/// Tells of a failure and gives the exit status.
pub fn report(error: &anyhow::Error, program: &str, ui: &Ui) -> u8 {
    // A task that failed is not shown any more.
    ui.end();
    if let Some(Exit(status)) = error.downcast_ref() {
        return *status;
    }
    if let Some(BrokenPipe { status }) = error.downcast_ref() {
        return *status;
    }
    if is_broken_pipe(error) {
        return 1;
    }
    ui.error(&error.to_string());
    match error.downcast_ref() {
        Some(UserEnvError::Conflicts(conflicts)) => return tell_conflicts(conflicts, ui),
        Some(UserEnvError::Failed(failed)) => {
            tell_failed_build(&failed.drv_path, &failed.out, ui);
            return FAILED_BUILD;
        }
        _ => {}
    }
    if is_usage(error) {
        ui.hint(&format!("Try '{program} --help' for more information."));
    }
    1
}

/// The status after a build that failed.
const FAILED_BUILD: u8 = 100;

fn tell_failed_build(drv_path: &str, out: &str, ui: &Ui) {
    ui.error(&format!(
        "Cannot build '{drv_path}'.\n       Reason: builder failed with exit code 1.\n       Output paths:\n         {out}"
    ));
}

/// The rest of what there is to say about packages with the same files; the
/// status is that of a failed build.
fn tell_conflicts(conflicts: &Conflicts, ui: &Ui) -> u8 {
    tell_failed_build(&conflicts.drv_path, &conflicts.out, ui);
    if let Some(advice) = &conflicts.advice {
        ui.hint(advice);
    }
    FAILED_BUILD
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<Usage>()
        || error.downcast_ref::<ValueError>().is_some_and(ValueError::is_usage)
        || error.downcast_ref::<LoadError>().is_some_and(LoadError::is_usage)
        || matches!(
            error.downcast_ref(),
            Some(StoreError::Hash(nival::model::hash::HashError::UnknownAlgorithm(_)))
        )
        || matches!(error.downcast_ref(), Some(nival::model::hash::HashError::UnknownAlgorithm(_)))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = match error.downcast_ref() {
        Some(StoreError::Nar(NarError::Write(io))) => io,
        _ => match error.downcast_ref() {
            Some(NarError::Write(io)) => io,
            _ => match error.downcast_ref::<std::io::Error>() {
                Some(io) => io,
                None => return false,
            },
        },
    };
    io.kind() == std::io::ErrorKind::BrokenPipe
}
