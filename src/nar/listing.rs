//! What is in a tree or an archive, without the contents of its files.

use std::ffi::{CStr, CString};

use super::writer::{NarWriter, Output};
use super::{Contents, NarError, Sink};

/// A node of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'n> {
    /// A directory; its entries follow.
    Directory,
    /// A file.
    Regular {
        /// Whether its owner may execute it.
        executable: bool,
        /// Bytes of its contents.
        size: u64,
        /// Where its contents begin in the archive, if it lies in one.
        offset: Option<u64>,
    },
    /// A symlink.
    Symlink(&'n CStr),
}

/// Takes a listing, node by node, in the order of the archive.
pub trait Visitor {
    /// A node. Its name is empty for the root of the listing.
    ///
    /// # Errors
    /// Whatever the visitor does with it.
    fn node(&mut self, name: &CStr, node: Node<'_>) -> Result<(), NarError>;

    /// The directory told of last that has not ended yet ends.
    ///
    /// # Errors
    /// Whatever the visitor does with it.
    fn leave(&mut self) -> Result<(), NarError>;
}

/// A sink that tells a visitor of the tree at one place in what it is told.
pub struct Listing<'v, V: ?Sized> {
    visitor: &'v mut V,
    /// The names that lead to the place.
    place: Vec<Vec<u8>>,
    /// Levels of directories below the place that are told of.
    levels: usize,
    /// The name of the node that comes next.
    name: CString,
    /// Directories one stands in, and how many of them lead to the place.
    depth: usize,
    on_the_way: usize,
    /// Directories above the place, once one stands in it.
    inside: Option<usize>,
    found: bool,
    /// Writes what is read, to count bytes; `None` outside of archives.
    position: Option<NarWriter<Count>>,
}

/// Only counts.
struct Count(u64);

impl Output for Count {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.0 = self.0.saturating_add(data.len() as u64);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        self.0 = self.0.saturating_add(contents.remaining());
        Ok(())
    }
}

impl<'v, V: Visitor + ?Sized> Listing<'v, V> {
    /// The listing of a whole tree on disk, so many levels deep.
    pub fn of_tree(visitor: &'v mut V, levels: usize) -> Self {
        Self {
            visitor,
            place: Vec::new(),
            levels,
            name: CString::default(),
            depth: 0,
            on_the_way: 0,
            inside: None,
            found: false,
            position: None,
        }
    }

    /// The listing of what an archive has at `place`, so many levels deep.
    ///
    /// # Errors
    /// None in practice.
    pub fn of_archive(visitor: &'v mut V, place: Vec<Vec<u8>>, levels: usize) -> Result<Self, NarError> {
        let position = Some(NarWriter::new(Count(0))?);
        Ok(Self { place, position, ..Self::of_tree(visitor, levels) })
    }

    /// Whether there was anything at the place.
    pub fn found(&self) -> bool {
        self.found
    }

    /// Bytes of the archive up to here.
    pub fn position(&mut self) -> u64 {
        self.position.as_mut().map_or(0, |position| position.output().0)
    }

    /// Whether the next node is at the place or leads to it.
    fn leads_to_place(&self) -> bool {
        self.inside.is_none()
            && self.on_the_way == self.depth
            && match self.depth.checked_sub(1) {
                None => true,
                Some(above) => {
                    self.place.get(above).is_some_and(|name| name.as_slice() == self.name.to_bytes())
                }
            }
    }

    /// Tells the visitor of a node, if it is one to be told of.
    fn tell(&mut self, node: Node<'_>) -> Result<(), NarError> {
        if let Some(above) = self.inside {
            if self.depth - above > self.levels {
                return Ok(());
            }
            return self.visitor.node(&self.name, node);
        }
        if self.leads_to_place() && self.depth == self.place.len() {
            self.found = true;
            return self.visitor.node(c"", node);
        }
        Ok(())
    }
}

impl<V: Visitor + ?Sized> Sink for Listing<'_, V> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        if let Some(position) = &mut self.position {
            position.enter_directory()?;
        }
        self.tell(Node::Directory)?;
        if self.leads_to_place() {
            self.on_the_way += 1;
            if self.depth == self.place.len() {
                self.inside = Some(self.depth);
            }
        }
        self.depth += 1;
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        if let Some(position) = &mut self.position {
            position.entry(name)?;
        }
        self.name = name.to_owned();
        Ok(())
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        if let Some(position) = &mut self.position {
            position.leave_directory()?;
        }
        self.depth -= 1;
        self.on_the_way = self.on_the_way.min(self.depth);
        if let Some(above) = self.inside {
            if self.depth - above <= self.levels {
                self.visitor.leave()?;
            }
            if self.depth == above {
                self.inside = None;
            }
        }
        Ok(())
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let size = contents.remaining();
        let mut offset = None;
        if let Some(position) = &mut self.position {
            position.begin_regular(executable, size)?;
            let count = position.output();
            offset = Some(count.0);
            count.0 = count.0.saturating_add(size);
            position.end_regular(size)?;
        }
        self.tell(Node::Regular { executable, size, offset })
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        if let Some(position) = &mut self.position {
            position.symlink(target)?;
        }
        self.tell(Node::Symlink(target))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::nar::input::Input;
    use crate::nar::{dump, reader};

    #[derive(Default)]
    struct Lines(Vec<String>);

    impl Visitor for Lines {
        fn node(&mut self, name: &CStr, node: Node<'_>) -> Result<(), NarError> {
            let kind = match node {
                Node::Directory => "d".to_owned(),
                Node::Regular { size, offset, .. } => format!("f{size}@{}", offset.unwrap_or(0)),
                Node::Symlink(target) => format!("l{}", target.to_string_lossy()),
            };
            self.0.push(format!("{} {kind}", name.to_string_lossy()));
            Ok(())
        }

        fn leave(&mut self) -> Result<(), NarError> {
            self.0.push("up".to_owned());
            Ok(())
        }
    }

    fn list(nar: &[u8], place: &[&str], levels: usize) -> Vec<String> {
        let mut lines = Lines::default();
        let place = place.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut listing = Listing::of_archive(&mut lines, place, levels).unwrap();
        reader::read(&mut Input::new(nar), &mut listing).unwrap();
        assert_eq!(listing.found(), !lines.0.is_empty());
        lines.0
    }

    #[test]
    fn places_levels_and_offsets() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("t");
        std::fs::create_dir_all(tree.join("d/e")).unwrap();
        std::fs::write(tree.join("a"), "abcd").unwrap();
        std::fs::write(tree.join("d/e/x"), "needle").unwrap();
        std::os::unix::fs::symlink("a", tree.join("d/l")).unwrap();
        let mut writer = NarWriter::new(Vec::new()).unwrap();
        dump::walk(&tree, &mut writer).unwrap();
        let nar = writer.into_output();

        assert_eq!(list(&nar, &[], 0), [" d", "up"]);
        assert_eq!(list(&nar, &[], 1), [" d", "a f4@232", "d d", "up", "up"]);
        let needle = nar.windows(6).position(|window| window == b"needle").unwrap();
        let x = format!("x f6@{needle}");
        assert_eq!(list(&nar, &["d"], 9), [" d", "e d", x.as_str(), "up", "l la", "up"]);
        assert_eq!(list(&nar, &["d", "e", "x"], 9), [format!(" f6@{needle}")]);
        assert_eq!(list(&nar, &["d", "l"], 9), [" la"]);
        for missing in [&["e"][..], &["d", "x"], &["a", "x"], &["d", "e", "x", "y"], &["d", "l", "x"]] {
            assert!(list(&nar, missing, 9).is_empty());
        }
    }
}
