//! The sizes of the closures of all nodes of a graph at once.
//!
//! A walk for each node would visit every node of every closure: quadratic on
//! deep graphs. Instead 64 nodes at a time get a bit each, and one pass over all
//! references, in an order in which what a node refers to comes before it,
//! tells for every node which of the 64 are in its closure.

use super::{Graph, Node};
use crate::sys::interrupt::{self, Interrupted};

/// Bits of a mask.
const BLOCK: usize = 64;

/// For each node the sum of `size` over its closure, itself included.
///
/// Time is nodes × references ÷ 64; memory some 40 bytes a node and 4 a
/// reference.
///
/// # Errors
/// [`Interrupted`].
pub fn closure_sizes(graph: &Graph, size: impl Fn(Node) -> u64) -> Result<Vec<u64>, Interrupted> {
    let order = graph.topological(graph.nodes());
    let mut position = vec![0u32; graph.len()];
    for (at, node) in order.iter().enumerate() {
        position[*node as usize] = at as u32;
    }
    // References as positions, so that a pass runs through memory in order.
    let mut targets: Vec<u32> = Vec::new();
    let mut ends: Vec<usize> = Vec::with_capacity(order.len());
    let mut circular = false;
    for (at, node) in order.iter().enumerate() {
        for reference in graph.references(*node) {
            let target = position[*reference as usize];
            circular |= target as usize > at;
            if target as usize != at {
                targets.push(target);
            }
        }
        ends.push(targets.len());
    }
    let mut sums = vec![0u64; order.len()];
    let mut masks = vec![0u64; order.len()];
    for block in (0..order.len()).step_by(BLOCK) {
        interrupt::check()?;
        let weights = Weights::new(&order[block..order.len().min(block + BLOCK)], &size);
        // Nothing before the block leads into it, unless there are circles.
        let first = if circular { 0 } else { block };
        masks[first.saturating_sub(BLOCK)..].fill(0);
        for bit in 0..BLOCK.min(order.len() - block) {
            masks[block + bit] = 1 << bit;
        }
        while pass(&mut masks, &targets, &ends, first) && circular {}
        for (sum, mask) in sums[first..].iter_mut().zip(&masks[first..]) {
            if *mask != 0 {
                *sum = sum.saturating_add(weights.sum(*mask));
            }
        }
    }
    let mut sizes = vec![0; order.len()];
    for (sum, node) in sums.iter().zip(&order) {
        sizes[*node as usize] = *sum;
    }
    Ok(sizes)
}

/// Gives every node from `first` on the bits of what it refers to; true if
/// anything changed.
fn pass(masks: &mut [u64], targets: &[u32], ends: &[usize], first: usize) -> bool {
    let mut changed = false;
    let mut start = first.checked_sub(1).map_or(0, |before| ends[before]);
    for at in first..masks.len() {
        let mut mask = masks[at];
        for target in &targets[start..ends[at]] {
            mask |= masks[*target as usize];
        }
        start = ends[at];
        changed |= mask != masks[at];
        masks[at] = mask;
    }
    changed
}

/// The sums of sizes for each value of each byte of a mask.
struct Weights([[u64; 256]; 8]);

impl Weights {
    fn new(nodes: &[Node], size: impl Fn(Node) -> u64) -> Self {
        let mut tables = [[0u64; 256]; 8];
        for (byte, table) in tables.iter_mut().enumerate() {
            for value in 1..256usize {
                let lowest = value.trailing_zeros() as usize;
                let size = nodes.get(byte * 8 + lowest).map_or(0, |node| size(*node));
                table[value] = table[value & (value - 1)].saturating_add(size);
            }
        }
        Self(tables)
    }

    fn sum(&self, mask: u64) -> u64 {
        let bytes = mask.to_le_bytes();
        self.0.iter().zip(bytes).fold(0, |sum, (table, byte)| sum.saturating_add(table[usize::from(byte)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a walk for each node, on graphs with and without circles.
        #[test]
        fn agrees_with_walks(
            nodes in 1usize..200,
            edges in proptest::collection::vec((0usize..200, 0usize..200), 0..400),
            circles: bool,
        ) {
            let edges: Vec<(Node, Node)> = edges
                .into_iter()
                .map(|(a, b)| (a % nodes, b % nodes))
                .filter(|(a, b)| circles || a >= b)
                .map(|(a, b)| (a as Node, b as Node))
                .collect();
            let graph = Graph::for_tests(nodes, &edges);
            let sizes = closure_sizes(&graph, |node| graph.nar_size(node));
            let walked: Vec<u64> = graph
                .nodes()
                .map(|node| {
                    let inside = graph.closure([node]);
                    graph.nodes().filter(|n| inside[*n as usize]).map(|n| graph.nar_size(n)).sum()
                })
                .collect();
            prop_assert_eq!(sizes, Ok(walked));
        }
    }
}
