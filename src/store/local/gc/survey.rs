//! What a collection would find, with nothing deleted and nothing written: for
//! everybody who may read.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::path::PathBuf;

use super::server;
use crate::store::LocalStore;
use crate::store::api::collect::Keep;
use crate::store::api::roots::{Holder, RootSearch, Roots};
use crate::store::error::Result;
use crate::store::graph::{Graph, Node};
use crate::store::local::gc::liveness::Liveness;
use crate::sys::{PathError, dir};

/// Entries of the store directory that are no paths.
const NO_PATHS: [&[u8]; 4] = [b".", b"..", b".links", b"lost+found"];

/// The state of all paths, and of what lies beside them, as it was when it was
/// looked at.
pub struct Survey {
    liveness: Liveness,
    /// Entries without a row, in order, and whether they are kept.
    strays: Vec<(CString, bool)>,
    roots: Roots,
}

impl LocalStore {
    /// Finds out what is alive and what is dead, as if the links of `without`
    /// were no roots.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError). What may be a root and cannot be read is told.
    pub fn survey(&self, keep: Keep, without: &HashSet<PathBuf>) -> Result<Survey> {
        self.progress().notice("finding garbage collector roots...");
        let mut roots = self.find_roots(RootSearch::default())?;
        roots.retain(|_, holders| {
            holders.retain(|holder| !holder.link().is_some_and(|link| without.contains(link)));
            !holders.is_empty()
        });
        self.progress().notice("determining live/dead paths...");
        let mut liveness = Liveness::of_all(self, keep)?;
        roots.keys().for_each(|root| liveness.mark(root));
        // What somebody is making lies beside its path, under the same hash part.
        let kept: HashSet<_> = roots
            .iter()
            .filter(|(_, holders)| holders.iter().any(|holder| matches!(holder, Holder::Temporary(_))))
            .filter_map(|(path, _)| server::hash_part(path.base_name().as_bytes()))
            .collect();
        let is_kept =
            |name: &CStr| server::hash_part(name.to_bytes()).is_some_and(|part| kept.contains(&part));
        let strays = self.strays(liveness.graph())?;
        let strays = strays.into_iter().map(|name| (is_kept(&name), name)).map(|(kept, name)| (name, kept));
        Ok(Survey { strays: strays.collect(), liveness, roots })
    }

    /// The entries of the store directory that have no row, in order.
    ///
    /// # Errors
    /// [`StoreError::Misnamed`](crate::store::StoreError::Misnamed) if one of them may have a row with a
    /// wrong letter in it.
    pub(in crate::store::local) fn strays(&self, graph: &Graph) -> Result<Vec<CString>> {
        let path = &self.layout().real_store_dir;
        let handle = std::fs::File::open(path).map_err(PathError::at("opening directory", path))?;
        let mut strays = Vec::new();
        let mut present = vec![false; graph.len()];
        dir::each_entry(&handle, path, |entry| -> Result<()> {
            let name = entry.file_name();
            match graph.find_name(name.to_bytes()) {
                Some(node) => present[node as usize] = true,
                None if NO_PATHS.contains(&name.to_bytes()) => {}
                None => strays.push(name.to_owned()),
            }
            Ok(())
        })?;
        strays.sort_unstable();
        let vanished = graph.nodes().filter(|node| !present[*node as usize]);
        self.refuse_misnamed(graph, vanished, &strays)?;
        Ok(strays)
    }
}

/// A path, or another entry of the store directory.
enum Entry<'s> {
    Path(Node),
    Stray(&'s CStr),
}

impl Survey {
    /// Paths, references, and what is alive.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// The roots.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Calls `each` with the base names of everything that is alive, or of
    /// everything that is dead, in order.
    ///
    /// # Errors
    /// The errors of `each`.
    pub fn each_name<E>(
        &self,
        alive: bool,
        mut each: impl FnMut(&str) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.each(alive, |entry| match entry {
            Entry::Path(node) => each(self.liveness.graph().base_name(node)),
            Entry::Stray(name) => each(&name.to_string_lossy()),
        })
    }

    /// How many paths and other entries are dead.
    pub fn dead_count(&self) -> u64 {
        let mut count = 0;
        let Ok(()) = self.each(false, |_| -> std::result::Result<(), std::convert::Infallible> {
            count += 1;
            Ok(())
        });
        count
    }

    fn each<'s, E>(
        &'s self,
        alive: bool,
        mut each: impl FnMut(Entry<'s>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let graph = self.liveness.graph();
        let mut strays = self.strays.iter().filter(|(_, kept)| *kept == alive).peekable();
        for node in graph.nodes().filter(|node| self.liveness.is_alive(*node) == alive) {
            let name = graph.base_name(node).as_bytes();
            while let Some((stray, _)) = strays.next_if(|(stray, _)| stray.to_bytes() < name) {
                each(Entry::Stray(stray))?;
            }
            each(Entry::Path(node))?;
        }
        strays.try_for_each(|(stray, _)| each(Entry::Stray(stray)))
    }
}
