//! Garbage collection.
//!
//! ```text
//! lock out other collections and new temporary roots (from now on the server grants them)
//!   └→ roots → graph → mark → entries of the store directory that have no row
//!        └→ batches: pick what is still dead; remove the rows (one durable transaction); take the
//!           entries away; let processes that wait for one of them go on
//!             └→ files of .links that nothing shares
//! ```
//!
//! What is added meanwhile is safe: its path was granted, so that nothing with
//! its hash part is picked, and in the transaction a path to which some path
//! outside the batch refers is left alone.

pub mod explain;
mod links;
pub mod liveness;
mod server;
mod survey;
mod sweep;
mod trash;
mod usage;

use std::collections::HashSet;
use std::fs::File;

use super::LocalStore;
use crate::model::StorePath;
pub use crate::store::api::collect::Keep;
use crate::store::api::collect::{GcOptions, GcReport, WhyAlive};
use crate::store::api::roots::{Holder, RootSearch};
use crate::store::error::{Result, StoreError};
use crate::store::local::roots::FoundRoots;
use crate::sys::PathError;
use crate::sys::lock::{self, LockKind};
use server::RootsServer;

pub use survey::Survey;

/// A collection that has begun: nobody else collects, and temporary roots are
/// granted by us.
struct Collection {
    // Dropped first, so that nobody is granted anything once the lock is free.
    server: RootsServer,
    found: FoundRoots,
    _gc_lock: File,
}

impl LocalStore {
    fn begin_collection(&self, with_permanent_roots: bool) -> Result<Collection> {
        self.require_place()?;
        self.layout().release_reserve()?;
        let path = self.layout().gc_lock();
        let gc_lock = lock::open_lock_file(&path)?;
        lock::lock_telling(
            &gc_lock,
            &path,
            LockKind::Exclusive,
            || self.progress().notice("waiting for the big garbage collector lock..."),
            |holders| self.progress().notice(&format!("the garbage collector lock is held by {holders}")),
        )?;
        let server = RootsServer::start(self.layout())?;
        self.progress().notice("finding garbage collector roots...");
        let search = RootSearch { clean: true, strict: true, censor: false };
        let found = if with_permanent_roots {
            self.look_for_roots(search)?
        } else {
            FoundRoots { roots: self.find_temp_roots(search)?, unread: 0 }
        };
        server.state().keep(found.roots.iter().filter_map(|(path, holders)| {
            let temporary = holders.iter().any(|holder| matches!(holder, Holder::Temporary(_)));
            temporary.then(|| server::hash_part(path.base_name().as_bytes()))?
        }));
        Ok(Collection { server, found, _gc_lock: gc_lock })
    }

    /// Deletes what no root leads to. `report` tells what was done, also after
    /// a failure.
    ///
    /// # Errors
    /// [`StoreError`]; a root that cannot be read, before anything is deleted.
    pub fn collect_garbage(&self, options: &GcOptions, report: &mut GcReport) -> Result<()> {
        if self.is_read_only() && self.survey(options.keep, &HashSet::new())?.dead_count() == 0 {
            return Ok(());
        }
        let collection = self.begin_collection(true)?;
        report.failed += collection.found.unread;
        if options.max_freed > 0 {
            let mut liveness = liveness::Liveness::of_all(self, options.keep)?;
            collection.found.roots.keys().for_each(|root| liveness.mark(root));
            let strays = self.strays(liveness.graph())?;
            self.progress().notice("deleting garbage...");
            sweep::Sweep::new(self, &collection.server, liveness, options, report)?.run(strays)?;
            if report.deleted > 0 && self.db.borrow_mut().give_pages_back()? {
                self.progress().detail("gave unused pages of the database back");
            }
        }
        self.clean_links(report)
    }

