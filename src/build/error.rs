//! Why a derivation could not be built, other than that its builder failed.

use std::path::PathBuf;

use super::environment::EnvironmentError;
use super::outputs::OutputsError;
use crate::nar::NarError;
use crate::store::error::StoreError;
use crate::sys::PathError;
use crate::sys::child::ChildError;
use crate::sys::interrupt::Interrupted;

/// A build that did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file, outside of what a builder sees.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The build was told to end; nothing of it is left.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// What the builder was to see, or to be, could not be had.
    #[error("while setting up the build environment")]
    SetUp(#[source] PathError),
    /// The process between us and the builder was killed, by somebody or for want of memory.
    #[error("the process that runs the builder has ended unexpectedly")]
    SupervisorLost,
    /// Other users could exchange directories in which a build user works.
    #[error("Path \"{}\" is world-writable or a symlink. That's not allowed for security.", .0.display())]
    OpenToOthers(PathBuf),
    /// A directory that was named relative to who knows what.
    #[error("not an absolute path: \"{}\"", .0.display())]
    NotAbsolute(PathBuf),
    /// The group that gives the users of builds.
    #[error("the group '{0}' specified in 'build-users-group' does not exist")]
    NoSuchGroup(String),
    /// A group without users.
    #[error("the build users group '{0}' has no members")]
    NoBuildUsers(String),
    /// A member of the group that is no user.
    #[error("cannot find the user '{0}' in the group '{1}'")]
    NoSuchUser(String, String),
    /// The user that runs builds is one of those that are to be kept apart from it.
    #[error("the Nix user should not be a member of '{0}'")]
    AmongBuildUsers(String),
    /// What the builder should be given cannot be had.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// What it has made is not taken.
    #[error(transparent)]
    Outputs(#[from] OutputsError),
}

impl BuildError {
    /// Why a builder could not be started, or be ended.
    pub(super) fn of_child(error: ChildError) -> Self {
        match error {
            ChildError::Step(error) => Self::SetUp(error),
            ChildError::System(error) => Self::Path(error),
            ChildError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            ChildError::SupervisorLost => Self::SupervisorLost,
        }
    }

    /// Whether it was told to end.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted(_) => true,
            Self::Environment(EnvironmentError::Store(error)) | Self::Outputs(OutputsError::Store(error)) => {
                StoreError::is_interruption(error)
            }
            Self::Outputs(OutputsError::Nar(NarError::Interrupted(_))) => true,
            _ => false,
        }
    }
}
