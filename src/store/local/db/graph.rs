//! The references among valid paths, in memory, as small integers.
//!
//! Nodes are numbered in the order of their paths, so that comparing numbers
//! is comparing paths. A node costs some 70 bytes, an edge 4.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Db;
use super::cells::Label;
use super::read::PathId;
use crate::model::{StorePath, ValidPathInfo};
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

/// A node: the rank of its path among those of the graph.
pub type Node = u32;

/// Paths and references, of the whole database or a part of it.
pub struct Graph {
    /// All base names, one after the other.
    names: String,
    /// Where each name ends.
    ends: Vec<u32>,
    ids: Vec<PathId>,
    sizes: Vec<u64>,
    /// All edges, those of each node together and sorted.
    edges: Vec<Node>,
    /// Where the edges of each node end.
    edge_ends: Vec<u32>,
}

impl Graph {
    fn empty() -> Self {
        Self {
            names: String::new(),
            ends: Vec::new(),
            ids: Vec::new(),
            sizes: Vec::new(),
            edges: Vec::new(),
            edge_ends: Vec::new(),
        }
    }

    /// A graph of nodes `0 … nodes` with sizes that tell them apart.
    #[cfg(test)]
    pub(super) fn for_tests(nodes: usize, edges: &[(Node, Node)]) -> Self {
        let mut graph = Self::empty();
        for node in 0..nodes {
            graph.push(node as PathId + 1, &format!("{node:03}"), (node as u64 + 1) * 1_000_003);
        }
        for node in graph.nodes() {
            graph.edges.extend(edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| *to));
            graph.edge_ends.push(index(graph.edges.len()));
        }
        graph.sort_edges();
        graph
    }

    /// Every valid path and reference.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`]; [`StoreError::Damaged`] for any row that is
    /// not as it should be: what would be left out could not be told apart from
    /// what nobody needs.
    pub fn load(db: &Db) -> Result<Self> {
        let mut graph = Self::empty();
        db.each_id(|id, name, size| graph.push(id, name, size))?;
        graph.load_references(db)?;
        Ok(graph)
    }

    /// As [`Graph::load`], without sizes: every one is 0.
    ///
    /// # Errors
    /// See [`Graph::load`].
    pub fn load_names(db: &Db) -> Result<Self> {
        let mut graph = Self::empty();
        db.each_name(|id, name| graph.push_name(id, name))?;
        graph.load_references(db)?;
        Ok(graph)
    }

    fn load_references(&mut self, db: &Db) -> Result<()> {
        let ranks = self.ranks();
        // References come ordered by referrer, but nodes are ordered by path:
        // counted first, then filled in.
        let mut counts = vec![0u32; self.ids.len() + 1];
        let mut pairs: Vec<(Node, Node)> = Vec::new();
        db.each_reference(|referrer, reference| match (ranks.get(referrer), ranks.get(reference)) {
            (Some(from), Some(to)) => {
                counts[from as usize + 1] += 1;
                pairs.push((from, to));
                Ok(())
            }
            (from, to) => {
                let known = from.or(to).map_or("", |node| self.base_name(node));
                let gone = if from.is_none() { referrer } else { reference };
                Err(Self::gone(db, gone, known))
            }
        })?;
        interrupt::check()?;
        for i in 1..counts.len() {
            counts[i] += counts[i - 1];
        }
        self.edges = vec![0; pairs.len()];
        let mut next = counts.clone();
        for (from, to) in pairs {
            let at = &mut next[from as usize];
            self.edges[*at as usize] = to;
            *at += 1;
        }
        self.edge_ends = counts[1..].to_vec();
        self.sort_edges();
        Ok(())
    }

    /// The error for a reference to or from a row that is gone; `other` is the
    /// base name at its other end.
    fn gone(db: &Db, id: PathId, other: &str) -> StoreError {
        let other = match other {
            "" => "another such row".to_owned(),
            name => format!("'{}/{name}'", db.dir.as_str()),
        };
        Label::valid_path(id).damaged(format!("there is no such row, but a reference between it and {other}"))
    }

    /// The given paths, which are valid, and everything `next` leads to.
    ///
    /// `next` fills in the numbers of the neighbours of one path: references,
    /// referrers, outputs. The edges of the graph are always the references.
    ///
    /// # Errors
    /// The errors of `next`, [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn reach(
        db: &Db,
        start: &[PathId],
        mut next: impl FnMut(PathId, &mut Vec<PathId>) -> Result<()>,
    ) -> Result<Self> {
        // Each with what led to it.
        let mut seen: HashMap<PathId, PathId> = HashMap::with_capacity(start.len() * 2);
        let mut queue: Vec<PathId> = Vec::new();
        let mut found = Vec::new();
        for id in start {
            if seen.insert(*id, *id).is_none() {
                queue.push(*id);
            }
        }
        let mut at = 0;
        while at < queue.len() {
            interrupt::check()?;
            let from = queue[at];
            next(from, &mut found)?;
            at += 1;
            for id in &found {
                if let Entry::Vacant(fresh) = seen.entry(*id) {
                    fresh.insert(from);
                    queue.push(*id);
                }
            }
        }
        Self::of(db, queue, |id| seen.get(&id).copied())
    }

    /// The given paths and the references among them; `from` tells what led to
    /// one of them.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn of(db: &Db, ids: Vec<PathId>, from: impl Fn(PathId) -> Option<PathId>) -> Result<Self> {
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            interrupt::check()?;
            match db.name_and_size(id)? {
                Some((name, size)) => rows.push((name, id, size)),
                None => {
                    let other = from(id).map(|from| db.name_and_size(from)).transpose()?.flatten();
                    return Err(Self::gone(db, id, &other.map_or(String::new(), |(name, _)| name)));
                }
            }
        }
        rows.sort_unstable();
        let mut graph = Self::empty();
        for (name, id, size) in rows {
            graph.push(id, &name, size);
        }
        let ranks = graph.ranks();
        let mut found = Vec::new();
        for i in 0..graph.ids.len() {
            interrupt::check()?;
            db.reference_ids(graph.ids[i], &mut found)?;
            graph.edges.extend(found.iter().filter_map(|id| ranks.get(*id)));
            graph.edge_ends.push(index(graph.edges.len()));
        }
        graph.sort_edges();
        Ok(graph)
    }

    /// Of what is known of some paths elsewhere, and the references among them;
    /// their numbers are no database's.
    pub fn of_infos<'i>(infos: impl IntoIterator<Item = &'i ValidPathInfo>) -> Self {
        let mut infos: Vec<&ValidPathInfo> = infos.into_iter().collect();
        infos.sort_by(|a, b| a.path.base_name().cmp(b.path.base_name()));
        infos.dedup_by(|a, b| a.path == b.path);
        let mut graph = Self::empty();
        for (id, info) in (1..).zip(&infos) {
            graph.push(id, info.path.base_name(), info.nar_size);
        }
        for info in infos {
            let nodes = info.references.iter().filter_map(|path| graph.find(path)).collect::<Vec<_>>();
            graph.edges.extend(nodes);
            graph.edge_ends.push(index(graph.edges.len()));
        }
        graph.sort_edges();
        graph
    }

    fn push(&mut self, id: PathId, name: &str, size: u64) {
        self.push_name(id, name);
        self.sizes.push(size);
    }

    fn push_name(&mut self, id: PathId, name: &str) {
        self.names.push_str(name);
        self.ends.push(index(self.names.len()));
        self.ids.push(id);
    }

    fn sort_edges(&mut self) {
        let mut start = 0;
        for end in &self.edge_ends {
            let end = *end as usize;
            self.edges[start..end].sort_unstable();
            start = end;
        }
    }

    /// What finds a node by the database's number.
    pub fn ranks(&self) -> Ranks {
        let max = self.ids.iter().copied().max().unwrap_or(0);
        let min = self.ids.iter().copied().min().unwrap_or(0);
        // Numbers are never reused, so an old database may have large gaps.
        if min >= 0 && usize::try_from(max).is_ok_and(|max| max <= self.ids.len().saturating_mul(4) + 1024) {
            let mut dense = vec![Node::MAX; usize::try_from(max).unwrap_or(0) + 1];
            for (rank, id) in self.ids.iter().enumerate() {
                if let Some(slot) = usize::try_from(*id).ok().and_then(|id| dense.get_mut(id)) {
                    *slot = index(rank);
                }
            }
            return Ranks::Dense(dense);
        }
        Ranks::Sparse(self.ids.iter().enumerate().map(|(rank, id)| (*id, index(rank))).collect())
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// All nodes, in the order of their paths.
    pub fn nodes(&self) -> std::ops::Range<Node> {
        0..index(self.ids.len())
    }

    /// The base name of a node's path.
    pub fn base_name(&self, node: Node) -> &str {
        let end = self.ends[node as usize] as usize;
        let start = node.checked_sub(1).map_or(0, |before| self.ends[before as usize] as usize);
        &self.names[start..end]
    }

    /// The path of a node.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the database has something else there.
    pub fn path(&self, node: Node) -> Result<StorePath> {
        let name = self.base_name(node);
        StorePath::from_base_name(name)
            .map_err(|error| StoreError::Row { path: name.to_owned(), message: error.to_string() })
    }

    /// The database's number of a node.
    pub fn id(&self, node: Node) -> PathId {
        self.ids[node as usize]
    }

    /// Bytes of a node's NAR.
    pub fn nar_size(&self, node: Node) -> u64 {
        self.sizes.get(node as usize).copied().unwrap_or(0)
    }

    /// The nodes that a node refers to, sorted, itself among them where it does.
    pub fn references(&self, node: Node) -> &[Node] {
        let end = self.edge_ends[node as usize] as usize;
        let start = node.checked_sub(1).map_or(0, |before| self.edge_ends[before as usize] as usize);
        &self.edges[start..end]
    }

    /// The node of a path.
    pub fn find(&self, path: &StorePath) -> Option<Node> {
        self.find_name(path.base_name().as_bytes())
    }

    /// The node of a base name.
    pub fn find_name(&self, name: &[u8]) -> Option<Node> {
        let (mut low, mut high) = (0, index(self.ids.len()));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.base_name(middle).as_bytes().cmp(name) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The nodes of `within`, each after what it refers to; see
    /// [`TopologicalSort::sort`].
    pub fn topological(&self, within: impl IntoIterator<Item = Node>) -> Vec<Node> {
        TopologicalSort::new(self).sort(within)
    }

    /// Everything that can be reached from `roots` along references, the roots
    /// included, as a flag for each node.
    pub fn closure(&self, roots: impl IntoIterator<Item = Node>) -> Vec<bool> {
        let mut seen = vec![false; self.len()];
        let mut stack: Vec<Node> = Vec::new();
        for root in roots {
            if !std::mem::replace(&mut seen[root as usize], true) {
                stack.push(root);
            }
        }
        while let Some(node) = stack.pop() {
            for &reference in self.references(node) {
                if !std::mem::replace(&mut seen[reference as usize], true) {
                    stack.push(reference);
                }
            }
        }
        seen
    }
}

/// Sorts sets of nodes of one graph; made once for many small sets.
pub struct TopologicalSort<'g> {
    graph: &'g Graph,
    /// All false between two calls.
    wanted: Vec<bool>,
    /// Each node on the way down with how many of its references were followed.
    stack: Vec<(Node, usize)>,
}

