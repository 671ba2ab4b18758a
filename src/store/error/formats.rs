//! Why a text or a stream that is to be taken in is refused.

/// Why a list of paths to register (`--load-db`, `--register-validity`) is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A line of more bytes than this.
    #[error("a line of the input is over {0} bytes long")]
    LongLine(usize),
    /// A line that is not UTF-8.
    #[error("a line of the input is not UTF-8")]
    NotUtf8,
    /// Something else stands where a number should.
    #[error("number expected")]
    NumberExpected,
    /// The list ends in the middle of an entry.
    #[error("missing input")]
    Incomplete,
    /// A hash that is not as long as its algorithm makes them.
    #[error("a hash has the wrong length")]
    HashLength,
    /// An archive size that no archive has.
    #[error("no archive has the size {size}, as '{path}' should")]
    Size {
        /// The path, as it stands there.
        path: String,
        /// The size.
        size: u64,
    },
}

/// Why an export stream is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The stream does not begin as export streams do.
    #[error("input doesn't look like something created by 'nix-store --export'")]
    NotAnExport,
    /// What follows an archive does not begin as it should.
    #[error("Nix archive cannot be imported; wrong format")]
    Format,
    /// A path with more references than any path has.
    #[error("'{path}' has {count} references")]
    References {
        /// The full path.
        path: String,
        /// How many references the stream has for it.
        count: u64,
    },
    /// Something else stands where a path should.
    #[error("'{0}' is no path")]
    NotAPath(String),
}
