//! Making a symlink of the user's a root.
//!
//! ```text
//! STATE/gcroots/auto/NAME -> absolute path of the link -> store path
//! NAME = nix32(sha1(absolute path of the link))
//! ```

use std::path::{Path, PathBuf};

use super::{links, notes};
use crate::model::StorePath;
use crate::store::LocalStore;
use crate::store::api::roots::make_link;
use crate::store::error::Result;
use crate::sys::{PathError, atomic};

impl LocalStore {
    /// Makes `link`, which is absolute, a symlink to `path` and a root.
    ///
    /// The path is rooted for this process first, so that it is safe from the
    /// moment this is called. A symlink that is there already is replaced.
    ///
    /// # Errors
    /// Something else than a symlink is at `link`; those of the store.
    pub fn add_indirect_root(&self, link: &Path, path: &StorePath) -> Result<()> {
        self.add_temp_roots(&[path])?;
        make_link(self.dir(), link, path)?;
        self.register(link, Some(path))
    }

    /// Makes a symlink that is there a root. Of one that we may not read, as in
    /// a home on a network file system, it is not known where it leads: that is
    /// told, and no collection deletes anything until it can be read.
    ///
    /// # Errors
    /// [`PathError`]; also for a link that cannot be read for another reason.
    pub fn register_indirect_root(&self, link: &Path) -> Result<()> {
        self.register(link, None)
    }

    /// Makes a symlink a root that leads to `made_for`, if that is known.
    fn register(&self, link: &Path, made_for: Option<&StorePath>) -> Result<()> {
        match (links::target_of(self.layout(), link), made_for) {
            (Ok(path), _) => notes::note(self.layout(), link, path.as_ref()),
            (Err(error), Some(path)) if links::is_forbidden(&error) => {
                notes::note(self.layout(), link, Some(path));
            }
            (Err(error), None) if links::is_forbidden(&error) => {
                notes::forget(self.layout(), link)?;
                self.progress().warn(&format!(
                    "{error}; garbage collections delete nothing until this root can be read or is gone"
                ));
            }
            (Err(error), _) => return Err(error.into()),
        }
        let auto = self.layout().auto_roots_dir();
        std::fs::create_dir_all(&auto).map_err(PathError::at("creating directory", &auto))?;
        Ok(atomic::replace_symlink(&self.auto_root(link), link)?)
    }

    /// Where the entry of a link in `gcroots/auto` is or would be.
    pub fn auto_root(&self, link: &Path) -> PathBuf {
        self.layout().auto_roots_dir().join(notes::key(link))
    }
}
