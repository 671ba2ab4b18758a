//! Indented strings: the common indentation of their lines is taken away.

use super::engine::{Parser, Piece, Value};
use super::tree::{List, Node, NodeId, Text};

impl Parser<'_> {
    /// Makes the node of an indented string of the pieces from `first` on.
    pub(super) fn strip(&mut self, first: usize, at: u32) -> NodeId {
        let pieces = std::mem::take(&mut self.lexer.pieces);
        let least = self.least_indentation(&pieces[first..]);
        let start = self.pending.len();
        let (mut at_start, mut dropped) = (true, 0);
        let count = pieces.len() - first;
        for (number, piece) in pieces[first..].iter().enumerate() {
            let (from, place) = (self.tree.bytes.len(), piece.place());
            match *piece {
                Piece::Part { node, at } => {
                    (at_start, dropped) = (false, 0);
                    self.pending.push((node, at));
                    continue;
                }
                Piece::Escape { byte, twice, .. } => {
                    let text = [byte, byte];
                    let text = &text[..1 + usize::from(twice)];
                    strip_text(text, least, &mut at_start, &mut dropped, &mut self.tree.bytes);
                }
                Piece::Text { start, end, .. } => {
                    let text = &self.lexer.text()[start as usize..end as usize];
                    strip_text(text, least, &mut at_start, &mut dropped, &mut self.tree.bytes);
                }
            }
            if number + 1 == count {
                empty_last_line(&mut self.tree.bytes, from);
            }
            let length = self.tree.bytes.len() - from;
            if length > 0 {
                let node = self.add(Node::String(Text { start: from as u32, length: length as u32 }), place);
                self.pending.push((node, place));
            }
        }
        self.lexer.pieces = pieces;
        self.lexer.pieces.truncate(first);
        self.stripped(start, at)
    }

    fn stripped(&mut self, start: usize, at: u32) -> NodeId {
        match self.pending[start..] {
            [] => self.add(Node::String(Text::default()), at),
            [(node, _)] if matches!(self.tree.node(node), Node::String(_)) => {
                self.pending.truncate(start);
                node
            }
            _ => {
                let parts = self.list_from(start);
                self.add(Node::Join { string: true, parts }, at)
            }
        }
    }

    /// Moves what is pending from `start` on to the lists of the tree.
    pub(super) fn list_from(&mut self, start: usize) -> List {
        let list = List { start: self.tree.lists.len() as u32, length: (self.pending.len() - start) as u32 };
        self.tree.lists.extend(self.pending[start..].iter().map(|(node, _)| *node));
        self.tree.part_offsets.extend(self.pending[start..].iter().map(|(_, at)| *at));
        self.pending.truncate(start);
        list
    }

    /// The least number of spaces in front of a line that has something else.
    fn least_indentation(&self, pieces: &[Piece]) -> usize {
        let (mut at_start, mut spaces, mut least) = (true, 0, usize::MAX);
        for piece in pieces {
            let Piece::Text { start, end, .. } = *piece else {
                if at_start {
                    at_start = false;
                    least = least.min(spaces);
                }
                continue;
            };
            for byte in &self.lexer.text()[start as usize..end as usize] {
                match byte {
                    b'\n' => (at_start, spaces) = (true, 0),
                    b' ' if at_start => spaces += 1,
                    _ if at_start => {
                        at_start = false;
                        least = least.min(spaces);
                    }
                    _ => {}
                }
            }
        }
        least
    }

    /// A piece of an indented string that is an expression.
    pub(super) fn indented_part(&mut self, value: Value, at: u32) {
        self.lexer.pieces.push(Piece::Part { node: value.node(), at });
    }
}

impl Piece {
    fn place(&self) -> u32 {
        match *self {
            Piece::Text { at, .. } | Piece::Escape { at, .. } | Piece::Part { at, .. } => at,
        }
    }
}

/// Appends a text without the first `least` spaces of each line.
fn strip_text(text: &[u8], least: usize, at_start: &mut bool, dropped: &mut usize, out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        if *at_start {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            let skip = spaces.min(least.saturating_sub(*dropped));
            *dropped += spaces;
            out.resize(out.len() + spaces - skip, b' ');
            rest = &rest[spaces..];
            *at_start = rest.is_empty();
        }
        let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        if line > 0 {
            (*at_start, *dropped) = (rest[line - 1] == b'\n', 0);
        }
        out.extend_from_slice(&rest[..line]);
        rest = &rest[line..];
    }
}

/// Empties the last line of the bytes from `from` on if it has only spaces and is not the first.
fn empty_last_line(bytes: &mut Vec<u8>, from: usize) {
    if let Some(at) = bytes[from..].iter().rposition(|byte| *byte != b' ')
        && bytes[from + at] == b'\n'
    {
        bytes.truncate(from + at + 1);
    }
}
