//! Deleting what is dead.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use super::liveness::Liveness;
use super::server::{HashPart, RootsServer, hash_part};
use super::trash::Trash;
use crate::model::StorePath;
use crate::progress::{Silent, Unit};
use crate::store::LocalStore;
use crate::store::api::collect::{GcOptions, GcReport};
use crate::store::error::{Result, StoreError};
use crate::store::graph::Node;
use crate::store::local::db::write::TakenRow;
use crate::sys::lock::PathLock;
use crate::sys::remove::Freed;
use crate::sys::{PathError, interrupt};

/// Paths whose rows are removed together at first, and at most. A transaction
/// must fit in what is free at a full disk.
const FIRST_BATCH: usize = 64;
const MAX_BATCH: usize = 2048;

/// An entry of the store directory that is to go.
enum Item {
    /// A valid path.
    Path(Node),
    /// Something without a row.
    Stray(CString),
}

pub(super) struct Sweep<'c> {
    store: &'c LocalStore,
    server: &'c RootsServer,
    liveness: Liveness,
    options: &'c GcOptions,
    report: &'c mut GcReport,
    trash: Trash,
    batch: usize,
    /// Whether unused files of `.links` were removed, for want of room.
    links_cleaned: bool,
    /// Hash parts of the batch whose entries may still be on their way out.
    leaving: Vec<HashPart>,
}

impl<'c> Sweep<'c> {
    pub(super) fn new(
        store: &'c LocalStore,
        server: &'c RootsServer,
        liveness: Liveness,
        options: &'c GcOptions,
        report: &'c mut GcReport,
    ) -> Result<Self> {
        let trash = Trash::new(&store.layout().real_store_dir)?;
        let (batch, links_cleaned, leaving) = (FIRST_BATCH, false, Vec::new());
        Ok(Self { store, server, liveness, options, report, trash, batch, links_cleaned, leaving })
    }

    /// Deletes `strays` and every node that is not alive.
    pub(super) fn run(mut self, strays: Vec<CString>) -> Result<()> {
        let dead = self.liveness.dead();
        let total = strays.len() + dead.len();
        self.store.progress().begin("deleting", Some(total as u64), Unit::Items);
        // What has no row comes first: at a full disk it makes room for the
        // changes to the database.
        let mut items = strays.into_iter().map(Item::Stray).chain(dead.into_iter().map(Item::Path));
        self.store.db().set_durable(true)?;
        let swept = self.sweep(&mut items);
        // Whatever happened, nobody is to wait for us.
        self.let_go();
        self.store.db().set_durable(false)?;
        self.store.progress().end();
        let (failures, freed) = self.trash.finish();
        self.report.freed += freed;
        for failure in &failures {
            self.store.progress().problem(&format!("error: {failure}"));
        }
        self.report.failed += failures.len() as u64;
        swept?;
        Ok(interrupt::check()?)
    }

    fn sweep(&mut self, items: &mut impl Iterator<Item = Item>) -> Result<()> {
        let limited = self.options.max_freed != u64::MAX;
        let mut waiting: Option<Item> = None;
        loop {
            interrupt::check()?;
            if limited {
                self.trash.drain();
                if self.trash.freed().for_limit() > self.options.max_freed {
                    let limit = self.options.max_freed;
                    self.store.progress().notice(&format!("deleted more than {limit} bytes; stopping"));
                    return Ok(());
                }
            }
            if let Some(limit) = self.options.max_links {
                self.trash.settle();
                let links = self.trash.store_links()?;
                if links < limit {
                    let text =
                        format!("link count of the store directory is {links}, less than {limit}; stopping");
                    self.store.progress().notice(&text);
                    return Ok(());
                }
                // Not many more than need be.
                self.batch = usize::try_from(links - limit).unwrap_or(MAX_BATCH).clamp(1, self.batch);
            }
            let (picked, parts) = self.pick(items, &mut waiting, limited)?;
            if picked.is_empty() {
                return Ok(());
            }
            let deleted = self.delete(picked);
            self.leaving.extend(parts);
            deleted?;
        }
    }

    /// Waits until the entries of the batch before are gone, and lets those go
    /// on who wait for one of them. Its rows were removed, and those of the
    /// next batch are, while its trees are being deleted.
    fn let_go(&mut self) {
        self.trash.settle();
        self.server.release(&std::mem::take(&mut self.leaving));
    }

