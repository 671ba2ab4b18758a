//! Where the parts of a local store lie, and their creation.
//!
//! | path | what |
//! |---|---|
//! | `REAL/` | the store paths; REAL is the store directory, except in chroot stores |
//! | `REAL/.links/` | one hard link for each file content that was optimised |
//! | `STATE/db/` | `db.sqlite`, `schema`, `big-lock`, `reserved` |
//! | `STATE/temproots/PID` | paths a running process needs |
//! | `STATE/gcroots/`, `STATE/profiles/` | symlinks to what must stay |
//! | `STATE/optimised` | paths whose files are all links to `.links` (a memory of `--optimise`) |
//! | `STATE/gc.lock`, `STATE/gc-socket/socket` | the running collection |
//! | `LOG/drvs/HH/REST` | build logs |

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::model::{StoreDir, StorePath};
use crate::store::error::{Result as StoreResult, StoreError};
use crate::sys::{PathError, mount};

/// The directories of a local store.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The directory its paths are named by.
    pub store_dir: StoreDir,
    /// The directory its paths lie in.
    pub real_store_dir: PathBuf,
    /// Database, roots and locks.
    pub state_dir: PathBuf,
    /// Build logs.
    pub log_dir: PathBuf,
}

impl Layout {
    /// The usual directories below `root`, which should be absolute: what a
    /// chroot store has. Its paths are named as those of `/nix/store`.
    pub fn below(root: &Path) -> Self {
        Self {
            store_dir: StoreDir::default(),
            real_store_dir: root.join("nix/store"),
            state_dir: root.join("nix/var/nix"),
            log_dir: root.join("nix/var/log/nix"),
        }
    }

    /// The places of a store whose files lie where their names say; its state is
    /// nobody's here.
    pub fn of_names(store_dir: &StoreDir) -> Self {
        let real_store_dir = PathBuf::from(store_dir.as_str());
        Self { store_dir: store_dir.clone(), real_store_dir, ..Self::below(Path::new("/")) }
    }

    /// What tells the store from others, in messages: a chroot store goes by its root.
    pub fn shown(&self) -> String {
        let real = &self.real_store_dir;
        let is_chroot = real.ends_with("nix/store") && real.as_os_str() != self.store_dir.as_str();
        let place = if is_chroot { real.ancestors().nth(2).unwrap_or(real) } else { real };
        place.display().to_string()
    }

    /// The database's directory.
    pub fn db_dir(&self) -> PathBuf {
        self.state_dir.join("db")
    }

    /// Where a store path really lies.
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.real_store_dir.join(path.base_name())
    }

    /// The lock file of a store path.
    pub fn lock_path(&self, path: &StorePath) -> PathBuf {
        self.real_store_dir.join(format!("{}.lock", path.base_name()))
    }

    /// One hard link for each file content.
    pub fn links_dir(&self) -> PathBuf {
        self.real_store_dir.join(".links")
    }

    /// The lock of the collector.
    pub fn gc_lock(&self) -> PathBuf {
        self.state_dir.join("gc.lock")
    }

    /// The lock that everybody who has the store open shares.
    pub fn big_lock(&self) -> PathBuf {
        self.db_dir().join("big-lock")
    }

    /// Files of temporary roots.
    pub fn temp_roots_dir(&self) -> PathBuf {
        self.state_dir.join("temproots")
    }

    /// Symlinks to the links elsewhere that are roots.
    pub fn auto_roots_dir(&self) -> PathBuf {
        self.state_dir.join("gcroots/auto")
    }

    /// Where a running collector answers.
    pub fn gc_socket(&self) -> PathBuf {
        self.state_dir.join("gc-socket/socket")
    }

    /// Room kept for collecting at a full disk.
    pub fn reserved(&self) -> PathBuf {
        self.db_dir().join("reserved")
    }

    /// Gives up the room reserved for a full disk.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn release_reserve(&self) -> Result<(), PathError> {
        let path = self.reserved();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PathError::new("removing", path, error))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a store directory that is, or lies behind, a symlink: paths would
    /// have other names here than where somebody looks behind the link.
    ///
    /// # Errors
    /// [`StoreError::SymlinkedStore`].
    pub fn refuse_symlinks(&self) -> StoreResult<()> {
        let mut above: Vec<&Path> = self.real_store_dir.ancestors().collect();
        above.reverse();
        for dir in above {
            match std::fs::symlink_metadata(dir) {
                Ok(meta) if meta.is_symlink() => return Err(StoreError::SymlinkedStore(dir.to_owned())),
                Ok(_) => {}
                // It is yet to be made, or opening it tells what is wrong.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Makes a store directory that is mounted read-only writable for us, if
    /// that is wanted; says why it is not, where it stays as it is.
    ///
    /// # Errors
    /// A [`PathError`].
    pub(in crate::store) fn unfreeze(&self, own_mounts: bool) -> Result<Option<String>, PathError> {
        let dir = &self.real_store_dir;
        match mount::is_read_only(dir) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            // It is yet to be made.
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        }
        let why = match own_mounts.then(|| mount::make_writable_for_us(dir)) {
            Some(Ok(())) => return Ok(None),
            Some(Err(error)) => format!(", and cannot be made writable for this program alone: {error}"),
            None => String::new(),
        };
        Ok(Some(format!("\"{}\" is mounted read-only{why}", dir.display())))
    }

    /// Makes what is missing; also, unless it is to be used just now, so many
    /// bytes of room reserved for a full disk.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn create(&self, reserved: Option<u64>) -> Result<(), PathError> {
        create_dirs(&self.real_store_dir)?;
        match create_dir(&self.links_dir()) {
            // Mounted read-only; a write that needs it says so.
            Err(error) if error.reason.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            made => made?,
        }
        create_dirs(&self.state_dir)?;
        for dir in ["profiles", "temproots", "db", "gcroots", "profiles/per-user", "gcroots/per-user"] {
            create_dir(&self.state_dir.join(dir))?;
        }
        // A collection at a full disk removes this file to have room to work
        // in; where there is no room for it now, the store is used without.
        if let Some(size) = reserved {
            let _ = reserve(&self.reserved(), size);
        }
        Ok(())
    }
}

fn create_dir(path: &Path) -> Result<(), PathError> {
    match std::fs::DirBuilder::new().mode(0o777).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(PathError::at("creating directory", path)),
    }
}

fn create_dirs(path: &Path) -> Result<(), PathError> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o777)
        .create(path)
        .map_err(PathError::at("creating directory", path))
}

fn reserve(path: &Path, size: u64) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.len() == size) {
        return Ok(());
    }
    // Anything else than a file that lies there is not waited for or followed.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let options = &mut std::fs::File::options();
    let options = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).is_err() {
        // A sparse file would reserve nothing.
        file.set_len(0)?;
    } else {
        file.set_len(size)?;
    }
    Ok(())
}
