//! Rows whose path is nearly that of something in the store directory that has
//! no row: a letter of them is wrong. A collection would take the contents for
//! rubbish.

use std::ffi::CString;

use super::LocalStore;
use crate::model::StorePath;
use crate::model::store_path::HASH_LEN;
use crate::store::error::{Result, StoreError};
use crate::store::graph::{Graph, Node};
use crate::sys::dir;

/// Whether two names could be one of which a row has lost, gained or changed a
/// letter, or changed in the part behind the hash part, which is unique.
pub(super) fn is_near(a: &[u8], b: &[u8]) -> bool {
    // What lies beside a path and has its hash part.
    let beside = |name: &[u8]| name.ends_with(b".lock") || name.ends_with(b".chroot");
    if a == b || beside(a) || beside(b) {
        return false;
    }
    if a.len() > HASH_LEN && b.len() > HASH_LEN && a[..HASH_LEN] == b[..HASH_LEN] {
        return true;
    }
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (rest_a, rest_b) = (&a[same..], &b[same..]);
    match a.len().cmp(&b.len()) {
        std::cmp::Ordering::Equal => rest_a[1..] == rest_b[1..],
        std::cmp::Ordering::Less => *rest_a == rest_b[1..],
        std::cmp::Ordering::Greater => rest_a[1..] == *rest_b,
    }
}

impl LocalStore {
    /// Refuses to go on if one of the rows that stand for nothing may be that of
    /// one of the `strays`, which have none.
    ///
    /// # Errors
    /// [`StoreError::Misnamed`].
    pub(super) fn refuse_misnamed(
        &self,
        graph: &Graph,
        vanished: impl IntoIterator<Item = Node>,
        strays: &[CString],
    ) -> Result<()> {
        for node in vanished {
            let row = graph.base_name(node);
            if let Some(stray) = strays.iter().find(|stray| is_near(stray.to_bytes(), row.as_bytes())) {
                let dir = self.dir().as_str();
                return Err(StoreError::Misnamed {
                    present: format!("{dir}/{}", stray.to_string_lossy()),
                    row: format!("{dir}/{row}"),
                });
            }
        }
        Ok(())
    }

    /// As [`LocalStore::refuse_misnamed`], of the whole store.
    ///
    /// # Errors
    /// Errors of the database and of the file system, too.
    pub(super) fn refuse_any_misnamed(&self) -> Result<()> {
        let graph = Graph::load_names(&self.db())?;
        // It looks by itself.
        self.strays(&graph).map(drop)
    }

    /// Whether something is not on disk that has a row.
    ///
    /// # Errors
    /// Errors of the database.
    pub(super) fn any_is_gone(&self, graph: &Graph) -> Result<bool> {
        for node in graph.nodes() {
            crate::sys::interrupt::check()?;
            if std::fs::symlink_metadata(self.real_path(&graph.path(node)?)).is_err() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entries of the store directory that could be paths and are not among
    /// these, which are sorted; lock files apart.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn unregistered(&self, registered: &[&StorePath]) -> Result<Vec<StorePath>> {
        let path = &self.layout().real_store_dir;
        let handle = dir::open_dir(path)?;
        let mut found = Vec::new();
        dir::each_entry(&handle, path, |entry| -> Result<()> {
            let name = entry.file_name().to_str().map(StorePath::from_base_name);
            if let Ok(Ok(path)) = name
                && !path.base_name().ends_with(".lock")
                && registered.binary_search(&&path).is_err()
            {
                found.push(path);
            }
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_near_that_differ_in_a_letter() {
        let name = b"0123456789abcdfghijklmnpqrsvwxyz-lib";
        let near: [&[u8]; 7] = [
            b"0123456789abcdfghijklmnpqrsvwxyz-lab",
            b"0123456789abcdfghijklmnpqrsvwxyz-libs",
            b"0123456789abcdfghijklmnpqrsvwxyz-other",
            b"1123456789abcdfghijklmnpqrsvwxyz-lib",
            b"123456789abcdfghijklmnpqrsvwxyz-lib",
            b"00123456789abcdfghijklmnpqrsvwxyz-lib",
            b"0123456789abcdfghijklmnpqrsvwxyzz-lib",
        ];
        assert!(near.iter().all(|other| is_near(name, other) && is_near(other, name)));
        let far: [&[u8]; 6] = [
            name,
            b"",
            b"x",
            b"0123456789abcdfghijklmnpqrsvwxyz-lib.lock",
            b"1023456789abcdfghijklmnpqrsvwxyz-lib",
            b"fffffffffffffffffffffffffffffffff-lib",
        ];
        assert!(!far.iter().any(|other| is_near(name, other) || is_near(other, name)));
    }
}
