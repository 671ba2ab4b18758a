//! The tree of a user environment: symlinks to the files of packages.
//!
//! A directory that only one package has is one symlink; where several have it,
//! it becomes a real directory with both packages' entries in it, and so on
//! down. A package's symlink to a directory counts as that directory. Of two
//! files in the same place that of the package with the lower priority number
//! wins; with the same number they are a conflict. Left out, at every place
//! where entries are looked at one by one: names that begin with a dot,
//! `propagated-build-inputs`, `nix-support`, `perllocal.pod`, `info/dir`, `log`,
//! `manifest.nix`, `manifest.json`, and symlinks that lead nowhere.
//!
//! Packages may name others in `nix-support/propagated-user-env-packages`;
//! these come after all others, and never conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::error::{Result, UserEnvError};
use super::inside::inside;
use crate::model::StorePath;
use crate::model::references::{Candidates, Scanner};
use crate::nar::{NarError, Sink};
use crate::ops::query;
use crate::progress::Progress;
use crate::store::api::Store;
use crate::store::error::Conflict;
use crate::store::local::Layout;
use crate::sys::{PathError, interrupt, users};

/// A path to be linked, and how much it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The path.
    pub path: StorePath,
    /// The lower number wins.
    pub priority: i64,
}

/// Propagated packages come after every number that a package may have.
const PROPAGATED: i64 = i64::MAX / 2;
/// Longest list of propagated packages that is read.
const MAX_LIST: u64 = 1 << 20;
/// Directories within each other that are merged.
const MAX_DEPTH: usize = 256;
/// Files, links and directories of all packages together.
const MAX_NODES: usize = 2_000_000;
/// The same where a stranger has asked.
const MAX_NODES_OF_STRANGER: usize = 200_000;

/// What stands at a place of the tree.
enum Node {
    /// A symlink, and the priority of the package that it leads to.
    Link(Vec<u8>, i64),
    /// A file with contents of its own.
    File(Vec<u8>),
    /// A real directory.
    Directory(BTreeMap<Vec<u8>, Node>),
}

/// Builds the tree.
pub struct BuildEnv<'s> {
    layout: &'s Layout,
    progress: &'s dyn Progress,
    /// The full path that the tree will have, for messages.
    out: String,
    /// What goes in.
    pub packages: Vec<Package>,
    root: BTreeMap<Vec<u8>, Node>,
    conflicts: Vec<Conflict>,
    /// Nodes in the tree.
    nodes: usize,
    /// What may not be looked at is taken for a file, and so is what does not lie
    /// in the store.
    cautious: bool,
}

/// Something to be merged into a directory of the tree.
struct Source {
    /// The directory, by the path that links are to name.
    logical: PathBuf,
    priority: i64,
}

impl<'s> BuildEnv<'s> {
    /// An empty one, of packages in a store.
    pub fn new(layout: &'s Layout, progress: &'s dyn Progress, out: String) -> Self {
        Self {
            layout,
            progress,
            out,
            packages: Vec::new(),
            root: BTreeMap::new(),
            conflicts: Vec::new(),
            nodes: 0,
            cautious: false,
        }
    }