    /// The next items that are still dead, marked as being deleted, and their
    /// hash parts; none at the end.
    fn pick(
        &mut self,
        items: &mut impl Iterator<Item = Item>,
        waiting: &mut Option<Item>,
        limited: bool,
    ) -> Result<(Vec<Item>, Vec<HashPart>)> {
        loop {
            interrupt::check()?;
            let mut picked = self.next_items(items, waiting, limited)?;
            let mut parts = Vec::with_capacity(picked.len());
            if picked.is_empty() {
                return Ok((picked, parts));
            }
            let before = picked.len();
            let mut state = self.server.state();
            for part in std::mem::take(&mut state.fresh) {
                self.liveness.mark_hash_part(&part);
            }
            let graph = self.liveness.graph();
            picked.retain(|item| {
                let (name, alive) = match item {
                    Item::Path(node) => (graph.base_name(*node).as_bytes(), self.liveness.is_alive(*node)),
                    Item::Stray(name) => (name.to_bytes(), false),
                };
                let part = hash_part(name);
                let kept = alive || part.is_some_and(|part| state.kept.contains(&part));
                if let (false, Some(part)) = (kept, part) {
                    *state.pending.entry(part).or_default() += 1;
                    parts.push(part);
                }
                !kept
            });
            drop(state);
            self.store.progress().advance((before - picked.len()) as u64);
            if !picked.is_empty() {
                return Ok((picked, parts));
            }
        }
    }

    /// As many items as are worked on together; with a limit, as few as may
    /// free enough.
    fn next_items(
        &self,
        items: &mut impl Iterator<Item = Item>,
        waiting: &mut Option<Item>,
        limited: bool,
    ) -> Result<Vec<Item>> {
        let mut picked = Vec::new();
        let room = self.options.max_freed.saturating_sub(self.trash.freed().for_limit());
        let mut size = 0u64;
        while picked.len() < self.batch {
            let Some(item) = waiting.take().or_else(|| items.next()) else { break };
            if limited {
                if size > room || (matches!(item, Item::Stray(_)) && !picked.is_empty()) {
                    *waiting = Some(item);
                    break;
                }
                size = match &item {
                    // A path frees its NAR's size at most.
                    Item::Path(node) => {
                        let size_of = self.store.db().size_of(self.liveness.graph().id(*node))?;
                        size.saturating_add(size_of)
                    }
                    Item::Stray(_) => u64::MAX,
                };
            }
            picked.push(item);
        }
        Ok(picked)
    }

    fn delete(&mut self, picked: Vec<Item>) -> Result<()> {
        let mut rows: Vec<Node> = Vec::new();
        let mut strays: Vec<CString> = Vec::new();
        for item in picked {
            match item {
                Item::Path(node) => rows.push(node),
                Item::Stray(name) => strays.push(name),
            }
        }
        if !strays.is_empty() {
            self.let_go();
        }
        for name in strays {
            self.delete_stray(&name)?;
        }
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.batch.min(rest.len()));
            match self.remove_rows(now) {
                Ok(removed) => {
                    self.let_go();
                    self.take_paths(removed)?;
                    rest = later;
                    self.batch = (self.batch * 2).min(MAX_BATCH);
                    self.store.progress().advance(now.len() as u64);
                    self.store.progress().freed(self.trash.freed().for_limit());
                }
                // Less at a time, after what is under way has made room.
                Err(error) if is_full(&error) && self.batch > 1 => {
                    self.trash.drain();
                    self.batch /= 2;
                }
                Err(error) if is_full(&error) && self.make_room()? => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Frees something at a disk that is too full to remove a single row: first what is in
    /// the trash, then files of `.links` that nothing shares. The end of a collection would
    /// remove both. False if nothing came of it.
    ///
    /// Trees of dead paths would free more, but a tree must not go before its row:
    /// if the row then cannot be removed, it is that of a path that is gone.
    fn make_room(&mut self) -> Result<bool> {
        // What is under way may be enough.
        let before = self.trash.freed().for_limit();
        self.trash.drain();
        if self.trash.freed().for_limit() > before {
            return Ok(true);
        }
        if std::mem::replace(&mut self.links_cleaned, true) {
            return Ok(false);
        }
        let freed = Freed::default();
        super::links::remove_unused(&self.store.layout().links_dir(), &freed, &Silent)?;
        self.report.freed += freed.bytes();
        Ok(freed.bytes() > 0)
    }

    /// Removes rows, those of paths that something else refers to by now
    /// apart; gives the nodes whose rows are gone, and these.
    fn remove_rows(&self, nodes: &[Node]) -> Result<Vec<(Node, TakenRow)>> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let graph = self.liveness.graph();
        let ids: HashSet<_> = nodes.iter().map(|node| graph.id(*node)).collect();
        self.store.write(|writer| {
            let mut kept: HashSet<Node> = HashSet::new();
            for node in nodes {
                // Referrers come first, so what is kept is known by the time
                // of what it refers to; circles are left to the next time.
                let referred = kept.contains(node) || writer.has_referrer_outside(graph.id(*node), &ids)?;
                if referred {
                    kept.insert(*node);
                    kept.extend(graph.references(*node));
                }
            }
            let mut removed = Vec::with_capacity(nodes.len());
            let going: Vec<Node> = nodes.iter().copied().filter(|node| !kept.contains(node)).collect();
            for node in &going {
                writer.remove_references(graph.id(*node))?;
            }
            for node in going {
                removed.extend(writer.take(graph.id(node))?.map(|row| (node, row)));
            }
            Ok(removed)
        })
    }

