//! Which paths are alive: those that a root leads to.
//!
//! A path keeps what it refers to. By the settings it also keeps its deriver
//! (`keep-derivations`), and a derivation the valid outputs it has
//! (`keep-outputs`).

use std::collections::{HashMap, VecDeque};

use crate::model::StorePath;
use crate::store::api::collect::Keep;
use crate::store::error::Result;
use crate::store::graph::PathId;
use crate::store::graph::{Graph, Node};
use crate::store::local::LocalStore;
use crate::store::local::db::Db;

/// Paths, what each keeps, and which are alive so far.
pub struct Liveness {
    graph: Graph,
    /// What nodes keep besides their references, sorted.
    more: Vec<(Node, Node)>,
    alive: Vec<bool>,
}

impl Liveness {
    /// All valid paths, none of them alive yet.
    ///
    /// # Errors
    /// Errors of the database.
    pub fn of_all(store: &LocalStore, keep: Keep) -> Result<Self> {
        let realised = realised(store, keep)?;
        let db = &store.db();
        db.snapshot(|| Self::new(db, Graph::load_names(db)?, keep, &realised))
    }

    /// Only the given paths and whatever keeps them.
    ///
    /// # Errors
    /// Errors of the database.
    pub fn of_keepers(store: &LocalStore, ids: &[PathId], keep: Keep) -> Result<Self> {
        let realised = realised(store, keep)?;
        let db = &store.db();
        db.snapshot(|| {
            let graph = reach_keepers(db, ids, keep, &realised)?;
            Self::new(db, graph, keep, &realised)
        })
    }

    fn new(db: &Db, graph: Graph, keep: Keep, realised: &[(PathId, PathId)]) -> Result<Self> {
        let mut more = Vec::new();
        let ranks = (keep.derivations || keep.outputs).then(|| graph.ranks());
        if let (true, Some(ranks)) = (keep.derivations, &ranks) {
            db.each_deriver(|id, deriver| {
                if let (Some(deriver), Some(made)) = (graph.find_name(deriver.as_bytes()), ranks.get(id)) {
                    more.push((made, deriver));
                }
            })?;
        }
        if let (true, Some(ranks)) = (keep.outputs, &ranks) {
            db.each_derivation_output(|drv, output| {
                if let (Some(drv), Some(output)) = (ranks.get(drv), ranks.get(output)) {
                    more.push((drv, output));
                }
            })?;
            let both = |(drv, output): &(_, _)| Some((ranks.get(*drv)?, ranks.get(*output)?));
            more.extend(realised.iter().filter_map(both));
        }
        more.sort_unstable();
        let alive = vec![false; graph.len()];
        Ok(Self { graph, more, alive })
    }

    /// The paths and their references.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether a root that was marked leads to a node.
    pub fn is_alive(&self, node: Node) -> bool {
        self.alive[node as usize]
    }

    /// Everything that a node keeps directly.
    pub fn kept_by(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        let from = self.more.partition_point(|(keeper, _)| *keeper < node);
        let more = self.more[from..].iter().take_while(move |(keeper, _)| *keeper == node);
        self.graph.references(node).iter().copied().chain(more.map(|(_, kept)| *kept))
    }

    /// A root: it and all that it keeps are alive. Paths that are not among
    /// ours keep nothing.
    pub fn mark(&mut self, root: &StorePath) {
        if let Some(node) = self.graph.find(root) {
            self.mark_node(node);
        }
    }

    /// As [`Liveness::mark`], for whatever path has a hash part.
    pub fn mark_hash_part(&mut self, part: &[u8]) {
        let name = |node: Node| self.graph.base_name(node).as_bytes();
        // Nodes are in the order of their names.
        let (mut from, mut to) = (0, self.graph.len());
        while from < to {
            let middle = from.midpoint(to);
            // There are no more nodes than that type has numbers.
            if name(middle as Node) < part { from = middle + 1 } else { to = middle }
        }
        let first = from as Node;
        let found = self.graph.nodes().skip(from).take_while(|node| name(*node).starts_with(part)).count();
        (first..first + found as Node).for_each(|node| self.mark_node(node));
    }

    /// As [`Liveness::mark`], by node.
    pub fn mark_node(&mut self, root: Node) {
        if std::mem::replace(&mut self.alive[root as usize], true) {
            return;
        }
        let mut waiting = vec![root];
        let mut found = Vec::new();
        while let Some(node) = waiting.pop() {
            found.extend(self.kept_by(node));
            for kept in found.drain(..) {
                if !std::mem::replace(&mut self.alive[kept as usize], true) {
                    waiting.push(kept);
                }
            }
        }
    }

    /// The nodes that are not alive, those that keep others before these.
    pub fn dead(&self) -> Vec<Node> {
        let dead = self.graph.nodes().filter(|node| !self.is_alive(*node));
        let mut order = self.graph.topological(dead);
        order.reverse();
        order
    }

    /// A shortest chain from one of the roots to a node: each keeps the next.
    pub fn chain(&self, roots: impl IntoIterator<Item = Node>, to: Node) -> Option<Vec<Node>> {
        const UNSEEN: Node = Node::MAX;
        let mut keeper = vec![UNSEEN; self.graph.len()];
        let mut waiting = VecDeque::new();
        for root in roots {
            if keeper[root as usize] == UNSEEN {
                keeper[root as usize] = root;
                waiting.push_back(root);
            }
        }
        while let Some(node) = waiting.pop_front() {
            if node == to {
                let mut chain = vec![to];
                let mut at = to;
                while keeper[at as usize] != at {
                    at = keeper[at as usize];
                    chain.push(at);
                }
                chain.reverse();
                return Some(chain);
            }
            for kept in self.kept_by(node) {
                if keeper[kept as usize] == UNSEEN {
                    keeper[kept as usize] = node;
                    waiting.push_back(kept);
                }
            }
        }
        None
    }
}

/// The outputs that derivations keep and have by realisations.
fn realised(store: &LocalStore, keep: Keep) -> Result<Vec<(PathId, PathId)>> {
    if keep.outputs { store.realised_outputs() } else { Ok(Vec::new()) }
}

/// The given paths, and everything because of which one of them may be kept.
///
/// # Errors
/// Errors of the database.
pub fn keepers(store: &LocalStore, ids: &[PathId], keep: Keep) -> Result<Graph> {
    let realised = realised(store, keep)?;
    let db = &store.db();
    db.snapshot(|| reach_keepers(db, ids, keep, &realised))
}

fn reach_keepers(db: &Db, ids: &[PathId], keep: Keep, realised: &[(PathId, PathId)]) -> Result<Graph> {
    let mut realised_by: HashMap<PathId, Vec<PathId>> = HashMap::new();
    for (drv, output) in realised {
        realised_by.entry(*output).or_default().push(*drv);
    }
    // Made when the first derivation is met.
    let mut made_by: Option<HashMap<PathId, Vec<PathId>>> = None;
    let mut more = Vec::new();
    Graph::reach(db, ids, |id, found| {
        db.referrer_ids(id, found)?;
        let is_derivation =
            || Result::Ok(db.name_and_size(id)?.is_some_and(|(name, _)| name.ends_with(".drv")));
        if keep.derivations && is_derivation()? {
            let made_by = match &mut made_by {
                Some(known) => known,
                unknown => unknown.insert(db.ids_by_deriver()?),
            };
            found.extend(made_by.get(&id).into_iter().flatten());
        }
        if keep.outputs {
            db.valid_deriver_ids(id, &mut more)?;
            found.extend_from_slice(&more);
            found.extend(realised_by.get(&id).into_iter().flatten());
        }
        Ok(())
    })
}
