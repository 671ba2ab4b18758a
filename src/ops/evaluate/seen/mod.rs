//! What an evaluation saw of the world, and whether the world would show it the same again.
//!
//! An evaluation whose questions have the same answers as before has the same result. So a result can be
//! remembered together with the questions and answers, which `noting` notes, and counts as long as these are right:
//!
//! ```text
//! notes    what was noted
//! stamp    what tells a changed file from an unchanged one
//! coding   the same as bytes
//! ```
//!
//! A file or directory whose inode, size and time of change are the same is not read again. Of any other
//! the contents count, by their hash. What was changed less than two seconds before it was seen is read
//! again, too, since it can have changed since without a trace.
//!
//! Some answers cannot be had again, or not without doing what the evaluation did: the time, what an address
//! without a hash leads to, what was built on the way. What an evaluation with such a question found is not to
//! be remembered; nor is it where reading is restricted, since what may be read depends on more than is noted.
//! What the evaluation told the user is a part of its result, and is told again.

pub mod coding;
pub mod notes;
pub mod stamp;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use crate::eval::io::FileKind;
use crate::model::StorePath;
use crate::progress::Progress;
use crate::settings::Environment;
use crate::store::api::Store;
use crate::sys::{interrupt, read_whole};

use super::{files, search_path};
use stamp::{Digest, Stamp, State, digest, file_digest, listing_digest};

/// A question and its answer. Paths are absolute, those of files as they lie on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// The contents of a file. If it is `direct` the path names it without a link.
    File {
        /// Where it lies.
        path: Vec<u8>,
        /// What was seen.
        state: State,
        /// Whether the path is no link.
        direct: bool,
    },
    /// What a directory holds; likewise.
    Directory {
        /// Where it lies.
        path: Vec<u8>,
        /// What was seen.
        state: State,
        /// Whether the path is no link.
        direct: bool,
    },
    /// What a path names without following a link.
    Kind {
        /// The path.
        path: Vec<u8>,
        /// Nothing, where nothing is there.
        kind: Option<FileKind>,
    },
    /// What a link says.
    Link {
        /// The path.
        path: Vec<u8>,
        /// Its target.
        target: Vec<u8>,
    },
    /// A variable of the environment.
    Variable {
        /// Its name.
        name: Vec<u8>,
        /// The hash of its value, if it is set: values may be secrets.
        value: Option<Digest>,
    },
    /// The working directory.
    WorkingDirectory(Vec<u8>),
    /// Whether a path in the search path leads to something.
    Entry {
        /// The path as it was given.
        path: Vec<u8>,
        /// Whether something is there.
        exists: bool,
    },
    /// The references of a store path.
    References {
        /// The store path.
        path: Vec<u8>,
        /// The hash of their list, if the path is valid.
        list: Option<Digest>,
    },
}

/// Something that an evaluation told the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// A line as it is.
    Line(String),
    /// A warning.
    Warning(String),
}

impl Said {
    /// Tells it.
    pub fn tell(&self, progress: &dyn Progress) {
        match self {
            Said::Line(text) => progress.problem(text),
            Said::Warning(text) => progress.warn(text),
        }
    }
}

/// All that an evaluation saw and told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// What it saw, in the order of the paths.
    pub sights: Vec<Sight>,
    /// What it told, in this order.
    pub said: Vec<Said>,
}

/// The world as it is.
pub struct Present<'p> {
    /// The variables.
    pub environment: &'p Environment,
    /// The working directory.
    pub current_dir: &'p Path,
    /// The store.
    pub store: &'p dyn Store,
}

/// How a comparison ended that found nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compared {
    /// Files and directories that had to be read again.
    pub read_again: usize,
    /// How many of them need not be read next time.
    pub settled: usize,
}

/// What was seen does not count any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Changed {
    /// Something is not as it was seen, or cannot be seen.
    #[error("{0} changed")]
    Something(String),
    /// The user did not wait for the end of the comparison.
    #[error("the comparison was interrupted")]
    Interrupted,
}

