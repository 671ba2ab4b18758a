//! Reference graphs as text: Graphviz, GraphML, a tree.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::model::StoreDir;
use crate::model::store_path::HASH_LEN;
use crate::store::graph::{Graph, Node, TopologicalSort};

/// Nodes in the order of a work list from which the smallest path is taken
/// first, as both graph formats list them.
fn by_work_list(
    graph: &Graph,
    roots: &[Node],
    mut each: impl FnMut(Node) -> io::Result<()>,
) -> io::Result<()> {
    let mut seen = vec![false; graph.len()];
    let mut list: BTreeSet<Node> = roots.iter().copied().collect();
    while let Some(node) = list.pop_first() {
        if std::mem::replace(&mut seen[node as usize], true) {
            continue;
        }
        each(node)?;
        list.extend(graph.references(node).iter().filter(|reference| !seen[**reference as usize]));
    }
    Ok(())
}

fn name(graph: &Graph, node: Node) -> &str {
    graph.base_name(node).get(HASH_LEN + 1..).unwrap_or_default()
}

/// Writes the closure of `roots` for Graphviz; edges go from a reference to
/// what refers to it.
///
/// # Errors
/// Errors of the output.
pub fn write_dot(graph: &Graph, roots: &[Node], out: &mut impl Write) -> io::Result<()> {
    const COLOURS: [&str; 6] = ["black", "red", "green", "blue", "magenta", "burlywood"];
    let mut colours = COLOURS.iter().cycle();
    writeln!(out, "digraph G {{")?;
    by_work_list(graph, roots, |node| {
        let base = graph.base_name(node);
        let label = name(graph, node);
        writeln!(
            out,
            "\"{base}\" [label = \"{label}\", shape = box, style = filled, fillcolor = \"#ff0000\"];"
        )?;
        for &reference in graph.references(node).iter().filter(|reference| **reference != node) {
            // The cycle has no end.
            let colour = colours.next().unwrap_or(&COLOURS[0]);
            writeln!(out, "\"{}\" -> \"{base}\" [color = \"{colour}\"];", graph.base_name(reference))?;
        }
        Ok(())
    })?;
    writeln!(out, "}}")
}

/// Writes the closure of `roots` as GraphML; edges go to the reference.
///
/// # Errors
/// Errors of the output.
pub fn write_graphml(graph: &Graph, roots: &[Node], out: &mut impl Write) -> io::Result<()> {
    out.write_all(
        b"<?xml version='1.0' encoding='utf-8'?>\n\
        <graphml xmlns='http://graphml.graphdrawing.org/xmlns'\n    \
        xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'\n    \
        xsi:schemaLocation='http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd'>\n\
        <key id='narSize' for='node' attr.name='narSize' attr.type='long'/>\
        <key id='name' for='node' attr.name='name' attr.type='string'/>\
        <key id='type' for='node' attr.name='type' attr.type='string'/>\
        <graph id='G' edgedefault='directed'>\n",
    )?;
    by_work_list(graph, roots, |node| {
        let base = graph.base_name(node);
        let label = name(graph, node);
        // Names are cut after their first dash, and nameless without one:
        // what reads this text expects it so.
        let short = label.find('-').map_or("", |dash| &label[..=dash]);
        let kind = if label.ends_with(".drv") { "derivation" } else { "output-path" };
        writeln!(out, "  <node id=\"{base}\">")?;
        writeln!(out, "    <data key=\"narSize\">{}</data>", graph.nar_size(node))?;
        writeln!(out, "    <data key=\"name\">{short}</data>")?;
        writeln!(out, "    <data key=\"type\">{kind}</data>")?;
        writeln!(out, "  </node>")?;
        for &reference in graph.references(node).iter().filter(|reference| **reference != node) {
            writeln!(out, "  <edge source=\"{base}\" target=\"{}\"/>", graph.base_name(reference))?;
        }
        Ok(())
    })?;
    out.write_all(b"</graph>\n</graphml>\n")
}

/// Writes trees of references, each path in full once over all of them.
pub struct TreeWriter<'g> {
    graph: &'g Graph,
    dir: &'g StoreDir,
    sort: TopologicalSort<'g>,
    seen: Vec<bool>,
}

/// A node on the way down: its children that are still to come, and how long
/// the prefix is for them.
struct Level {
    children: std::vec::IntoIter<Node>,
    prefix: usize,
}

impl<'g> TreeWriter<'g> {
    /// A writer that has written nothing.
    pub fn new(graph: &'g Graph, dir: &'g StoreDir) -> Self {
        Self { graph, dir, sort: TopologicalSort::new(graph), seen: vec![false; graph.len()] }
    }

    /// Writes the tree of one path.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn write(&mut self, root: Node, out: &mut impl Write) -> io::Result<()> {
        let mut prefix = String::new();
        let mut levels = Vec::new();
        if self.line(root, "", out)? {
            levels.push(self.level(root, 0));
        }
        while let Some(level) = levels.last_mut() {
            prefix.truncate(level.prefix);
            let Some(child) = level.children.next() else {
                levels.pop();
                continue;
            };
            let last = level.children.len() == 0;
            out.write_all(prefix.as_bytes())?;
            if self.line(child, if last { "└───" } else { "├───" }, out)? {
                prefix.push_str(if last { "    " } else { "│   " });
                levels.push(self.level(child, prefix.len()));
            }
        }
        Ok(())
    }

    fn level(&mut self, node: Node, prefix: usize) -> Level {
        let children = self.sort.sort(self.graph.references(node).iter().copied());
        Level { children: children.into_iter(), prefix }
    }

    /// One path; true if what it refers to is still to be written.
    fn line(&mut self, node: Node, branch: &str, out: &mut impl Write) -> io::Result<bool> {
        let seen = std::mem::replace(&mut self.seen[node as usize], true);
        let again = if seen { " [...]" } else { "" };
        writeln!(out, "{branch}{}/{}{again}", self.dir.as_str(), self.graph.base_name(node))?;
        Ok(!seen)
    }
}
