//! A world that notes what is asked of it, and what it answers.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::seen::notes::Notes;
use super::seen::stamp::{Stamp, digest, file_digest, listing_digest};
use super::world::Asked;
use crate::eval::error::Error;
use crate::eval::io::{Addition, ClosureFetch, Dependency, Fetch, FetchedTree, FileKind, Filter, World};
use crate::model::derivation::DerivationFile;
use crate::model::input::Input;
use crate::sys::read_whole;

/// A file that a copy in the store is made of is read once more to be noted; one that is larger than this
/// (in bytes) is not, unless it changed just now.
const LARGE: u64 = 1 << 20;

/// Asks a world, and notes the answers.
pub struct Noting<'w> {
    world: &'w Asked,
    notes: &'w Notes,
}

impl<'w> Noting<'w> {
    /// Asks `world`.
    pub fn new(world: &'w Asked, notes: &'w Notes) -> Noting<'w> {
        Noting { world, notes }
    }

    /// Passes a result on. What failed for a reason of the machine's is not to be remembered, should the
    /// evaluation go on; what an expression threw is its result.
    fn passed<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && !error.is_catchable()
        {
            self.notes.unfit(&format!("something could not be read: {error}"));
        }
        result
    }

    /// Does what reads a file or directory at a path, and gives its stamp, where that was the same before and
    /// after.
    fn stamped<T>(
        &self,
        path: &Path,
        read: impl FnOnce(&fs::Metadata) -> Result<T, Error>,
    ) -> Result<Option<(fs::Metadata, SystemTime, T)>, Error> {
        let taken = SystemTime::now();
        let Ok(before) = fs::metadata(path) else {
            self.notes.unfit(&format!("'{}' cannot be looked at", path.display()));
            return Ok(None);
        };
        let result = read(&before)?;
        match fs::metadata(path) {
            Ok(after) if Stamp::of(&after) == Stamp::of(&before) => Ok(Some((before, taken, result))),
            _ => {
                self.notes.unfit(&format!("'{}' changed meanwhile", path.display()));
                Ok(None)
            }
        }
    }

    /// Notes a file that is to be copied. If it cannot be read, who copies it tells of that.
    fn note_file(&self, path: &Path) {
        let read = |metadata: &fs::Metadata| -> Result<_, Error> {
            let stamp = Stamp::of(metadata);
            if !metadata.is_file() {
                self.notes.unfit(&format!("'{}' is no regular file", path.display()));
                return Ok(None);
            }
            if metadata.len() > LARGE && stamp.is_settled(SystemTime::now()) {
                return Ok(None);
            }
            let contents = read_whole(path).map_err(|error| Error::new(error.to_string()))?;
            Ok(Some(file_digest(metadata, &contents)))
        };
        if let Ok(Some((metadata, taken, digest))) = self.passed(self.stamped(path, read)) {
            self.notes.file(path.as_os_str().as_bytes(), Stamp::of(&metadata), taken, digest);
        }
    }

    /// Notes what a directory holds; likewise.
    fn note_directory(&self, path: &Path) {
        let noted = self.passed(self.stamped(path, |_| listing_digest(path)));
        if let Ok(Some((metadata, taken, digest))) = noted {
            self.notes.directory(path.as_os_str().as_bytes(), Stamp::of(&metadata), taken, digest);
        }
    }

    /// Notes an entry of a tree that is to be copied, without what is below it.
    fn note_entry(&self, path: &[u8], kind: FileKind) {
        let Ok(real) = self.passed(self.world.real(path)) else { return };
        self.notes.kind(real.as_os_str().as_bytes(), Some(kind));
        match kind {
            FileKind::Regular => self.note_file(&real),
            FileKind::Directory => self.note_directory(&real),
            FileKind::Symlink => drop(self.read_link(path)),
            FileKind::Unknown => {}
        }
    }

    /// Notes a tree that is to be copied as it is. A tree of any depth takes no more of the stack.
    fn note_tree(&self, root: &[u8]) {
        let mut waiting = vec![root.to_vec()];
        while let Some(path) = waiting.pop() {
            let Ok(Some(kind)) = self.kind(&path) else { continue };
            self.note_entry(&path, kind);
            if kind != FileKind::Directory {
                continue;
            }
            if let Ok(entries) = self.passed(self.world.read_dir(&path)) {
                waiting.extend(entries.into_iter().map(|(name, _)| [&path[..], b"/", &name].concat()));
            }
        }
    }
}

