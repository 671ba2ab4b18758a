//! The door to the world: everything that an evaluation asks of files, the store,
//! the environment and the user goes through one trait.

use super::error::Error;
use crate::model::derivation::DerivationFile;
use crate::model::input::{Attributes, Input};

/// What a path names, without following a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or fifo.
    Unknown,
}

impl FileKind {
    /// The name that the language has for the kind.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Regular => "regular",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symlink",
            FileKind::Unknown => "unknown",
        }
    }
}

/// One thing that a text depends on, as [`super::context::Element`] but owned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dependency {
    /// A store path.
    Plain(Vec<u8>),
    /// An output of a derivation.
    Output {
        /// The path of the derivation.
        derivation: Vec<u8>,
        /// The name of the output.
        output: Vec<u8>,
    },
    /// A derivation with all its outputs and its closure.
    All(Vec<u8>),
}

/// A filter of entries: the full path and the kind of each below the root.
pub type Filter<'a> = &'a mut dyn FnMut(&[u8], FileKind) -> Result<bool, Error>;

/// What shall be added to the store.
#[derive(Clone, Debug)]
pub struct Addition<'a> {
    /// The absolute path of what is added; a link in its last component is not followed.
    pub path: &'a [u8],
    /// The name of the store path.
    pub name: &'a [u8],
    /// Whether the archive is hashed, or the contents of one file.
    pub recursive: bool,
    /// The hash that the contents must have, in any format.
    pub expected: Option<&'a [u8]>,
}

/// What an evaluation needs of the world. Paths are absolute and bytes.
///
/// Each method may fail; failures carry the wording that users see. A world that asks another one has to pass on
/// methods with a body, too; one that remembers results (`ops/evaluate/noting`) has to note every answer.
pub trait World: Sync {
    /// The store directory.
    fn store_dir(&self) -> &[u8];

    /// The directory that relative paths of texts are relative to.
    fn current_dir(&self) -> Vec<u8>;

    /// The contents of a file; links are followed.
    ///
    /// # Errors
    /// The file is missing, no regular file, unreadable or forbidden.
    fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, Error>;

    /// The names in a directory and what they are, sorted by bytes.
    ///
    /// # Errors
    /// The directory is missing, no directory, unreadable or forbidden.
    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, Error>;

    /// What `path` names without following a link, `None` where there is nothing.
    ///
    /// # Errors
    /// The path is unreadable or forbidden.
    fn kind(&self, path: &[u8]) -> Result<Option<FileKind>, Error>;

    /// What a symbolic link says.
    ///
    /// # Errors
    /// The link is unreadable or forbidden.
    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error>;

    /// A variable of the environment; always `None` where the evaluation must be pure.
    fn variable(&self, name: &[u8]) -> Option<Vec<u8>>;

    /// The current time in seconds since 1970, `None` where the evaluation must be pure.
    fn now(&self) -> Option<i64>;

    /// Whether the world has to know of an evaluation that it used the time, and not only that it could have:
    /// then it is asked for it when that is needed first.
    fn watches_time(&self) -> bool {
        false
    }

    /// `builtins.currentSystem`, `None` where the evaluation must be pure.
    fn system(&self) -> Option<Vec<u8>>;

    /// The search path: pairs of a prefix (maybe empty) and a path as it was given.
    fn search_path(&self) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// Makes an entry of a search path an absolute path of this machine (by downloading, where it
    /// is a URL); `None` where it does not exist, of which the user is warned once.
    ///
    /// # Errors
    /// A download failed.
    fn resolve_entry(&self, entry: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Adds files to the store and gives the store path.
    ///
    /// # Errors
    /// They cannot be read or added, or have another hash.
    fn add(&self, addition: &Addition<'_>, filter: Option<Filter<'_>>) -> Result<Vec<u8>, Error>;

    /// Adds a text that refers to store paths, and gives its store path.
    ///
    /// # Errors
    /// The name is no name of a store path, or the text cannot be added.
    fn add_text(&self, name: &[u8], text: &[u8], references: &[Vec<u8>]) -> Result<Vec<u8>, Error>;

    /// Keeps a derivation, in the store or (where evaluation only reads) for this evaluation.
    ///
    /// # Errors
    /// It cannot be written.
    fn add_derivation(&self, derivation: DerivationFile) -> Result<(), Error>;

    /// The text of a derivation that was made before or lies in the store.
    ///
    /// # Errors
    /// There is none.
    fn read_derivation(&self, path: &[u8]) -> Result<Vec<u8>, Error>;

    /// The references of a valid store path.
    ///
    /// # Errors
    /// The path is not valid.
    fn references(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error>;

    /// Makes everything valid that a text depends on, by substituting and building.
    ///
    /// # Errors
    /// Something cannot be made valid.
    fn realise(&self, dependencies: &[Dependency]) -> Result<(), Error>;

    /// Makes a store path valid, by substituting it. A world in which evaluation only reads accepts
    /// any path; this is what the method does unless a world has one of its own.
    ///
    /// # Errors
    /// The path cannot be made valid.
    fn ensure(&self, path: &[u8]) -> Result<(), Error> {
        let _ = path;
        Ok(())
    }

    /// Fetches what a builtin fetcher asks for, all arguments as texts.
    ///
    /// # Errors
    /// The fetch failed or is not allowed.
    fn fetch(&self, fetch: &Fetch) -> Result<Vec<u8>, Error>;

    /// Fetches a tree into the store.
    ///
    /// # Errors
    /// The fetch failed or is not allowed, or the tree is another than was expected.
    fn fetch_tree(&self, input: &Input) -> Result<FetchedTree, Error>;

    /// Copies a path of a binary cache, with what it refers to, and gives the path that it has here.
    ///
    /// # Errors
    /// The cache does not have it, it is not trusted or named in another way than was expected.
    fn fetch_closure(&self, fetch: &ClosureFetch) -> Result<Vec<u8>, Error>;

    /// Whether the evaluation shall go on; asked every some thousand calls.
    ///
    /// # Errors
    /// The user interrupted it.
    fn go_on(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Tells the user a line (of `trace`, or a warning).
    fn tell(&self, text: &str);
}

/// What `builtins.fetchurl` and `fetchTarball` ask for.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// From where.
    pub url: Vec<u8>,
    /// The name of the store path.
    pub name: Vec<u8>,
    /// The hash that the result must have, in any format.
    pub hash: Option<Vec<u8>>,
    /// Whether the archive is unpacked.
    pub unpack: bool,
}

/// What `builtins.fetchClosure` asks for.
#[derive(Clone, Debug)]
pub struct ClosureFetch {
    /// The URL of the binary cache.
    pub from_store: String,
    /// The store path.
    pub from_path: Vec<u8>,
    /// Whether it gets a name that follows from its contents.
    pub rewritten: Rewritten,
    /// Whether the name of the path follows from how it was built.
    pub input_addressed: bool,
}

/// Whether a path gets a name that follows from its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rewritten {
    /// It keeps the one that it has.
    #[default]
    No,
    /// It gets one that nobody knows yet; the failure tells it.
    Unknown,
    /// It gets this one.
    To(Vec<u8>),
}

/// A tree that was fetched.
#[derive(Clone, Debug)]
pub struct FetchedTree {
    /// Its store path.
    pub path: Vec<u8>,
    /// What is known of it, as expressions see it.
    pub attributes: Attributes,
}
