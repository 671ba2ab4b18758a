//! Path literals.

use super::engine::{Parser, Value};
use super::error::Failed;
use super::tree::{List, Node, NodeId, Text};

impl Parser<'_> {
    /// A path as it is written: absolute, or relative to the directory of the text.
    pub(super) fn path_start(&mut self, value: Value) -> Result<Value, Failed> {
        let literal = &self.lexer.text()[value.a() as usize..value.b() as usize];
        let bytes = &mut self.tree.bytes;
        let start = bytes.len();
        if literal[0] != b'/' {
            bytes.extend_from_slice(&self.options.base);
            if bytes[start..] == *b"/" {
                bytes.truncate(start);
            }
        }
        for component in literal.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    let end = bytes[start..].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    bytes.truncate(start + end);
                }
                _ => {
                    bytes.push(b'/');
                    bytes.extend_from_slice(component);
                }
            }
        }
        if literal.ends_with(b"/") || bytes.len() == start {
            bytes.push(b'/');
        }
        self.path_node(start, value.at)
    }

    /// A path in the home directory, which is taken as it is written.
    pub(super) fn home_start(&mut self, value: Value) -> Result<Value, Failed> {
        let literal = &self.lexer.text()[value.a() as usize..value.b() as usize];
        let Some(home) = &self.options.home else {
            let literal = String::from_utf8_lossy(literal);
            let message = format!("the path '{literal}' can not be resolved in pure mode");
            return Err(self.lexer.fail(value.at as usize, message));
        };
        let start = self.tree.bytes.len();
        self.tree.bytes.extend_from_slice(home);
        self.tree.bytes.extend_from_slice(&literal[1..]);
        self.path_node(start, value.at)
    }

    fn path_node(&mut self, start: usize, at: u32) -> Result<Value, Failed> {
        if self.tree.bytes.len() > u32::MAX as usize {
            return Err(self.lexer.fail(at as usize, "the paths in this text are too long"));
        }
        let text = Text { start: start as u32, length: (self.tree.bytes.len() - start) as u32 };
        Ok(Value::new(self.add(Node::Path(text), at).0, 0, at))
    }

    /// A path with interpolations.
    pub(super) fn path_join(&mut self, path: Value, parts: Value) -> NodeId {
        let list = List {
            start: self.tree.lists.len() as u32,
            length: (self.pending.len() - parts.a() as usize) as u32 + 1,
        };
        self.tree.lists.push(path.node());
        self.tree.part_offsets.push(path.at);
        self.list_from(parts.a() as usize);
        self.add(Node::Join { string: false, parts: list }, path.at)
    }
}
