//! Why attributes or a URL are no input, in the words of the reference.

/// Why attributes or a URL are no input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Attributes that do not say what they are about.
    #[error("'type' attribute to specify input scheme is required but not provided")]
    NoType,
    /// Attributes of a type that is not known.
    #[error("cannot show unsupported input '{0}'")]
    Type(String),
    /// A URL of which no input is known.
    #[error("input '{0}' is unsupported")]
    Scheme(String),
    /// An attribute that inputs of this type do not have.
    #[error("input attribute '{name}' not supported by scheme '{scheme}'")]
    Unknown {
        /// The attribute.
        name: String,
        /// The type.
        scheme: &'static str,
    },
    /// An attribute that has to be there.
    #[error("input attribute '{0}' is missing")]
    Missing(&'static str),
    /// An attribute that has to be a text.
    #[error("input attribute '{name}' is not a string {all}")]
    NotText {
        /// The attribute.
        name: String,
        /// All attributes as JSON.
        all: String,
    },
    /// An attribute that has to be a Boolean.
    #[error("input attribute '{0}' is not a Boolean")]
    NotBool(String),
    /// An attribute that has to be a number.
    #[error("input attribute '{0}' is not an integer")]
    NotNumber(String),
    /// A name that no branch or tag can have.
    #[error("invalid Git branch/tag name '{0}'")]
    Reference(String),
    /// A revision or hash.
    #[error("{0}")]
    Hash(String),
    /// A hash in another form than `sha256-…`.
    #[error("hash '{0}' is not SRI")]
    NotSri(String),
    /// A text that is no URL.
    #[error("'{0}' is not a valid URL: leftover")]
    NotUrl(String),
    /// A text that does not begin as a URL does.
    #[error("'{0}' doesn't have a scheme")]
    NoScheme(String),
    /// `host:path`
    #[error("SCP-like URL '{0}' is not supported; use SSH URL syntax instead (ssh://...)")]
    Scp(String),
    /// A parameter that URLs of paths do not have.
    #[error("path URL '{url}' has unsupported parameter '{name}'")]
    Parameter {
        /// The URL.
        url: String,
        /// The parameter.
        name: String,
    },
    /// A parameter that should be a number.
    #[error("path URL '{url}' has invalid parameter '{name}'")]
    BadParameter {
        /// The URL.
        url: String,
        /// The parameter.
        name: String,
    },
    /// A path of another machine.
    #[error("path URL '{url}' should not have an authority ('{authority}')")]
    PathAuthority {
        /// The URL.
        url: String,
        /// The machine.
        authority: String,
    },
    /// A file of another machine.
    #[error("file:// URL '{url}' has unexpected authority '{authority}'")]
    Authority {
        /// The URL.
        url: String,
        /// The machine.
        authority: String,
    },
    /// A URL whose port is none.
    #[error("port '{0}' is invalid")]
    Port(String),
    /// A URL of a forge that names no repository.
    #[error("URL '{0}' is invalid")]
    NoRepository(String),
    /// A URL with a branch in its path, and another one.
    #[error("URL '{0}' contains multiple branch/tag names")]
    TwoReferences(String),
    /// A URL with a commit in its path, and another one.
    #[error("URL '{0}' contains multiple commit hashes")]
    TwoCommits(String),
    /// Both a commit and a branch or tag.
    #[error("input {all} contains both a commit hash ('{rev}') and a branch/tag name ('{reference}')")]
    CommitAndReference {
        /// All attributes as JSON.
        all: String,
        /// The commit.
        rev: String,
        /// The branch or tag.
        reference: String,
    },
    /// A branch or tag of a forge that none can be; the attributes as JSON.
    #[error("input {0} contains an invalid branch/tag name")]
    ForgeReference(String),
    /// A forge on no machine; the attributes as JSON.
    #[error("input {0} contains an invalid instance host")]
    Host(String),
    /// A name that no branch or tag can have.
    #[error("invalid Mercurial branch/tag name '{0}'")]
    MercurialReference(String),
    /// A branch, tag or commit of what has none.
    #[error("don't know how to set {what} of input '{url}' to '{version}'")]
    NoVersions {
        /// The input as a URL.
        url: String,
        /// What was asked for.
        what: &'static str,
        /// Which one.
        version: String,
    },
    /// A commit and a branch or tag for what can have one of them.
    #[error("cannot apply both a commit hash ({rev}) and a branch/tag name ('{reference}') to input '{url}'")]
    BothVersions {
        /// The input as a URL.
        url: String,
        /// The branch or tag.
        reference: String,
        /// The commit.
        rev: String,
    },
    /// JSON that is no set of attributes.
    #[error("{0} is not a set of attributes of an input")]
    Json(String),
    /// `flake:` with nothing, or too much, behind it.
    #[error("GitHub URL '{0}' is invalid")]
    NoId(String),
    /// A name that no registry can have.
    #[error("'{0}' is not a valid flake ID")]
    Id(String),
    /// `flake:ID/BRANCH/COMMIT` without a commit.
    #[error("in flake URL '{url}', '{part}' is not a commit hash")]
    NotCommit {
        /// The URL.
        url: String,
        /// What stands in its place.
        part: String,
    },
    /// `flake:ID/…` with something else behind the slash.
    #[error("in flake URL '{url}', '{part}' is not a commit hash or branch/tag name")]
    NotCommitOrReference {
        /// The URL.
        url: String,
        /// What stands in its place.
        part: String,
    },
}

impl InputError {
    /// Whether it is that the URL is none, or none of its type: it may be meant as something else.
    pub fn is_of_url(&self) -> bool {
        !matches!(
            self,
            Self::NoType
                | Self::Type(_)
                | Self::Scheme(_)
                | Self::Unknown { .. }
                | Self::Missing(_)
                | Self::NotText { .. }
                | Self::NotBool(_)
                | Self::NotNumber(_)
                | Self::Hash(_)
                | Self::NotSri(_)
                | Self::Parameter { .. }
                | Self::BadParameter { .. }
                | Self::PathAuthority { .. }
        )
    }

    /// The same with the URL as it was written.
    pub(super) fn of(self, text: &str) -> Self {
        match self {
            Self::Scheme(_) => Self::Scheme(text.to_owned()),
            other => other,
        }
    }
}

/// The result of reading an input.
pub type Result<T> = std::result::Result<T, InputError>;
