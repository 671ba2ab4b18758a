//! Taking a tree in: hashed as an archive while it is read, held in memory
//! while it is small, written to disk when it is not.
//!
//! What is held back costs no write if the path turns out to be valid already.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::model::{Hash, HashAlgorithm};
use crate::nar::hashing::HashPipe;
use crate::nar::restore::Restorer;
use crate::nar::writer::{NarWriter, Output};
use crate::nar::{Contents, NarError, Sink};
use crate::progress::Progress;
use crate::sys::interrupt;

/// Bytes of a tree that are held in memory at most.
pub const HELD: usize = 12 << 20;
/// What a node costs beside its texts.
const NODE: usize = 64;
/// Bytes that are read at a time into memory: never more ahead of the data.
const STEP: usize = 256 * 1024;

/// The hashes made of an archive on its way.
pub struct Hashes {
    sha256: HashPipe,
    other: Option<HashPipe>,
}

impl Hashes {
    /// SHA-256, and another algorithm where one is asked for; the watcher is
    /// told of the bytes.
    pub fn new(other: Option<HashAlgorithm>, watcher: Arc<dyn Progress>) -> Self {
        Self {
            sha256: HashPipe::new(HashAlgorithm::Sha256).watched(watcher),
            other: other.filter(|algorithm| *algorithm != HashAlgorithm::Sha256).map(HashPipe::new),
        }
    }

    /// As [`Hashes::new`], where all cores are busy anyway.
    pub fn without_thread(other: Option<HashAlgorithm>, watcher: Arc<dyn Progress>) -> Self {
        Self {
            sha256: HashPipe::without_thread(HashAlgorithm::Sha256).watched(watcher),
            other: other
                .filter(|algorithm| *algorithm != HashAlgorithm::Sha256)
                .map(HashPipe::without_thread),
        }
    }

    fn filled(&mut self, count: usize) {
        if let Some(other) = &mut self.other {
            other.update(&self.sha256.room()[..count]);
        }
        self.sha256.filled(count);
    }
}

impl Output for Hashes {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.sha256.update(data);
        if let Some(other) = &mut self.other {
            other.update(data);
        }
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(self.sha256.room())?;
            self.filled(count);
        }
        Ok(())
    }
}

/// What came of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Ingested {
    /// SHA-256 of the archive.
    pub nar_hash: Hash,
    /// Bytes of the archive.
    pub nar_size: u64,
    /// The other hash of the archive, where one was asked for.
    pub other: Option<Hash>,
    /// Directories within directories.
    pub depth: usize,
}

enum Event {
    Enter,
    Entry(CString),
    Leave,
    Regular(bool, Vec<u8>),
    Symlink(CString),
}

/// Makes the place where a tree is written.
pub type Make<'m> = Box<dyn FnOnce() -> Result<Restorer, NarError> + Send + 'm>;

/// A tree in memory, or as far as it is there on disk.
pub struct Pending<'m> {
    /// Bytes that may be held.
    limit: usize,
    held: Vec<Event>,
    held_bytes: usize,
    on_disk: Option<Restorer>,
    make: Option<Make<'m>>,
}

impl Pending<'_> {
    fn hold(&mut self, event: Event, bytes: usize) -> Result<(), NarError> {
        self.held_bytes += bytes + NODE;
        self.held.push(event);
        if self.held_bytes > self.limit { self.spill().map(drop) } else { Ok(()) }
    }

    /// Writes what is held to disk.
    fn spill(&mut self) -> Result<&mut Restorer, NarError> {
        if let Some(make) = self.make.take() {
            let mut restorer = make()?;
            for event in std::mem::take(&mut self.held) {
                interrupt::check()?;
                match event {
                    Event::Enter => restorer.enter_directory()?,
                    Event::Entry(name) => restorer.entry(&name)?,
                    Event::Leave => restorer.leave_directory()?,
                    Event::Regular(executable, data) => restorer.regular(executable, &mut data.as_slice())?,
                    Event::Symlink(target) => restorer.symlink(&target)?,
                }
            }
            self.on_disk = Some(restorer);
        }
        self.on_disk.as_mut().ok_or_else(|| NarError::bad("a tree was written after an error"))
    }

    /// Bytes in memory.
    pub fn held_bytes(&self) -> usize {
        if self.on_disk.is_some() { 0 } else { self.held_bytes }
    }

    /// Makes sure that a complete tree is on disk.
    ///
    /// # Errors
    /// [`NarError`].
    pub fn write(mut self) -> Result<(), NarError> {
        self.spill().map(drop)
    }
}

