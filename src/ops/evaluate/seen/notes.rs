//! What was noted while an evaluation went on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::Sight;
use super::stamp::{Digest, Stamp, State};
use crate::eval::io::FileKind;

/// Paths that are noted at most: some hundreds of megabytes.
const MOST_PATHS: usize = 1 << 20;

/// What was seen at a path.
#[derive(Default)]
struct Place {
    kind: Option<Option<FileKind>>,
    link: Option<Vec<u8>>,
    file: Option<State>,
    directory: Option<State>,
    entry: Option<bool>,
    references: Option<Option<Digest>>,
}

#[derive(Default)]
struct Inner {
    places: HashMap<Vec<u8>, Place>,
    variables: BTreeMap<Vec<u8>, Option<Digest>>,
    working_directory: Option<Vec<u8>>,
    unfit: Option<String>,
}

/// What was noted while an evaluation went on, by all its threads; and those that go on where it was left.
#[derive(Default)]
pub struct Notes(Mutex<Inner>);

/// Sets what was seen first; false if it was seen differently before.
fn set<T: PartialEq>(place: &mut Option<T>, seen: T) -> bool {
    match place {
        Some(known) => *known == seen,
        None => {
            *place = Some(seen);
            true
        }
    }
}

impl Notes {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something cannot be seen again.
    pub fn unfit(&self, why: &str) {
        self.inner().unfit.get_or_insert_with(|| why.to_owned());
    }

    fn at(&self, path: &[u8], note: impl FnOnce(&mut Place) -> bool) {
        let mut inner = self.inner();
        if inner.unfit.is_some() {
            return;
        }
        if !inner.places.contains_key(path) {
            if inner.places.len() >= MOST_PATHS {
                inner.unfit = Some("too many files were looked at".to_owned());
                return;
            }
            inner.places.insert(path.to_vec(), Place::default());
        }
        if inner.places.get_mut(path).is_some_and(|place| !note(place)) {
            inner.unfit = Some(format!("'{}' changed meanwhile", String::from_utf8_lossy(path)));
        }
    }

    /// What a path names.
    pub fn kind(&self, path: &[u8], kind: Option<FileKind>) {
        self.at(path, |place| set(&mut place.kind, kind));
    }

    /// What a link says.
    pub fn link(&self, path: &[u8], target: &[u8]) {
        self.at(path, |place| set(&mut place.link, target.to_vec()));
    }

    /// What a file holds. Of a file that is seen twice the contents have to be the same.
    pub fn file(&self, path: &[u8], stamp: Stamp, taken: SystemTime, digest: Option<Digest>) {
        self.at(path, |place| state(&mut place.file, stamp, taken, digest));
    }

    /// What a directory holds; likewise.
    pub fn directory(&self, path: &[u8], stamp: Stamp, taken: SystemTime, digest: Digest) {
        self.at(path, |place| state(&mut place.directory, stamp, taken, Some(digest)));
    }

    /// Whether an entry of the search path is there.
    pub fn entry(&self, path: &[u8], exists: bool) {
        self.at(path, |place| set(&mut place.entry, exists));
    }

    /// The references of a store path.
    pub fn references(&self, path: &[u8], list: Option<Digest>) {
        self.at(path, |place| set(&mut place.references, list));
    }

    /// A variable.
    pub fn variable(&self, name: &[u8], value: Option<Digest>) {
        self.inner().variables.entry(name.to_vec()).or_insert(value);
    }

    /// The working directory.
    pub fn working_directory(&self, path: &[u8]) {
        self.inner().working_directory.get_or_insert_with(|| path.to_vec());
    }

    /// All that was seen so far.
    ///
    /// # Errors
    /// Why what was found cannot be remembered.
    pub fn sights(&self) -> Result<Vec<Sight>, String> {
        let inner = self.inner();
        if let Some(why) = &inner.unfit {
            return Err(why.clone());
        }
        let mut sights = Vec::with_capacity(inner.places.len());
        let mut places: Vec<(&Vec<u8>, &Place)> = inner.places.iter().collect();
        places.sort_unstable_by_key(|(path, _)| *path);
        for (path, place) in places {
            place.sights(path, &mut sights);
        }
        let variables = inner.variables.iter();
        sights.extend(variables.map(|(name, value)| Sight::Variable { name: name.clone(), value: *value }));
        sights.extend(inner.working_directory.clone().map(Sight::WorkingDirectory));
        Ok(sights)
    }
}

/// Sets what was seen first; false if it was seen differently before.
fn state(place: &mut Option<State>, stamp: Stamp, taken: SystemTime, digest: Option<Digest>) -> bool {
    match place {
        Some(State { digest: Some(known), .. }) if digest.is_some() => digest == Some(*known),
        // Only the stamps can be compared.
        Some(known) => {
            known.digest = known.digest.or(digest);
            known.stamp == Some(stamp)
        }
        None => {
            *place = Some(State::new(stamp, taken, digest));
            true
        }
    }
}

impl Place {
    fn sights(&self, path: &[u8], sights: &mut Vec<Sight>) {
        let path = || path.to_vec();
        if let Some(state) = self.file {
            let direct = self.kind == Some(Some(FileKind::Regular));
            sights.push(Sight::File { path: path(), state, direct });
        }
        if let Some(state) = self.directory {
            let direct = self.kind == Some(Some(FileKind::Directory));
            sights.push(Sight::Directory { path: path(), state, direct });
        }
        if let Some(kind) = self.kind {
            // What was seen directly has its kind.
            let told = match kind {
                Some(FileKind::Regular) => self.file.is_some(),
                Some(FileKind::Directory) => self.directory.is_some(),
                Some(FileKind::Symlink) => self.link.is_some(),
                _ => false,
            };
            if !told {
                sights.push(Sight::Kind { path: path(), kind });
            }
        }
        if let Some(target) = &self.link {
            sights.push(Sight::Link { path: path(), target: target.clone() });
        }
        if let Some(exists) = self.entry {
            sights.push(Sight::Entry { path: path(), exists });
        }
        if let Some(list) = self.references {
            sights.push(Sight::References { path: path(), list });
        }
    }
}
