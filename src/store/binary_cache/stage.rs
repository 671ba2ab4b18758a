//! Gathering an upload: in memory while it is small, in a file when it is not.
//!
//! In a cache that is a directory that file lies beside its place, so that it
//! becomes what is stored at no cost. That of a large archive is named after the
//! archive and survives the process:
//!
//! ```text
//! CACHE/.tmp-NARHASH.nar[.SUFFIX]    the first bytes of that file
//! ```
//!
//! The next try compares what it writes with what is there, and writes only what
//! is not; nothing is believed of it.

use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use crate::http::staged::Staged;
use crate::sys::lock::{self, LockKind};
use crate::sys::{interrupt, writeback};

/// What the names of files begin with that are not complete.
pub(super) const PREFIX: &str = ".tmp-";
/// Modes of the files of a directory: readable by all, as the reference has them.
pub(super) const MODE: u32 = 0o644;
/// What is held in memory of an upload before a file is made for it.
const MEMORY: usize = 1 << 20;
/// Bytes after which the kernel is told to write what there is.
const WRITEBACK_STEP: u64 = 8 << 20;
/// Bytes that are compared at a time.
const COMPARED: usize = 128 << 10;

/// Gathers an upload.
pub struct Stage<'d> {
    /// Where files are made; where temporary files go if there is none.
    dir: Option<&'d Path>,
    /// Bytes that the kernel was told to write to disk; `None` if nobody will
    /// wait for that.
    begun: Option<u64>,
    memory: Vec<u8>,
    file: Option<NamedTempFile>,
    len: u64,
    /// What the file is called, if an interruption shall leave it there.
    lasting: Option<String>,
    /// Bytes of an earlier try after `len`.
    earlier: u64,
    /// Bytes of an earlier try that were right.
    found: u64,
}

impl<'d> Stage<'d> {
    /// An empty one; files are made in `dir`, or where temporary files go, and
    /// written to disk while they grow if somebody will wait for that.
    pub fn new(dir: Option<&'d Path>, writeback: bool) -> Self {
        Self {
            dir,
            begun: writeback.then_some(0),
            memory: Vec::new(),
            file: None,
            len: 0,
            lasting: None,
            earlier: 0,
            found: 0,
        }
    }

    /// Goes on from what an earlier try left under this name, where files are
    /// made in a directory of the cache.
    #[must_use]
    pub fn lasting(mut self, name: String) -> Self {
        self.lasting = self.dir.is_some().then_some(name);
        self
    }

    /// Bytes that were there from an earlier try.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// What was written.
    ///
    /// # Errors
    /// Errors of cutting off what an earlier try left.
    pub fn finish(mut self) -> io::Result<Staged> {
        self.forget_earlier()?;
        Ok(match self.file.take() {
            Some(file) => Staged::File(file, self.len),
            None => Staged::Memory(std::mem::take(&mut self.memory)),
        })
    }

    fn create(&mut self) -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        let file = match (self.dir, &self.lasting) {
            (Some(dir), Some(name)) => match open_lasting(dir, name)? {
                Some((file, len)) => {
                    self.earlier = len;
                    file
                }
                // Somebody else is storing the same.
                None => {
                    self.lasting = None;
                    builder.permissions(std::fs::Permissions::from_mode(MODE)).tempfile_in(dir)?
                }
            },
            (Some(dir), None) => {
                builder.permissions(std::fs::Permissions::from_mode(MODE)).tempfile_in(dir)?
            }
            (None, _) => builder.tempfile()?,
        };
        self.file = Some(file);
        let memory = std::mem::take(&mut self.memory);
        self.append(&memory)
    }

    /// Writes to the file what it does not have from an earlier try.
    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        let data = &data[self.compare(data)?..];
        if data.is_empty() {
            return Ok(());
        }
        self.forget_earlier()?;
        if let Some(file) = &self.file {
            file.as_file().write_all_at(data, self.len)?;
        }
        self.len += data.len() as u64;
        Ok(())
    }

    /// How many of the bytes are there.
    fn compare(&mut self, data: &[u8]) -> io::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        let mut same = 0;
        let mut buffer = Vec::new();
        while self.earlier > 0 && same < data.len() {
            let most = usize::try_from(self.earlier).unwrap_or(usize::MAX).min(COMPARED);
            let part = &data[same..][..most.min(data.len() - same)];
            buffer.resize(part.len(), 0);
            file.as_file().read_exact_at(&mut buffer, self.len)?;
            if buffer != part {
                break;
            }
            same += part.len();
            let count = part.len() as u64;
            self.len += count;
            self.found += count;
            self.earlier -= count;
        }
        Ok(same)
    }

    fn forget_earlier(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file
            && self.earlier > 0
        {
            file.as_file().set_len(self.len)?;
            self.earlier = 0;
        }
        Ok(())
    }
}