    /// Deletes the given paths if nothing keeps them, each other apart; those
    /// that are kept are in the report. With `ignore_liveness` roots other than
    /// temporary ones do not count.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_paths(
        &self,
        paths: &[StorePath],
        ignore_liveness: bool,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<()> {
        let collection = self.begin_collection(!ignore_liveness)?;
        report.failed += collection.found.unread;
        let wanted: std::collections::BTreeSet<&StorePath> = paths.iter().collect();
        let mut ids = Vec::new();
        let mut strays = Vec::new();
        for path in &wanted {
            match self.db().id_of(path)? {
                Some(id) => ids.push(id),
                None => strays.push((*path).clone()),
            }
        }
        // A lost reference, or a row with another name, may be what keeps it.
        self.db().check_references()?;
        let mut liveness = liveness::Liveness::of_keepers(self, &ids, options.keep)?;
        if !strays.is_empty() || self.any_is_gone(liveness.graph())? {
            self.refuse_any_misnamed()?;
        }
        collection.found.roots.keys().for_each(|root| liveness.mark(root));
        // What keeps one of the paths and is not to go keeps it as a root does.
        let others: Vec<_> = liveness
            .graph()
            .nodes()
            .filter(|node| !liveness.graph().path(*node).is_ok_and(|path| wanted.contains(&path)))
            .collect();
        others.into_iter().for_each(|node| liveness.mark_node(node));
        for path in &wanted {
            let alive = match liveness.graph().find(path) {
                Some(node) => liveness.is_alive(node),
                None => collection.is_kept(path),
            };
            if alive {
                let why = explain::why_alive(&liveness, &collection.found.roots, path, |path| {
                    !wanted.contains(path)
                })?;
                report.alive.push(why);
            }
        }
        let strays =
            strays.into_iter().filter_map(|path| std::ffi::CString::new(path.base_name()).ok()).collect();
        sweep::Sweep::new(self, &collection.server, liveness, options, report)?.run(strays)?;
        if report.alive.is_empty() { self.clean_links(report) } else { Ok(()) }
    }

    /// Why a path is kept, or that it is not.
    ///
    /// # Errors
    /// [`StoreError`]; for what is neither valid nor there.
    pub fn why_alive(&self, path: &StorePath, keep: Keep) -> Result<WhyAlive> {
        let roots = self.find_roots(RootSearch { clean: false, strict: false, censor: false })?;
        let ids: Vec<_> = self.db().id_of(path)?.into_iter().collect();
        if ids.is_empty() && !roots.contains_key(path) {
            self.require_there(path)?;
        }
        let liveness = liveness::Liveness::of_keepers(self, &ids, keep)?;
        explain::why_alive(&liveness, &roots, path, |_| false)
    }

    /// Something without a row must at least lie in its place, as the lock and
    /// the scratch directory of a path do.
    fn require_there(&self, path: &StorePath) -> Result<()> {
        let real = self.real_path(path);
        match std::fs::symlink_metadata(&real) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(PathError::new("getting status of", real, error).into()),
            Ok(_) => return Ok(()),
        }
        Err(match self.db().path_from_hash_part(path.hash_part())? {
            Some(other) => {
                StoreError::InvalidNear { path: self.dir().print(path), near: self.dir().print(&other) }
            }
            None => self.invalid(path),
        })
    }

    fn clean_links(&self, report: &mut GcReport) -> Result<()> {
        self.progress().notice("deleting unused links...");
        let freed = crate::sys::remove::Freed::default();
        let saved = links::remove_unused(&self.layout().links_dir(), &freed, self.progress());
        report.freed += freed.bytes();
        let saved = saved?;
        if saved <= 0 {
            // The directory of links takes more than they save.
            return Ok(());
        }
        self.progress()
            .notice(&format!("note: hard linking is currently saving {}", crate::progress::size_text(saved)));
        Ok(())
    }
}

impl Collection {
    /// Whether a path without a row is that of a temporary root.
    fn is_kept(&self, path: &StorePath) -> bool {
        server::hash_part(path.base_name().as_bytes())
            .is_some_and(|part| self.server.state().kept.contains(&part))
    }
}
