//! Reading archives from a cache. Nothing that a cache says is believed.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::partial::{self, Continued, Partial};
use super::transport::Body;
use super::{BinaryCache, CacheError};
use crate::model::{Hash, HashAlgorithm, Hasher, NarFile};
use crate::nar::input::Input;
use crate::nar::{NarError, Sink, reader};
use crate::store::compression::Compression;
use crate::store::error::{Result, StoreError};
use crate::store::transfer::{Item, NarSource};
use crate::sys::{interrupt, threads};

/// Archives up to this size are not counted as large.
const SMALL: u64 = 1 << 20;
/// Archives from this size on are decompressed on a thread of their own.
const LARGE: u64 = 4 << 20;
/// Archives from this size on are decompressed by all cores, where the format
/// can be.
const SHARED: u64 = 16 << 20;
/// Bytes that it hands over at a time, and how many such pieces there are.
const PIECE: usize = 128 * 1024;
const PIECES: usize = 8;

pub(super) struct Reader<'c>(pub &'c BinaryCache);

impl NarSource for Reader<'_> {
    fn read(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        let cache = self.0;
        let Some(file) = &item.file else {
            return Err(StoreError::Missing(cache.dir.print(&item.info.path)));
        };
        let _permit = (item.info.nar_size > SMALL).then(|| cache.large.acquire());
        interrupt::check()?;
        let compression = cache.check_file(item, file)?;
        let mut stored = cache.open_nar(file)?;
        let result = cache.tell(item, file, compression, &mut stored, sink);
        // Complete, or such that it is no use to go on from there.
        let wrong = matches!(result, Err(StoreError::Cache(_))) && !stored.broke;
        if result.is_ok() || wrong {
            stored.body.remove();
        }
        result
    }
}

impl BinaryCache {
    /// The stored bytes of an archive; those of an interrupted download first.
    fn open_nar(&self, file: &NarFile) -> std::result::Result<Stored, CacheError> {
        let kept = match (&file.hash, file.size, &self.options.memory) {
            (Some(hash), Some(size), Some((home, _)))
                if self.transport.is_remote() && size > partial::WORTH_KEEPING =>
            {
                Partial::open(home, hash, size)
            }
            _ => None,
        };
        let mut kept = kept;
        let mut from = kept.as_ref().map_or(0, Partial::len);
        let found = match self.transport.get(&file.url, from) {
            // The server does not have that part, or not in the same way.
            Err(error) if from > 0 && !error.is_dead() && !matches!(error, CacheError::Interrupted(_)) => {
                if let Some(kept) = kept.take() {
                    kept.remove();
                }
                from = 0;
                self.transport.get(&file.url, 0)
            }
            found => found,
        };
        let Some(Body { reader, len }) = found? else {
            let (uri, name) = (self.transport.uri().to_owned(), file.url.clone());
            return Err(CacheError::MissingFile { uri, name });
        };
        if let (Some(len), Some(expected)) = (len, file.size)
            && from.checked_add(len) != Some(expected)
        {
            if let Some(kept) = kept {
                kept.remove();
            }
            return Err(CacheError::File {
                url: self.url(&file.url),
                field: "FileSize",
                found: from.saturating_add(len).to_string(),
                expected: expected.to_string(),
            });
        }
        if from > 0 {
            self.progress
                .detail(&format!("continuing the download of '{}' at byte {from}", self.url(&file.url)));
        }
        let body = match kept {
            Some(kept) => Continued::new(kept, reader)
                .map(StoredBody::Kept)
                .map_err(|source| CacheError::Read { url: self.url(&file.url), source })?,
            None => StoredBody::Plain(reader),
        };
        Ok(Stored { body, hasher: Hasher::new(hash_algorithm(file)), read: 0, broke: false })
    }

    /// Tells a sink of an archive, and checks that it was stored as announced.
    fn tell(
        &self,
        item: &Item,
        file: &NarFile,
        compression: Compression,
        stored: &mut Stored,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let url = self.url(&file.url);
        let failed = |source| CacheError::Read { url: url.clone(), source };
        let wrong = |field, found: String, expected: String| CacheError::File {
            url: url.clone(),
            field,
            found,
            expected,
        };
        let threads = if item.info.nar_size >= SHARED { threads::cores() } else { 1 };
        let threads = u32::try_from(threads).unwrap_or(1);
        let decoder = compression.decoder(threads, &mut *stored).map_err(failed)?;
        // One byte more than there may be tells that there is more.
        let archive = decoder.take(item.info.nar_size.saturating_add(1));
        let told = match item.info.nar_size >= LARGE && compression != Compression::None {
            true => on_two_threads(archive, |archive| parse(archive, sink)),
            false => parse(archive, sink),
        };
        told.map_err(|error| match error {
            NarError::Read(source) => match interrupt::check() {
                Ok(()) => failed(source).into(),
                Err(interrupted) => interrupted.into(),
            },
            NarError::Bad(_) | NarError::Padding | NarError::TooLong | NarError::Eof | NarError::TooDeep => {
                failed(io::Error::new(io::ErrorKind::InvalidData, error.to_string())).into()
            }
            error => StoreError::from(error),
        })?;
        stored.drain(file.size).map_err(failed)?;
        if let Some(size) = file.size
            && size != stored.read
        {
            return Err(wrong("FileSize", stored.read.to_string(), size.to_string()).into());
        }
        if let Some(expected) = file.hash {
            let hasher = std::mem::replace(&mut stored.hasher, Hasher::new(hash_algorithm(file)));
            let found = hasher.finish();
            if found != expected {
                return Err(wrong("FileHash", found.to_string(), expected.to_string()).into());
            }
        }
        Ok(())
    }
}

