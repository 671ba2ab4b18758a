//! Links below `gcroots` and `profiles`, and where they lead.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::model::StorePath;
use crate::settings::value::lexically_normal;
use crate::store::api::roots::Holder;
use crate::store::error::Result;
use crate::store::local::Layout;
use crate::store::local::roots::Finder;
use crate::sys::dir::{DIRECTORY, Names};
use crate::sys::{PathError, interrupt};

/// Links followed at most, from one below `gcroots` to the store.
const MAX_LINKS: usize = 40;

/// Directories within each other that are looked into: as many as leave handles
/// for everything else.
fn max_depth() -> usize {
    const MOST: u64 = 4096;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from((limit.unwrap_or(MOST) / 4).clamp(16, MOST)).unwrap_or(16)
}

/// Where a link leads.
#[derive(Default)]
struct Traced {
    /// Paths, and the last link before each.
    paths: Vec<(StorePath, PathBuf)>,
    /// What is no link, or not there.
    ends: Vec<PathBuf>,
    /// What cannot be read.
    blocked: Option<PathError>,
    /// One of the links, or an end, lies outside the state directory, so that
    /// it may come out of reach.
    elsewhere: bool,
}

impl Finder<'_> {
    /// Looks at everything below a directory, by handles: the owner of one of
    /// the directories below can move things about, and lead us nowhere else.
    pub(super) fn links_below(&mut self, top: &Path) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, top, flags, Mode::empty()).and_then(list);
        let mut trail = match opened {
            Ok(opened) => vec![opened],
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return self.unreadable(PathError::new("cannot read directory", top, errno)),
        };
        let (mut path, depth) = (top.to_owned(), max_depth());
        loop {
            let deep = trail.len() >= depth;
            let Some((dir, names)) = trail.last_mut() else { return Ok(()) };
            let Some((name, kind)) = names.take_next() else {
                trail.pop();
                path.pop();
                continue;
            };
            interrupt::check()?;
            let entry = path.join(OsStr::from_bytes(name.to_bytes()));
            match kind {
                FileType::Directory => {
                    let below = match deep {
                        true => Err(Errno::NAMETOOLONG),
                        false => rustix::fs::openat(&*dir, name, DIRECTORY, Mode::empty()).and_then(list),
                    };
                    match below {
                        Ok(below) => {
                            trail.push(below);
                            path = entry;
                        }
                        // Gone, or something else by now.
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                        Err(errno) => {
                            let error = PathError::new("cannot read directory", &entry, errno);
                            self.unreadable_at(&entry, error)?;
                        }
                    }
                }
                FileType::Symlink => self.read_and_follow(dir.as_fd(), name, &entry)?,
                FileType::RegularFile => self.named_like_a_path(name, entry)?,
                _ => {}
            }
        }
    }

    fn read_and_follow(&mut self, dir: BorrowedFd<'_>, name: &CStr, entry: &Path) -> Result<()> {
        match rustix::fs::readlinkat(dir, name, Vec::new()) {
            Ok(target) => self.link(entry, Path::new(OsStr::from_bytes(target.to_bytes()))),
            // Gone, or something else by now.
            Err(Errno::NOENT | Errno::INVAL) => Ok(()),
            Err(errno) => {
                self.unreadable_at(entry, PathError::new("cannot read potential root", entry, errno))
            }
        }
    }

    /// A file named like a store path keeps that path.
    fn named_like_a_path(&mut self, name: &CStr, entry: PathBuf) -> Result<()> {
        if let Ok(name) = name.to_str()
            && let Ok(path) = StorePath::from_base_name(name)
            && self.is_valid(&path)?
        {
            self.add(path, Holder::Permanent(entry));
        }
        Ok(())
    }

    /// What nobody may read below a user's own directory, or what lies too deep
    /// there, is that user's affair: nobody else is to wait for it. Any other
    /// failure is ours or the machine's, and says nothing about what is there.
    fn unreadable_at(&mut self, entry: &Path, error: PathError) -> Result<()> {
        let theirs = is_forbidden(&error) || errno_of(&error) == Some(Errno::NAMETOOLONG);
        if !theirs || !is_of_user(self.store.layout(), entry) || !self.search.strict {
            return self.unreadable(error);
        }
        self.store.progress().warn(&format!("{error}, so what it keeps may be deleted"));
        self.unread += 1;
        Ok(())
    }

    /// A link below `gcroots` or `profiles`.
    fn link(&mut self, first: &Path, target: &Path) -> Result<()> {
        let traced = trace(self.store.layout(), first, target);
        if let Some(error) = traced.blocked {
            if traced.paths.is_empty() {
                return self.out_of_reach(first, error);
            }
            if !is_forbidden(&error) {
                self.unreadable_at(first, error)?;
            }
        }
        // Whatever may come out of reach later has a note from now on.
        let noting = traced.elsewhere && self.is_collecting();
        if let Some((path, _)) = traced.paths.first()
            && noting
        {
            self.notes.note(self.store.dir(), first, path);
        }
        if traced.paths.is_empty() && !traced.ends.is_empty() {
            let certain = traced.ends.iter().all(|end| std::fs::symlink_metadata(end).is_ok());
            if self.dead_end(first, &traced.ends)? && noting {
                self.notes.note_nothing(first, certain);
            }
        }
        traced.paths.into_iter().try_for_each(|(path, last)| self.add_link(path, last))
    }

    /// A link that leads to something that cannot be read. Where that is not
    /// allowed it may stay so for ever, and the note counts; any other failure
    /// passes, or somebody has to look at it.
    fn out_of_reach(&mut self, first: &Path, error: PathError) -> Result<()> {
        if !is_forbidden(&error) {
            return self.unreadable_at(first, error);
        }
        let Some(note) = self.notes.of_link(self.store.dir(), first) else {
            return self.unreadable_at(first, error);
        };
        self.unread += 1;
        let Some(path) = note else {
            self.store.progress().warn(&format!("{error}; it led to no path before"));
            return Ok(());
        };
        let shown = self.store.dir().print(&path);
        self.store.progress().warn(&format!("{error}; '{shown}', to which it led before, is kept"));
        self.add_link(path, error.path)
    }

    /// A link that leads to something that is no link: stale if the programs
    /// made it and what it leads to directly is gone. True if it stays.
    fn dead_end(&self, first: &Path, ends: &[PathBuf]) -> Result<bool> {
        let auto = self.store.layout().auto_roots_dir();
        if !self.search.clean || self.store.is_read_only() || first.parent() != Some(&auto) {
            return Ok(true);
        }
        let Ok(target) = std::fs::read_link(first) else { return Ok(true) };
        let places = places(self.store.layout(), first, &target);
        if ends.iter().any(|end| !places.contains(end)) || !places.iter().all(|place| is_gone(place)) {
            return Ok(true);
        }
        let Some(target) = places.first() else { return Ok(true) };
        self.store.progress().notice(&format!(
            "removing stale link from \"{}\" to \"{}\"",
            first.display(),
            target.display()
        ));
        match std::fs::remove_file(first) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let error = PathError::new("removing", first, error);
                self.store.progress().warn(&error.to_string());
            }
            // Made again meanwhile, perhaps with the entry just removed.
            _ if !is_gone(target) => self.store.register_indirect_root(target)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn add_link(&mut self, path: StorePath, last: PathBuf) -> Result<()> {
        if self.is_valid(&path)? {
            let profiles = self.store.layout().state_dir.join("profiles");
            let gcroots = self.store.layout().state_dir.join("gcroots");
            let holder = if last.starts_with(profiles) {
                Holder::Profile(last)
            } else if last.starts_with(gcroots) {
                Holder::Permanent(last)
            } else {
                Holder::Indirect(last)
            };
            self.add(path, holder);
        } else {
            let store_path = self.store.dir().print(&path);
            self.store
                .progress()
                .notice(&format!("skipping invalid root from \"{}\" to \"{store_path}\"", last.display()));
        }
        Ok(())
    }
}

