//! What tells a changed file from an unchanged one: what the system says of it, and the hash of its contents.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::eval::error::Error;
use crate::eval::io::FileKind;
use crate::ops::evaluate::files;

/// The time within which a file can change twice while its time of change stays the same: file systems count
/// in steps of up to two seconds.
const STEP: Duration = Duration::from_secs(2);

/// What the system says of a file. Every change of a file changes it, unless two come within one step of the
/// clock: no program can set the time of change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The file system.
    pub device: u64,
    /// The number of the file in it.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// When contents or properties changed last: seconds since 1970, and nanoseconds.
    pub changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file of which the system says this.
    pub fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the next change of the file will change the stamp, where the stamp was taken at `taken`.
    pub fn is_settled(&self, taken: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let Ok(seconds) = u64::try_from(seconds) else { return false };
        let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
        let changed = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        taken.duration_since(changed).is_ok_and(|passed| passed > STEP)
    }
}

/// A BLAKE3 hash.
pub type Digest = [u8; 32];

/// The hash of some parts, each with its length.
pub fn digest<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// A file or directory as it was seen: what it held, and how that is seen to be so still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// Its stamp, where the next change will change that.
    pub stamp: Option<Stamp>,
    /// The hash of what it holds. Without one it counts as changed once its stamp has changed.
    pub digest: Option<Digest>,
}

impl State {
    /// A state with a stamp that was taken at `taken`.
    pub fn new(stamp: Stamp, taken: SystemTime, digest: Option<Digest>) -> State {
        State { stamp: stamp.is_settled(taken).then_some(stamp), digest }
    }
}

/// The hash of a regular file, in which it counts whether it can be executed.
pub fn file_digest(metadata: &Metadata, contents: &[u8]) -> Digest {
    let executable = metadata.mode() & 0o100 != 0;
    digest([&[u8::from(executable)], contents])
}

/// The hash of a directory: the names in it and what they are.
///
/// # Errors
/// It cannot be read.
pub fn listing_digest(path: &Path) -> Result<Digest, Error> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut listing = Vec::new();
    for entry in files::entries(path)? {
        let kind = entry.file_type().map_or(FileKind::Unknown, files::kind_of);
        listing.extend_from_slice(kind.name().as_bytes());
        listing.push(0);
        listing.extend_from_slice(entry.file_name().as_bytes());
        listing.push(0);
    }
    Ok(digest([&listing[..]]))
}
