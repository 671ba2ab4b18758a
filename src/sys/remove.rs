//! Removing a tree of any depth, relative to directory handles.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::dir::{DIRECTORY, DirStack, Names};
use super::{PathError, dir};

/// Removes `name` in `parent`, whatever it is; true if it was there.
///
/// Symlinks are removed, never followed; directories without write permission
/// are given it first. `shown` is the path for messages.
///
/// # Errors
/// The first [`PathError`]; what was removed till then is gone.
pub fn remove_at(parent: BorrowedFd<'_>, name: &CStr, shown: &Path) -> Result<bool, PathError> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(Errno::NOENT) => return Ok(false),
        // EISDIR is Linux's answer for a directory, EPERM that of POSIX.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(PathError::new("removing", shown, error)),
    }
    remove_directory(parent, name, shown)?;
    Ok(true)
}

/// As [`remove_at`], by path.
///
/// # Errors
/// See [`remove_at`]; a missing parent counts as nothing to remove.
pub fn remove(path: &Path) -> Result<bool, PathError> {
    match dir::open_parent(path) {
        Ok((parent, name)) => remove_at(parent.as_fd(), &name, path),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_directory(parent: BorrowedFd<'_>, name: &CStr, shown: &Path) -> Result<(), PathError> {
    // Names from the root down, for messages and for the rmdir on the way up.
    let mut trail: Vec<(CString, Names)> = Vec::new();
    let path_of = |trail: &[(CString, Names)], last: &CStr| -> PathBuf {
        let mut path = shown.to_owned();
        for (name, _) in trail.iter().skip(1) {
            path.push(Path::new(std::ffi::OsStr::new(&*name.to_string_lossy())));
        }
        path.push(&*last.to_string_lossy());
        path
    };
    let open = |at: BorrowedFd<'_>, name: &CStr| -> Result<(std::os::fd::OwnedFd, Names), Errno> {
        let handle = match rustix::fs::openat(at, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
                rustix::fs::openat(at, name, DIRECTORY, Mode::empty())?
            }
            other => other?,
        };
        let names = Names::read(handle.as_fd())?;
        if !names.is_empty() && !rustix::process::geteuid().is_root() {
            // Entries of a read-only directory cannot be unlinked by its owner.
            rustix::fs::fchmod(&handle, Mode::RWXU)?;
        }
        Ok((handle, names))
    };
    let (handle, names) = open(parent, name).map_err(PathError::at("opening directory", shown))?;
    let mut stack = DirStack::new(handle);
    trail.push((name.to_owned(), names));
    while let Some((_, names)) = trail.last_mut() {
        let Some((entry, file_type)) = names.take_next() else {
            let Some((left, _)) = trail.pop() else { break };
            stack.leave().map_err(PathError::at("leaving directory", shown))?;
            let at = if trail.is_empty() { parent } else { stack.current() };
            match rustix::fs::unlinkat(at, &left, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(error) => {
                    return Err(PathError::new("removing directory", path_of(&trail, &left), error));
                }
            }
        };
        let entry = entry.to_owned();
        if file_type == FileType::Directory {
            let opened = open(stack.current(), &entry);
            let (handle, names) =
                opened.map_err(|e| PathError::new("opening directory", path_of(&trail, &entry), e))?;
            stack.enter(handle).map_err(PathError::at("entering directory", shown))?;
            trail.push((entry, names));
        } else {
            match rustix::fs::unlinkat(stack.current(), &entry, AtFlags::empty()) {
                // Gone already: somebody else removes the same tree.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(PathError::new("removing", path_of(&trail, &entry), error)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn removes_what_is_read_only_and_leaves_what_is_linked_to() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("keep"), "x").unwrap();
        let tree = root.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(tree.join("a/b"), std::fs::Permissions::from_mode(0o555)).unwrap();
        std::fs::set_permissions(tree.join("a"), std::fs::Permissions::from_mode(0o555)).unwrap();
        assert!(remove(&tree).unwrap());
        assert!(!tree.exists());
        assert!(outside.join("keep").exists());
        assert!(!remove(&tree).unwrap());
        assert!(!remove(&tree.join("x/y")).unwrap());
    }

    #[test]
    fn removes_trees_deeper_than_any_path() {
        let root = tempfile::tempdir().unwrap();
        let top = dir::open_dir(root.path()).unwrap();
        rustix::fs::mkdirat(&top, "deep", Mode::RWXU).unwrap();
        let mut at = rustix::fs::openat(&top, "deep", DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "nested", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "nested", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        assert!(remove(&root.path().join("deep")).unwrap());
        assert!(!root.path().join("deep").exists());
    }
}
