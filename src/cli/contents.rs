//! Hashes of files by their contents alone, for the programs that print them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use nival::model::{Hash, HashAlgorithm};
use nival::nar::hashing::HashPipe;
use nival::sys::{errno_text, interrupt};

/// The hash of all that a file, or a pipe, has.
pub fn hash_contents(mut file: File, path: &Path, algorithm: HashAlgorithm) -> anyhow::Result<Hash> {
    let mut pipe = HashPipe::new(algorithm);
    loop {
        interrupt::check()?;
        match file.read(pipe.room()) {
            Ok(0) => return Ok(pipe.finish().0),
            Ok(count) => pipe.filled(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => anyhow::bail!("read of '{}': {}", path.display(), errno_text(&error)),
        }
    }
}
