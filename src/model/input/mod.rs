//! Inputs: what a tree of sources is fetched by, as a set of attributes or as a URL.
//!
//! ```text
//! url        URLs in their parts
//! error      why attributes or a URL are no input
//! git        Git repositories
//! mercurial  Mercurial repositories
//! forge      repositories of GitHub, GitLab and SourceHut, as archives
//! web        archives and files by their URLs
//! path       files and directories of this machine
//! indirect   names that a registry knows
//! version    another branch, tag or commit
//! ```

mod error;
pub mod forge;
pub mod git;
pub mod indirect;
pub mod mercurial;
pub mod path;
pub mod url;
mod version;
pub mod web;

pub use error::{InputError, Result};

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

/// Something that a tree is fetched by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A tree of a Git repository.
    Git(git::GitInput),
    /// A tree of a Mercurial repository.
    Mercurial(mercurial::MercurialInput),
    /// A commit of a repository on a forge.
    Forge(forge::ForgeInput),
    /// An archive or a file.
    Web(web::WebInput),
    /// A tree of this machine.
    Path(path::PathInput),
    /// What a registry has for a name.
    Indirect(indirect::IndirectInput),
}

impl Input {
    /// Reads attributes, of which `type` says what they are about.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_attributes(attributes: &Attributes) -> Result<Input> {
        let Some(kind) = text(attributes, "type")? else { return Err(InputError::NoType) };
        if let Some(forge) = forge::Forge::of_type(kind) {
            return forge::ForgeInput::from_attributes(forge, attributes).map(Input::Forge);
        }
        if let Some(content) = web::Content::of_type(kind) {
            return web::WebInput::from_attributes(content, attributes).map(Input::Web);
        }
        match kind {
            git::TYPE => git::GitInput::from_attributes(attributes).map(Input::Git),
            mercurial::TYPE => mercurial::MercurialInput::from_attributes(attributes).map(Input::Mercurial),
            path::TYPE => path::PathInput::from_attributes(attributes).map(Input::Path),
            indirect::TYPE => indirect::IndirectInput::from_attributes(attributes).map(Input::Indirect),
            _ => Err(InputError::Type(json(attributes))),
        }
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(text: &str) -> Result<Input> {
        Self::from_parsed(&url::Url::parse(text)?).map_err(|error| error.of(text))
    }

    /// Reads a URL that was taken apart.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_parsed(url: &url::Url) -> Result<Input> {
        if let Some(input) = git::GitInput::from_url(url) {
            return input.map(Input::Git);
        }
        if let Some(input) = mercurial::MercurialInput::from_url(url) {
            return input.map(Input::Mercurial);
        }
        if let Some(input) = forge::ForgeInput::from_url(url) {
            return input.map(Input::Forge);
        }
        if let Some(input) = web::WebInput::from_url(url) {
            return input.map(Input::Web);
        }
        if let Some(input) = path::PathInput::from_url(url) {
            return input.map(Input::Path);
        }
        match indirect::IndirectInput::from_url(url) {
            Some(input) => input.map(Input::Indirect),
            None => Err(InputError::Scheme(url.to_string())),
        }
    }

    /// The input as a URL.
    pub fn url(&self) -> url::Url {
        match self {
            Input::Git(input) => input.url(),
            Input::Mercurial(input) => input.url(),
            Input::Forge(input) => input.url(),
            Input::Web(input) => input.url(),
            Input::Path(input) => input.url(),
            Input::Indirect(input) => input.url(),
        }
    }

    /// The input as attributes.
    pub fn attributes(&self) -> Attributes {
        match self {
            Input::Git(input) => input.attributes(),
            Input::Mercurial(input) => input.attributes(),
            Input::Forge(input) => input.attributes(),
            Input::Web(input) => input.attributes(),
            Input::Path(input) => input.attributes(),
            Input::Indirect(input) => input.attributes(),
        }
    }

    /// Whether the tree is the same whenever it is fetched.
    pub fn is_locked(&self) -> bool {
        match self {
            Input::Git(input) => input.rev.is_some(),
            Input::Mercurial(input) => input.rev.is_some(),
            Input::Forge(input) => input.rev.is_some(),
            Input::Web(input) => input.expected.nar_hash.is_some(),
            Input::Path(input) => input.expected.nar_hash.is_some(),
            Input::Indirect(_) => false,
        }
    }

    /// What the tree has to be.
    pub fn expected(&self) -> &Expected {
        match self {
            Input::Git(input) => &input.expected,
            Input::Mercurial(input) => &input.expected,
            Input::Forge(input) => &input.expected,
            Input::Web(input) => &input.expected,
            Input::Path(input) => &input.expected,
            Input::Indirect(input) => &input.expected,
        }
    }
}

/// Refuses attributes that none of these names has.
fn check_names(attributes: &Attributes, scheme: &'static str, names: &[&[&str]]) -> Result<()> {
    let is_known = |name: &str| names.iter().any(|names| names.contains(&name));
    match attributes.keys().find(|name| !is_known(name)) {
        Some(name) => Err(InputError::Unknown { name: name.clone(), scheme }),
        None => Ok(()),
    }
}

/// An attribute that has to be there.
fn needed<'a>(attributes: &'a Attributes, name: &'static str) -> Result<&'a str> {
    text(attributes, name)?.ok_or(InputError::Missing(name))
}

/// Adds the texts that are there.
fn write_texts(attributes: &mut Attributes, texts: &[(&str, Option<&str>)]) {
    for (name, text) in texts {
        if let Some(text) = text {
            attributes.insert((*name).to_owned(), Attribute::Text((*text).to_owned()));
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
    to_json(attributes).to_string()
}

/// Attributes as JSON.
pub fn to_json(attributes: &Attributes) -> serde_json::Value {
    let value = |attribute: &Attribute| match attribute {
        Attribute::Text(text) => serde_json::Value::from(text.as_str()),
        Attribute::Number(number) => serde_json::Value::from(*number),
        Attribute::Bool(is) => serde_json::Value::from(*is),
    };
    let members = attributes.iter().map(|(name, attribute)| (name.clone(), value(attribute)));
    serde_json::Value::Object(members.collect())
}

/// Attributes of JSON.
///
/// # Errors
/// [`InputError::Json`].
pub fn from_json(value: &serde_json::Value) -> Result<Attributes> {
    let bad = || InputError::Json(value.to_string());
    let attribute = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(Attribute::Text(text.clone())),
        serde_json::Value::Number(number) => number.as_u64().map(Attribute::Number),
        serde_json::Value::Bool(is) => Some(Attribute::Bool(*is)),
        _ => None,
    };
    let members = value.as_object().ok_or_else(bad)?.iter();
    let members = members.map(|(name, value)| Some((name.clone(), attribute(value)?)));
    members.collect::<Option<_>>().ok_or_else(bad)
}