impl<'g> TopologicalSort<'g> {
    /// For sets of nodes of `graph`.
    pub fn new(graph: &'g Graph) -> Self {
        Self { graph, wanted: vec![false; graph.len()], stack: Vec::new() }
    }

    /// The nodes of `within` so that what a node refers to comes before it:
    /// depth first, from each node in order, along its references in order.
    pub fn sort(&mut self, within: impl IntoIterator<Item = Node>) -> Vec<Node> {
        let start: Vec<Node> = within.into_iter().collect();
        for node in &start {
            self.wanted[*node as usize] = true;
        }
        let mut order = Vec::with_capacity(start.len());
        for root in start {
            if !std::mem::take(&mut self.wanted[root as usize]) {
                continue;
            }
            self.stack.push((root, 0));
            while let Some((node, followed)) = self.stack.last_mut() {
                match self.graph.references(*node).get(*followed) {
                    Some(&reference) => {
                        *followed += 1;
                        if std::mem::take(&mut self.wanted[reference as usize]) {
                            self.stack.push((reference, 0));
                        }
                    }
                    None => {
                        order.push(*node);
                        self.stack.pop();
                    }
                }
            }
        }
        order
    }
}

/// Positions in a graph fit in 32 bits: four billion paths, or bytes of names
/// of fifty million paths, are more than any store has.
fn index(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Nodes by the database's numbers.
pub enum Ranks {
    /// By position.
    Dense(Vec<Node>),
    /// Where the numbers have large gaps.
    Sparse(HashMap<PathId, Node>),
}

impl Ranks {
    /// The node with a number.
    pub fn get(&self, id: PathId) -> Option<Node> {
        match self {
            Self::Dense(ranks) => {
                ranks.get(usize::try_from(id).ok()?).copied().filter(|rank| *rank != Node::MAX)
            }
            Self::Sparse(ranks) => ranks.get(&id).copied(),
        }
    }
}
