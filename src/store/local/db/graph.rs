//! Graphs of the database: all of it, or the part that a question needs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Db;
use super::cells::Label;
use crate::store::error::{Result, StoreError};
use crate::store::graph::{Graph, Node, PathId, index};
use crate::sys::interrupt;

impl Graph {
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
}