/// The file of an earlier try, or an empty one, and its length; `None` while
/// somebody else has it.
fn open_lasting(dir: &Path, name: &str) -> io::Result<Option<(NamedTempFile, u64)>> {
    let path = dir.join(format!("{PREFIX}{name}"));
    // Not ours, or not a file.
    let Ok(Some(file)) = super::partial::open_own(&path) else { return Ok(None) };
    // Nor where the file system has no locks.
    let locked = matches!(lock::try_lock(&file, &path, LockKind::Exclusive), Ok(true));
    let meta = file.metadata()?;
    if !locked || !lock::is_same(&file, &path) {
        return Ok(None);
    }
    Ok(Some((NamedTempFile::from_parts(file, TempPath::try_from_path(path)?), meta.len())))
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.take()
            && self.lasting.is_some()
            && interrupt::requested()
        {
            let _ = file.keep();
        }
    }
}

impl Write for Stage<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // Encoders write their rest when they are dropped.
        interrupt::check().map_err(io::Error::other)?;
        if self.file.is_none() {
            if self.memory.len() + data.len() <= MEMORY {
                self.memory.extend_from_slice(data);
                self.len += data.len() as u64;
                return Ok(data.len());
            }
            self.len = 0;
            self.create()?;
        }
        self.append(data)?;
        if let (Some(file), Some(begun)) = (&self.file, &mut self.begun)
            && self.len - *begun >= WRITEBACK_STEP
        {
            writeback::begin(file.as_file().as_fd(), *begun, self.len - *begun);
            *begun = self.len;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i / 3 * 7 % 251) as u8).collect()
    }

    /// Writes in pieces of an odd size.
    fn fill(stage: &mut Stage<'_>, data: &[u8]) {
        data.chunks(70_001).for_each(|part| stage.write_all(part).unwrap());
    }

    #[test]
    fn goes_on_where_an_earlier_try_was() {
        let dir = tempfile::tempdir().unwrap();
        let data = bytes(5 << 20);
        let left = dir.path().join(".tmp-x");
        let mut other = data[..3 << 20].to_vec();
        other[(2 << 20) + 5] ^= 1;
        let longer = [data.as_slice(), b"more"].concat();
        // What was left, and how much of it is right, in bytes that are compared.
        for (earlier, right) in [
            (&[][..], 0),
            (&data[..3 << 20], 3 << 20),
            (&data[..1], 1),
            (&data, data.len()),
            (&longer, data.len()),
            (&other, 2 << 20),
        ] {
            std::fs::write(&left, earlier).unwrap();
            let mut stage = Stage::new(Some(dir.path()), false).lasting("x".to_owned());
            fill(&mut stage, &data);
            let found = usize::try_from(stage.found()).unwrap();
            assert!(found <= right && found + COMPARED > right, "{found} {right}");
            let staged = stage.finish().unwrap();
            let mut read = Vec::new();
            staged.reader(0).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == data && staged.len() == data.len() as u64);
            let Staged::File(file, _) = staged else { panic!("held in memory") };
            file.persist(dir.path().join("done")).unwrap();
            assert!(!left.exists());
        }
    }

    #[test]
    fn somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = bytes(2 << 20);
        let mut first = Stage::new(Some(dir.path()), false).lasting("x".to_owned());
        let mut second = Stage::new(Some(dir.path()), false).lasting("x".to_owned());
        first.write_all(&data).unwrap();
        second.write_all(&data).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        for stage in [first, second] {
            assert_eq!(stage.found(), 0);
            drop(stage.finish().unwrap());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_has_another_name_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        std::fs::hard_link(&precious, dir.path().join(".tmp-x")).unwrap();
        let mut stage = Stage::new(Some(dir.path()), false).lasting("x".to_owned());
        stage.write_all(&bytes(2 << 20)).unwrap();
        stage.finish().unwrap();
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join(".tmp-x")).unwrap();
        let mut stage = Stage::new(Some(dir.path()), false).lasting("x".to_owned());
        stage.write_all(&bytes(2 << 20)).unwrap();
        stage.finish().unwrap();
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
    }
}
