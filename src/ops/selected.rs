//! Paths of any store that a command works on, in an order in which references come
//! first, and what is known of them.
//!
//! A store that answers from its own database is asked for the metadata of a path
//! when they are needed, so that only the graph is held in memory. Where a question
//! is a round trip, the metadata that came with the references are kept.

use std::borrow::Cow;

use super::copy;
use crate::model::{NarFile, StorePath, ValidPathInfo};
use crate::store::api::query::items;
use crate::store::api::{Item, RawPath, Store};
use crate::store::error::Result;
use crate::store::graph::{Graph, Node};
use crate::store::local::verify::Expected;
use crate::sys::interrupt;

/// How far a selection goes beyond the paths that are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Everything that the paths refer to is selected, too.
    pub recursive: bool,
    /// The graph holds everything that the paths refer to, whether or not that is
    /// selected.
    pub closed: bool,
}

/// Hears of a path: its node, what is known of it, and the base names of what it
/// refers to.
pub type EachRow<'e> = &'e mut dyn FnMut(Node, &RawPath, &mut dyn Iterator<Item = &str>) -> Result<()>;

/// Valid paths of a store.
pub struct Selected<'s> {
    store: &'s dyn Store,
    /// The selected paths, and with [`Reach::closed`] everything they refer to.
    pub graph: Graph,
    /// The selected paths, references first.
    pub order: Vec<Node>,
    /// What is known of each node, where it was learnt with the graph.
    items: Option<Vec<Item>>,
    extent: Extent,
}

/// What the graph holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The selected paths and the references among them.
    Named,
    /// All references of each path.
    Closed,
    /// The whole store.
    Whole,
}

impl<'s> Selected<'s> {
    /// Selects all valid paths.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]; also for a store that cannot list its paths.
    pub fn all(store: &'s dyn Store) -> Result<Self> {
        if store.is_direct() {
            return Ok(Self::of_graph(store, store.queries().whole_graph()?, None, Extent::Whole));
        }
        let all = store.items(&store.all()?)?;
        Ok(Self::of_items(store, all.into_iter().flatten().collect(), None, Extent::Whole))
    }

    /// Selects valid paths; `known` is what was learnt of them when they were looked
    /// up, if it was.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Invalid`]; [`crate::store::StoreError`].
    pub fn named(
        store: &'s dyn Store,
        paths: &[StorePath],
        known: Option<Vec<Item>>,
        reach: Reach,
    ) -> Result<Self> {
        let extent = if reach.recursive || reach.closed { Extent::Closed } else { Extent::Named };
        let within = if reach.recursive { None } else { Some(paths) };
        if store.is_direct() {
            let graph = match extent {
                Extent::Named => store.queries().graph_among(paths)?,
                _ => store.queries().closure(paths, false)?,
            };
            return Ok(Self::of_graph(store, graph, within, extent));
        }
        let found = match (extent, known) {
            (Extent::Named, Some(known)) => known,
            (Extent::Named, None) => items(store, paths)?,
            _ => copy::closure(store, paths)?,
        };
        Ok(Self::of_items(store, found, within, extent))
    }

    fn of_items(
        store: &'s dyn Store,
        mut items: Vec<Item>,
        within: Option<&[StorePath]>,
        extent: Extent,
    ) -> Self {
        items.sort_by(|a, b| a.info.path.base_name().cmp(b.info.path.base_name()));
        items.dedup_by(|a, b| a.info.path == b.info.path);
        let graph = Graph::of_infos(items.iter().map(|item| &item.info));
        Self { items: Some(items), ..Self::of_graph(store, graph, within, extent) }
    }

    fn of_graph(store: &'s dyn Store, graph: Graph, within: Option<&[StorePath]>, extent: Extent) -> Self {
        let order = match within {
            None => graph.topological(graph.nodes()),
            Some(paths) => graph.topological(paths.iter().filter_map(|path| graph.find(path))),
        };
        Self { store, graph, order, items: None, extent }
    }

