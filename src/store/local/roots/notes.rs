//! Where links elsewhere led when they could last be read.
//!
//! ```text
//! STATE/root-notes/KEY -> full store path, or "nothing"     KEY as in gcroots/auto
//! ```
//!
//! A link in somebody's home may be out of reach for a while, or for ever: then
//! the path that it led to stays, and collections go on. A note is made when a
//! link becomes a root, and anew by each collection that finds it lead elsewhere.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::model::hash::HashAlgorithm;
use crate::model::{HashFormat, Hasher, StoreDir, StorePath};
use crate::store::local::Layout;
use crate::sys::{PathError, atomic};

/// Where a link leads that leads to no path.
const NOTHING: &str = "nothing";

/// The name under which something is noted of a link.
pub(super) fn key(link: &Path) -> String {
    let mut hasher = Hasher::new(HashAlgorithm::Sha1);
    hasher.update(link.as_os_str().as_bytes());
    hasher.finish().digits(HashFormat::Nix32)
}

/// The notes of a store.
pub(super) struct Notes {
    dir: PathBuf,
    auto: PathBuf,
    /// Read on first use.
    known: Option<HashMap<OsString, PathBuf>>,
    seen: HashSet<OsString>,
}

impl Notes {
    pub(super) fn of(layout: &Layout) -> Self {
        let (dir, auto) = (layout.state_dir.join("root-notes"), layout.auto_roots_dir());
        Self { dir, auto, known: None, seen: HashSet::new() }
    }

    fn known(&mut self) -> &mut HashMap<OsString, PathBuf> {
        let dir = &self.dir;
        self.known.get_or_insert_with(|| {
            // What cannot be read has no note, which is the careful way.
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let note =
                |entry: std::fs::DirEntry| Some((entry.file_name(), std::fs::read_link(entry.path()).ok()?));
            entries.filter_map(note).collect()
        })
    }

    /// The name of the note of a link below `gcroots`, which for those that
    /// programs make is the link's own.
    fn key_of(&self, first: &Path) -> OsString {
        match first.file_name() {
            Some(name) if first.parent() == Some(&self.auto) => name.to_owned(),
            _ => key(first).into(),
        }
    }

    /// Where a link led: to a path, or to none; nothing if that is not known.
    pub(super) fn of_link(&mut self, store_dir: &StoreDir, first: &Path) -> Option<Option<StorePath>> {
        let key = self.key_of(first);
        self.seen.insert(key.clone());
        let note = self.known().get(&key)?;
        if note == Path::new(NOTHING) {
            return Some(None);
        }
        store_dir.parse(note.to_str()?).ok().map(Some)
    }

    /// Notes where a link leads. What cannot be noted is found out when the
    /// link cannot be read, and then nothing is deleted.
    pub(super) fn note(&mut self, store_dir: &StoreDir, first: &Path, path: &StorePath) {
        self.note_text(first, store_dir.print(path).into());
    }

    /// Notes that a link leads to no path. Unless that is certain a path that
    /// was noted stays: what is not there may be back, as something on a disk
    /// that is not mounted.
    pub(super) fn note_nothing(&mut self, first: &Path, certain: bool) {
        let key = self.key_of(first);
        // Asked of the disk: it may have been noted after we read the others.
        if !certain && is_noted(&self.dir, &key) {
            self.seen.insert(key);
            return;
        }
        self.note_text(first, NOTHING.into());
    }

    fn note_text(&mut self, first: &Path, text: PathBuf) {
        let key = self.key_of(first);
        self.seen.insert(key.clone());
        if self.known().get(&key) == Some(&text) {
            return;
        }
        write(&self.dir, &key, &text);
        self.known().insert(key, text);
    }

    /// Removes the notes of links that were not met. What is noted meanwhile is
    /// not among those that were read.
    pub(super) fn prune(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        for key in self.known().keys().filter(|key| !seen.contains(*key)).cloned().collect::<Vec<_>>() {
            let _ = std::fs::remove_file(self.dir.join(key));
        }
    }
}

/// Notes where a link leads that becomes a root. One that leads to no path does
/// not undo what is known of it; the next collection looks again.
pub(super) fn note(layout: &Layout, link: &Path, path: Option<&StorePath>) {
    let (dir, key) = (layout.state_dir.join("root-notes"), OsString::from(key(link)));
    match path {
        Some(path) => write(&dir, &key, Path::new(&layout.store_dir.print(path))),
        None if is_noted(&dir, &key) => {}
        None => write(&dir, &key, Path::new(NOTHING)),
    }
}

/// Forgets where a link led, which may lead elsewhere by now.
///
/// # Errors
/// [`PathError`]: the note, which may be wrong, is still there.
pub(super) fn forget(layout: &Layout, link: &Path) -> Result<(), PathError> {
    let note = layout.state_dir.join("root-notes").join(key(link));
    match std::fs::remove_file(&note) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PathError::new("removing", note, error))
        }
        _ => Ok(()),
    }
}

/// Whether there is a note, or may be one.
fn is_noted(dir: &Path, key: &OsStr) -> bool {
    !matches!(std::fs::symlink_metadata(dir.join(key)), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

fn write(dir: &Path, key: &OsStr, text: &Path) {
    if std::fs::create_dir_all(dir).is_ok() {
        let _ = atomic::replace_symlink_unsynced(&dir.join(key), text);
    }
}
