//! Temporary roots of living processes; the format is in
//! [`super::super::temp_roots`].

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::store::api::roots::Holder;
use crate::store::error::Result;
use crate::store::local::roots::Finder;
use crate::sys::PathError;
use crate::sys::lock::{self, LockKind};

impl Finder<'_> {
    pub(super) fn temporary(&mut self) -> Result<()> {
        let dir = self.store.layout().temp_roots_dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.unreadable(PathError::new("cannot read directory", dir, error)),
        };
        for entry in entries {
            let path = entry.map_err(PathError::at("cannot read directory", &dir))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with('.') {
                continue;
            }
            self.temporary_file(&path, name)?;
        }
        Ok(())
    }

    fn temporary_file(&mut self, path: &Path, name: &str) -> Result<()> {
        let clean = self.search.clean && !self.store.is_read_only();
        // What is no file holds nothing, and is not to be waited for.
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_file() => {
                let text = format!("\"{}\" is not a file of temporary roots", path.display());
                self.store.progress().warn(&text);
                return Ok(());
            }
            _ => {}
        }
        let file = match File::options().read(true).write(clean).custom_flags(libc::O_NOFOLLOW).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Of a process of another user: for a query that is nothing to tell.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.search.strict => {
                return Ok(());
            }
            Err(error) => return self.unreadable(PathError::new("opening", path, error)),
        };
        let kind = if clean { LockKind::Exclusive } else { LockKind::Shared };
        if lock::try_lock(&file, path, kind)? {
            // Its process is gone.
            return if clean { self.remove_stale(&file, path) } else { Ok(()) };
        }
        let mut text = Vec::new();
        (&file).read_to_end(&mut text).map_err(PathError::at("reading", path))?;
        let pid = name.split('-').next().unwrap_or(name);
        let holder = if self.search.censor { Holder::Censored } else { Holder::Temporary(pid.to_owned()) };
        // What follows the last NUL is still being written.
        let complete = text.iter().rposition(|b| *b == 0).map_or(0, |end| end + 1);
        for root in text[..complete].split(|b| *b == 0).filter(|root| !root.is_empty()) {
            if let Ok(root) = std::str::from_utf8(root)
                && let Ok(root) = self.store.dir().parse(root)
            {
                self.add(root, holder.clone());
            }
        }
        Ok(())
    }

    /// Removes a file whose lock is held by us and was by nobody else. A
    /// process that opened the file just now finds the byte in it, and makes another.
    fn remove_stale(&self, mut file: &File, path: &Path) -> Result<()> {
        if !lock::is_same(file, path) {
            // Somebody else was quicker, and the name may be that of a living
            // process's file by now.
            return Ok(());
        }
        self.store.progress().notice(&format!("removing stale temporary roots file \"{}\"", path.display()));
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let error = PathError::new("removing", path, error);
                self.store.progress().warn(&error.to_string());
                return Ok(());
            }
            _ => {}
        }
        // At a full disk there may be no room even for this; the file is gone
        // by name, which its owner sees as well.
        let _ = file.write_all(b"d");
        Ok(())
    }
}
