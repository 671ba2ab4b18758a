//! The roots of the collector: why a path may not go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::LocalStore;
use crate::model::StorePath;
use crate::settings::value::lexically_normal;
use crate::store::error::{Result, StoreError};
use crate::sys::lock::{self, LockKind};
use crate::sys::{PathError, interrupt};

/// Roots by what holds them: the path of a symlink, `{temp:PID}`, a file of
/// `/proc`.
pub type Roots = BTreeMap<StorePath, BTreeSet<String>>;

/// Stands for what another user's process holds.
pub const CENSORED: &str = "{censored}";

impl LocalStore {
    /// Finds every root: symlinks below `gcroots` and `profiles`, temporary
    /// roots, and paths that running processes use. With `censor`, what tells
    /// of other processes is replaced by [`CENSORED`].
    ///
    /// # Errors
    /// [`StoreError`]; files that vanish meanwhile are passed over.
    pub fn find_roots(&self, censor: bool) -> Result<Roots> {
        let mut finder = Finder { store: self, roots: Roots::new() };
        for dir in ["gcroots", "profiles"] {
            let dir = self.layout().state_dir.join(dir);
            finder.directory(&dir, 0)?;
        }
        finder.temporary(censor)?;
        finder.running(censor)?;
        Ok(finder.roots)
    }
}

/// Deepest nesting of directories below `gcroots` that is looked into.
const MAX_DEPTH: usize = 256;

struct Finder<'s> {
    store: &'s LocalStore,
    roots: Roots,
}