    /// As [`BuildEnv::link_all`], for packages that come from somebody else: links
    /// in them are followed within the store only, and with no more rights than
    /// anybody has.
    ///
    /// # Errors
    /// See [`BuildEnv::link_all`].
    pub fn link_all_as_nobody(&mut self) -> Result<()> {
        self.cautious = true;
        let failed = |error: io::Error| UserEnvError::Build(format!("cannot give up rights: {error}"));
        std::thread::scope(|scope| {
            let link = || {
                users::become_nobody().map_err(failed)?;
                self.link_all()
            };
            let thread = std::thread::Builder::new()
                .spawn_scoped(scope, interrupt::inherited(link))
                .map_err(failed)?;
            match thread.join() {
                Ok(linked) => linked,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn is_chroot(&self) -> bool {
        let layout = self.layout;
        layout.real_store_dir != Path::new(layout.store_dir.as_str())
    }

    /// Where a path named by the store directory really lies.
    fn real(&self, logical: &Path) -> PathBuf {
        let layout = self.layout;
        match logical.strip_prefix(layout.store_dir.as_str()) {
            Ok(inside) => layout.real_store_dir.join(inside),
            Err(_) => logical.to_owned(),
        }
    }

    /// Links all packages, and what they propagate.
    ///
    /// # Errors
    /// Files that cannot be read; a directory where another package has a file.
    pub fn link_all(&mut self) -> Result<()> {
        let mut packages = std::mem::take(&mut self.packages);
        packages.sort_by(|a, b| (a.priority, &a.path).cmp(&(b.priority, &b.path)));
        let mut done: BTreeSet<PathBuf> = BTreeSet::new();
        let mut postponed: BTreeSet<PathBuf> = BTreeSet::new();
        for package in &packages {
            let path = PathBuf::from(self.layout.store_dir.print(&package.path));
            self.package(path, package.priority, &mut done, &mut postponed)?;
        }
        // What is propagated may propagate more.
        let mut priority = PROPAGATED;
        while !postponed.is_empty() {
            for path in std::mem::take(&mut postponed) {
                self.package(path, priority, &mut done, &mut postponed)?;
                priority += 1;
            }
        }
        self.packages = packages;
        Ok(())
    }

    fn package(
        &mut self,
        path: PathBuf,
        priority: i64,
        done: &mut BTreeSet<PathBuf>,
        postponed: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        if !done.insert(path.clone()) {
            return Ok(());
        }
        if self.cautious && !matches!(inside(self.layout, &path), Ok(Some(_))) {
            // The writer of the link is not to learn whether it is there.
            return Ok(());
        }
        let is_dir = match self.leads_to_dir(&path) {
            Ok(is_dir) => is_dir,
            Err(error) => return Err(PathError::new("cannot read directory", path, error).into()),
        };
        if is_dir {
            let mut root = std::mem::take(&mut self.root);
            let merged = self.merge(&mut root, &Source { logical: path.clone(), priority }, &mut Vec::new());
            self.root = root;
            merged?;
        } else {
            self.progress.warn(&format!(
                "not including {path:?} in the user environment because it's not a directory"
            ));
        }
        let list = path.join("nix-support/propagated-user-env-packages");
        // Most packages have none, which costs one call to find out.
        let found = std::fs::symlink_metadata(self.real(&list)).and_then(|_| match self.cautious {
            true => inside(self.layout, &list)?.ok_or_else(|| io::ErrorKind::NotFound.into()),
            false => self.layout.resolve(&list),
        });
        match found.map(|list| crate::sys::read_regular(&list, MAX_LIST)) {
            Ok(text) => {
                let text = text?;
                let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                let new = words
                    .map(|word| PathBuf::from(OsStr::from_bytes(word)))
                    .filter(|path| !done.contains(path));
                postponed.extend(new);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            // The writer of the link is not to learn what stands in it.
            Err(_) if self.cautious => {}
            Err(error) => return Err(PathError::new("opening file", list, error).into()),
        }
        Ok(())
    }

    /// Puts the entries of a directory into one of the tree.
    fn merge(
        &mut self,
        into: &mut BTreeMap<Vec<u8>, Node>,
        source: &Source,
        place: &mut Vec<OsString>,
    ) -> Result<()> {
        interrupt::check().map_err(|signal| UserEnvError::Store(signal.into()))?;
        if place.len() > MAX_DEPTH {
            return Err(UserEnvError::Build(format!(
                "directories in {:?} are nested too deep",
                source.logical
            )));
        }
        let real = match self.is_chroot() {
            _ if self.cautious => match inside(self.layout, &source.logical) {
                Ok(Some(real)) => real,
                _ => return Ok(()),
            },
            // Links on the way are those of the other store.
            true => self.layout.resolve(&source.logical).unwrap_or_else(|_| self.real(&source.logical)),
            false => source.logical.clone(),
        };
        let error = |error| PathError::new("cannot read directory", &source.logical, error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&real).map_err(error)? {
            let entry = entry.map_err(error)?;
            let kind = entry.file_type().map_err(error)?;
            // What a symlink leads to is looked up; the directory tells the rest.
            names.push((entry.file_name(), (!kind.is_symlink()).then(|| kind.is_dir())));
        }
        names.sort_unstable();
        for (name, is_dir) in names {
            let logical = source.logical.join(&name);
            if is_left_out(&logical, &name) {
                continue;
            }
            place.push(name.clone());
            self.entry(into, &Source { logical, priority: source.priority }, is_dir, place)?;
            place.pop();
        }
        Ok(())
    }

    fn entry(
        &mut self,
        into: &mut BTreeMap<Vec<u8>, Node>,
        source: &Source,
        is_dir: Option<bool>,
        place: &mut Vec<OsString>,
    ) -> Result<()> {
        self.nodes += 1;
        let most = if self.cautious { MAX_NODES_OF_STRANGER } else { MAX_NODES };
        if self.nodes > most {
            return Err(UserEnvError::Build(format!("the packages have more than {most} files")));
        }
        let is_dir = match is_dir.map_or_else(|| self.leads_to_dir(&source.logical), Ok) {
            Ok(is_dir) => is_dir,
            Err(error) if self.cautious && error.kind() == io::ErrorKind::PermissionDenied => false,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                    || error.raw_os_error() == Some(libc::ELOOP) =>
            {
                let place: PathBuf = place.iter().collect();
                self.progress.warn(&format!(
                    "skipping dangling symlink '{}'",
                    Path::new(&self.out).join(place).display()
                ));
                return Ok(());
            }
            Err(error) => return Err(PathError::new("getting status of", &source.logical, error).into()),
        };
        let name = place.last().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let link = || Node::Link(source.logical.as_os_str().as_bytes().to_vec(), source.priority);
        match into.get_mut(&name) {
            None => {
                into.insert(name, link());
                Ok(())
            }
            Some(Node::Directory(there)) if is_dir => {
                let mut there = std::mem::take(there);
                let merged = self.merge(&mut there, source, place);
                into.insert(name, Node::Directory(there));
                merged
            }
            Some(Node::Directory(_)) => Err(UserEnvError::Build(format!(
                "collision between non-directory {:?} and directory {:?}",
                source.logical,
                Path::new(&self.out).join(place.iter().collect::<PathBuf>())
            ))),
            // Files are put in when everything is linked.
            Some(Node::File(_)) => Ok(()),
            Some(Node::Link(target, priority)) => {
                let (there, there_priority) = (PathBuf::from(OsString::from_vec(target.clone())), *priority);
                if is_dir {
                    // Both packages' entries, in a directory of their own.
                    let other = match self.cautious {
                        // Nobody is to learn where it leads.
                        true => there.clone(),
                        false => self.layout.resolve(&there).unwrap_or_else(|_| there.clone()),
                    };
                    if !(if self.cautious {
                        self.leads_to_dir(&there).unwrap_or(false)
                    } else {
                        other.is_dir()
                    }) {
                        return Err(UserEnvError::Build(format!(
                            "collision between {:?} and non-directory {other:?}",
                            source.logical
                        )));
                    }
                    let mut both = BTreeMap::new();
                    let logical = if self.cautious { other } else { self.logical(&other) };
                    let first = Source { logical, priority: there_priority };
                    self.merge(&mut both, &first, place)?;
                    self.merge(&mut both, source, place)?;
                    into.insert(name, Node::Directory(both));
                } else if there_priority == source.priority {
                    self.conflicts.push(Conflict {
                        first: there,
                        second: source.logical.clone(),
                        priority: source.priority,
                    });
                } else if source.priority < there_priority {
                    into.insert(name, link());
                }
                Ok(())
            }
        }
    }

    fn leads_to_dir(&self, logical: &Path) -> io::Result<bool> {
        if self.cautious {
            return match inside(self.layout, logical)? {
                Some(real) => Ok(std::fs::symlink_metadata(real)?.is_dir()),
                None => Ok(false),
            };
        }
        if !self.is_chroot() {
            return Ok(std::fs::metadata(logical)?.is_dir());
        }
        Ok(std::fs::symlink_metadata(self.layout.resolve(logical)?)?.is_dir())
    }

    /// The name by the store directory of a real path.
    fn logical(&self, real: &Path) -> PathBuf {
        let layout = self.layout;
        let store = std::fs::canonicalize(&layout.real_store_dir);
        let store = store.as_deref().unwrap_or(&layout.real_store_dir);
        match real.strip_prefix(store) {
            Ok(inside) => Path::new(layout.store_dir.as_str()).join(inside),
            Err(_) => real.to_owned(),
        }
    }

    /// Puts a symlink at the root, over whatever is there.
    pub fn link(&mut self, name: &str, target: String) {
        self.root.insert(name.as_bytes().to_vec(), Node::Link(target.into_bytes(), 0));
    }

    /// Puts a file at the root, over whatever is there.
    pub fn file(&mut self, name: &str, contents: Vec<u8>) {
        self.root.insert(name.as_bytes().to_vec(), Node::File(contents));
    }

    /// The conflicts that were found.
    pub fn conflicts(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.conflicts)
    }

    /// Calls `each` with the target of every symlink.
    pub fn each_target(&self, mut each: impl FnMut(&[u8])) {
        let mut waiting = vec![&self.root];
        while let Some(directory) = waiting.pop() {
            for node in directory.values() {
                match node {
                    Node::Link(target, _) => each(target),
                    Node::Directory(inner) => waiting.push(inner),
                    Node::File(_) => {}
                }
            }
        }
    }

    /// The paths that links lead to: of `own`, and of all that `packages` need;
    /// and those that `text` names.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn references(
        &self,
        store: &dyn Store,
        packages: &[StorePath],
        own: impl IntoIterator<Item = StorePath>,
        text: &[u8],
    ) -> Result<BTreeSet<StorePath>> {
        let closure = query::closure(store, packages, false)?;
        let mut paths: Vec<StorePath> = own.into_iter().collect();
        for node in closure.nodes() {
            paths.push(closure.path(node)?);
        }
        let candidates = Candidates::new(paths);
        let mut scanner = Scanner::new(&candidates);
        self.each_target(|target| {
            scanner.update(target);
            scanner.update(b"\n");
        });
        scanner.update(text);
        Ok(scanner.finish())
    }

    /// Tells a sink of the tree.
    ///
    /// # Errors
    /// Errors of the sink.
    pub fn write(&self, sink: &mut dyn Sink) -> std::result::Result<(), NarError> {
        write_directory(&self.root, sink)
    }
}

fn write_directory(
    directory: &BTreeMap<Vec<u8>, Node>,
    sink: &mut dyn Sink,
) -> std::result::Result<(), NarError> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| NarError::bad("a name with a NUL in it"));
    sink.enter_directory()?;
    for (name, node) in directory {
        sink.entry(&text(name)?)?;
        match node {
            Node::Link(target, _) => sink.symlink(&text(target)?)?,
            Node::File(contents) => sink.regular(false, &mut contents.as_slice())?,
            // As deep as MAX_DEPTH at most.
            Node::Directory(inner) => write_directory(inner, sink)?,
        }
    }
    sink.leave_directory()
}

fn is_left_out(path: &Path, name: &OsStr) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"propagated-build-inputs",
        b"nix-support",
        b"perllocal.pod",
        b"log",
        b"manifest.nix",
        b"manifest.json",
    ];
    let bytes = name.as_bytes();
    bytes.starts_with(b".") || NAMES.contains(&bytes) || path.ends_with("info/dir")
}
