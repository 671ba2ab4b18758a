//! The files of a work tree that Git tracks, as they lie there.
//!
//! A tracked file that is not there any more, or behind a symlink, is left out,
//! as is whatever is not tracked. With submodules theirs are among them.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::attributes::{self, Exports};
use super::command::{self, Git};
use super::objects::check_name;
use super::places::{self, Places};
use super::repository::Repository;
use super::{GitError, Result};
use crate::model::input::git::Rev;
use crate::nar::{NarError, Sink, dump};
use crate::sys::dir::{DIRECTORY, open_dir};
use crate::sys::{PathError, interrupt, read_regular};

/// Bytes of the names of all tracked files.
const MOST_OF_NAMES: u64 = 1 << 30;
/// Submodules within submodules.
const DEEPEST_MODULE: usize = 32;

/// The tracked files of a work tree.
pub struct WorkTree {
    root: PathBuf,
    files: BTreeMap<CString, Node>,
    /// Work trees with changes: this one, after those of submodules.
    dirty: Vec<PathBuf>,
    /// The commit that is checked out, if there is one.
    pub rev: Option<Rev>,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// The full name of the branch that is checked out, if it is known.
    pub reference: Option<String>,
    repository: Repository,
}

enum Node {
    Directory(BTreeMap<CString, Node>),
    Leaf,
}

/// Files of a directory that are in a list.
pub struct TrackedFiles {
    root: PathBuf,
    files: BTreeMap<CString, Node>,
}

impl TrackedFiles {
    /// Those of the directory `root` with these names, as far as they are there.
    ///
    /// # Errors
    /// Names that no files have.
    pub fn new<'n>(root: &Path, names: impl Iterator<Item = &'n [u8]>) -> Result<TrackedFiles> {
        let mut files = BTreeMap::new();
        for name in names.filter(|name| is_there(root, name)) {
            insert(&mut files, name, true)?;
        }
        let root = root.canonicalize().map_err(PathError::at("resolving", root))?;
        Ok(TrackedFiles { root, files })
    }

    /// Tells a sink of the files.
    ///
    /// # Errors
    /// Those of reading, and of the sink.
    pub fn tell(&self, sink: &mut dyn Sink) -> std::result::Result<(), NarError> {
        let root = open_dir(&self.root)?;
        tell(root.as_fd(), &self.root, &self.files, sink)
    }
}

/// What is found in one work tree, before those of its submodules.
struct Scan<'g> {
    git: &'g Git,
    with_modules: bool,
    export: bool,
    files: BTreeMap<CString, Node>,
    dirty: Vec<PathBuf>,
}

impl WorkTree {
    pub(super) fn open(
        git: &Git,
        root: &Path,
        places: &Places,
        with_modules: bool,
        export: bool,
    ) -> Result<WorkTree> {
        let mut scan = Scan { git, with_modules, export, files: BTreeMap::new(), dirty: Vec::new() };
        let (repository, rev) = scan.add(root, &[], places, 0)?;
        let time = match &rev {
            Some(rev) => repository.read_commit(rev)?.time,
            None => 0,
        };
        let reference = places.head()?;
        let Scan { files, dirty, .. } = scan;
        let root = root.canonicalize().map_err(PathError::at("resolving", root))?;
        Ok(WorkTree { root, files, dirty, rev, time, reference, repository })
    }

    /// Work trees with changes: this one, after those of submodules. None, if there is no change.
    pub fn dirty(&self) -> &[PathBuf] {
        &self.dirty
    }

    /// How many commits led to the one that is checked out.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn count(&self) -> Result<u64> {
        self.rev.as_ref().map_or(Ok(0), |rev| self.repository.count(rev))
    }

    /// Tells a sink of the files.
    ///
    /// # Errors
    /// Those of reading, and of the sink.
    pub fn tell(&self, sink: &mut dyn Sink) -> std::result::Result<(), NarError> {
        let root = open_dir(&self.root)?;
        tell(root.as_fd(), &self.root, &self.files, sink)
    }
}

/// Tells of a directory by its handle, so that no link is followed on the way to a file.
fn tell(
    dir: BorrowedFd<'_>,
    path: &Path,
    nodes: &BTreeMap<CString, Node>,
    sink: &mut dyn Sink,
) -> std::result::Result<(), NarError> {
    interrupt::check()?;
    sink.enter_directory()?;
    for (name, node) in nodes {
        sink.entry(name)?;
        let path = path.join(OsStr::from_bytes(name.as_bytes()));
        match node {
            Node::Leaf => dump::walk_at(dir, name, &path, sink)?,
            Node::Directory(nodes) => {
                let opened: OwnedFd = rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())
                    .map_err(|_| NarError::Changed(path.clone()))?;
                tell(opened.as_fd(), &path, nodes, sink)?;
            }
        }
    }
    sink.leave_directory()
}

