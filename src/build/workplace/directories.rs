//! The working directory of a build: made for it with a name that nobody else has, removed after it.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::build::environment::BuildFile;
use crate::build::error::BuildError;
use crate::sys::PathError;
use crate::sys::dir::{self, DIRECTORY, DirStack, Names};
use crate::sys::remove::remove_at;

/// Who owns what a builder may write to: user and group; `None` for us.
pub(super) type Owner = Option<(u32, u32)>;

/// The directory of a build: `BUILD-DIR/nix-PID-RANDOM`, in a sandbox with `build` in it, which is the builder's.
#[derive(Debug)]
pub(super) struct WorkingDirectory {
    parent: OwnedFd,
    name: CString,
    path: PathBuf,
    /// What the builder works in, and where that lies.
    work: OwnedFd,
    work_path: PathBuf,
    is_kept: bool,
}

impl WorkingDirectory {
    /// Makes the directory. In a sandbox other users cannot reach the builder's, whatever its mode.
    pub(super) fn make(build_dir: &Path, owner: Owner, in_sandbox: bool) -> Result<Self, BuildError> {
        if !build_dir.is_absolute() {
            return Err(BuildError::NotAbsolute(build_dir.to_owned()));
        }
        std::fs::create_dir_all(build_dir).map_err(PathError::at("creating directory", build_dir))?;
        if owner.is_some() {
            require_closed(build_dir)?;
        }
        let error = |operation| PathError::at(operation, build_dir);
        // Where users keep builds is theirs to choose, also by a link.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent =
            rustix::fs::openat(CWD, build_dir, flags, Mode::empty()).map_err(error("opening directory"))?;
        let name = loop {
            let name = format!("nix-{}-{}", std::process::id(), random()?);
            let name = CString::new(name)
                .map_err(|_| PathError::new("creating directory", build_dir, Errno::INVAL))?;
            match rustix::fs::mkdirat(&parent, &name, Mode::RWXU) {
                Ok(()) => break name,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(PathError::new("creating directory", build_dir, errno).into()),
            }
        };
        let path = build_dir.join(&*name.to_string_lossy());
        let mut work = open(parent.as_fd(), &name, &path)?;
        let mut work_path = path.clone();
        if in_sandbox {
            work_path.push("build");
            rustix::fs::mkdirat(&work, c"build", Mode::RWXU)
                .map_err(PathError::at("creating directory", &work_path))?;
            work = open(work.as_fd(), c"build", &work_path)?;
        }
        let made = Self { parent, name, path, work, work_path, is_kept: false };
        // The modes of new directories depend on the umask.
        rustix::fs::fchmod(&made.work, Mode::RWXU)
            .map_err(PathError::at("changing mode of", &made.work_path))?;
        give(&made.work, owner, &made.work_path)?;
        Ok(made)
    }

    /// Where the builder's directory lies.
    pub(super) fn work_path(&self) -> &Path {
        &self.work_path
    }

