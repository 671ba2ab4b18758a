//! The store on this machine's disk.

pub mod add;
pub mod auto_gc;
pub mod batch;
pub mod copy;
pub mod db;
mod derivation_files;
pub mod derivations;
mod examine;
pub mod gc;
pub mod import;
pub mod ingest;
pub mod log;
mod lost_references;
mod mend;
mod misnamed;
pub mod optimise;
mod optimised;
pub mod outputs;
pub mod place;
mod queries;
mod realisations;
pub mod rebuild;
pub mod register;
pub mod repair;
pub mod resolve;
pub mod roots;
pub mod temp_roots;
mod upkeep;
pub mod verify;

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::store::layout::Layout;

use crate::model::{Derivation, StoreDir, StorePath, ValidPathInfo};
use crate::progress::Progress;
use crate::sys::PathError;
use crate::sys::lock::{self, LockKind};
use db::{Access, Db, DbOptions};
use temp_roots::TempRoots;

use super::api::RawPath;
use super::api::inputs::Inputs;
use super::error::{Result, StoreError};

/// How a local store is opened. Made by [`LocalOptions::new`], and changed field by field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LocalOptions {
    /// Where it lies.
    pub layout: Layout,
    /// Nothing is to be written, and nothing is created.
    pub read_only: bool,
    /// Of the database.
    pub db: DbOptions,
    /// Data and directory entries of a path reach the disk before its row
    /// (`sync-store-paths`).
    pub sync: bool,
    /// Bytes set aside for collecting at a full disk (`gc-reserved-space`).
    pub reserved_space: u64,
    /// That room is given up while the store is open, to work at a full disk.
    pub use_reserve: bool,
    /// Whatever is added is linked to equal files at once (`auto-optimise-store`).
    pub auto_optimise: bool,
    /// Collecting garbage by itself while paths are added.
    pub auto_gc: Option<auto_gc::AutoGc>,
    /// What is copied in must be signed or addressed by its contents
    /// (`require-sigs`).
    pub require_sigs: bool,
    /// Extended attributes that may stay on store files (`ignored-acls`).
    pub ignored_xattrs: Vec<String>,
    /// The features among [`derivations::FEATURES`] that are enabled (`experimental-features`).
    pub features: Vec<&'static str>,
    /// The store directory may lie behind symlinks (`allow-symlinked-store`).
    pub allow_symlinks: bool,
    /// A store directory that is mounted read-only is made writable in a mount
    /// namespace of the thread that opens it, if that thread may mount. Threads
    /// and processes that it starts afterwards are in there too.
    pub own_mounts: bool,
    /// Garbage may be collected where `/proc` does not tell what running
    /// programs use (`gc-without-proc`).
    pub gc_without_proc: bool,
}

impl LocalOptions {
    /// The usual settings for a store that lies at `layout`.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            read_only: false,
            db: DbOptions::default(),
            sync: true,
            reserved_space: 8 << 20,
            use_reserve: false,
            auto_optimise: false,
            auto_gc: None,
            require_sigs: true,
            ignored_xattrs: Vec::new(),
            features: Vec::new(),
            allow_symlinks: false,
            own_mounts: false,
            gc_without_proc: false,
        }
    }
}

/// An open local store.
///
/// It belongs to one thread; another thread opens its own.
pub struct LocalStore {
    options: LocalOptions,
    db: RefCell<Db>,
    temp_roots: TempRoots,
    scratch: RefCell<Option<Arc<place::Scratch>>>,
    /// Trees taken in so far, for names in the scratch directory.
    taken_in: Arc<std::sync::atomic::AtomicU64>,
    /// When the free space was last looked at.
    looked_for_room: std::cell::Cell<Option<std::time::Instant>>,
    /// Derivations that are inputs of others.
    known_inputs: RefCell<Inputs>,
    progress: Arc<dyn Progress>,
    /// Why nothing can be written, if so.
    read_only: Option<String>,
    /// Why nothing can be put into the store directory or taken from it,
    /// although the database can be written.
    frozen: Option<String>,
    /// Held shared for as long as the store is open; declared last, so that it
    /// is let go after the database.
    _big_lock: Option<File>,
}

/// What may be wrong where a store cannot be written that was opened for writing.
const ADVICE: &str = "This command may have been run as non-root in a single-user Nix installation, \
    or the Nix daemon may have crashed.";

