//! Looking at single files of a store path: by handles where the files of a store lie on
//! this machine, in its archive where they do not.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Item, Store};
use crate::model::{StoreDir, StorePath};
use crate::nar::listing::{Listing, Node, Visitor};
use crate::nar::{Contents, NarError, Sink, dump};
use crate::store::error::{LookError, Result};
use crate::store::layout::Layout;
use crate::sys::dir::{DIRECTORY, Names};
use crate::sys::{PathError, interrupt};

/// A place in a store path: the path itself, or something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The store path.
    pub path: StorePath,
    /// The names that lead to the place from the store path.
    pub names: Vec<Vec<u8>>,
}

/// What reads the contents of a file that was found.
pub type Read<'r> = &'r mut dyn FnMut(&mut dyn Contents) -> std::result::Result<(), NarError>;

impl Place {
    /// Reads a full path; `..` does not lead out of the store path.
    ///
    /// # Errors
    /// [`LookError::NotInStore`], [`crate::store::StoreError::StorePath`].
    pub fn parse(dir: &StoreDir, text: &[u8]) -> Result<Self> {
        let below = text.strip_prefix(dir.as_str().as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
        let below = below.filter(|below| !below.is_empty());
        let below = below.ok_or_else(|| LookError::NotInStore(String::from_utf8_lossy(text).into_owned()))?;
        let end = below.iter().position(|byte| *byte == b'/').unwrap_or(below.len());
        let (base, rest) = below.split_at(end);
        let path = StorePath::from_base_name(&String::from_utf8_lossy(base))?;
        Ok(Self { path, names: canonical(rest) })
    }

    /// The name of the place within the store path; empty for the store path itself.
    fn shown_within(&self) -> String {
        let mut shown = Vec::new();
        for name in &self.names {
            shown.push(b'/');
            shown.extend_from_slice(name);
        }
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// The names in a path below some root; `..` does not lead out of it.
pub fn canonical(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name.to_vec()),
        }
    }
    names
}

/// Looking at what store paths hold.
impl dyn Store + '_ {
    /// Tells `visitor` of what lies at a place, so many levels deep. No symlink is followed.
    ///
    /// # Errors
    /// [`LookError`], those of the store, and those of the visitor.
    pub fn list(&self, place: &Place, levels: usize, visitor: &mut dyn Visitor) -> Result<()> {
        if let Some(files) = self.files() {
            return Ok(Opened::find(self, files, place)?.list(levels, visitor)?);
        }
        let item = self.item(&place.path)?;
        let mut listing = Listing::of_archive(visitor, place.names.clone(), levels)?;
        self.list_archive(&item, &mut listing)?;
        match listing.found() {
            true => Ok(()),
            false => Err(self.not_found(place)),
        }
    }

    /// Gives `read` the contents of the file at a place. No symlink is followed.
    ///
    /// # Errors
    /// [`LookError`], those of the store, and those of `read`.
    pub fn read_file(&self, place: &Place, read: Read<'_>) -> Result<()> {
        let not_regular = || LookError::NotRegular(place.shown_within()).into();
        if let Some(files) = self.files() {
            let opened = Opened::find(self, files, place)?;
            if FileType::from_raw_mode(opened.stat.st_mode) != FileType::RegularFile {
                return Err(not_regular());
            }
            let mut file = Wanted::new(&[], read);
            return Ok(opened.walk(&mut file)?);
        }
        let item = self.item(&place.path)?;
        let mut file = Wanted::new(&place.names, read);
        self.look_into(&item, &mut file)?;
        match (file.is_there, file.is_read) {
            (false, _) => Err(self.not_found(place)),
            (true, false) => Err(not_regular()),
            (true, true) => Ok(()),
        }
    }

    fn item(&self, path: &StorePath) -> Result<Item> {
        let item = self.items(std::slice::from_ref(path))?.pop().flatten();
        item.ok_or_else(|| self.invalid(path))
    }

    fn not_found(&self, place: &Place) -> crate::store::StoreError {
        LookError::NotFound(self.dir().print(&place.path) + &place.shown_within()).into()
    }
}

/// Lets the contents of one file of a tree through.
struct Wanted<'w> {
    names: &'w [Vec<u8>],
    /// Where in the tree the sink stands.
    at: Vec<Vec<u8>>,
    read: Read<'w>,
    /// There is something of that name, of whatever type.
    is_there: bool,
    is_read: bool,
}

impl<'w> Wanted<'w> {
    fn new(names: &'w [Vec<u8>], read: Read<'w>) -> Self {
        Self { names, at: Vec::new(), read, is_there: false, is_read: false }
    }
}

