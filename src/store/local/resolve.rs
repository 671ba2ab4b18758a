//! Following symlinks as a program would for which the store directory is
//! where its name says.
//!
//! In a chroot store a link to `/nix/store/…` leads into the real directory of
//! that store, not into whatever this machine has under that name.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Layout;

/// Links followed at most, as the system does.
const MAX_LINKS: usize = 40;

impl Layout {
    /// The real path without symlinks of something that exists.
    ///
    /// # Errors
    /// Errors of the system: `NotFound` for links that lead nowhere.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let logical = Path::new(self.store_dir.as_str());
        if self.real_store_dir == logical {
            return std::fs::canonicalize(path);
        }
        let mut links = 0;
        let mut done = PathBuf::from("/");
        let mut waiting: VecDeque<OsString> = parts(path);
        while let Some(part) = waiting.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(part);
            if done == logical {
                done.clone_from(&self.real_store_dir);
            }
            let Ok(target) = std::fs::read_link(&done) else { continue };
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            done.pop();
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                waiting.push_front(part);
            }
        }
        std::fs::symlink_metadata(&done)?;
        Ok(done)
    }
}

/// The names in a path, and the steps up.
fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}