impl BinaryCache {
    /// Whether a narinfo names a file of this cache, in a way that we read.
    fn check_file(&self, item: &Item, file: &NarFile) -> std::result::Result<Compression, CacheError> {
        let narinfo = || format!("{}.narinfo", item.info.path.hash_part());
        let uri = || self.transport.uri().to_owned();
        // Only to a server do these mean something.
        let path = match self.transport.is_remote() {
            true => file.url.split(['?', '#']).next().unwrap_or_default(),
            false => file.url.as_str(),
        };
        let inside = !path.is_empty()
            && !path.contains("://")
            && !path.contains('\\')
            && !file.url.chars().any(|c| c.is_control() || c == ' ')
            && path
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != ".." && !hides_dots(part));
        if !inside {
            return Err(CacheError::Outside { file: narinfo(), uri: uri(), url: file.url.clone() });
        }
        Compression::parse(&file.compression).ok_or_else(|| CacheError::Compression {
            file: narinfo(),
            uri: uri(),
            name: file.compression.clone(),
        })
    }
}

/// One archive, and nothing after it.
fn parse(archive: impl Read, sink: &mut dyn Sink) -> std::result::Result<(), NarError> {
    let mut input = Input::new(archive);
    reader::read(&mut input, sink)?;
    match input.at_end()? {
        true => Ok(()),
        false => Err(NarError::bad("there is more after the end of the archive")),
    }
}

/// Reads (and decompresses) on a thread of its own what `take` reads here.
fn on_two_threads<T>(mut archive: impl Read + Send, take: impl FnOnce(Pieces) -> T) -> T {
    std::thread::scope(|scope| {
        let (sender, pieces) = sync_channel(PIECES);
        // Each piece is filled again when it was taken.
        let (used, spare) = sync_channel::<Vec<u8>>(PIECES + 1);
        let read = move || {
            loop {
                let mut piece = spare.try_recv().unwrap_or_default();
                piece.resize(PIECE, 0);
                let result = archive.read(&mut piece);
                let last = !matches!(result, Ok(count) if count > 0);
                // Nobody takes it any more.
                if sender.send(result.map(|count| (piece, count))).is_err() || last {
                    return;
                }
            }
        };
        if std::thread::Builder::new().spawn_scoped(scope, read).is_err() {
            let (failed, pieces) = sync_channel(1);
            let _ = failed.send(Err(io::Error::other("no thread can be started")));
            return take(Pieces { pieces, used, current: Vec::new(), at: 0, len: 0 });
        }
        take(Pieces { pieces, used, current: Vec::new(), at: 0, len: 0 })
    })
}

/// What a thread reads, piece by piece.
struct Pieces {
    pieces: Receiver<io::Result<(Vec<u8>, usize)>>,
    used: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    /// Bytes in the current piece.
    len: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.len {
            // It came to its end.
            let Ok(next) = self.pieces.recv() else { return Ok(0) };
            let (piece, len) = next?;
            let _ = self.used.try_send(std::mem::replace(&mut self.current, piece));
            (self.at, self.len) = (0, len);
        }
        let count = buffer.len().min(self.len - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// `%2e%2e` is `..` to a server.
fn hides_dots(part: &str) -> bool {
    let plain = part.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".." || part.to_ascii_lowercase().contains("%2f")
}

fn hash_algorithm(file: &NarFile) -> HashAlgorithm {
    file.hash.as_ref().map_or(HashAlgorithm::Sha256, Hash::algorithm)
}

enum StoredBody {
    Plain(Box<dyn Read + Send>),
    Kept(Continued),
}

impl StoredBody {
    fn remove(&mut self) {
        if let Self::Kept(kept) = self {
            kept.remove();
        }
    }
}

impl Read for StoredBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Kept(kept) => kept.read(buffer),
        }
    }
}

/// The bytes as they are stored, hashed on their way.
struct Stored {
    body: StoredBody,
    hasher: Hasher,
    read: u64,
    /// The rest did not come.
    broke: bool,
}

impl Stored {
    /// Reads what the decoder left, but not more than there should be.
    fn drain(&mut self, size: Option<u64>) -> io::Result<()> {
        let mut buffer = [0; 8192];
        let most = size.unwrap_or(self.read);
        while self.read <= most && self.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if interrupt::requested() {
            self.broke = true;
            return Err(io::Error::other(interrupt::Interrupted));
        }
        let count = self.body.read(buffer).inspect_err(|_| self.broke = true)?;
        self.hasher.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}
