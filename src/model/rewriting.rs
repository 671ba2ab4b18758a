//! Replacing store paths in contents by others of the same length: their hash parts, wherever
//! they stand.

use std::collections::HashMap;

use super::base32;
use super::store_path::{HASH_LEN, StorePath};

type Part = [u8; HASH_LEN];

/// What hash parts are replaced by.
#[derive(Debug, Clone, Default)]
pub struct Rewrites {
    parts: HashMap<Part, Part>,
}

impl Rewrites {
    /// Replaces the hash part of a path by that of another.
    pub fn replace(&mut self, old: &StorePath, new: &StorePath) {
        let Some((old, new)) = part(old).zip(part(new)) else { return };
        if old == new {
            self.parts.remove(&old);
        } else {
            self.parts.insert(old, new);
        }
    }

    /// Replaces the hash part of a path by zero bytes.
    pub fn blank(&mut self, path: &StorePath) {
        self.parts.extend(part(path).map(|part| (part, [0; HASH_LEN])));
    }

    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Replaces in a whole text; false if there is nothing to be replaced.
    pub fn apply(&self, text: &mut [u8]) -> bool {
        self.replace_in(text) > 0
    }

    /// Replaces what is whole, and gives the end of the last.
    fn replace_in(&self, data: &mut [u8]) -> usize {
        let (mut at, mut end) = (0, 0);
        if self.is_empty() {
            return end;
        }
        while let Some(window) = data.get_mut(at..at + HASH_LEN) {
            // No hash part contains what is no digit: the search goes on after the last such byte.
            if let Some(bad) = window.iter().rposition(|byte| !base32::is_digit(*byte)) {
                at += bad + 1;
                continue;
            }
            match window.first_chunk::<HASH_LEN>().and_then(|part| self.parts.get(part)) {
                Some(new) => {
                    window.copy_from_slice(new);
                    at += HASH_LEN;
                    end = at;
                }
                None => at += 1,
            }
        }
        end
    }
}

fn part(path: &StorePath) -> Option<Part> {
    path.hash_part().as_bytes().first_chunk().copied()
}

/// Replaces in a stream, also across the pieces it comes in. It holds one piece, and less than a
/// hash part of what came before.
pub struct Rewriter<'r> {
    rewrites: &'r Rewrites,
    buffer: Vec<u8>,
    /// So many bytes of the buffer were given out.
    given: usize,
}

impl<'r> Rewriter<'r> {
    /// Begins a stream.
    pub fn new(rewrites: &'r Rewrites) -> Self {
        Self { rewrites, buffer: Vec::new(), given: 0 }
    }

    /// Takes in more of it, and gives what is sure by now.
    pub fn push(&mut self, data: &[u8]) -> &[u8] {
        self.buffer.drain(..self.given);
        self.buffer.extend_from_slice(data);
        let replaced = self.rewrites.replace_in(&mut self.buffer);
        // The end may be the beginning of a hash part; what was replaced is not looked at again.
        self.given = replaced.max(self.buffer.len().saturating_sub(HASH_LEN - 1));
        &self.buffer[..self.given]
    }

    /// Gives the rest.
    pub fn finish(&mut self) -> &[u8] {
        self.buffer.drain(..self.given);
        self.given = self.buffer.len();
        &self.buffer
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_replaced_however_they_are_cut() {
        let path = |digit: &str| StorePath::from_base_name(&format!("{}-x", digit.repeat(HASH_LEN))).unwrap();
        let (a, b) = ([b'a'; HASH_LEN], [b'b'; HASH_LEN]);
        let mut rewrites = Rewrites::default();
        rewrites.replace(&path("a"), &path("b"));
        rewrites.blank(&path("b"));
        let text = [&b"xa"[..], &a, &b"-"[..], &b, &b, &b"aa"[..], &a[..HASH_LEN - 1]].concat();
        // The first `a` belongs to the part that begins there.
        let expected = [&b"x"[..], &b, &b"a-"[..], &[0; 2 * HASH_LEN], &b, &b"a"[..]].concat();
        for step in [1, 2, 7, 31, 32, 33, 64, 1000] {
            let mut rewriter = Rewriter::new(&rewrites);
            let mut output = Vec::new();
            for piece in text.chunks(step) {
                output.extend_from_slice(rewriter.push(piece));
            }
            output.extend_from_slice(rewriter.finish());
            assert_eq!(output, expected, "{step}");
        }
        let mut whole = text.clone();
        assert!(rewrites.apply(&mut whole));
        assert_eq!(whole, expected);
        assert!(!rewrites.apply(&mut b"aaa".to_vec()));
    }
}
