//! What is known of selected paths, and how large their closures are.

use super::selected::Selected;
use crate::model::NarFile;
use crate::store::api::RawPath;
use crate::store::error::Result;
use crate::store::graph::Node;
use crate::store::graph::closure_sizes::closure_sizes;

/// What a report is to say.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Options {
    /// The sizes of closures; the graph of the selected paths has to be closed then.
    pub closure_sizes: bool,
}

/// The sizes of one closure.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of its archives.
    pub unpacked: u64,
    /// Bytes of the stored files, where the store has such.
    pub download: u64,
}

/// A path, and what is known of it.
pub struct Row<'r> {
    /// The base name of the path.
    pub base_name: &'r str,
    /// What is known of it.
    pub raw: &'r RawPath,
    /// The stored archive, where there is one.
    pub file: Option<&'r NarFile>,
    /// The sizes of its closure, if they are wanted.
    pub closure: Option<Sizes>,
}

/// What there is to say of selected paths.
pub struct Report<'r, 's> {
    selected: &'r Selected<'s>,
    /// The sizes of the closure of each node, of archives and of stored files.
    closures: Option<[Vec<u64>; 2]>,
}

impl<'r, 's> Report<'r, 's> {
    /// Works out what `options` ask for.
    ///
    /// # Errors
    /// A signal.
    pub fn new(selected: &'r Selected<'s>, options: Options) -> Result<Self> {
        let graph = &selected.graph;
        let mut closures = None;
        if options.closure_sizes {
            let stored = |node| selected.file(node).and_then(|file| file.size).unwrap_or(0);
            let has_files = graph.nodes().any(|node| stored(node) > 0);
            let unpacked = closure_sizes(graph, |node| graph.nar_size(node))?;
            let download = if has_files { closure_sizes(graph, stored)? } else { vec![0; graph.len()] };
            closures = Some([unpacked, download]);
        }
        Ok(Self { selected, closures })
    }

    /// The sizes of the closure of a path, if they are wanted.
    pub fn closure(&self, node: Node) -> Option<Sizes> {
        let [unpacked, download] = self.closures.as_ref()?;
        Some(Sizes { unpacked: *unpacked.get(node as usize)?, download: *download.get(node as usize)? })
    }

    /// Tells `each` of the selected paths in the order of their names, with the base
    /// names of what they refer to.
    ///
    /// # Errors
    /// [`crate::store::StoreError`], and the errors of `each`.
    pub fn each_row(
        &self,
        mut each: impl FnMut(Row<'_>, &mut dyn Iterator<Item = &str>) -> Result<()>,
    ) -> Result<()> {
        self.selected.each_row(&mut |node, raw, references| {
            let base_name = self.selected.graph.base_name(node);
            let (file, closure) = (self.selected.file(node), self.closure(node));
            each(Row { base_name, raw, file, closure }, references)
        })
    }
}