/// A sink that takes a tree in.
pub struct Ingest<'m> {
    depth: usize,
    deepest: usize,
    writer: NarWriter<Hashes>,
    tree: Pending<'m>,
}

impl<'m> Ingest<'m> {
    /// Begins; `make` is called when (and if) the tree is to be written, at the
    /// latest when there are more than `limit` bytes of it.
    ///
    /// # Errors
    /// None in practice.
    pub fn new(hashes: Hashes, limit: usize, make: Make<'m>) -> Result<Self, NarError> {
        let tree = Pending { limit, held: Vec::new(), held_bytes: 0, on_disk: None, make: Some(make) };
        Ok(Self { depth: 0, deepest: 0, writer: NarWriter::new(hashes)?, tree })
    }

    /// The hashes, and the tree to be written or dropped.
    pub fn finish(self) -> (Ingested, Pending<'m>) {
        let hashes = self.writer.into_output();
        let (nar_hash, nar_size) = hashes.sha256.finish();
        let other = hashes.other.map(|pipe| pipe.finish().0);
        (Ingested { nar_hash, nar_size, other, depth: self.deepest }, self.tree)
    }
}

impl Sink for Ingest<'_> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.writer.enter_directory()?;
        match &mut self.tree.on_disk {
            Some(restorer) => restorer.enter_directory(),
            None => self.tree.hold(Event::Enter, 0),
        }
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.writer.entry(name)?;
        match &mut self.tree.on_disk {
            Some(restorer) => restorer.entry(name),
            None => self.tree.hold(Event::Entry(name.to_owned()), name.count_bytes()),
        }
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        self.depth -= 1;
        self.writer.leave_directory()?;
        match &mut self.tree.on_disk {
            Some(restorer) => restorer.leave_directory(),
            None => self.tree.hold(Event::Leave, 0),
        }
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let len = contents.remaining();
        self.writer.begin_regular(executable, len)?;
        let fits =
            usize::try_from(len).is_ok_and(|len| self.tree.held_bytes.saturating_add(len) <= self.tree.limit);
        if self.tree.on_disk.is_none() && fits {
            let mut data = Vec::new();
            while contents.remaining() > 0 {
                let start = data.len();
                let step = usize::try_from(contents.remaining()).unwrap_or(STEP).min(STEP);
                data.resize(start + step, 0);
                let count = contents.read(&mut data[start..])?;
                data.truncate(start + count);
            }
            self.writer.output().write(&data)?;
            self.writer.end_regular(len)?;
            let bytes = data.len();
            return self.tree.hold(Event::Regular(executable, data), bytes);
        }
        let restorer = self.tree.spill()?;
        let mut file = restorer.create(executable, len)?;
        let hashes = self.writer.output();
        while contents.remaining() > 0 {
            interrupt::check()?;
            let room = hashes.sha256.room();
            let count = contents.read(room)?;
            restorer.write(&mut file, &room[..count])?;
            hashes.filled(count);
        }
        restorer.finish(file)?;
        self.writer.end_regular(len)
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        self.writer.symlink(target)?;
        match &mut self.tree.on_disk {
            Some(restorer) => restorer.symlink(target),
            None => self.tree.hold(Event::Symlink(target.to_owned()), target.count_bytes()),
        }
    }
}
