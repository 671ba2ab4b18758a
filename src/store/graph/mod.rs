//! The references among valid paths, in memory, as small integers.
//!
//! Nodes are numbered in the order of their paths, so that comparing numbers
//! is comparing paths. A node costs some 70 bytes, an edge 4.

pub mod closure_sizes;

use std::collections::HashMap;

use crate::model::{StorePath, ValidPathInfo};
use crate::store::error::{Result, StoreError};

/// The number of a valid path in a database; never used twice.
pub type PathId = i64;

/// A node: the rank of its path among those of the graph.
pub type Node = u32;

/// Paths and references, of the whole database or a part of it.
pub struct Graph {
    /// All base names, one after the other.
    pub(in crate::store) names: String,
    /// Where each name ends.
    pub(in crate::store) ends: Vec<u32>,
    pub(in crate::store) ids: Vec<PathId>,
    pub(in crate::store) sizes: Vec<u64>,
    /// All edges, those of each node together and sorted.
    pub(in crate::store) edges: Vec<Node>,
    /// Where the edges of each node end.
    pub(in crate::store) edge_ends: Vec<u32>,
}

impl Graph {
    pub(in crate::store) fn empty() -> Self {
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
    pub(crate) fn for_tests(nodes: usize, edges: &[(Node, Node)]) -> Self {
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

    pub(in crate::store) fn push(&mut self, id: PathId, name: &str, size: u64) {
        self.push_name(id, name);
        self.sizes.push(size);
    }

    pub(in crate::store) fn push_name(&mut self, id: PathId, name: &str) {
        self.names.push_str(name);
        self.ends.push(index(self.names.len()));
        self.ids.push(id);
    }

    pub(in crate::store) fn sort_edges(&mut self) {
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
pub(in crate::store) fn index(value: usize) -> u32 {
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