/// A directory, and what is in it.
fn list(dir: OwnedFd) -> std::result::Result<(OwnedFd, Names), Errno> {
    let names = Names::read(dir.as_fd())?;
    Ok((dir, names))
}

fn errno_of(error: &PathError) -> Option<Errno> {
    Errno::from_io_error(&error.reason)
}

/// Whether somebody does not let us read something.
pub(super) fn is_forbidden(error: &PathError) -> bool {
    matches!(errno_of(error), Some(Errno::ACCESS | Errno::PERM))
}

/// Whether something lies below a directory that belongs to one user.
fn is_of_user(layout: &Layout, path: &Path) -> bool {
    ["gcroots/per-user", "profiles/per-user"].iter().any(|users| {
        let below = path.strip_prefix(layout.state_dir.join(users));
        below.is_ok_and(|below| below.components().next().is_some())
    })
}

/// Where a link that becomes a root leads: to a path, or to none.
///
/// # Errors
/// [`PathError`] when that cannot be found out.
pub(super) fn target_of(layout: &Layout, link: &Path) -> std::result::Result<Option<StorePath>, PathError> {
    let Some(target) = read_link(link)? else { return Ok(None) };
    let traced = trace(layout, link, &target);
    match (traced.paths.into_iter().next(), traced.blocked) {
        (Some((path, _)), _) => Ok(Some(path)),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(None),
    }
}