impl World for Noting<'_> {
    fn store_dir(&self) -> &[u8] {
        self.world.store_dir()
    }

    fn current_dir(&self) -> Vec<u8> {
        let path = self.world.current_dir();
        self.notes.working_directory(&path);
        path
    }

    fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let real = self.world.real(path)?;
        let read = self.stamped(&real, |metadata| {
            let contents = self.world.read_file(path)?;
            if !metadata.is_file() {
                self.notes.unfit(&format!("'{}' is no regular file", real.display()));
            }
            Ok(contents)
        });
        match self.passed(read)? {
            Some((metadata, taken, contents)) => {
                let (stamp, digest) = (Stamp::of(&metadata), file_digest(&metadata, &contents));
                self.notes.file(real.as_os_str().as_bytes(), stamp, taken, Some(digest));
                Ok(contents)
            }
            // It is not to be remembered any more.
            None => self.world.read_file(path),
        }
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, Error> {
        self.note_directory(&self.world.real(path)?);
        self.passed(self.world.read_dir(path))
    }

    fn kind(&self, path: &[u8]) -> Result<Option<FileKind>, Error> {
        let kind = self.passed(self.world.kind(path))?;
        self.notes.kind(self.world.real(path)?.as_os_str().as_bytes(), kind);
        Ok(kind)
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let target = self.passed(self.world.read_link(path))?;
        self.notes.link(self.world.real(path)?.as_os_str().as_bytes(), &target);
        Ok(target)
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let value = self.world.variable(name);
        self.notes.variable(name, value.as_deref().map(|value| digest([value])));
        value
    }

    fn now(&self) -> Option<i64> {
        self.notes.unfit("the time was asked for");
        self.world.now()
    }

    fn watches_time(&self) -> bool {
        true
    }

    // System and search path are options of the evaluation, which are known to be the same.

    fn system(&self) -> Option<Vec<u8>> {
        self.world.system()
    }

    fn search_path(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.world.search_path()
    }

    fn resolve_entry(&self, entry: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = self.passed(self.world.resolve_entry(entry))?;
        match self.world.is_path(entry) {
            true => self.notes.entry(entry, found.is_some()),
            false => self.notes.unfit("something was fetched whose hash is not given"),
        }
        if !entry.starts_with(b"/") {
            self.notes.working_directory(&self.world.current_dir());
        }
        Ok(found)
    }

    fn add(&self, addition: &Addition<'_>, filter: Option<Filter<'_>>) -> Result<Vec<u8>, Error> {
        let Some(filter) = filter.filter(|_| addition.recursive) else {
            match addition.recursive {
                true => self.note_tree(addition.path),
                false => self.note_file(&self.world.real(addition.path)?),
            }
            return self.passed(self.world.add(addition, None));
        };
        if let Some(kind) = self.kind(addition.path)? {
            self.note_entry(addition.path, kind);
        }
        let mut noting = |path: &[u8], kind: FileKind| {
            let taken = filter(path, kind)?;
            if taken {
                self.note_entry(path, kind);
            }
            Ok(taken)
        };
        self.passed(self.world.add(addition, Some(&mut noting)))
    }

    // These follow from what is given to them.

    fn add_text(&self, name: &[u8], text: &[u8], references: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        self.world.add_text(name, text, references)
    }

    fn add_derivation(&self, derivation: DerivationFile) -> Result<(), Error> {
        self.world.add_derivation(derivation)
    }

    fn read_derivation(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.world.read_derivation(path)
    }

    fn references(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let references = self.world.references(path);
        let list = references.as_ref().ok().map(|list| digest(list.iter().map(Vec::as_slice)));
        self.notes.references(path, list);
        references
    }

    fn realise(&self, dependencies: &[Dependency]) -> Result<(), Error> {
        // Of a path that has to be there only, what is read of it is noted.
        if dependencies.iter().any(|dependency| !matches!(dependency, Dependency::Plain(_))) {
            self.notes.unfit("something was built or read in the store");
        }
        self.passed(self.world.realise(dependencies))
    }

    fn ensure(&self, path: &[u8]) -> Result<(), Error> {
        self.passed(self.world.ensure(path))
    }

    fn fetch(&self, fetch: &Fetch) -> Result<Vec<u8>, Error> {
        if fetch.hash.is_none() {
            self.notes.unfit("something was fetched whose hash is not given");
        }
        self.passed(self.world.fetch(fetch))
    }

    fn fetch_tree(&self, input: &Input) -> Result<FetchedTree, Error> {
        // What a commit or a hash fixes is the same later, but for a directory that may be gone.
        if !input.is_locked() || matches!(input, Input::Path(_)) {
            self.notes.unfit("a tree was fetched that no commit and no hash fixes");
        }
        self.passed(self.world.fetch_tree(input))
    }

    fn fetch_closure(&self, fetch: &ClosureFetch) -> Result<Vec<u8>, Error> {
        // A path is what it is, and what of it is read is noted.
        self.passed(self.world.fetch_closure(fetch))
    }

    fn go_on(&self) -> Result<(), Error> {
        self.world.go_on()
    }

    fn tell(&self, text: &str) {
        self.world.tell(text);
    }
}
