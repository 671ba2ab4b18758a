//! Listings as `nix store ls` and `nix nar ls` print them.

use std::ffi::CStr;
use std::io::Write as _;

use nival::nar::NarError;
use nival::nar::listing::{Node, Visitor};

use crate::cli::output::json::{Json, Style, handed_through};
use crate::cli::output::streams::Out;

/// What the flags say about a listing.
#[derive(Default)]
pub struct Options {
    /// `--long` was given.
    pub long: bool,
    /// `--recursive` was given.
    pub recursive: bool,
    /// `--directory` was given.
    pub directory: bool,
    /// What the flags say about JSON.
    pub style: Style,
}

impl Options {
    /// How many levels of directories are told of.
    pub fn levels(&self) -> usize {
        match (self.recursive, self.directory) {
            (true, _) => usize::MAX,
            (false, true) => 0,
            (false, false) => 1,
        }
    }

    /// Prints what `list` tells; `name` is shown for a root that is not a
    /// directory.
    pub fn print(
        &self,
        name: &[u8],
        list: impl FnOnce(&mut dyn Visitor) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.style.json {
            let mut visitor =
                JsonLines { json: Json::new(false), recursive: self.recursive, open: Vec::new() };
            list(&mut visitor)?;
            return visitor.json.finish();
        }
        let (out, root) = (Out::new(), name.to_vec());
        let mut visitor = TextLines { options: self, out, root, path: b".".to_vec(), ends: Vec::new() };
        list(&mut visitor)?;
        visitor.out.finish()
    }
}

/// A line for each node.
struct TextLines<'o> {
    options: &'o Options,
    out: Out,
    root: Vec<u8>,
    /// The path of the node, and how long it was in each directory one stands in.
    path: Vec<u8>,
    ends: Vec<usize>,
}

impl TextLines<'_> {
    fn line(&mut self, path: &[u8], node: Node<'_>) -> std::io::Result<()> {
        if self.options.long {
            let (mode, size) = match node {
                Node::Directory => ("dr-xr-xr-x", 0),
                Node::Regular { executable: false, size, .. } => ("-r--r--r--", size),
                Node::Regular { executable: true, size, .. } => ("-r-xr-xr-x", size),
                Node::Symlink(_) => ("lrwxrwxrwx", 0),
            };
            write!(self.out, "{mode} {size:>20} ")?;
        }
        self.out.write_all(path)?;
        if let (true, Node::Symlink(target)) = (self.options.long, node) {
            self.out.write_all(b" -> ")?;
            self.out.write_all(target.to_bytes())?;
        }
        self.out.write_all(b"\n")
    }
}

impl Visitor for TextLines<'_> {
    fn node(&mut self, name: &CStr, node: Node<'_>) -> Result<(), NarError> {
        let shown = match self.ends.last() {
            Some(end) => {
                self.path.truncate(*end);
                self.path.push(b'/');
                self.path.extend_from_slice(name.to_bytes());
                Some(self.path.clone())
            }
            // The root: a directory is told of only when asked for.
            None if node == Node::Directory => self.options.directory.then(|| self.path.clone()),
            None => Some(self.root.clone()),
        };
        if node == Node::Directory {
            self.ends.push(self.path.len());
        }
        match shown {
            Some(path) => self.line(&path, node).map_err(NarError::Write),
            None => Ok(()),
        }
    }

    fn leave(&mut self) -> Result<(), NarError> {
        self.ends.pop();
        Ok(())
    }
}

/// Objects in objects.
struct JsonLines {
    json: Json,
    recursive: bool,
    /// For each directory one stands in, whether its object is still open.
    open: Vec<bool>,
}

impl JsonLines {
    fn write(&mut self, name: &CStr, node: Node<'_>) -> anyhow::Result<()> {
        let json = &mut self.json;
        if !self.open.is_empty() {
            json.key(text(name)?)?;
        }
        json.object()?;
        if !self.open.is_empty() && !self.recursive {
            // Without -R an entry is its name alone.
            if node == Node::Directory {
                self.open.push(false);
            }
            return json.end_object();
        }
        match node {
            Node::Directory => {
                self.open.push(true);
                json.key("entries")?;
                return json.object();
            }
            Node::Regular { executable, size, offset } => {
                if executable {
                    json.key("executable")?;
                    json.bare(true)?;
                }
                if let Some(offset) = offset {
                    json.key("narOffset")?;
                    json.bare(offset)?;
                }
                json.key("size")?;
                json.bare(size)?;
                json.key("type")?;
                json.string("regular")?;
            }
            Node::Symlink(target) => {
                json.key("target")?;
                json.string(text(target)?)?;
                json.key("type")?;
                json.string("symlink")?;
            }
        }
        json.end_object()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if self.open.pop() != Some(true) {
            return Ok(());
        }
        self.json.end_object()?;
        self.json.key("type")?;
        self.json.string("directory")?;
        self.json.end_object()
    }
}

impl Visitor for JsonLines {
    fn node(&mut self, name: &CStr, node: Node<'_>) -> Result<(), NarError> {
        self.write(name, node).map_err(handed_through)
    }

    fn leave(&mut self) -> Result<(), NarError> {
        self.end().map_err(handed_through)
    }
}

/// JSON holds no other bytes.
fn text(name: &CStr) -> anyhow::Result<&str> {
    name.to_str().map_err(|_| anyhow::anyhow!("'{}' is not UTF-8", name.to_string_lossy()))
}