impl Sink for Wanted<'_> {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        self.is_there |= self.at == self.names;
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> std::result::Result<(), NarError> {
        self.at.push(name.to_bytes().to_vec());
        Ok(())
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        self.at.pop();
        Ok(())
    }

    fn regular(
        &mut self,
        _executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        if self.at == self.names {
            (self.is_there, self.is_read) = (true, true);
            (self.read)(contents)?;
        }
        self.at.pop();
        Ok(())
    }

    fn symlink(&mut self, _target: &CStr) -> std::result::Result<(), NarError> {
        self.is_there |= self.at == self.names;
        self.at.pop();
        Ok(())
    }
}

/// A file, directory or symlink in a store path on this machine.
struct Opened {
    /// The directory it lies in; the store directory for a store path itself.
    parent: OwnedFd,
    name: CString,
    stat: Stat,
    real: PathBuf,
}

impl Opened {
    /// Finds a place, without following any symlink.
    fn find(store: &dyn Store, files: &Layout, place: &Place) -> Result<Self> {
        if !store.is_valid(&place.path)? {
            return Err(LookError::NotValid(store.dir().print(&place.path)).into());
        }
        let store_dir = &files.real_store_dir;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut parent = rustix::fs::open(store_dir, flags, Mode::empty())
            .map_err(PathError::at("opening directory", store_dir))?;
        let base = place.path.base_name().as_bytes();
        let mut names = std::iter::once(base).chain(place.names.iter().map(Vec::as_slice)).peekable();
        let mut real = store_dir.clone();
        let missing = || {
            let whole = store_dir.join(place.path.base_name()).display().to_string();
            LookError::NotFound(whole + &place.shown_within())
        };
        while let Some(name) = names.next() {
            interrupt::check()?;
            real.push(OsStr::from_bytes(name));
            let name = CString::new(name).map_err(|_| missing())?;
            let stat = match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing().into()),
                other => other.map_err(PathError::at("getting status of", &real))?,
            };
            if names.peek().is_none() {
                return Ok(Self { parent, name, stat, real });
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {}
                FileType::Symlink => return Err(LookError::Symlink(real.display().to_string()).into()),
                _ => return Err(missing().into()),
            }
            parent = rustix::fs::openat(&parent, &name, DIRECTORY, Mode::empty())
                .map_err(PathError::at("opening directory", &real))?;
        }
        Err(missing().into())
    }

    fn walk(&self, sink: &mut dyn Sink) -> std::result::Result<(), NarError> {
        dump::walk_at(self.parent.as_fd(), &self.name, &self.real, sink)
    }

    fn list(&self, levels: usize, visitor: &mut dyn Visitor) -> std::result::Result<(), NarError> {
        if levels > 1 {
            return self.walk(&mut Listing::of_tree(visitor, levels));
        }
        // Without looking at what lies deeper.
        tell(visitor, self.parent.as_fd(), &self.name, c"", &self.stat, &self.real)?;
        if FileType::from_raw_mode(self.stat.st_mode) != FileType::Directory {
            return Ok(());
        }
        if levels > 0 {
            let error = |error: Errno| PathError::new("cannot read directory", &self.real, error);
            let dir =
                rustix::fs::openat(&self.parent, &self.name, DIRECTORY, Mode::empty()).map_err(error)?;
            let mut names = Names::read(dir.as_fd()).map_err(error)?;
            while let Some((name, _)) = names.take_next() {
                interrupt::check()?;
                let shown = self.real.join(OsStr::from_bytes(name.to_bytes()));
                let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(PathError::at("getting status of", &shown))?;
                tell(visitor, dir.as_fd(), name, name, &stat, &shown)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    visitor.leave()?;
                }
            }
        }
        visitor.leave()
    }
}

/// Tells of the entry `name` of a directory, under the name `told`.
fn tell(
    visitor: &mut dyn Visitor,
    parent: BorrowedFd<'_>,
    name: &CStr,
    told: &CStr,
    stat: &Stat,
    shown: &Path,
) -> std::result::Result<(), NarError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => visitor.node(told, Node::Directory),
        FileType::RegularFile => {
            let executable = stat.st_mode & 0o100 != 0;
            // Sizes of files are not negative.
            let size = stat.st_size as u64;
            visitor.node(told, Node::Regular { executable, size, offset: None })
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(parent, name, Vec::new())
                .map_err(PathError::at("reading symbolic link", shown))?;
            visitor.node(told, Node::Symlink(&target))
        }
        _ => Err(NarError::UnsupportedType(shown.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_paths() {
        for (path, names) in
            [("", ""), (".", ""), ("/", ""), ("sub/../a", "a"), ("/..//a/./b/", "a/b"), ("a/../../b", "b")]
        {
            assert_eq!(canonical(path.as_bytes()).join(&b'/'), names.as_bytes());
        }
    }
}
