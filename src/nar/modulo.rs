//! The hash of an archive in which a store path's own hash part is blanked out:
//! that of content-addressed paths that contain their own name.
//!
//! Every occurrence of the hash part counts as so many zero bytes.

use std::ffi::CStr;

use super::writer::{NarWriter, Output};
use super::{Contents, NarError, Sink};
use crate::model::store_path::HASH_LEN;
use crate::model::{Hash, HashAlgorithm, Hasher};
use crate::sys::interrupt;

/// Bytes read at a time of what the other sink leaves.
const STEP: usize = 128 * 1024;

/// Hashes what is written to it, with a hash part blanked out.
struct Blanking {
    hasher: Hasher,
    part: [u8; HASH_LEN],
    /// What came last, in which an occurrence may begin: shorter than one.
    held: Vec<u8>,
}

impl Blanking {
    fn update(&mut self, data: &[u8]) {
        self.held.extend_from_slice(data);
        let mut done = 0;
        let mut at = 0;
        while at + HASH_LEN <= self.held.len() {
            if self.held[at..at + HASH_LEN] == self.part {
                self.hasher.update(&self.held[done..at]);
                self.hasher.update(&[0; HASH_LEN]);
                at += HASH_LEN;
                done = at;
            } else {
                at += 1;
            }
        }
        self.hasher.update(&self.held[done..at]);
        self.held.drain(..at);
    }

    fn finish(mut self) -> Hash {
        self.hasher.update(&self.held);
        self.hasher.finish()
    }
}

impl Output for Blanking {
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

/// A sink that hashes an archive so, and lets everything through.
pub struct ModuloHasher<'s> {
    sink: &'s mut dyn Sink,
    writer: NarWriter<Blanking>,
}

impl<'s> ModuloHasher<'s> {
    /// Lets it through to `sink`; `part` is blanked out.
    ///
    /// # Errors
    /// None of its own.
    pub fn new(sink: &'s mut dyn Sink, part: &str, algorithm: HashAlgorithm) -> Result<Self, NarError> {
        let part = part.as_bytes().first_chunk::<HASH_LEN>().copied().unwrap_or([0; HASH_LEN]);
        let blanking = Blanking { hasher: Hasher::new(algorithm), part, held: Vec::new() };
        Ok(Self { sink, writer: NarWriter::new(blanking)? })
    }

    /// The hash.
    pub fn finish(self) -> Hash {
        self.writer.into_output().finish()
    }
}

impl Sink for ModuloHasher<'_> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        self.writer.enter_directory()?;
        self.sink.enter_directory()
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.writer.entry(name)?;
        self.sink.entry(name)
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        self.writer.leave_directory()?;
        self.sink.leave_directory()
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let len = contents.remaining();
        self.writer.begin_regular(executable, len)?;
        let mut seen = Seen { contents, output: self.writer.output_mut() };
        self.sink.regular(executable, &mut seen)?;
        // A sink that keeps nothing does not read.
        let mut buffer = Vec::new();
        while seen.remaining() > 0 {
            interrupt::check()?;
            buffer.resize(STEP, 0);
            seen.read(&mut buffer)?;
        }
        self.writer.end_regular(len)
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        self.writer.symlink(target)?;
        self.sink.symlink(target)
    }
}

struct Seen<'c> {
    contents: &'c mut dyn Contents,
    output: &'c mut Blanking,
}

impl Contents for Seen<'_> {
    fn remaining(&self) -> u64 {
        self.contents.remaining()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        let count = self.contents.read(buffer)?;
        self.output.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_blanked_across_pieces() {
        let part = *b"0123456789abcdfghijklmnpqrsvwxyz";
        let text = [b"0123", &part[..], b"01", &part[..], &part[..5]].concat();
        let blank = [b"0123", &[0; HASH_LEN][..], b"01", &[0; HASH_LEN][..], &part[..5]].concat();
        for step in 1..text.len() {
            let mut blanking =
                Blanking { hasher: Hasher::new(HashAlgorithm::Sha256), part, held: Vec::new() };
            text.chunks(step).for_each(|piece| blanking.update(piece));
            assert_eq!(blanking.finish(), Hash::sha256(&blank));
        }
    }
}