impl Seen {
    /// Compares what was seen with the present. Stamps are renewed of what had to be read again.
    ///
    /// # Errors
    /// The first thing that is not as it was seen.
    pub fn compare(&mut self, present: &Present<'_>) -> Result<Compared, Changed> {
        let mut compared = Compared::default();
        for (index, sight) in self.sights.iter_mut().enumerate() {
            if index % 1024 == 0 && interrupt::check().is_err() {
                return Err(Changed::Interrupted);
            }
            sight.compare(present, &mut compared)?;
        }
        Ok(compared)
    }
}

impl Sight {
    fn compare(&mut self, present: &Present<'_>, compared: &mut Compared) -> Result<(), Changed> {
        let same = match self {
            Sight::File { path, state, direct } => {
                let path = path_of(path);
                let metadata = metadata(path, *direct).filter(|metadata| metadata.is_file());
                let read = |metadata: &fs::Metadata| Some(file_digest(metadata, &read_whole(path).ok()?));
                metadata.is_some_and(|metadata| state.is_same(&metadata, compared, read))
            }
            Sight::Directory { path, state, direct } => {
                let path = path_of(path);
                let metadata = metadata(path, *direct).filter(fs::Metadata::is_dir);
                let read = |_: &fs::Metadata| listing_digest(path).ok();
                metadata.is_some_and(|metadata| state.is_same(&metadata, compared, read))
            }
            Sight::Kind { path, kind } => files::kind(path_of(path)).is_ok_and(|present| present == *kind),
            Sight::Link { path, target } => {
                let present = fs::read_link(path_of(path));
                present.is_ok_and(|present| present.as_os_str().as_bytes() == target)
            }
            Sight::Variable { name, value } => variable(present.environment, name) == *value,
            Sight::WorkingDirectory(path) => present.current_dir.as_os_str().as_bytes() == path,
            Sight::Entry { path, exists } => {
                search_path::exists(present.current_dir, path).is_some() == *exists
            }
            Sight::References { path, list } => references(present.store, path) == *list,
        };
        if same { Ok(()) } else { Err(Changed::Something(self.shown())) }
    }

    fn shown(&self) -> String {
        let quoted = |path: &[u8]| format!("'{}'", String::from_utf8_lossy(path));
        match self {
            Sight::File { path, .. }
            | Sight::Directory { path, .. }
            | Sight::Kind { path, .. }
            | Sight::Link { path, .. }
            | Sight::Entry { path, .. }
            | Sight::References { path, .. } => quoted(path),
            Sight::Variable { name, .. } => format!("the variable {}", quoted(name)),
            Sight::WorkingDirectory(_) => "the working directory".to_owned(),
        }
    }
}

impl State {
    /// Whether a file is in this state; `read` gives the hash of what it holds.
    fn is_same(
        &mut self,
        metadata: &fs::Metadata,
        compared: &mut Compared,
        read: impl FnOnce(&fs::Metadata) -> Option<Digest>,
    ) -> bool {
        let (stamp, taken) = (Stamp::of(metadata), SystemTime::now());
        if self.stamp == Some(stamp) {
            return true;
        }
        compared.read_again += 1;
        if self.digest.is_none() || read(metadata) != self.digest {
            return false;
        }
        self.stamp = State::new(stamp, taken, self.digest).stamp;
        compared.settled += usize::from(self.stamp.is_some());
        true
    }
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn metadata(path: &Path, direct: bool) -> Option<fs::Metadata> {
    let metadata = if direct { fs::symlink_metadata(path) } else { fs::metadata(path) };
    metadata.ok()
}

/// The hash of a variable's value.
fn variable(environment: &Environment, name: &[u8]) -> Option<Digest> {
    let value = environment.get(std::str::from_utf8(name).ok()?)?;
    Some(digest([value.as_bytes()]))
}

/// The hash of the list of a path's references.
fn references(store: &dyn Store, path: &[u8]) -> Option<Digest> {
    let path: StorePath = store.dir().parse(std::str::from_utf8(path).ok()?).ok()?;
    let info = store.path_info(&path).ok()?;
    let list: Vec<String> = info.references.iter().map(|path| store.dir().print(path)).collect();
    Some(digest(list.iter().map(String::as_bytes)))
}
