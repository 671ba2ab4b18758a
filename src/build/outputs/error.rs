//! Why what a builder has made is not taken.

use std::path::PathBuf;

use crate::model::content_address::ContentPathError;
use crate::model::store_path::NameError;
use crate::nar::NarError;
use crate::store::error::StoreError;
use crate::sys::PathError;

/// What is wrong with outputs, in the words of the reference; lines after the first are indented as
/// they are shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputsError {
    /// The builder ended well without it.
    #[error("builder for '{drv}' failed to produce output path for output '{output}' at \"{}\"", .path.display())]
    Missing {
        /// The full path of the derivation.
        drv: String,
        /// The name of the output.
        output: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// Others could change it, or it is not the builder's.
    #[error(
        "suspicious ownership or permission on \"{}\" for output '{output}'; rejecting this build output",
        .path.display()
    )]
    Suspicious {
        /// Where it is.
        path: PathBuf,
        /// The name of the output.
        output: String,
    },
    /// A device, socket or pipe.
    #[error("file \"{}\" has an unsupported type", .0.display())]
    UnsupportedType(PathBuf),
    /// Outputs that refer to each other.
    #[error("cycle detected in build of '{drv}' in the references of output '{output}' from output '{from}'")]
    Cycle {
        /// The full path of the derivation.
        drv: String,
        /// The output that is referred to.
        output: String,
        /// The output that refers to it.
        from: String,
    },
    /// It changed while it was read.
    #[error("output \"{}\" changed while it was being read", .0.display())]
    Changed(PathBuf),
    /// It is to be addressed by the bytes of a file, and is none.
    #[error(
        "output path \"{}\" should be a non-executable regular file since recursive hashing is not enabled (one of \
         outputHashMode={{flat,text}} is true)",
        .0.display()
    )]
    NotPlain(PathBuf),
    /// A way of addressing that no references can have, and it has some.
    #[error(
        "fixed output derivation '{0}' is not allowed to refer to other store paths.\n       You may need to use the \
         'unsafeDiscardReferences' derivation attribute, see the manual for more details."
    )]
    ReferencesNotAllowed(String),
    /// What was promised has references.
    #[error(
        "fixed-output derivations must not reference store paths: '{drv}' references {count} distinct paths, e.g. \
         '{example}'"
    )]
    FixedReferences {
        /// The full path of the derivation.
        drv: String,
        /// How many.
        count: usize,
        /// The full path of the first.
        example: String,
    },
    /// A text that holds its own path.
    #[error("self-reference not allowed with text hashing")]
    TextSelfReference,
    /// It is not what was promised.
    #[error(
        "hash mismatch in fixed-output derivation '{drv}':\n         specified: {specified}\n            got:    {got}"
    )]
    Mismatch {
        /// The full path of the derivation.
        drv: String,
        /// The promise, in the form `sha256-…`.
        specified: String,
        /// What it is, likewise.
        got: String,
    },
    /// It refers to what it must not refer to.
    #[error("output '{output}' is not allowed to refer to the following paths:{}", .paths.iter().map(|path| format!("\n         {path}")).collect::<String>())]
    NotAllowed {
        /// The full path of the output.
        output: String,
        /// Full paths, sorted.
        paths: Vec<String>,
    },
    /// A check names what is neither a store path nor an output.
    #[error(
        "derivation '{drv}' output check for '{output}' contains output name '{name}', but this is not a valid \
         output of this derivation. (Valid outputs are [{}].)",
        .valid.join(", ")
    )]
    CheckName {
        /// The full path of the derivation.
        drv: String,
        /// The output that is checked.
        output: String,
        /// What the check names.
        name: String,
        /// The names of the outputs.
        valid: Vec<String>,
    },
    /// It is larger than it may be.
    #[error("path '{path}' is too large at {size} bytes; limit is {limit} bytes")]
    TooLarge {
        /// The full path of the output.
        path: String,
        /// Bytes of its archive.
        size: u64,
        /// As many there may be.
        limit: u64,
    },
    /// With what it refers to it is larger than it may be.
    #[error("closure of path '{path}' is too large at {size} bytes; limit is {limit} bytes")]
    ClosureTooLarge {
        /// The full path of the output.
        path: String,
        /// Bytes of the archives of its closure.
        size: u64,
        /// As many there may be.
        limit: u64,
    },
    /// No path follows from the content.
    #[error(transparent)]
    ContentPath(#[from] ContentPathError),
    /// The name of the derivation makes no path of an output.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Reading or writing it.
    #[error(transparent)]
    Nar(NarError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Taking it in.
    #[error(transparent)]
    Store(StoreError),
}

impl From<NarError> for OutputsError {
    fn from(error: NarError) -> Self {
        match error {
            NarError::UnsupportedType(path) => Self::UnsupportedType(path),
            NarError::Changed(path) => Self::Changed(path),
            error => Self::Nar(error),
        }
    }
}

impl From<StoreError> for OutputsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Nar(error) => error.into(),
            error => Self::Store(error),
        }
    }
}
