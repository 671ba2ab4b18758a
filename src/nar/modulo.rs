//! The hash of an archive in which hash parts of store paths count as others: that of
//! content-addressed paths that contain their own name, for which as many zero bytes count.

use super::writer::Output;
use super::{Contents, NarError, STEP};
use crate::model::rewriting::{Rewriter, Rewrites};
use crate::model::{Hash, HashAlgorithm, Hasher};
use crate::sys::interrupt;

/// Hashes what is written to it, with hash parts replaced.
pub struct ModuloHash<'r> {
    hasher: Hasher,
    rewriter: Rewriter<'r>,
}

impl<'r> ModuloHash<'r> {
    /// Begins an archive.
    pub fn new(rewrites: &'r Rewrites, algorithm: HashAlgorithm) -> Self {
        Self { hasher: Hasher::new(algorithm), rewriter: Rewriter::new(rewrites) }
    }

    /// Takes in more of it.
    pub fn update(&mut self, data: &[u8]) {
        self.hasher.update(self.rewriter.push(data));
    }

    /// The hash.
    pub fn finish(mut self) -> Hash {
        self.hasher.update(self.rewriter.finish());
        self.hasher.finish()
    }
}

impl Output for ModuloHash<'_> {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.update(data);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        let mut buffer = vec![0; STEP];
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(&mut buffer)?;
            self.update(&buffer[..count]);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::StorePath;
    use crate::model::store_path::HASH_LEN;

    #[test]
    fn parts_are_blanked_across_pieces() {
        let part = *b"0123456789abcdfghijklmnpqrsvwxyz";
        let path = StorePath::from_base_name("0123456789abcdfghijklmnpqrsvwxyz-x").unwrap();
        let mut own = Rewrites::default();
        own.blank(&path);
        let text = [b"0123", &part[..], b"01", &part[..], &part[..5]].concat();
        let blank = [b"0123", &[0; HASH_LEN][..], b"01", &[0; HASH_LEN][..], &part[..5]].concat();
        for step in 1..text.len() {
            let mut modulo = ModuloHash::new(&own, HashAlgorithm::Sha256);
            text.chunks(step).for_each(|piece| modulo.update(piece));
            assert_eq!(modulo.finish(), Hash::sha256(&blank));
        }
    }
}