/// Follows a link, by way of others if need be.
fn trace(layout: &Layout, first: &Path, target: &Path) -> Traced {
    let mut traced = Traced::default();
    let mut waiting = vec![(first.to_owned(), target.to_owned())];
    for _ in 0..MAX_LINKS {
        let Some((link, target)) = waiting.pop() else { break };
        for target in places(layout, &link, &target) {
            if let Some(path) = in_store(layout, &target) {
                traced.paths.push((path, link.clone()));
                continue;
            }
            traced.elsewhere |= !target.starts_with(&layout.state_dir);
            match read_link(&target) {
                Ok(Some(next)) => waiting.push((target, next)),
                Ok(None) => traced.ends.push(target),
                Err(error) => traced.blocked = Some(error),
            }
        }
    }
    traced
}

/// What a link's target may mean: a path on this machine, and for a store below
/// another root directory also one as seen from inside.
fn places(layout: &Layout, link: &Path, target: &Path) -> Vec<PathBuf> {
    let mut places = vec![absolute(link, target)];
    if let Some(root) = root_of(layout)
        && target.is_absolute()
        && !places[0].starts_with(&root)
        && in_store(layout, &places[0]).is_none()
        && let Ok(inside) = places[0].strip_prefix("/")
    {
        places.push(root.join(inside));
    }
    places
}

/// The root directory that the store was made for, if it is another one.
fn root_of(layout: &Layout) -> Option<PathBuf> {
    let logical = Path::new(layout.store_dir.as_str()).strip_prefix("/").ok()?;
    if !layout.real_store_dir.ends_with(logical) {
        return None;
    }
    let root = layout.real_store_dir.ancestors().nth(logical.components().count())?;
    (root != Path::new("/")).then(|| root.to_owned())
}

/// The store path at or above a path, by its name or by where it really lies.
fn in_store(layout: &Layout, target: &Path) -> Option<StorePath> {
    // Below a store path any bytes may follow.
    let below =
        |target: &Path| layout.store_dir.parse_below(&target.to_string_lossy()).ok().map(|(path, _)| path);
    below(target).or_else(|| {
        let inside = target.strip_prefix(&layout.real_store_dir).ok()?;
        below(&Path::new(layout.store_dir.as_str()).join(inside))
    })
}

/// Whether nothing can be there.
fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            || error.raw_os_error() == Some(libc::ENAMETOOLONG)
    })
}

/// The target of a symlink; `None` when it is gone or no symlink, and when
/// links above it go round in a circle.
fn read_link(link: &Path) -> std::result::Result<Option<PathBuf>, PathError> {
    match std::fs::read_link(link) {
        Ok(target) => Ok(Some(target)),
        // Nothing can be there.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENAMETOOLONG)) => Ok(None),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(PathError::new("cannot read potential root", link, error)),
    }
}

/// A link's target as an absolute path without `.`, `..` and doubled slashes.
fn absolute(link: &Path, target: &Path) -> PathBuf {
    let path = link.parent().unwrap_or(Path::new("/")).join(target);
    lexically_normal(&path).unwrap_or(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::StoreDir;
    use crate::progress::Silent;
    use crate::store::api::roots::RootSearch;
    use crate::store::local::{LocalOptions, LocalStore};

    #[test]
    fn only_what_is_forbidden_may_be_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            store_dir: StoreDir::new(dir.path().join("store").to_str().unwrap()).unwrap(),
            real_store_dir: dir.path().join("store"),
            state_dir: dir.path().join("var"),
            log_dir: dir.path().join("log"),
        };
        let mut options = LocalOptions::new(layout);
        options.reserved_space = 0;
        let store = LocalStore::open(options, Arc::new(Silent)).unwrap();
        let mut finder = Finder::new(&store, RootSearch { censor: false, clean: true, strict: true });
        let root = store.layout().auto_roots_dir().join("x");
        let of_user = store.layout().state_dir.join("gcroots/per-user/bob/x");
        finder.notes.note_nothing(&root, true);
        let ours = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE, Errno::NOTCONN];
        for errno in ours {
            let error = || PathError::new("cannot read potential root", "/home/bob/x", errno);
            assert!(finder.out_of_reach(&root, error()).is_err(), "{errno}");
            assert!(finder.out_of_reach(&of_user, error()).is_err(), "{errno}");
            assert!(finder.unreadable_at(&of_user, error()).is_err(), "{errno}");
        }
        assert_eq!(finder.unread, 0);
        for errno in [Errno::ACCESS, Errno::PERM] {
            let error = || PathError::new("cannot read potential root", "/home/bob/x", errno);
            finder.out_of_reach(&root, error()).unwrap();
            finder.unreadable_at(&of_user, error()).unwrap();
            assert!(finder.unreadable_at(&root, error()).is_err());
        }
        assert_eq!(finder.unread, 4);
    }
}
