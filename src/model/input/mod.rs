//! Inputs: what a tree of sources is fetched by, as a set of attributes or as a URL.
//!
//! ```text
//! url   URLs in their parts
//! git   Git repositories
//! path  files and directories of this machine
//! ```

pub mod git;
pub mod path;
pub mod url;

use std::collections::BTreeMap;

use super::hash::{Hash, HashAlgorithm, HashFormat};

/// The value of an attribute of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// Whether something is so.
    Bool(bool),
}

/// The attributes of an input by their names.
pub type Attributes = BTreeMap<String, Attribute>;

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
}

/// The result of reading an input.
pub type Result<T> = std::result::Result<T, InputError>;

/// Something that a tree is fetched by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A tree of a Git repository.
    Git(git::GitInput),
    /// A tree of this machine.
    Path(path::PathInput),
}

impl Input {
    /// Reads attributes, of which `type` says what they are about.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(attributes: &Attributes) -> Result<Input> {
        match text(attributes, "type")? {
            None => Err(InputError::NoType),
            Some(git::TYPE) => git::GitInput::from_attributes(attributes).map(Input::Git),
            Some(path::TYPE) => path::PathInput::from_attributes(attributes).map(Input::Path),
            Some(_) => Err(InputError::Type(json(attributes))),
        }
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(text: &str) -> Result<Input> {
        let url = url::Url::parse(text)?;
        if let Some(input) = git::GitInput::from_url(&url) {
            return input.map(Input::Git);
        }
        match path::PathInput::from_url(&url) {
            Some(input) => input.map(Input::Path),
            None => Err(InputError::Scheme(text.to_owned())),
        }
    }

    /// The input as a URL, without what is expected of the tree.
    pub fn url(&self) -> String {
        match self {
            Input::Git(input) => input.url().to_string(),
            Input::Path(input) => input.url().to_string(),
        }
    }

    /// The input as attributes.
    pub fn attributes(&self) -> Attributes {
        match self {
            Input::Git(input) => input.attributes(),
            Input::Path(input) => input.attributes(),
        }
    }

    /// Whether the tree is the same whenever it is fetched.
    pub fn is_locked(&self) -> bool {
        match self {
            Input::Git(input) => input.rev.is_some(),
            Input::Path(input) => input.expected.nar_hash.is_some(),
        }
    }

    /// What the tree has to be.
    pub fn expected(&self) -> &Expected {
        match self {
            Input::Git(input) => &input.expected,
            Input::Path(input) => &input.expected,
        }
    }
}

/// What inputs of every type may say of their tree. It is checked once the tree is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The SHA-256 hash of its archive.
    pub nar_hash: Option<Hash>,
    /// Its time, in seconds since 1970.
    pub last_modified: Option<u64>,
    /// How many revisions led to it.
    pub rev_count: Option<u64>,
}

impl Expected {
    /// The names of the attributes that are read.
    pub const NAMES: [&'static str; 3] = ["narHash", "lastModified", "revCount"];

    /// Reads them.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn read(attributes: &Attributes) -> Result<Expected> {
        let nar_hash = text(attributes, "narHash")?.map(read_nar_hash).transpose()?;
        let (last_modified, rev_count) =
            (number(attributes, "lastModified")?, number(attributes, "revCount")?);
        Ok(Expected { nar_hash, last_modified, rev_count })
    }

    /// Adds them to attributes.
    pub fn write(&self, attributes: &mut Attributes) {
        if let Some(hash) = self.nar_hash {
            attributes.insert("narHash".to_owned(), Attribute::Text(hash.digits(HashFormat::Sri)));
        }
        for (name, number) in [("lastModified", self.last_modified), ("revCount", self.rev_count)] {
            if let Some(number) = number {
                attributes.insert(name.to_owned(), Attribute::Number(number));
            }
        }
    }
}

fn read_nar_hash(text: &str) -> Result<Hash> {
    if text.is_empty() {
        // As elsewhere: what has this hash is not known yet.
        return Ok(Hash::from_bytes(HashAlgorithm::Sha256, &[0; 32]).unwrap_or_else(|| Hash::sha256(b"")));
    }
    match text.split_once('-') {
        Some(_) => Hash::parse(text, Some(HashAlgorithm::Sha256))
            .map_err(|error| InputError::Hash(error.to_string())),
        None => Err(InputError::NotSri(text.to_owned())),
    }
}

/// The attribute `name`, if it is there.
///
/// # Errors
/// [`InputError::NotText`].
pub fn text<'a>(attributes: &'a Attributes, name: &str) -> Result<Option<&'a str>> {
    match attributes.get(name) {
        None => Ok(None),
        Some(Attribute::Text(text)) => Ok(Some(text)),
        Some(_) => Err(InputError::NotText { name: name.to_owned(), all: json(attributes) }),
    }
}

/// The attribute `name`, if it is there.
///
/// # Errors
/// [`InputError::NotBool`].
pub fn boolean(attributes: &Attributes, name: &str) -> Result<Option<bool>> {
    match attributes.get(name) {
        None => Ok(None),
        Some(Attribute::Bool(is)) => Ok(Some(*is)),
        Some(_) => Err(InputError::NotBool(name.to_owned())),
    }
}

/// The attribute `name`, if it is there.
///
/// # Errors
/// [`InputError::NotNumber`].
pub fn number(attributes: &Attributes, name: &str) -> Result<Option<u64>> {
    match attributes.get(name) {
        None => Ok(None),
        Some(Attribute::Number(number)) => Ok(Some(*number)),
        Some(_) => Err(InputError::NotNumber(name.to_owned())),
    }
}

/// Attributes as JSON on one line.
pub fn json(attributes: &Attributes) -> String {
    let value = |attribute: &Attribute| match attribute {
        Attribute::Text(text) => serde_json::Value::from(text.as_str()),
        Attribute::Number(number) => serde_json::Value::from(*number),
        Attribute::Bool(is) => serde_json::Value::from(*is),
    };
    let members = attributes.iter().map(|(name, attribute)| (name.clone(), value(attribute)));
    serde_json::Value::Object(members.collect()).to_string()
}
