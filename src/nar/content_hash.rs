//! The hash that a content address is made of, taken while something is told of.

use std::ffi::CStr;

use super::git::GitHasher;
use super::hashing::HashedContents;
use super::{Contents, NarError, Sink};
use crate::model::{ContentAddressMethod, Hash, HashAlgorithm, Hasher};

/// Lets what `fill` tells of through to `sink` and gives the hash of its content
/// address; `None` where that is the hash of the archive, which `sink` makes.
/// With `plain` a file hashed by itself must not be executable.
pub fn hash_contents(
    (method, algorithm): (ContentAddressMethod, HashAlgorithm),
    plain: bool,
    sink: &mut dyn Sink,
    fill: impl FnOnce(&mut dyn Sink) -> std::result::Result<(), NarError>,
) -> std::result::Result<Option<Hash>, NarError> {
    match method {
        ContentAddressMethod::NixArchive => fill(sink).map(|()| None),
        ContentAddressMethod::Git => {
            let mut git = GitHasher::new(sink, algorithm);
            fill(&mut git)?;
            Ok(Some(git.finish()?))
        }
        ContentAddressMethod::Flat | ContentAddressMethod::Text => {
            let mut file = OneFile { sink, hasher: Hasher::new(algorithm), plain };
            fill(&mut file)?;
            Ok(Some(file.hasher.finish()))
        }
    }
}

/// Lets one regular file through and hashes its contents.
struct OneFile<'s> {
    sink: &'s mut dyn Sink,
    hasher: Hasher,
    /// It must not be executable: a flat hash does not tell.
    plain: bool,
}

impl Sink for OneFile<'_> {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        Err(NarError::Sink("it is a directory, and only a file can be hashed flat".into()))
    }

    fn entry(&mut self, _name: &CStr) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn regular(
        &mut self,
        executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        if executable && self.plain {
            return Err(NarError::Sink("it is executable, which its content address does not tell".into()));
        }
        let mut hashed = HashedContents { inner: contents, hasher: &mut self.hasher };
        self.sink.regular(executable, &mut hashed)?;
        // A sink that keeps nothing does not read.
        let mut buffer = vec![0; 128 * 1024];
        while hashed.remaining() > 0 {
            crate::sys::interrupt::check()?;
            hashed.read(&mut buffer)?;
        }
        Ok(())
    }

    fn symlink(&mut self, _target: &CStr) -> std::result::Result<(), NarError> {
        Err(NarError::Sink("it is a symlink, and only a file can be hashed flat".into()))
    }
}