impl Scan<'_> {
    /// Adds the tracked files of the work tree at `root`, which lies at `prefix` in the whole tree.
    fn add(
        &mut self,
        root: &Path,
        prefix: &[u8],
        places: &Places,
        depth: usize,
    ) -> Result<(Repository, Option<Rev>)> {
        if depth > DEEPEST_MODULE {
            return Err(GitError::Bad("submodules are nested too deeply".to_owned()));
        }
        let repository = Repository::view(self.git, places)?;
        let rev = repository.resolve("HEAD")?;
        let index = places.git_dir.join("index");
        let command = |words: &[&str]| {
            let mut command = repository.command();
            command.env("GIT_INDEX_FILE", &index).env("GIT_WORK_TREE", root).current_dir(root).args(words);
            command
        };
        let mut list = command(&["ls-files", "-z", "--stage"]);
        let listed = command::output(&mut list, "ls-files", MOST_OF_NAMES)?;
        let entries: Vec<(&[u8], &[u8])> = listed.split(|byte| *byte == 0).filter_map(entry).collect();
        let words = ["status", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=all"];
        let status = command::output(&mut command(&words), "status", MOST_OF_NAMES)?;
        let mut is_dirty = !status.is_empty();
        let mut exports = self.exports(root, &repository, &entries)?;
        let mut known = BTreeMap::new();
        for (about, path) in entries {
            interrupt::check()?;
            let whole = [prefix, path].concat();
            if about.starts_with(b"160000 ") {
                if self.with_modules {
                    is_dirty |= self.add_module(root, path, &whole, about, depth)?;
                }
                continue;
            }
            if !is_there(root, path) {
                continue;
            }
            let exported = exported_part(exports.as_mut(), &mut known, path)?;
            insert(&mut self.files, &whole[..prefix.len() + exported], exported == path.len())?;
        }
        if is_dirty {
            self.dirty.push(root.to_owned());
        }
        Ok((repository, rev))
    }

    /// Adds the files of a submodule, and says whether it differs from what the index has.
    fn add_module(
        &mut self,
        root: &Path,
        path: &[u8],
        whole: &[u8],
        about: &[u8],
        depth: usize,
    ) -> Result<bool> {
        let module = root.join(OsStr::from_bytes(path));
        let not_there = || GitError::NotCheckedOut {
            path: String::from_utf8_lossy(path).into_owned(),
            repository: root.to_owned(),
        };
        if !leads_through_directories(root, path) || !module.is_dir() || module.is_symlink() {
            return Err(not_there());
        }
        let places = places::of_work_tree(&module)?.ok_or_else(not_there)?;
        let before = self.dirty.len();
        let (_, rev) = self.add(&module, &[whole, b"/"].concat(), &places, depth + 1)?;
        let wanted = about.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let is_other = rev.is_none_or(|rev| rev.as_str().as_bytes() != wanted);
        Ok(is_other || self.dirty.len() > before)
    }

    /// What answers whether files are for export, if that is asked and any are not.
    fn exports(
        &self,
        root: &Path,
        repository: &Repository,
        entries: &[(&[u8], &[u8])],
    ) -> Result<Option<Exports>> {
        if !self.export {
            return Ok(None);
        }
        for (_, path) in entries {
            let is_attributes = path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes");
            if !is_attributes || !is_there(root, path) {
                continue;
            }
            let path = root.join(OsStr::from_bytes(path));
            // Git does not follow it, either.
            if path.is_symlink() || !path.is_file() {
                continue;
            }
            if attributes::speaks_of_exports(&read_regular(&path, attributes::MOST)?) {
                return Exports::of_work_tree(repository, root).map(Some);
            }
        }
        Ok(None)
    }
}

/// `MODE OID STAGE TAB PATH`: what stands before the path, and the path.
fn entry(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    Some((&line[..tab], &line[tab + 1..]))
}

/// How much of a path is for export: all of it, or the directories above the first that is not, or
/// nothing. What directories are is `known` from paths before.
fn exported_part<'p>(
    exports: Option<&mut Exports>,
    known: &mut BTreeMap<&'p [u8], bool>,
    path: &'p [u8],
) -> Result<usize> {
    let Some(exports) = exports else { return Ok(path.len()) };
    let mut part = 0;
    for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        let above = &path[..at];
        let is = match known.get(above) {
            Some(is) => *is,
            None => *known.entry(above).or_insert(exports.has(above, true)?),
        };
        if !is {
            return Ok(part);
        }
        part = at;
    }
    Ok(if exports.has(path, false)? { path.len() } else { part })
}

/// Whether everything above a path is a directory, and no link to one.
fn leads_through_directories(root: &Path, path: &[u8]) -> bool {
    let mut above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
    above.all(|above| {
        let metadata = std::fs::symlink_metadata(root.join(OsStr::from_bytes(above)));
        metadata.is_ok_and(|metadata| metadata.is_dir())
    })
}

/// Whether a tracked file is in its place.
fn is_there(root: &Path, path: &[u8]) -> bool {
    let metadata = std::fs::symlink_metadata(root.join(OsStr::from_bytes(path)));
    metadata.is_ok_and(|metadata| metadata.is_file() || metadata.is_symlink())
        && leads_through_directories(root, path)
}

/// Puts a file, or a directory that may stay empty, into the tree.
fn insert(files: &mut BTreeMap<CString, Node>, path: &[u8], is_file: bool) -> Result<()> {
    let mut here = files;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next().filter(|_| !path.is_empty()) {
        check_name(name)?;
        let name = CString::new(name).map_err(|_| GitError::Bad("a name with a NUL".to_owned()))?;
        if is_file && names.peek().is_none() {
            here.insert(name, Node::Leaf);
            return Ok(());
        }
        let node = here.entry(name).or_insert_with(|| Node::Directory(BTreeMap::new()));
        match node {
            Node::Directory(nodes) => here = nodes,
            Node::Leaf => return Err(GitError::Bad("a name is a file and a directory".to_owned())),
        }
    }
    Ok(())
}
