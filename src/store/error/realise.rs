//! Why something cannot be made valid.

use std::fmt;
use std::path::PathBuf;

use super::{BuildFailure, FailureKinds};

/// Why a path that is asked for is not valid, and cannot be made so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RealiseError {
    /// A path that no substituter has.
    #[error("path '{0}' is required, but there is no substituter that can build it")]
    NoSubstituter(String),
    /// A derivation that no substituter has.
    #[error("failed to obtain derivation of '{0}'")]
    NoDerivation(String),
    /// A derivation that would have to be built, in a store for which nobody builds.
    #[error("cannot build '{0}': its outputs are not valid, and nobody builds for this store")]
    NoBuilder(String),
    /// A derivation the outputs of which could not be fetched, although a substituter has them.
    #[error(
        "some substitutes for the outputs of derivation '{0}' failed (usually happens due to networking issues); try \
         '--fallback' to build derivation from source "
    )]
    SubstitutesFailed(String),
    /// A derivation that was to be checked, and was never built.
    #[error(
        "some outputs of '{0}' are not valid, so checking is not possible\n       Hint: --rebuild and --check error if \
         the derivation was not previously built and cannot be substituted.\n             Remove it to perform a fresh \
         build, or use --repair to rewrite missing or corrupted builds in the store."
    )]
    NotBuilt(String),
    /// Some of several requests were not fulfilled; why was told of each.
    #[error("build of {} failed", .paths.iter().map(|path| format!("'{path}'")).collect::<Vec<_>>().join(", "))]
    Several {
        /// Their full paths, sorted.
        paths: Vec<String>,
        /// The kinds of their failures.
        kinds: FailureKinds,
    },
    /// A derivation that was not begun, or not ended, because another failed.
    #[error("'{0}' was given up, because another build failed")]
    Cancelled(String),
    /// A derivation that was not built.
    #[error(transparent)]
    Build(Box<BuildFailure>),
    /// Something that only a store that builds can do.
    #[error("{0} is not available in this version of Nival")]
    NotAvailable(&'static str),
    /// A derivation that does not have the output.
    #[error("derivation '{drv}' does not have wanted outputs '{output}'")]
    NoOutput {
        /// The full path of the derivation.
        drv: String,
        /// The name of the output.
        output: String,
    },
    /// An output whose path follows from its contents only, which are not known.
    #[error(
        "Cannot use output path of floating content-addressing derivation until we know what it is (e.g. by building it)"
    )]
    UnknownOutput,
    /// A user environment of packages that have the same files.
    #[error(transparent)]
    Conflicts(Box<Conflicts>),
    /// A build that failed.
    #[error(transparent)]
    Failed(Box<FailedBuild>),
    /// A user environment that cannot be made, and why.
    #[error("{0}")]
    Environment(String),
}

/// Two packages have the same file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The one that was there.
    pub first: PathBuf,
    /// The other.
    pub second: PathBuf,
    /// Their priority.
    pub priority: i64,
}

/// All conflicts of an environment.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub struct Conflicts {
    /// In the order in which they were found.
    pub all: Vec<Conflict>,
    /// The derivation that has no output for that reason.
    pub drv_path: String,
    /// The output.
    pub out: String,
}

impl fmt::Display for Conflicts {
    /// The first in the original's words, then the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unable to build profile. There is a conflict for the following files:\n")?;
        for conflict in &self.all {
            write!(f, "\n         {:?}\n         {:?}", conflict.first, conflict.second)?;
        }
        Ok(())
    }
}

/// A build that failed, and what it was to make.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct FailedBuild {
    /// What is wrong.
    pub message: String,
    /// The full path of the derivation.
    pub drv_path: String,
    /// The full path of its output.
    pub out: String,
}