impl LocalStore {
    /// Opens the store below a directory, with the usual settings, and creates it
    /// where it is missing. Its paths are named as those of `/nix/store`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn at(root: impl AsRef<Path>) -> Result<Self> {
        let root = std::path::absolute(&root)
            .map_err(crate::sys::PathError::at("finding directory", root.as_ref()))?;
        Self::open(LocalOptions::new(Layout::below(&root)), crate::progress::silent())
    }

    /// Opens a store and creates it where it is missing.
    ///
    /// Somebody who may not write to an existing store gets it for reading.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(options: LocalOptions, progress: Arc<dyn Progress>) -> Result<Self> {
        if !options.allow_symlinks {
            options.layout.refuse_symlinks()?;
        }
        db::watch(&options.layout.db_dir(), &progress);
        if options.read_only {
            let reason = format!(
                "'{}': it was opened with read-only=true (attempt to write a readonly database)",
                options.layout.shown()
            );
            return Self::open_read_only(options, progress, reason, Access::Untouched);
        }
        match Self::open_read_write(options.clone(), Arc::clone(&progress)) {
            Err(error) if denied(&error) => {
                // For reading if there is something to read; else the first error tells more.
                let reason = format!("'{}': {error}\n{ADVICE}", options.layout.shown());
                Self::open_read_only(options, progress, reason, Access::ReadOnly).map_err(|second| {
                    match second {
                        StoreError::SchemaTooNew(_) | StoreError::SchemaTooOld(_) => second,
                        _ => error,
                    }
                })
            }
            other => other,
        }
    }

    fn open_read_write(options: LocalOptions, progress: Arc<dyn Progress>) -> Result<Self> {
        let layout = &options.layout;
        // Before anything is written to a store that is not for us.
        db::check_version(&layout.db_dir())?;
        let frozen = layout.unfreeze(options.own_mounts)?;
        if options.use_reserve {
            layout.release_reserve()?;
        }
        layout.create((!options.use_reserve).then_some(options.reserved_space))?;
        let path = layout.big_lock();
        let big_lock = lock::open_lock_file(&path)?;
        lock::lock_telling(
            &big_lock,
            &path,
            LockKind::Shared,
            || progress.notice("waiting for the big Nix store lock..."),
            |holders| progress.notice(&format!("the big Nix store lock is held by {holders}")),
        )?;
        let db_dir = layout.db_dir();
        rustix::fs::access(&db_dir, rustix::fs::Access::WRITE_OK)
            .map_err(PathError::at("writing to the database directory", &db_dir))?;
        let db = Db::open(&db_dir, &layout.store_dir, Access::ReadWrite, options.db)?;
        Ok(Self { frozen, ..Self::assemble(options, db, progress, None, Some(big_lock)) })
    }

    fn open_read_only(
        options: LocalOptions,
        progress: Arc<dyn Progress>,
        reason: String,
        access: Access,
    ) -> Result<Self> {
        let layout = &options.layout;
        let db = Db::open(&layout.db_dir(), &layout.store_dir, access, options.db)?;
        Ok(Self::assemble(options, db, progress, Some(reason), None))
    }

    fn assemble(
        options: LocalOptions,
        db: Db,
        progress: Arc<dyn Progress>,
        read_only: Option<String>,
        big_lock: Option<File>,
    ) -> Self {
        let temp_roots = TempRoots::new(options.layout.clone());
        Self {
            options,
            db: RefCell::new(db),
            temp_roots,
            scratch: RefCell::default(),
            taken_in: Arc::default(),
            looked_for_room: std::cell::Cell::default(),
            known_inputs: RefCell::default(),
            progress,
            read_only,
            frozen: None,
            _big_lock: big_lock,
        }
    }

    /// Where the store lies.
    pub fn layout(&self) -> &Layout {
        &self.options.layout
    }

    /// The directory its paths are named by.
    pub fn dir(&self) -> &StoreDir {
        &self.options.layout.store_dir
    }

    /// The options it was opened with.
    pub fn options(&self) -> &LocalOptions {
        &self.options
    }

    /// The observer of what is being done.
    pub fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// The observer of what is being done, for parts that outlive a call.
    pub fn watcher(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.progress)
    }

    /// The database, for queries.
    pub fn db(&self) -> std::cell::Ref<'_, Db> {
        self.db.borrow()
    }

    /// Runs `work` in a write transaction.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`], and those of `work` and SQLite.
    pub fn write<T>(&self, work: impl FnOnce(&db::write::Writer<'_>) -> Result<T>) -> Result<T> {
        self.require_writable()?;
        self.db.borrow_mut().write(work)
    }

    /// As [`LocalStore::write`], for very many rows; see [`Db::write_in_bulk`].
    ///
    /// # Errors
    /// See [`LocalStore::write`].
    pub fn write_in_bulk<T>(&self, work: impl FnOnce(&db::write::Writer<'_>) -> Result<T>) -> Result<T> {
        self.require_writable()?;
        self.db.borrow_mut().write_in_bulk(work)
    }

    /// Whether nothing can be written.
    pub fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    fn require_writable(&self) -> Result<()> {
        match &self.read_only {
            Some(reason) => Err(StoreError::ReadOnly(reason.clone())),
            None => Ok(()),
        }
    }

    /// To be asked before the store directory is changed.
    fn require_place(&self) -> Result<()> {
        self.require_writable()?;
        match &self.frozen {
            Some(reason) => {
                let place = self.layout().shown();
                Err(StoreError::ReadOnly(format!("'{place}': {reason}\n{ADVICE}")))
            }
            None => Ok(()),
        }
    }

    /// Protects paths from collection until the store is closed.
    ///
    /// # Errors
    /// See [`TempRoots::add`].
    pub fn add_temp_roots(&self, paths: &[&StorePath]) -> Result<()> {
        if self.is_read_only() {
            // A process that only reads cannot keep anything.
            return Ok(());
        }
        self.temp_roots.add(paths)
    }

    /// Lets no more than so many paths be protected.
    pub fn limit_temp_roots(&self, most: usize) {
        self.temp_roots.limit(most);
    }

    /// Whether nothing lies where a path should.
    pub fn is_gone(&self, path: &StorePath) -> bool {
        let found = std::fs::symlink_metadata(self.real_path(path));
        matches!(found, Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whether a path is valid and there: somebody may have deleted it behind
    /// the back of the store, and then it has to come again.
    ///
    /// # Errors
    /// Errors of the database.
    pub fn is_there(&self, path: &StorePath) -> Result<bool> {
        Ok(self.db().is_valid(path)? && !self.is_gone(path))
    }

    /// The metadata of a valid path.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] and those of the database.
    pub fn path_info(&self, path: &StorePath) -> Result<ValidPathInfo> {
        self.db().path_info(path)?.ok_or_else(|| self.invalid(path))
    }

    /// The row of a valid path, without its references.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] and those of the database.
    pub fn raw_path(&self, path: &StorePath) -> Result<RawPath> {
        self.db().raw_path(path)?.ok_or_else(|| self.invalid(path))
    }

    /// The error for a path that is not valid.
    pub fn invalid(&self, path: &StorePath) -> StoreError {
        StoreError::Invalid(self.dir().print(path))
    }

    /// Reads a derivation that lies in the store, valid or not.
    ///
    /// # Errors
    /// See [`Layout::read_derivation`].
    pub fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        self.layout().read_derivation(path)
    }

    /// Where a path really lies.
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.layout().real_path(path)
    }
}

impl Layout {
    /// Reads a derivation that lies in the store, valid or not.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Derivation`], file errors.
    pub fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        let real = self.real_path(path);
        // The largest derivations are a few megabytes.
        const MAX_LEN: u64 = 64 << 20;
        let text = match crate::sys::read_regular(&real, MAX_LEN) {
            Err(error) if error.is_not_found() => {
                return Err(StoreError::Missing(self.store_dir.print(path)));
            }
            text => text?,
        };
        Derivation::parse(&self.store_dir, &text)
            .map_err(|reason| StoreError::Derivation { path: self.store_dir.print(path), reason })
    }
}

/// Whether the user may not write where writing was tried.
fn denied(error: &StoreError) -> bool {
    let path = match error {
        StoreError::Path(path) | StoreError::Lock(lock::LockError::Path(path)) => path,
        _ => return false,
    };
    matches!(
        path.reason.kind(),
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
    )
}