    /// Puts a file into the builder's directory, before the builder is there.
    pub(super) fn add(&self, file: &BuildFile, owner: Owner) -> Result<(), PathError> {
        let path = self.work_path.join(&file.name);
        let error = |operation| PathError::at(operation, &path);
        if file.name.contains('/') || file.name.is_empty() {
            return Err(PathError::new("creating file", &path, Errno::INVAL));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.work, file.name.as_str(), flags, Mode::from_raw_mode(0o644))
            .map_err(error("creating file"))?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o644)).map_err(error("changing mode of"))?;
        give(&made, owner, &path)?;
        crate::sys::write_all(&File::from(made), &file.contents).map_err(PathError::at("writing file", &path))
    }

    /// Lets everybody read the directory and leaves it where it is. Nothing in it gives others the rights of
    /// its owner.
    pub(super) fn keep(&mut self) -> Result<&Path, PathError> {
        self.is_kept = true;
        remove_set_ids(&self.work, &self.work_path)?;
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::fchmod(&self.work, mode).map_err(PathError::at("changing mode of", &self.work_path))?;
        if self.work_path != self.path {
            let above = open(self.parent.as_fd(), &self.name, &self.path)?;
            rustix::fs::fchmod(above, mode).map_err(PathError::at("changing mode of", &self.path))?;
        }
        Ok(&self.work_path)
    }

    /// Removes the directory unless it is kept.
    pub(super) fn remove(&mut self) -> Result<(), PathError> {
        if !std::mem::replace(&mut self.is_kept, true) {
            remove_at(self.parent.as_fd(), &self.name, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        // Somebody who wants to know calls it before.
        let _ = self.remove();
    }
}

fn open(parent: BorrowedFd<'_>, name: &std::ffi::CStr, path: &Path) -> Result<OwnedFd, PathError> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
        .map_err(PathError::at("opening directory", path))
}

/// Gives what was made to the builder's user.
pub(super) fn give(file: &OwnedFd, owner: Owner, path: &Path) -> Result<(), PathError> {
    let Some((user, group)) = owner else { return Ok(()) };
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    rustix::fs::fchown(file, Some(user), Some(group)).map_err(PathError::at("changing owner of", path))
}

/// A number that nobody can foresee.
fn random() -> Result<u32, PathError> {
    getrandom::u32().map_err(|error| PathError::new("reading", "/dev/urandom", std::io::Error::other(error)))
}

/// Makes sure that nobody but us and root can put another directory in the place of one on the way.
fn require_closed(dir: &Path) -> Result<(), BuildError> {
    const OTHERS_WRITE: u32 = 0o002;
    for dir in dir.ancestors() {
        let meta = std::fs::symlink_metadata(dir).map_err(PathError::at("getting status of", dir))?;
        if meta.is_symlink() || meta.permissions().mode() & OTHERS_WRITE != 0 {
            return Err(BuildError::OpenToOthers(dir.to_owned()));
        }
    }
    Ok(())
}

/// Takes the set-id bits from all files in a tree; links are not followed.
fn remove_set_ids(top: &OwnedFd, shown: &Path) -> Result<(), PathError> {
    let error = |operation| PathError::at(operation, shown);
    let handle =
        rustix::fs::openat(top, c".", DIRECTORY, Mode::empty()).map_err(error("opening directory"))?;
    let mut trail = vec![Names::read(handle.as_fd()).map_err(error("reading directory"))?];
    let mut stack = DirStack::new(handle);
    while let Some(names) = trail.last_mut() {
        let Some((name, kind, _)) = names.take_next_with_inode() else {
            trail.pop();
            if !trail.is_empty() {
                stack.leave().map_err(error("leaving directory"))?;
            }
            continue;
        };
        match kind {
            FileType::RegularFile => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let Ok(file) = rustix::fs::openat(stack.current(), name, flags, Mode::empty()) else {
                    continue;
                };
                let file = File::from(file);
                let Ok(meta) = file.metadata() else { continue };
                if meta.is_file() && meta.mode() & (libc::S_ISUID | libc::S_ISGID) != 0 {
                    use std::os::fd::AsRawFd as _;
                    // By the very file, whatever its name stands for by now.
                    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                    rustix::fs::chmod(path, Mode::from_raw_mode(meta.mode() & 0o777))
                        .map_err(error("changing mode in"))?;
                }
            }
            FileType::Directory => {
                // What its owner made unreadable stays so, and unreachable for others too.
                let Ok(below) = rustix::fs::openat(stack.current(), name, DIRECTORY, Mode::empty()) else {
                    continue;
                };
                trail.push(Names::read(below.as_fd()).map_err(error("reading directory"))?);
                stack.enter(below).map_err(error("entering directory"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the directory of a sandbox with everything in it.
pub(super) fn remove_chroot(path: &Path) -> Result<bool, PathError> {
    crate::sys::remove::remove(path)
}

/// Makes the directory of a sandbox, which nobody else can enter; one that a killed build left is removed.
pub(super) fn make_chroot(path: &Path) -> Result<OwnedFd, PathError> {
    if !path.is_absolute() {
        return Err(PathError::new("creating directory", path, Errno::INVAL));
    }
    remove_chroot(path)?;
    let (parent, name) = dir::open_parent(path)?;
    rustix::fs::mkdirat(&parent, &name, Mode::RWXU).map_err(PathError::at("creating directory", path))?;
    open(parent.as_fd(), &name, path)
}
