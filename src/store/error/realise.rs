//! Why something cannot be made valid.

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
    /// A derivation that would have to be built.
    #[error(
        "cannot build '{0}': its outputs are not valid, no substituter has them, and this version of Nival does \
         not build yet"
    )]
    NoBuilder(String),
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
    /// An environment that cannot be made, and why.
    #[error("{0}")]
    Environment(String),
}
