//! A failure → its wording and the exit status.

use nival::fetch::FetchError;
use nival::nar::NarError;
use nival::ops::nix_profile::NixProfileError;
use nival::ops::profile::ProfileError;
use nival::ops::user_env::UserEnvError;
use nival::progress::{Advice, Progress as _};
use nival::settings::{FeatureDisabled, LoadError, ValueError};
use nival::store::StoreError;
use nival::store::error::{Conflicts, OpenError, RealiseError};

use crate::cli::output::advice::words;
use crate::cli::output::messages::Ui;
use crate::cli::output::streams::BrokenPipe;

/// The words on the command line make no sense; a hint at `--help` follows.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The failure has been told already; only the status is left.
#[derive(Debug, thiserror::Error)]
#[error("exit status {0}")]
pub struct Exit(pub u8);

/// A failure, and what a program that knows more of it says can be done.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Advised {
    /// The failure.
    pub error: anyhow::Error,
    /// The last line of what is told.
    pub advice: String,
}

/// An evaluation failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", text.trim())]
pub struct Unevaluated {
    /// What is told after the word `error:`, with traces and places.
    pub text: String,
    /// What the program ends with.
    pub status: u8,
    /// Whether a hint at `--help` follows.
    pub usage: bool,
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
    let hint = || ui.hint(&format!("Try '{program} --help' for more information."));
    if let Some(Unevaluated { text, status, usage }) = error.downcast_ref() {
        match text.strip_prefix(' ') {
            Some(message) => ui.error(message),
            None => ui.hint(&format!("error:{text}")),
        }
        if *usage {
            hint();
        }
        return *status;
    }
    if let Some(Advised { error, advice }) = error.downcast_ref() {
        let status = report(error, program, ui);
        ui.hint(advice);
        return status;
    }
    ui.error(&text(error));
    let build = match store_error(error) {
        Some(StoreError::Realise(RealiseError::Conflicts(conflicts))) => {
            Some((&conflicts.drv_path, &conflicts.out))
        }
        Some(StoreError::Realise(RealiseError::Failed(failed))) => Some((&failed.drv_path, &failed.out)),
        _ => None,
    };
    if let Some((drv_path, out)) = build {
        tell_failed_build(drv_path, out, ui);
        return FAILED_BUILD;
    }
    if is_usage(error) {
        hint();
    }
    store_error(error).map_or(1, |error| error.failure_kinds().status())
}

/// What is told of a failure: the message, and what the user can do about it.
pub fn text(error: &anyhow::Error) -> String {
    let message = error.to_string();
    let advice = match error.downcast_ref::<FeatureDisabled>() {
        Some(disabled) => Some(enabling(disabled)),
        None => match error.downcast_ref() {
            Some(UserEnvError::Dangling(_)) => Some(ANOTHER_GENERATION.to_owned()),
            _ => store_error(error).and_then(advice),
        },
    };
    message + &advice.unwrap_or_default()
}

/// What is told of a failure of a store, likewise.
pub fn store_text(error: &StoreError) -> String {
    error.to_string() + &advice(error).unwrap_or_default()
}

/// The failure of a store that is all there is to an error.
fn store_error(error: &anyhow::Error) -> Option<&StoreError> {
    if let Some(error) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(FetchError::Store(error)) = error.downcast_ref() {
        return Some(error);
    }
    let env = match error.downcast_ref() {
        Some(NixProfileError::Env(error)) => Some(error),
        _ => error.downcast_ref::<UserEnvError>(),
    };
    match (env, error.downcast_ref()) {
        (Some(UserEnvError::Store(error)), _) => Some(error),
        (Some(UserEnvError::Profile(ProfileError::Store(error))), _)
        | (_, Some(ProfileError::Store(error))) => Some(error),
        _ => None,
    }
}

/// What can be done about a profile that leads nowhere.
const ANOTHER_GENERATION: &str =
    "; go to another generation with 'nix-env --switch-generation' or remove the link to begin anew";

fn enabling(disabled: &FeatureDisabled) -> String {
    format!("; add '--extra-experimental-features {}' to enable it", disabled.feature)
}

/// What a user can do about a failure of a store, as it follows the message.
fn advice(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::FeatureDisabled(disabled) => enabling(disabled),
        StoreError::Damaged { .. } => {
            "\n'nix-store --verify' tells of every such row; with '--repair' it mends or removes them"
                .to_owned()
        }
        StoreError::Misnamed { .. } => {
            "\n'nix-store --verify --repair' mends it, if the contents are those of the row".to_owned()
        }
        StoreError::Unusable { .. } => {
            "\n'nix-store --rebuild-db' makes it anew from the store directory, once it has been moved away"
                .to_owned()
        }
        StoreError::Lost { .. } => {
            "\n'nix-store --rebuild-db' makes it anew from the store directory".to_owned()
        }
        StoreError::NotLost { .. } => "; to make it anew, move it away first".to_owned(),
        StoreError::NoSource(_) => words(Advice::NameSubstituter),
        StoreError::NoProc => " (with '--option gc-without-proc true' it is all the same)".to_owned(),
        StoreError::Untrusted { .. } => {
            "\n       sign it with 'nix store sign', trust its key, or use '--no-check-sigs'".to_owned()
        }
        StoreError::Open(OpenError::ThroughAnother(_)) => {
            "; run it as a user who may write to the store, with '--store local'".to_owned()
        }
        _ => return None,
    })
}

/// The status after a build that failed.
const FAILED_BUILD: u8 = 100;

fn tell_failed_build(drv_path: &str, out: &str, ui: &Ui) {
    ui.error(&format!(
        "Cannot build '{drv_path}'.\n       Reason: builder failed with exit code 1.\n       Output paths:\n         {out}"
    ));
}

/// The packages with the same files that a failure is about.
pub fn conflicts(error: &anyhow::Error) -> Option<&Conflicts> {
    match store_error(error) {
        Some(StoreError::Realise(RealiseError::Conflicts(conflicts))) => Some(conflicts),
        _ => None,
    }
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
