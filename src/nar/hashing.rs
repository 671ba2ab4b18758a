//! Hashing on a thread of its own, so that reading, writing and hashing of one
//! stream go on at the same time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::writer::Output;
use super::{Contents, NarError};
use crate::model::{Hash, HashAlgorithm, Hasher};
use crate::progress::Progress;
use crate::sys::interrupt;

/// Bytes handed over at a time.
const CHUNK: usize = 128 * 1024;
/// Chunks under way: one being filled, one being hashed, two in between.
const CHUNKS: usize = 4;

/// A hash that is computed in the background once there is more than one chunk.
pub struct HashPipe {
    algorithm: HashAlgorithm,
    chunk: Vec<u8>,
    total: u64,
    work: Work,
    watcher: Option<Arc<dyn Progress>>,
    /// Bytes that the watcher was not told of yet.
    untold: u64,
}

enum Work {
    /// Everything so far fits in the chunk, or no thread is wanted.
    Inline(Hasher),
    Thread {
        full: SyncSender<Vec<u8>>,
        empty: Receiver<Vec<u8>>,
        worker: JoinHandle<Hasher>,
    },
    /// Threads are not wanted.
    Never(Hasher),
}

impl HashPipe {
    /// A hash with a thread of its own.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self::with(algorithm, Work::Inline(Hasher::new(algorithm)))
    }

    /// A hash computed by the caller's thread, where all cores are busy anyway.
    pub fn without_thread(algorithm: HashAlgorithm) -> Self {
        Self::with(algorithm, Work::Never(Hasher::new(algorithm)))
    }

    fn with(algorithm: HashAlgorithm, work: Work) -> Self {
        Self { algorithm, chunk: Vec::new(), total: 0, work, watcher: None, untold: 0 }
    }

    /// Tells somebody of the bytes as they are taken in.
    #[must_use]
    pub fn watched(mut self, watcher: Arc<dyn Progress>) -> Self {
        self.watcher = Some(watcher);
        self
    }

    fn tell(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.advance(std::mem::take(&mut self.untold));
        }
    }

    /// Bytes taken in.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Room for at least one byte: to be written to and then told with
    /// [`HashPipe::filled`].
    pub fn room(&mut self) -> &mut [u8] {
        if self.chunk.len() < CHUNK {
            // `total` counts what is filled; the chunk itself is always at full length.
            self.chunk.resize(CHUNK, 0);
        }
        let filled = self.filled_len();
        &mut self.chunk[filled..]
    }

    fn filled_len(&self) -> usize {
        // Chunks are handed over when full, so this is what the last one holds.
        (self.total % CHUNK as u64) as usize
    }

    /// A chunk that is full with `count` more bytes, which were written to
    /// [`HashPipe::room`] and are not told yet.
    pub fn full_with(&self, count: usize) -> Option<&[u8]> {
        (self.filled_len() + count == CHUNK).then_some(&self.chunk)
    }

    /// What was taken in after the last full chunk.
    pub fn rest(&self) -> &[u8] {
        &self.chunk[..self.filled_len()]
    }

    /// The last `count` bytes written to [`HashPipe::room`] count.
    pub fn filled(&mut self, count: usize) {
        self.total += count as u64;
        self.untold += count as u64;
        if self.untold >= CHUNK as u64 {
            self.tell();
        }
        if count > 0 && self.filled_len() == 0 {
            self.hand_over();
        }
    }

    /// Takes in more data.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = self.room();
            let count = room.len().min(data.len());
            room[..count].copy_from_slice(&data[..count]);
            self.filled(count);
            data = &data[count..];
        }
    }

    /// Passes the full chunk on and provides an empty one.
    fn hand_over(&mut self) {
        if let Work::Never(hasher) = &mut self.work {
            hasher.update(&self.chunk);
            return;
        }
        if let Work::Inline(hasher) = &mut self.work {
            let spare = std::mem::replace(hasher, Hasher::new(self.algorithm));
            self.work = start(spare);
            if let Work::Never(hasher) = &mut self.work {
                hasher.update(&self.chunk);
                return;
            }
        }
        if let Work::Thread { full, empty, .. } = &mut self.work {
            let next = empty.recv().unwrap_or_default();
            let chunk = std::mem::replace(&mut self.chunk, next);
            // The worker only ends when this side hangs up.
            let _ = full.send(chunk);
        }
    }

    /// The hash of everything taken in.
    pub fn finish(mut self) -> (Hash, u64) {
        self.tell();
        let rest = self.filled_len();
        let mut hasher = match self.work {
            Work::Inline(hasher) | Work::Never(hasher) => hasher,
            Work::Thread { full, worker, .. } => {
                drop(full);
                match worker.join() {
                    Ok(hasher) => hasher,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        };
        self.chunk.truncate(rest);
        hasher.update(&self.chunk);
        (hasher.finish(), self.total)
    }
}

fn start(mut hasher: Hasher) -> Work {
    let (full, incoming) = sync_channel::<Vec<u8>>(CHUNKS);
    let (outgoing, empty) = sync_channel::<Vec<u8>>(CHUNKS);
    for _ in 1..CHUNKS {
        // There is room for all of them.
        let _ = outgoing.send(Vec::new());
    }
    let begun = hasher.clone();
    let worker = std::thread::Builder::new().spawn(move || {
        for chunk in incoming {
            hasher.update(&chunk);
            // Nobody takes it back once the other side has finished.
            let _ = outgoing.send(chunk);
        }
        hasher
    });
    match worker {
        Ok(worker) => Work::Thread { full, empty, worker },
        // No more threads for us: slower, but the same hash.
        Err(_) => Work::Never(begun),
    }
}

impl Output for HashPipe {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.update(data);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(self.room())?;
            self.filled(count);
        }
        Ok(())
    }
}

/// Writes to another output and hashes what passes.
pub struct HashedOutput<'o, O> {
    pipe: HashPipe,
    output: &'o mut O,
}

impl<'o, O: Output> HashedOutput<'o, O> {
    /// SHA-256 of what is written to `output` from now on.
    pub fn new(output: &'o mut O) -> Self {
        Self { pipe: HashPipe::new(HashAlgorithm::Sha256), output }
    }

    /// The hash and size of what was written.
    pub fn finish(self) -> (Hash, u64) {
        self.pipe.finish()
    }
}

impl<O: Output> Output for HashedOutput<'_, O> {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.pipe.update(data);
        self.output.write(data)
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        while contents.remaining() > 0 {
            interrupt::check()?;
            let room = self.pipe.room();
            let count = contents.read(room)?;
            self.output.write(&room[..count])?;
            self.pipe.filled(count);
        }
        Ok(())
    }
}

/// Contents that are hashed while somebody reads them.
pub(crate) struct HashedContents<'c> {
    /// Where they come from.
    pub(crate) inner: &'c mut dyn Contents,
    /// Takes in what is read.
    pub(crate) hasher: &'c mut Hasher,
}

impl Contents for HashedContents<'_> {
    fn remaining(&self) -> u64 {
        self.inner.remaining()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_plain_hash_at_every_boundary() {
        let data: Vec<u8> = (0..CHUNK * 6 + 5).map(|i| (i * 7 % 251) as u8).collect();
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 4, CHUNK * 5 + 1, data.len()] {
            for mut pipe in
                [HashPipe::new(HashAlgorithm::Sha256), HashPipe::without_thread(HashAlgorithm::Sha256)]
            {
                for part in data[..len].chunks(1000) {
                    pipe.update(part);
                }
                assert_eq!(pipe.finish(), (Hash::sha256(&data[..len]), len as u64), "{len}");
            }
        }
    }
}
