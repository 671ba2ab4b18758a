//! Why a path depends on another: the chains of references between them, and
//! the places in files where the references stand.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};

use crate::model::StorePath;
use crate::model::store_path::HASH_LEN;
use crate::nar::{Contents, NarError, Sink};
use crate::store::api::Store;
use crate::store::error::{Result, StoreError};
use crate::store::graph::{Graph, Node};
use crate::sys::interrupt;

/// How far each path of a graph is from one that it leads to.
pub struct Distances {
    target: Node,
    /// References to follow, at least; `None` where no chain leads there.
    steps: Vec<Option<u32>>,
}

impl Distances {
    /// Distances to `target` in a graph.
    pub fn to(graph: &Graph, target: Node) -> Self {
        let mut referrers: Vec<Vec<Node>> = vec![Vec::new(); graph.len()];
        for node in graph.nodes() {
            for &reference in graph.references(node) {
                referrers[reference as usize].push(node);
            }
        }
        let mut steps = vec![None; graph.len()];
        steps[target as usize] = Some(0);
        let mut next = VecDeque::from([(target, 0)]);
        while let Some((node, distance)) = next.pop_front() {
            for &referrer in &referrers[node as usize] {
                let known = &mut steps[referrer as usize];
                if known.is_none() {
                    *known = Some(distance + 1);
                    next.push_back((referrer, distance + 1));
                }
            }
        }
        Self { target, steps }
    }

    /// The path that is led to.
    pub fn target(&self) -> Node {
        self.target
    }

    /// The references of `node` that lead on to the target, the nearest first. A
    /// reference to itself counts only in the target.
    pub fn next(&self, graph: &Graph, node: Node) -> Vec<Node> {
        let mut next: Vec<(u32, Node)> = graph
            .references(node)
            .iter()
            .filter(|reference| **reference != node || node == self.target)
            .filter_map(|&reference| Some((self.steps[reference as usize]?, reference)))
            .collect();
        next.sort_unstable();
        next.into_iter().map(|(_, node)| node).collect()
    }
}

/// A place where a reference stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The file in the store path, `/` for the path itself.
    pub file: String,
    /// The target of a symlink, rather than the contents of a file.
    pub in_link: bool,
    /// What stands before the hash part: at most 32 bytes, or all of a target.
    pub before: String,
    /// What stands after it, likewise.
    pub after: String,
}

/// Bytes of a file that are shown on each side of a hash part.
const MARGIN: usize = 32;
/// Bytes that are read at a time.
const CHUNK: usize = 128 * 1024;

/// Looks for the hash parts of `wanted` in the files of a path, in the order of
/// the archive. Each file tells of each of them once; without `all` only the
/// first place of each is given. The answer has an entry for each of `wanted`.
///
/// # Errors
/// A path that is not valid, and those of reading.
pub fn occurrences(
    store: &dyn Store,
    path: &StorePath,
    wanted: &[StorePath],
    all: bool,
) -> Result<Vec<Vec<Occurrence>>> {
    let invalid = || StoreError::Invalid(store.dir().print(path));
    let item = store.items(std::slice::from_ref(path))?.pop().flatten().ok_or_else(invalid)?;
    let mut finder = Finder {
        all,
        parts: wanted.iter().enumerate().map(|(i, path)| (path.hash_part().as_bytes().to_vec(), i)).collect(),
        found: vec![Vec::new(); wanted.len()],
        names: Vec::new(),
        pending: None,
    };
    store.source(std::slice::from_ref(&item))?.read(&item, &mut finder)?;
    Ok(finder.found)
}

struct Finder {
    all: bool,
    /// Hash part → place in `found`.
    parts: HashMap<Vec<u8>, usize>,
    found: Vec<Vec<Occurrence>>,
    /// The directories that are open.
    names: Vec<CString>,
    /// The name of the next node.
    pending: Option<CString>,
}

impl Finder {
    /// The place of the first wanted hash part at or after `from` that ends
    /// before `end`, and which it is; or from where to go on.
    fn search(&self, data: &[u8], from: usize, end: usize) -> std::result::Result<(usize, usize), usize> {
        let digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let mut at = from;
        while at + HASH_LEN <= end {
            let window = &data[at..at + HASH_LEN];
            if let Some(other) = window.iter().rposition(|byte| !digit(*byte)) {
                at += other + 1;
                continue;
            }
            if let Some(&which) = self.parts.get(window) {
                return Ok((at, which));
            }
            at += 1;
        }
        Err(at)
    }

