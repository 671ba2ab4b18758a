//! The object that git makes of a file or tree, hashed while the tree passes
//! through to another sink.
//!
//! ```text
//! blob  = "blob " SIZE NUL contents          (a symlink's contents are its target)
//! tree  = "tree " SIZE NUL { MODE " " NAME NUL digest }
//! MODE  = "100644" | "100755" | "120000" | "40000"
//! ```
//!
//! Entries stand in the order of their names as bytes, a directory's name
//! counting as if a slash followed it. Empty directories are entries too. A
//! tree that is one file is its blob, whether it is executable or not.
//!
//! In memory are the entries of the directories that are open: a few tens of
//! bytes and the name for each.

use std::ffi::{CStr, CString};

use super::hashing::HashedContents;
use super::{Contents, NarError, Sink};
use crate::model::{Hash, HashAlgorithm, Hasher};
use crate::sys::interrupt;

/// Bytes read at a time of what the other sink leaves.
const STEP: usize = 128 * 1024;

#[derive(Clone, Copy)]
struct Mode(&'static str);

const FILE: Mode = Mode("100644");
const EXECUTABLE: Mode = Mode("100755");
const SYMLINK: Mode = Mode("120000");
const DIRECTORY: Mode = Mode("40000");

struct Entry {
    mode: Mode,
    name: CString,
    hash: Hash,
}

impl Entry {
    /// What the order of entries goes by.
    fn sort_key(&self) -> impl Iterator<Item = u8> + '_ {
        let slash = (self.mode.0 == DIRECTORY.0).then_some(b'/');
        self.name.to_bytes().iter().copied().chain(slash)
    }
}

/// A sink that hashes as git does and lets everything through.
pub struct GitHasher<'s> {
    sink: &'s mut dyn Sink,
    algorithm: HashAlgorithm,
    /// The directories that are open, each with the entries it has so far.
    open: Vec<Vec<Entry>>,
    /// The names of the nodes under way, the innermost last.
    names: Vec<CString>,
    root: Option<Hash>,
}

impl<'s> GitHasher<'s> {
    /// Begins; the tree goes on to `sink`.
    pub fn new(sink: &'s mut dyn Sink, algorithm: HashAlgorithm) -> Self {
        Self { sink, algorithm, open: Vec::new(), names: Vec::new(), root: None }
    }

    /// The hash of the whole tree.
    ///
    /// # Errors
    /// [`NarError::Bad`] where no complete tree has passed.
    pub fn finish(self) -> Result<Hash, NarError> {
        self.root.filter(|_| self.open.is_empty()).ok_or_else(|| NarError::bad("the tree is not complete"))
    }

    fn object(&self, kind: &str, size: u64) -> Hasher {
        let mut hasher = Hasher::new(self.algorithm);
        hasher.update(format!("{kind} {size}\0").as_bytes());
        hasher
    }

    /// A node is complete.
    fn node(&mut self, mode: Mode, hash: Hash) -> Result<(), NarError> {
        let Some(directory) = self.open.last_mut() else {
            self.root = Some(hash);
            return Ok(());
        };
        let name = self.names.pop().ok_or_else(|| NarError::bad("an entry has no name"))?;
        directory.push(Entry { mode, name, hash });
        Ok(())
    }
}

impl Sink for GitHasher<'_> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        self.open.push(Vec::new());
        self.sink.enter_directory()
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.names.push(name.to_owned());
        self.sink.entry(name)
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        let mut entries =
            self.open.pop().ok_or_else(|| NarError::bad("a directory ends that did not begin"))?;
        entries.sort_by(|a, b| a.sort_key().cmp(b.sort_key()));
        let size = |entry: &Entry| {
            entry.mode.0.len() + 1 + entry.name.to_bytes().len() + 1 + entry.hash.as_bytes().len()
        };
        let mut tree = self.object("tree", entries.iter().map(|entry| size(entry) as u64).sum());
        for entry in &entries {
            tree.update(entry.mode.0.as_bytes());
            tree.update(b" ");
            tree.update(entry.name.to_bytes_with_nul());
            tree.update(entry.hash.as_bytes());
        }
        self.node(DIRECTORY, tree.finish())?;
        self.sink.leave_directory()
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let mut blob = self.object("blob", contents.remaining());
        let mut hashed = HashedContents { inner: contents, hasher: &mut blob };
        self.sink.regular(executable, &mut hashed)?;
        // A sink may leave some or all of the contents.
        if hashed.remaining() > 0 {
            let mut buffer = vec![0; STEP];
            while hashed.remaining() > 0 {
                interrupt::check()?;
                hashed.read(&mut buffer)?;
            }
        }
        self.node(if executable { EXECUTABLE } else { FILE }, blob.finish())
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        let mut blob = self.object("blob", target.to_bytes().len() as u64);
        blob.update(target.to_bytes());
        self.node(SYMLINK, blob.finish())?;
        self.sink.symlink(target)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::nar::{Discard, dump};

    fn hash(path: &std::path::Path, algorithm: HashAlgorithm) -> String {
        let mut nowhere = Discard;
        let mut git = GitHasher::new(&mut nowhere, algorithm);
        dump::walk(path, &mut git).unwrap();
        git.finish().unwrap().to_base16()
    }

    /// The first three as `git hash-object` and `git write-tree` print them.
    #[test]
    fn known_objects() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), "hi\n").unwrap();
        assert_eq!(hash(&at("a"), HashAlgorithm::Sha1), "45b983be36b73c0788dc9cbcb76cbb80fc7bb057");
        std::fs::create_dir(at("empty")).unwrap();
        assert_eq!(hash(&at("empty"), HashAlgorithm::Sha1), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        std::fs::create_dir(at("tree")).unwrap();
        // `b.c` comes before the directory `b`, which counts as `b/`, and `b0` after it.
        for name in ["tree/b.c", "tree/b0"] {
            std::fs::write(at(name), "hi\n").unwrap();
        }
        std::fs::create_dir(at("tree/b")).unwrap();
        std::fs::write(at("tree/b/x"), "hi\n").unwrap();
        std::os::unix::fs::symlink("a", at("tree/l")).unwrap();
        assert_eq!(hash(&at("tree"), HashAlgorithm::Sha1), "a6ec27489df0595bf15655a3cf4bd04e07b44a26");
        assert_eq!(
            hash(&at("a"), HashAlgorithm::Sha256),
            "96c18f0297e38d01f4b2dacddea4259aea6b2961eb0822bd2c0c3f6029030045"
        );
    }
}
