//! What came of a large download that was interrupted, so that the next try
//! goes on from there, also after the process was killed.
//!
//! ```text
//! CACHEHOME/partial-downloads/FILEHASH    the first bytes of that file
//! ```
//!
//! Only files whose hash is known are kept, and the hash is checked when the
//! file is complete, so that wrong bytes cannot survive.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::model::{Hash, HashFormat};
use crate::sys::lock::{self, LockKind};

/// Smaller files are asked for again.
pub const WORTH_KEEPING: u64 = 16 << 20;
/// Nobody comes back for older ones.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// The first bytes of a file, while it is locked by us.
pub struct Partial {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Partial {
    /// What there is of the file with a hash; `None` where nothing can be kept,
    /// or somebody else is downloading it.
    pub fn open(cache_home: &Path, hash: &Hash, size: u64) -> Option<Self> {
        let dir = cache_home.join("partial-downloads");
        std::fs::create_dir_all(&dir).ok()?;
        remove_old(&dir);
        let path = dir.join(hash.digits(HashFormat::Nix32));
        let file = open_own(&path).ok()??;
        if !lock::try_lock(&file, &path, LockKind::Exclusive).ok()? || !lock::is_same(&file, &path) {
            return None;
        }
        let mut len = file.metadata().ok()?.len();
        // A whole file that is still here was not accepted.
        if len >= size {
            file.set_len(0).ok()?;
            len = 0;
        }
        Some(Self { file, path, len })
    }

    /// Bytes that are here.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Removes it: it is complete, or wrong.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens a file of a name that others can guess, or makes it; `None` where what is
/// there is a link, or not ours alone.
pub fn open_own(path: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(super::stage::MODE);
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    let ours = meta.is_file() && meta.nlink() == 1 && meta.uid() == rustix::process::geteuid().as_raw();
    Ok(ours.then_some(file))
}

fn remove_old(dir: &Path) {
    let old = |entry: &std::fs::DirEntry| {
        let changed = entry.metadata().and_then(|meta| meta.modified()).ok();
        changed.and_then(|time| SystemTime::now().duration_since(time).ok()).is_some_and(|age| age > KEPT_FOR)
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(old) {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// A file of which the first bytes are here and the others come.
pub struct Continued {
    partial: Option<Partial>,
    /// Bytes read from the beginning of what is here.
    read: u64,
    rest: Box<dyn Read + Send>,
}

impl Continued {
    /// What is here, then `rest`.
    ///
    /// # Errors
    /// Errors of the file.
    pub fn new(mut partial: Partial, rest: Box<dyn Read + Send>) -> io::Result<Self> {
        partial.file.seek(SeekFrom::Start(0))?;
        Ok(Self { partial: Some(partial), read: 0, rest })
    }

    /// Removes what is here.
    pub fn remove(&mut self) {
        if let Some(partial) = self.partial.take() {
            partial.remove();
        }
    }
}

impl Read for Continued {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(partial) = &mut self.partial
            && self.read < partial.len
        {
            let most = usize::try_from(partial.len - self.read).unwrap_or(usize::MAX).min(buffer.len());
            let count = partial.file.read(&mut buffer[..most])?;
            if count == 0 && most > 0 {
                return Err(io::Error::other("the part that was downloaded before became shorter"));
            }
            self.read += count as u64;
            return Ok(count);
        }
        let count = self.rest.read(buffer)?;
        if let Some(partial) = &mut self.partial
            && partial.file.write_all(&buffer[..count]).is_err()
        {
            // No room to keep it: the download goes on without.
            self.remove();
        }
        Ok(count)
    }
}
