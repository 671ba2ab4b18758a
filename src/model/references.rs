//! Finding store paths in contents by their hash parts.

use std::collections::{BTreeSet, HashMap};

use super::base32;
use super::store_path::{HASH_LEN, StorePath};

/// The paths that may be found.
pub struct Candidates {
    by_hash_part: HashMap<[u8; HASH_LEN], StorePath>,
}

impl Candidates {
    /// Of several paths with the same hash part only the one with the shortest
    /// name is found: the others are what somebody made beside it.
    pub fn new(paths: impl IntoIterator<Item = StorePath>) -> Self {
        let mut by_hash_part: HashMap<[u8; HASH_LEN], StorePath> = HashMap::new();
        for path in paths {
            let Some(part) = path.hash_part().as_bytes().first_chunk::<HASH_LEN>().copied() else { continue };
            let shorter = by_hash_part
                .get(&part)
                .is_none_or(|there| (path.base_name().len(), &path) < (there.base_name().len(), there));
            if shorter {
                by_hash_part.insert(part, path);
            }
        }
        Self { by_hash_part }
    }

    /// Whether the path itself can be found.
    pub fn contains(&self, path: &StorePath) -> bool {
        let part = path.hash_part().as_bytes().first_chunk::<HASH_LEN>();
        part.and_then(|part| self.by_hash_part.get(part)) == Some(path)
    }
}

/// Looks for hash parts in a stream, also across the pieces it comes in.
pub struct Scanner<'c> {
    candidates: &'c Candidates,
    found: BTreeSet<StorePath>,
    /// The last bytes of what came before, shorter than a hash part.
    tail: Vec<u8>,
}

impl<'c> Scanner<'c> {
    /// Begins a stream.
    pub fn new(candidates: &'c Candidates) -> Self {
        Self { candidates, found: BTreeSet::new(), tail: Vec::new() }
    }

    /// Takes in more of it.
    pub fn update(&mut self, data: &[u8]) {
        // What begins in the piece before.
        let seam = data.len().min(HASH_LEN - 1);
        if !self.tail.is_empty() {
            let mut joined = std::mem::take(&mut self.tail);
            joined.extend_from_slice(&data[..seam]);
            self.search(&joined);
            self.tail = joined;
        }
        self.search(data);
        if data.len() >= HASH_LEN {
            self.tail.clear();
            self.tail.extend_from_slice(&data[data.len() - (HASH_LEN - 1)..]);
        } else {
            if self.tail.is_empty() {
                self.tail.extend_from_slice(data);
            }
            let surplus = self.tail.len().saturating_sub(HASH_LEN - 1);
            self.tail.drain(..surplus);
        }
    }

    fn search(&mut self, data: &[u8]) {
        let mut at = 0;
        while let Some(window) = data.get(at..at + HASH_LEN) {
            // No hash part contains what is no digit: the search goes on after
            // the last such byte.
            if let Some(bad) = window.iter().rposition(|byte| !base32::is_digit(*byte)) {
                at += bad + 1;
                continue;
            }
            let path = window.first_chunk().and_then(|part| self.candidates.by_hash_part.get(part));
            if let Some(path) = path
                && !self.found.contains(path)
            {
                self.found.insert(path.clone());
            }
            at += 1;
        }
    }

    /// What was found.
    pub fn finish(self) -> BTreeSet<StorePath> {
        self.found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(seed: u8) -> StorePath {
        let hash: [u8; 20] = std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(i as u8 * 7));
        StorePath::from_parts(&hash, "x").unwrap()
    }

    proptest! {
        #[test]
        fn finds_what_is_there_however_it_is_cut(
            parts in prop::collection::vec((0u8..6, "[a-z./-]{0,40}"), 0..12),
            cuts in prop::collection::vec(1usize..50, 1..40),
        ) {
            let mut text = Vec::new();
            let mut expected = BTreeSet::new();
            for (seed, between) in parts {
                // Seeds from 4 on are no candidates.
                text.extend_from_slice(path(seed).hash_part().as_bytes());
                text.extend_from_slice(between.as_bytes());
                if seed < 4 {
                    expected.insert(path(seed));
                }
            }
            let candidates = Candidates::new((0..4).map(path));
            let mut scanner = Scanner::new(&candidates);
            let mut rest = &text[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                scanner.update(now);
                rest = later;
            }
            prop_assert_eq!(scanner.finish(), expected);
        }
    }
}
