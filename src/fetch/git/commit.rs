//! A commit → a tree for a sink.

use std::collections::BTreeMap;
use std::ffi::CString;

use super::attributes::Exports;
use super::objects::{Commit, Entry, EntryKind, Objects, Oid, of_git};
use super::repository::Repository;
use super::{GitError, Result};
use crate::nar::{MAX_TARGET_LEN, NarError, Sink};
use crate::sys::interrupt;

/// Directories nested more deeply than this have paths longer than the system takes.
const DEEPEST: usize = 2048;
/// The file that says what is special about others.
const ATTRIBUTES: &[u8] = b".gitattributes";

/// The tree of a commit. It is read when a sink is told of it.
pub struct CommitTree {
    repository: Repository,
    tree: Oid,
    /// When the commit was made, in seconds since 1970.
    pub time: u64,
    /// Whether files that are not for export are left out.
    export: bool,
    /// Trees of other repositories, by their places.
    modules: BTreeMap<Vec<u8>, CommitTree>,
}

impl CommitTree {
    pub(super) fn new(repository: Repository, commit: &Commit, export: bool) -> CommitTree {
        CommitTree { repository, tree: commit.tree, time: commit.time, export, modules: BTreeMap::new() }
    }

    /// Puts the tree of a submodule in its place.
    pub(super) fn mount(&mut self, path: Vec<u8>, tree: CommitTree) {
        self.modules.insert(path, tree);
    }

    /// Tells a sink of the tree. Where a submodule belongs that is not there, it has an empty directory.
    ///
    /// # Errors
    /// Those of the sink, and [`GitError`] within [`NarError::Sink`].
    pub fn tell(&self, sink: &mut dyn Sink) -> std::result::Result<(), NarError> {
        self.tell_below(sink, 0)
    }

    fn tell_below(&self, sink: &mut dyn Sink, depth: usize) -> std::result::Result<(), NarError> {
        let objects = Objects::open(&self.repository).map_err(of_git)?;
        let mut walk = Walk { of: self, objects, exports: None, path: Vec::new(), sink };
        walk.directory(&self.tree, false, depth)
    }
}

struct Walk<'t, 's> {
    of: &'t CommitTree,
    objects: Objects,
    /// Known once a file of attributes speaks of exports.
    exports: Option<Exports>,
    /// The entry that is told of.
    path: Vec<u8>,
    sink: &'s mut dyn Sink,
}

impl Walk<'_, '_> {
    /// Tells of a directory. `asks` is whether something above it speaks of exports.
    fn directory(&mut self, oid: &Oid, asks: bool, depth: usize) -> std::result::Result<(), NarError> {
        if depth > DEEPEST {
            return Err(of_git(GitError::Bad("directories are nested too deeply".to_owned())));
        }
        interrupt::check()?;
        let entries = self.objects.tree(oid).map_err(of_git)?;
        let asks = self.of.export && (asks || self.speaks_of_exports(&entries).map_err(of_git)?);
        self.sink.enter_directory()?;
        for entry in &entries {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&entry.name);
            if !asks || self.is_exported(entry).map_err(of_git)? {
                let name = CString::new(entry.name.clone()).map_err(|_| bad_name(&entry.name))?;
                self.sink.entry(&name)?;
                self.entry(entry, asks, depth)?;
            }
            self.path.truncate(length);
        }
        self.sink.leave_directory()
    }

    fn entry(&mut self, entry: &Entry, asks: bool, depth: usize) -> std::result::Result<(), NarError> {
        match entry.kind {
            EntryKind::Directory => self.directory(&entry.oid, asks, depth + 1),
            EntryKind::File { executable } => {
                let sink = &mut *self.sink;
                self.objects.file(&entry.oid, |contents| sink.regular(executable, contents))
            }
            EntryKind::Symlink => {
                let target = self.objects.small_file(&entry.oid, MAX_TARGET_LEN as u64).map_err(of_git)?;
                self.sink.symlink(&CString::new(target).map_err(|_| bad_name(&entry.name))?)
            }
            EntryKind::Module => match self.of.modules.get(&self.path) {
                Some(module) => module.tell_below(&mut *self.sink, depth + 1),
                None => {
                    self.sink.enter_directory()?;
                    self.sink.leave_directory()
                }
            },
        }
    }

    /// Whether a file of attributes among the entries may leave something out.
    fn speaks_of_exports(&mut self, entries: &[Entry]) -> Result<bool> {
        let is_attributes = |entry: &&Entry| {
            self.of.export && entry.name == ATTRIBUTES && matches!(entry.kind, EntryKind::File { .. })
        };
        let Some(entry) = entries.iter().find(is_attributes) else { return Ok(false) };
        let text = self.objects.small_file(&entry.oid, super::attributes::MOST)?;
        Ok(super::attributes::speaks_of_exports(&text))
    }

    /// Asks the attributes whether the entry at the current path is for export.
    fn is_exported(&mut self, entry: &Entry) -> Result<bool> {
        let exports = match &mut self.exports {
            Some(exports) => exports,
            none => none.insert(Exports::of_tree(&self.of.repository, &self.of.tree)?),
        };
        exports.has(&self.path, entry.kind == EntryKind::Directory)
    }
}

fn bad_name(name: &[u8]) -> NarError {
    of_git(GitError::Bad(format!("'{}' has a NUL in it", String::from_utf8_lossy(name))))
}