    /// The store of the paths.
    pub fn store(&self) -> &'s dyn Store {
        self.store
    }

    /// The selected paths, references first.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Row`].
    pub fn paths(&self) -> Result<Vec<StorePath>> {
        self.order.iter().map(|node| self.graph.path(*node)).collect()
    }

    /// What is known of a path.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Invalid`] if it is gone by now; [`crate::store::StoreError`].
    pub fn item(&self, node: Node) -> Result<Cow<'_, Item>> {
        if let Some(item) = self.items.as_ref().and_then(|items| items.get(node as usize)) {
            return Ok(Cow::Borrowed(item));
        }
        Ok(Cow::Owned(Item { info: self.store.path_info(&self.graph.path(node)?)?, file: None }))
    }

    /// The metadata of a path.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Invalid`] if it is gone by now; [`crate::store::StoreError`].
    pub fn info(&self, node: Node) -> Result<Cow<'_, ValidPathInfo>> {
        Ok(match self.item(node)? {
            Cow::Borrowed(item) => Cow::Borrowed(&item.info),
            Cow::Owned(item) => Cow::Owned(item.info),
        })
    }

    /// What is known of a path apart from its references.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Invalid`] if it is gone by now; [`crate::store::StoreError`].
    pub fn raw(&self, node: Node) -> Result<RawPath> {
        match &self.items {
            Some(_) => Ok(RawPath::of(self.store.dir(), &*self.info(node)?)),
            None => self.store.queries().raw_path(&self.graph.path(node)?),
        }
    }

    /// The stored archive of a path, where the store has one.
    pub(super) fn file(&self, node: Node) -> Option<&NarFile> {
        self.items.as_ref()?.get(node as usize)?.file.as_ref()
    }

    /// What the contents of the selected paths have to be, in their order.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Invalid`] if one is gone by now; [`crate::store::StoreError`].
    pub(super) fn expected(&self) -> Result<Vec<Expected>> {
        let mut expected = Vec::with_capacity(self.order.len());
        for node in &self.order {
            interrupt::check()?;
            let raw = self.raw(*node)?;
            let path = self.graph.path(*node)?;
            expected.push(Expected { path, hash: raw.nar_hash()?, size: raw.nar_size });
        }
        Ok(expected)
    }

    /// Tells `each` of the selected paths in the order of their names, with what is
    /// known of them and the base names of what they refer to.
    ///
    /// # Errors
    /// [`crate::store::StoreError`], and the errors of `each`.
    pub fn each_row(&self, each: EachRow<'_>) -> Result<()> {
        if self.items.is_none() && self.extent == Extent::Whole {
            return self.each_row_of_all(each);
        }
        let mut nodes = self.order.clone();
        nodes.sort_unstable();
        for node in nodes {
            interrupt::check()?;
            if self.extent == Extent::Named {
                let info = self.info(node)?;
                let raw = RawPath::of(self.store.dir(), &info);
                each(node, &raw, &mut info.references.iter().map(StorePath::base_name))?;
            } else {
                each(node, &self.raw(node)?, &mut self.references(node))?;
            }
        }
        Ok(())
    }

    fn references(&self, node: Node) -> impl Iterator<Item = &str> {
        self.graph.references(node).iter().map(|node| self.graph.base_name(*node))
    }

    /// As [`Selected::each_row`] for a whole store: each row is told of as soon as it
    /// is read.
    fn each_row_of_all(&self, each: EachRow<'_>) -> Result<()> {
        // Others may have changed the store since the graph was read: what came since
        // then is not told of, nor what is gone.
        let mut nodes = self.graph.nodes().peekable();
        let prefix = self.store.dir().as_str().len() + 1;
        self.store.queries().each_raw_path(&mut |raw| {
            interrupt::check()?;
            let name = raw.path.get(prefix..).unwrap_or_default();
            while nodes.next_if(|node| self.graph.base_name(*node) < name).is_some() {}
            match nodes.next_if(|node| self.graph.base_name(*node) == name) {
                Some(node) => each(node, raw, &mut self.references(node)),
                None => Ok(()),
            }
        })
    }
}
