//! A tree of files of which a filter leaves some out.

use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::eval::error::Error;
use crate::eval::io::{FileKind, Filter};
use crate::nar::{NarError, Sink, dump};

use super::files::{self, kind_of};

/// Directories nested more deeply than this have paths longer than the system takes.
const DEEPEST: usize = 2048;

/// What a filter left of a tree. Contents are read when it is told to a sink.
pub struct Tree {
    root: PathBuf,
    node: Node,
}

enum Node {
    Directory(Vec<(CString, Node)>),
    Leaf,
}

impl Tree {
    /// Asks `filter` about everything below `root`, which it is told as `shown`: parents first, in the
    /// order of the names' bytes.
    ///
    /// # Errors
    /// The filter fails, or a directory cannot be read.
    pub fn new(root: &Path, shown: &Path, filter: Filter<'_>) -> Result<Tree, Error> {
        let node = match files::kind(root)? {
            Some(FileKind::Directory) => filtered(root, shown, filter, 0)?,
            _ => Node::Leaf,
        };
        Ok(Tree { root: root.to_owned(), node })
    }

    /// Tells `visit` the path of everything in the tree, and whether it is a directory, until it says false. Gives
    /// what it said last.
    pub fn each(&self, visit: &mut dyn FnMut(&Path, bool) -> bool) -> bool {
        each(&self.root, &self.node, visit)
    }

    /// Tells a sink of the tree.
    ///
    /// # Errors
    /// Those of reading, and of the sink.
    pub fn tell(&self, sink: &mut dyn Sink) -> Result<(), NarError> {
        tell(&self.root, &self.node, sink)
    }
}

fn filtered(dir: &Path, shown: &Path, filter: Filter<'_>, depth: usize) -> Result<Node, Error> {
    if depth > DEEPEST {
        return Err(Error::new(format!("directories in '{}' are nested too deeply", shown.display())));
    }
    let mut nodes = Vec::new();
    for entry in files::entries(dir)? {
        let shown = shown.join(entry.file_name());
        let kind = entry.file_type().map(kind_of).unwrap_or(FileKind::Unknown);
        if !filter(shown.as_os_str().as_bytes(), kind)? {
            continue;
        }
        let Ok(name) = CString::new(entry.file_name().into_vec()) else { continue };
        let node = match kind {
            FileKind::Directory => filtered(&entry.path(), &shown, filter, depth + 1)?,
            _ => Node::Leaf,
        };
        nodes.push((name, node));
    }
    Ok(Node::Directory(nodes))
}

fn each(path: &Path, node: &Node, visit: &mut dyn FnMut(&Path, bool) -> bool) -> bool {
    let Node::Directory(nodes) = node else { return visit(path, false) };
    let below = |name: &CString| path.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
    visit(path, true) && nodes.iter().all(|(name, node)| each(&below(name), node, visit))
}

fn tell(path: &Path, node: &Node, sink: &mut dyn Sink) -> Result<(), NarError> {
    let Node::Directory(nodes) = node else { return dump::walk(path, sink) };
    sink.enter_directory()?;
    for (name, node) in nodes {
        sink.entry(name)?;
        tell(&path.join(std::ffi::OsStr::from_bytes(name.as_bytes())), node, sink)?;
    }
    sink.leave_directory()
}