impl Finder<'_> {
    fn directory(&mut self, dir: &Path, depth: usize) -> Result<()> {
        interrupt::check()?;
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            // Gone since its parent was read, or never there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.store.is_read_only() => {
                // Who may only read the store may not see everything.
                self.store.progress().warn(&format!(
                    "cannot read directory \"{}\", so there may be more roots",
                    dir.display()
                ));
                return Ok(());
            }
            Err(error) => return Err(PathError::new("cannot read directory", dir, error).into()),
        };
        if depth > MAX_DEPTH {
            return Err(StoreError::Roots(format!("directories in '{}' are nested too deep", dir.display())));
        }
        for entry in entries {
            let entry = entry.map_err(PathError::at("cannot read directory", dir))?;
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.directory(&path, depth + 1)?,
                Ok(kind) if kind.is_symlink() => self.symlink(&path)?,
                Ok(kind) if kind.is_file() => {
                    // A file named like a store path keeps that path.
                    if let Some(name) = path.file_name().and_then(|name| name.to_str())
                        && let Ok(store_path) = StorePath::from_base_name(name)
                        && self.store.db().is_valid(&store_path)?
                    {
                        self.add(store_path, path.display().to_string());
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(PathError::new("getting status of", path, error).into()),
            }
        }
        Ok(())
    }

    fn symlink(&mut self, link: &Path) -> Result<()> {
        let Some(target) = read_link(link)? else { return Ok(()) };
        let target = absolute(link, &target);
        if let Some(path) = self.in_store(&target) {
            return self.add_valid(path, link);
        }
        // An indirect root: the target is a link somewhere else.
        match read_link(&target) {
            Ok(Some(inner)) => match self.in_store(&absolute(&target, &inner)) {
                Some(path) => self.add_valid(path, &target),
                None => Ok(()),
            },
            // Stale, not a link, or not for us to read.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn add_valid(&mut self, path: StorePath, link: &Path) -> Result<()> {
        if self.store.db().is_valid(&path)? {
            self.add(path, link.display().to_string());
        } else {
            let store_path = self.store.dir().print(&path);
            self.store
                .progress()
                .notice(&format!("skipping invalid root from '{}' to '{store_path}'", link.display()));
        }
        Ok(())
    }

    fn in_store(&self, target: &Path) -> Option<StorePath> {
        self.store.dir().parse_below(target.to_str()?).ok().map(|(path, _)| path)
    }

    fn add(&mut self, path: StorePath, holder: String) {
        self.roots.entry(path).or_default().insert(holder);
    }

    fn temporary(&mut self, censor: bool) -> Result<()> {
        let dir = self.store.layout().temp_roots_dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(PathError::new("cannot read directory", dir, error).into()),
        };
        for entry in entries {
            let path = entry.map_err(PathError::at("cannot read directory", &dir))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with('.') {
                continue;
            }
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // Of a process of another user: only the collector can tell.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(PathError::new("opening", path, error).into()),
            };
            if lock::try_lock(&file, &path, LockKind::Shared)? {
                // Its process is gone; the file is for the next collection to remove.
                continue;
            }
            let mut text = Vec::new();
            (&file).read_to_end(&mut text).map_err(PathError::at("reading", &path))?;
            let pid = name.split('-').next().unwrap_or(name);
            let holder = if censor { CENSORED.to_owned() } else { format!("{{temp:{pid}}}") };
            // What follows the last NUL is still being written.
            let complete = text.iter().rposition(|b| *b == 0).map_or(0, |end| end + 1);
            for root in text[..complete].split(|b| *b == 0).filter(|root| !root.is_empty()) {
                if let Ok(root) = std::str::from_utf8(root)
                    && let Ok(root) = self.store.dir().parse(root)
                {
                    self.add(root, holder.clone());
                }
            }
        }
        Ok(())
    }

    fn running(&mut self, censor: bool) -> Result<()> {
        let Ok(processes) = std::fs::read_dir("/proc") else { return Ok(()) };
        for process in processes.flatten() {
            let name = process.file_name();
            if !name.as_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            interrupt::check()?;
            self.process(&process.path(), censor)?;
        }
        Ok(())
    }

    /// What one process uses. It may end, or turn out to be another user's, at
    /// any moment: then it has nothing to tell.
    fn process(&mut self, dir: &Path, censor: bool) -> Result<()> {
        let mut links = vec![dir.join("exe"), dir.join("cwd")];
        if let Ok(descriptors) = std::fs::read_dir(dir.join("fd")) {
            links.extend(descriptors.flatten().map(|descriptor| descriptor.path()));
        }
        for link in links {
            if let Ok(target) = std::fs::read_link(&link) {
                self.used_path(target.as_os_str().as_bytes(), &link, censor)?;
            }
        }
        let maps = dir.join("maps");
        for line in std::fs::read(&maps).unwrap_or_default().split(|b| *b == b'\n') {
            if let Some(start) = line.iter().position(|b| *b == b'/') {
                self.used_path(&line[start..], &maps, censor)?;
            }
        }
        let environ = dir.join("environ");
        let text = std::fs::read(&environ).unwrap_or_default();
        self.used(&text, &environ, censor)
    }

    /// Adds the store path that a file in use lies in.
    fn used_path(&mut self, file: &[u8], holder: &Path, censor: bool) -> Result<()> {
        let Some((path, _)) =
            std::str::from_utf8(file).ok().and_then(|f| self.store.dir().parse_below(f).ok())
        else {
            return Ok(());
        };
        self.add_used(path, holder, censor)
    }

    fn add_used(&mut self, path: StorePath, holder: &Path, censor: bool) -> Result<()> {
        if self.store.db().is_valid(&path)? {
            let holder = if censor { CENSORED.to_owned() } else { holder.display().to_string() };
            self.add(path, holder);
        }
        Ok(())
    }

    /// Adds every valid store path whose text stands somewhere in `text`.
    fn used(&mut self, text: &[u8], file: &Path, censor: bool) -> Result<()> {
        let prefix = format!("{}/", self.store.dir().as_str());
        let prefix = prefix.as_bytes();
        let mut rest = text;
        while let Some(at) = find(rest, prefix) {
            rest = &rest[at + prefix.len()..];
            let len = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || b"+-._?=".contains(c)).count();
            let Ok(name) = std::str::from_utf8(&rest[..len]) else { continue };
            let Ok(path) = StorePath::from_base_name(name) else { continue };
            self.add_used(path, file, censor)?;
        }
        Ok(())
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|b| *b == first)?;
        if text[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The target of a symlink; `None` when it is gone or no symlink.
fn read_link(link: &Path) -> Result<Option<PathBuf>> {
    match std::fs::read_link(link) {
        Ok(target) => Ok(Some(target)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
                || error.kind() == io::ErrorKind::NotADirectory =>
        {
            Ok(None)
        }
        Err(error) => Err(PathError::new("reading symbolic link", link, error).into()),
    }
}

/// A link's target as an absolute path without `.`, `..` and doubled slashes.
fn absolute(link: &Path, target: &Path) -> PathBuf {
    let path = link.parent().unwrap_or(Path::new("/")).join(target);
    lexically_normal(&path).unwrap_or(path)
}
