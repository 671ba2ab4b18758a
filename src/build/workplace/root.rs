//! What lies in the root of a sandbox before anything is mounted there: directories, small files, links, and
//! places for what will be mounted.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::directories::{Owner, give};
use crate::sys::PathError;

/// A tree that a builder will see as its root. All paths are those that the builder will see; links in them
/// do not lead out.
#[derive(Debug)]
pub(super) struct Root {
    handle: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Makes the root in the directory of a sandbox. The group of the builder may enter it.
    pub(super) fn make(chroot: &OwnedFd, chroot_path: &Path, owner: Owner) -> Result<Self, PathError> {
        let path = chroot_path.join("root");
        let error = |operation| PathError::at(operation, &path);
        rustix::fs::mkdirat(chroot, c"root", Mode::RWXU).map_err(error("creating directory"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle =
            rustix::fs::openat(chroot, c"root", flags, Mode::empty()).map_err(error("opening directory"))?;
        // Not the builder's: what lies at the top is not for it to change.
        give(&handle, owner.map(|(_, group)| (0, group)), &path)?;
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(0o750)).map_err(error("changing mode of"))?;
        Ok(Self { handle, path })
    }

    /// Where the root really lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where something really lies.
    pub(super) fn outside(&self, inside: &Path) -> PathBuf {
        inside
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .fold(self.path.clone(), |path, part| path.join(part))
    }

    /// Makes a directory and those above it; one that is there is taken as it is.
    pub(super) fn directory(&self, inside: &Path) -> Result<OwnedFd, PathError> {
        let shown = self.outside(inside);
        let error = |operation| PathError::at(operation, &shown);
        let mut so_far = PathBuf::new();
        let mut handle = self
            .open(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(error("opening directory"))?;
        for part in inside.components() {
            let part = match part {
                Component::Normal(part) => part,
                Component::ParentDir => return Err(error("creating directory")(Errno::INVAL)),
                _ => continue,
            };
            match rustix::fs::mkdirat(&handle, part, Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                // A link to a directory is as good.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(error("creating directory")(errno)),
            }
            so_far.push(part);
            handle =
                self.open(&so_far, OFlags::RDONLY | OFlags::DIRECTORY).map_err(error("opening directory"))?;
        }
        Ok(handle)
    }

    /// Makes a directory with a mode, of an owner.
    pub(super) fn directory_of(&self, inside: &Path, mode: u32, owner: Owner) -> Result<(), PathError> {
        let handle = self.directory(inside)?;
        let shown = self.outside(inside);
        give(&handle, owner, &shown)?;
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(mode))
            .map_err(PathError::at("changing mode of", shown))
    }

    /// Makes a file.
    pub(super) fn file(&self, inside: &Path, contents: &[u8]) -> Result<(), PathError> {
        let shown = self.outside(inside);
        let error = |operation| PathError::at(operation, &shown);
        let (parent, name) = self.parent(inside)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let file = rustix::fs::openat(&parent, name, flags, mode).map_err(error("creating file"))?;
        rustix::fs::fchmod(&file, mode).map_err(error("changing mode of"))?;
        crate::sys::write_all(&File::from(file), contents).map_err(PathError::at("writing file", &shown))
    }

    /// Makes a link.
    pub(super) fn link(&self, inside: &Path, target: &Path) -> Result<(), PathError> {
        let (parent, name) = self.parent(inside)?;
        match rustix::fs::symlinkat(target, &parent, name) {
            // As good as what was there before.
            Err(Errno::EXIST) => Ok(()),
            other => other.map_err(PathError::at("creating symlink", self.outside(inside))),
        }
    }

    /// Makes a place on which a file or a directory can be mounted.
    pub(super) fn place(&self, inside: &Path, is_directory: bool) -> Result<(), PathError> {
        if is_directory {
            return self.directory(inside).map(drop);
        }
        let (parent, name) = self.parent(inside)?;
        // A file or link that is there will do.
        let exists = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if exists { Ok(()) } else { self.file(inside, b"") }
    }

    fn parent<'p>(&self, inside: &'p Path) -> Result<(OwnedFd, &'p OsStr), PathError> {
        let name = inside.file_name();
        let name = name.ok_or_else(|| PathError::new("creating file", self.outside(inside), Errno::INVAL))?;
        Ok((self.directory(inside.parent().unwrap_or(Path::new("/")))?, name))
    }

    fn open(&self, inside: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat2(self.handle.as_fd(), inside, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn links_do_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let chroot = super::super::directories::make_chroot(&dir.path().join("chroot")).unwrap();
        let root = Root::make(&chroot, &dir.path().join("chroot"), None).unwrap();
        root.link(Path::new("/lib"), &outside).unwrap();
        root.link(Path::new("/bin"), Path::new("usr/bin")).unwrap();
        root.directory(Path::new("/usr/bin")).unwrap();
        root.file(Path::new("/bin/sh"), b"sh").unwrap();
        assert_eq!(std::fs::read(root.path().join("usr/bin/sh")).unwrap(), b"sh");
        // The link leads nowhere inside, and outside nothing changes.
        assert!(root.file(Path::new("/lib/x"), b"x").is_err());
        assert!(root.place(Path::new("/lib/x"), false).is_err());
        assert!(root.place(Path::new("/lib/x"), true).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        // With a place to lead to, that is where it leads.
        root.directory(&outside).unwrap();
        root.place(Path::new("/lib/x"), false).unwrap();
        assert!(root.place(Path::new("/lib/../x"), false).is_err());
        assert!(root.outside(&outside.join("x")).exists());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
