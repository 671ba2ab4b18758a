//! The hash that a content address is made of, taken while something is told of.

use super::file::OneFile;
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
            let mut hasher = Hasher::new(algorithm);
            fill(&mut OneFile::new("be hashed flat", |executable, contents: &mut dyn Contents| {
                if executable && plain {
                    return Err(NarError::Sink(
                        "it is executable, which its content address does not tell".into(),
                    ));
                }
                hash_file(sink, &mut hasher, executable, contents)
            }))?;
            Ok(Some(hasher.finish()))
        }
    }
}

/// Lets a file through to `sink` and hashes its contents.
fn hash_file(
    sink: &mut dyn Sink,
    hasher: &mut Hasher,
    executable: bool,
    contents: &mut dyn Contents,
) -> std::result::Result<(), NarError> {
    let mut hashed = HashedContents { inner: contents, hasher };
    sink.regular(executable, &mut hashed)?;
    // A sink that keeps nothing does not read.
    let mut buffer = vec![0; 128 * 1024];
    while hashed.remaining() > 0 {
        crate::sys::interrupt::check()?;
        hashed.read(&mut buffer)?;
    }
    Ok(())
}