    /// Takes the trees of paths away whose rows are gone. What cannot be taken
    /// is valid again, and so is what it refers to.
    fn take_paths(&mut self, removed: Vec<(Node, TakenRow)>) -> Result<()> {
        let mut back: Vec<(Node, TakenRow)> = Vec::new();
        let mut gone = HashSet::new();
        let mut general = None;
        for (node, row) in removed {
            if general.is_some() || self.liveness.is_alive(node) {
                back.push((node, row));
                continue;
            }
            match self.take_path(node) {
                Ok(()) => drop(gone.insert(node)),
                Err(error) => {
                    self.liveness.mark_node(node);
                    back.push((node, row));
                    match error.reason.kind() {
                        // So it would be with all others.
                        std::io::ErrorKind::ReadOnlyFilesystem => general = Some(error),
                        _ => self.trash.note(error),
                    }
                }
            }
        }
        self.give_back(&back, &gone)?;
        general.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Registers paths anew whose trees are still there.
    fn give_back(&self, rows: &[(Node, TakenRow)], gone: &HashSet<Node>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let graph = self.liveness.graph();
        // Only of those that refer to each other in a circle can one be gone.
        let whole = |node: &Node| !graph.references(*node).iter().any(|to| gone.contains(to));
        let rows: Vec<_> = rows.iter().filter(|(node, _)| whole(node)).collect();
        self.store.write(|writer| {
            for (node, row) in &rows {
                writer.give_back(row)?;
                let path = graph.path(*node)?;
                if path.is_derivation()
                    && let Ok(drv) = self.store.read_derivation(&path)
                {
                    writer.add_derivation_outputs(row.id(), &drv.known_outputs())?;
                }
            }
            let mut references = writer.references()?;
            for (node, row) in &rows {
                for to in graph.references(*node) {
                    references.add(row.id(), graph.id(*to))?;
                }
            }
            Ok(())
        })
    }

    fn take_path(&mut self, node: Node) -> std::result::Result<(), PathError> {
        let name = self.liveness.graph().base_name(node);
        let shown = format!("{}/{name}", self.store.dir().as_str());
        self.store.progress().item(&format!("deleting '{shown}'"));
        if let Ok(name) = CString::new(name) {
            self.trash.take(&name)?;
        }
        self.report.count(self.liveness.graph().base_name(node));
        Ok(())
    }

    /// Deletes an entry that had no row, unless it has one by now or is the
    /// lock file of somebody who holds it.
    fn delete_stray(&mut self, name: &CStr) -> Result<()> {
        let text = name.to_string_lossy();
        if let Ok(path) = StorePath::from_base_name(&text)
            && self.store.db().is_valid(&path)?
        {
            return Ok(());
        }
        let lock = match self.hold_temporary_directory(name, &text) {
            Ok(lock) => lock,
            // Its owner is at work.
            Err(Held) => return Ok(()),
        };
        let real = self.store.layout().real_store_dir.join(&*text);
        let is_lock = text.ends_with(".lock")
            && std::fs::symlink_metadata(&real).is_ok_and(|meta| meta.is_file() && meta.len() == 0);
        let mut path_lock = None;
        if is_lock {
            match PathLock::try_acquire(&real) {
                Ok(Some(lock)) => path_lock = Some(lock),
                Ok(None) => return Ok(()),
                // A file that only others may open holds nobody up.
                Err(_) => {}
            }
        }
        self.store.progress().item(&format!("deleting '{}/{text}'", self.store.dir().as_str()));
        self.store.progress().advance(1);
        match path_lock {
            // Removed as its holder would remove it.
            Some(lock) => drop(lock),
            None => {
                if let Err(error) = self.trash.take(name) {
                    self.trash.note(error);
                    return Ok(());
                }
            }
        }
        self.report.count(&text);
        drop(lock);
        Ok(())
    }

    /// Locks a directory in which the reference makes a path before its name is
    /// known (`tmp-PID-N`); it holds a lock on the directory itself.
    fn hold_temporary_directory(
        &self,
        name: &CStr,
        text: &str,
    ) -> std::result::Result<Option<std::os::fd::OwnedFd>, Held> {
        use rustix::fs::{FlockOperation, Mode};
        if !text.starts_with("tmp-") {
            return Ok(None);
        }
        let Ok(handle) =
            rustix::fs::openat(self.trash.store(), name, crate::sys::dir::DIRECTORY, Mode::empty())
        else {
            return Ok(None);
        };
        match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Held),
            _ => Ok(Some(handle)),
        }
    }
}

/// Somebody else holds a lock.
struct Held;

/// Whether SQLite had no room.
fn is_full(error: &StoreError) -> bool {
    let StoreError::Sqlite { reason: source, .. } = error else { return false };
    let code = source.sqlite_error_code();
    matches!(code, Some(rusqlite::ErrorCode::DiskFull))
        || matches!(source.sqlite_error(), Some(error) if error.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE)
}