    fn wants(&self, which: usize, here: &[usize]) -> bool {
        !here.contains(&which) && (self.all || self.found[which].is_empty())
    }

    /// The name of the node that comes now.
    fn file(&mut self) -> String {
        let last = self.pending.take();
        let names: Vec<_> =
            self.names.iter().chain(&last).map(|name| name.to_string_lossy().into_owned()).collect();
        if names.is_empty() { "/".to_owned() } else { names.join("/") }
    }
}

/// As text, with a full stop in place of what cannot be shown.
fn shown(bytes: &[u8]) -> String {
    let plain = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    bytes.iter().map(plain).collect()
}

impl Sink for Finder {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        // The root has no name.
        if let Some(name) = self.pending.take() {
            self.names.push(name);
        } else {
            self.names.clear();
        }
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> std::result::Result<(), NarError> {
        self.pending = Some(name.to_owned());
        Ok(())
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        self.names.pop();
        Ok(())
    }

    fn regular(
        &mut self,
        _executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        let file = self.file();
        let mut here = Vec::new();
        let (mut data, mut at) = (Vec::new(), 0);
        while contents.remaining() > 0 {
            interrupt::check()?;
            let old = data.len();
            data.resize(old + CHUNK, 0);
            let count = contents.read(&mut data[old..])?;
            data.truncate(old + count);
            // What comes after a hash part must be there too, if anything does.
            let end = data.len() - if contents.remaining() > 0 { MARGIN.min(data.len()) } else { 0 };
            at = loop {
                let (place, which) = match self.search(&data, at, end) {
                    Ok(found) => found,
                    Err(next) => break next,
                };
                if self.wants(which, &here) {
                    here.push(which);
                    let after = place + HASH_LEN;
                    self.found[which].push(Occurrence {
                        file: file.clone(),
                        in_link: false,
                        before: shown(&data[place.saturating_sub(MARGIN)..place]),
                        after: shown(&data[after..(after + MARGIN).min(data.len())]),
                    });
                }
                at = place + HASH_LEN;
            };
            let done = at.saturating_sub(MARGIN).min(data.len());
            data.drain(..done);
            at -= done;
        }
        Ok(())
    }

    fn symlink(&mut self, target: &CStr) -> std::result::Result<(), NarError> {
        let file = self.file();
        let target = target.to_bytes();
        let (mut here, mut at) = (Vec::new(), 0);
        while let Ok((place, which)) = self.search(target, at, target.len()) {
            if self.wants(which, &here) {
                here.push(which);
                self.found[which].push(Occurrence {
                    file: file.clone(),
                    in_link: true,
                    before: String::from_utf8_lossy(&target[..place]).into_owned(),
                    after: String::from_utf8_lossy(&target[place + HASH_LEN..]).into_owned(),
                });
            }
            at = place + HASH_LEN;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn finder(part: &str) -> Finder {
        Finder {
            all: true,
            parts: HashMap::from([(part.as_bytes().to_vec(), 0)]),
            found: vec![Vec::new()],
            names: Vec::new(),
            pending: None,
        }
    }

    /// Wherever a hash part lies relative to what is read at a time, it is found
    /// once, with what is around it.
    #[test]
    fn hash_parts_are_found_at_every_boundary() {
        let part = "0123456789abcdfghijklmnpqrsvwxyz";
        for place in [0, 1, 31, 32, CHUNK - 70, CHUNK - 33, CHUNK - 32, CHUNK - 1, CHUNK, CHUNK + 5] {
            for rest in [0, 1, 31, 32, 100, CHUNK] {
                let mut data = vec![b'.'; place];
                data.extend_from_slice(part.as_bytes());
                data.extend(std::iter::repeat_n(b'-', rest));
                let mut finder = finder(part);
                finder.regular(false, &mut &data[..]).unwrap();
                let [found] = &finder.found[0][..] else { panic!("{place} {rest}: {:?}", finder.found) };
                assert_eq!((found.before.len(), found.after.len()), (place.min(32), rest.min(32)));
            }
        }
    }
}
