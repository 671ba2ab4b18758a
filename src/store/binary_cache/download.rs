//! Reading archives from a cache. Nothing that a cache says is believed.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::partial::{self, Continued, Partial};
use super::transport::Body;
use super::{BinaryCache, CacheError};
use crate::model::{Hash, HashAlgorithm, Hasher, NarFile, StorePath};
use crate::nar::input::Input;
use crate::nar::{NarError, Sink, reader};
use crate::store::api::{Item, NarSource};
use crate::store::compression::Compression;
use crate::store::error::{Result, StoreError};
use crate::sys::threads::locked;
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

/// Reads archives, and remembers which were not stored as announced.
pub(super) struct Reader<'c> {
    cache: &'c BinaryCache,
    /// Words about them, until it is known whether the archive is right.
    odd: Mutex<HashMap<StorePath, String>>,
}

impl<'c> Reader<'c> {
    pub(super) fn new(cache: &'c BinaryCache) -> Self {
        Self { cache, odd: Mutex::default() }
    }
}

impl NarSource for Reader<'_> {
    fn read(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        let cache = self.cache;
        let Some(file) = &item.file else {
            return Err(StoreError::Missing(cache.dir.print(&item.info.path)));
        };
        let _permit = (item.info.nar_size > SMALL).then(|| cache.large.acquire());
        interrupt::check()?;
        let compression = cache.check_file(item, file)?;
        let mut stored = cache.open_nar(file)?;
        let result = cache.tell(item, file, compression, &mut stored, sink);
        if let Some(odd) = stored.odd(file) {
            locked(&self.odd).insert(item.info.path.clone(), odd);
        }
        // Complete, or such that it is no use to go on from there.
        let wrong =
            matches!(result, Err(StoreError::Cache(_) | StoreError::Mismatch { .. })) && !stored.broke;
        if result.is_ok() || wrong {
            stored.body.remove();
        }
        result
    }

    fn explain(&self, item: &Item, error: StoreError) -> StoreError {
        let odd = locked(&self.odd).remove(&item.info.path);
        match (error, odd) {
            (StoreError::Mismatch { what, path, expected, found }, Some(odd)) => {
                let url = item.file.as_ref().map(|file| self.cache.url(&file.url)).unwrap_or_default();
                StoreError::Mismatch {
                    what,
                    path,
                    expected,
                    found: format!("{found}\n       of '{url}', {odd}"),
                }
            }
            (error, _) => error,
        }
    }

    fn done(&self, item: &Item, well: bool) -> Result<()> {
        if !well {
            return Ok(());
        }
        if let Some(odd) = locked(&self.odd).remove(&item.info.path) {
            let url = item.file.as_ref().map(|file| self.cache.url(&file.url)).unwrap_or_default();
            self.cache.progress.warn(&format!("'{url}' has the right contents, but {odd}"));
        }
        Ok(())
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
        let mut found = self.transport.get(&file.url, from);
        // The server does not have that part, or not in the same way.
        let other = match &found {
            Ok(Some(Body { len: Some(len), .. })) => from.checked_add(*len) != file.size,
            Ok(_) => false,
            Err(error) => !error.is_dead() && !matches!(error, CacheError::Interrupted(_)),
        };
        if from > 0 && other {
            if let Some(kept) = kept.take() {
                kept.remove();
            }
            from = 0;
            found = self.transport.get(&file.url, 0);
        }
        let Some(Body { reader, len }) = found? else {
            let (uri, name) = (self.transport.uri().to_owned(), file.url.clone());
            return Err(CacheError::MissingFile { uri, name });
        };
        if from > 0 {
            self.progress
                .detail(&format!("continuing the download of '{}' at byte {from}", self.url(&file.url)));
        }
        let body = match kept {
            Some(kept) => Continued::new(kept, reader)
                .map(StoredBody::Kept)
                .map_err(|reason| CacheError::Read { url: self.url(&file.url), reason })?,
            None => StoredBody::Plain(reader),
        };
        // Who announces too much sends nothing more after it, and does not end.
        let announced = len.and_then(|len| from.checked_add(len));
        let enough = file.size.filter(|size| announced.is_some_and(|announced| announced > *size));
        let enough = enough.and_then(|size| Some((size, file.hash?)));
        Ok(Stored {
            body,
            hasher: Hasher::new(hash_algorithm(file)),
            read: 0,
            broke: false,
            enough,
            whole: false,
        })
    }

    /// Tells a sink of an archive.
    fn tell(
        &self,
        item: &Item,
        file: &NarFile,
        compression: Compression,
        stored: &mut Stored,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let archive = |reason: String| {
            let path = self.dir.print(&item.info.path);
            StoreError::from(CacheError::Archive { path, url: self.url(&file.url), reason })
        };
        let threads = if item.info.nar_size >= SHARED { threads::cores() } else { 1 };
        let threads = u32::try_from(threads).unwrap_or(1);
        let over = AtomicBool::new(false);
        let decoder = compression.decoder(threads, &mut *stored);
        let decoder = decoder.map_err(|reason| CacheError::Read { url: self.url(&file.url), reason })?;
        let limited = Limited { inner: decoder, left: item.info.nar_size, over: &over };
        let told = match item.info.nar_size >= LARGE && compression != Compression::None {
            true => on_two_threads(limited, |limited| parse(limited, sink)),
            false => parse(limited, sink),
        };
        if over.load(Ordering::Relaxed) {
            return Err(StoreError::Mismatch {
                what: "size",
                path: self.dir.print(&item.info.path),
                expected: item.info.nar_size.to_string(),
                found: format!("more than that (of '{}')", self.url(&file.url)),
            });
        }
        told.map_err(|error| match error {
            NarError::Read(source) => match interrupt::check() {
                Ok(()) if stored.broke => archive(format!("cannot be read: {source}")),
                Ok(()) => archive(format!("is damaged ({})", damage(compression, &source))),
                Err(interrupted) => interrupted.into(),
            },
            NarError::Bad(_) | NarError::Padding | NarError::TooLong | NarError::Eof | NarError::TooDeep => {
                archive(format!("is damaged ({error})"))
            }
            error => StoreError::from(error),
        })?;
        // Whatever comes after the archive: it is complete.
        let _ = stored.drain(file.size);
        stored.whole = true;
        Ok(())
    }

    /// Whether a narinfo names a file of this cache, in a way that we read; on the
    /// web also one of another server.
    pub(super) fn check_file(
        &self,
        item: &Item,
        file: &NarFile,
    ) -> std::result::Result<Compression, CacheError> {
        let narinfo = || format!("{}.narinfo", item.info.path.hash_part());
        let uri = || self.transport.uri().to_owned();
        // Only to a server do these mean something.
        let path = match self.transport.is_remote() {
            true => file.url.split(['?', '#']).next().unwrap_or_default(),
            false => file.url.as_str(),
        };
        let path = match self.transport.follows_urls() {
            true => below_server(path),
            false => path,
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

/// What follows the host in a URL that is absolute, and the slash at the beginning
/// of one that is of the same server.
fn below_server(path: &str) -> &str {
    let rest = match path.split_once("://") {
        Some((scheme, rest)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            rest
        }
        Some(_) => return path,
        None => match path.strip_prefix("//") {
            Some(rest) => rest,
            None => return path.strip_prefix('/').or(path.strip_prefix("./")).unwrap_or(path),
        },
    };
    // Without a host it would be refused as it stands.
    match rest.split_once('/') {
        Some((host, below)) if !host.is_empty() => below,
        _ => path,
    }
}

/// What is wrong with compressed data, without the name of a library.
fn damage(compression: Compression, error: &io::Error) -> String {
    match compression {
        Compression::None => error.to_string(),
        _ => format!("bad {} data: {error}", compression.name()),
    }
}

/// An archive, up to the size that was announced.
struct Limited<'o, R> {
    inner: R,
    left: u64,
    /// There is more.
    over: &'o AtomicBool,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            if self.inner.read(&mut [0])? > 0 {
                self.over.store(true, Ordering::Relaxed);
                return Err(io::Error::other("it is longer than announced"));
            }
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
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
        if std::thread::Builder::new().spawn_scoped(scope, interrupt::inherited(read)).is_err() {
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
    /// Size and hash of the file, where the server announces more.
    enough: Option<(u64, Hash)>,
    /// It was read to its end.
    whole: bool,
}

impl Stored {
    /// Reads what the decoder left, but not more than there should be.
    fn drain(&mut self, size: Option<u64>) -> io::Result<()> {
        let mut buffer = [0; 8192];
        let most = size.unwrap_or(self.read);
        while self.read <= most && self.read(&mut buffer)? > 0 {}
        Ok(())
    }

    /// What is not as the narinfo says.
    fn odd(&mut self, file: &NarFile) -> Option<String> {
        if !self.whole {
            return None;
        }
        if let Some(size) = file.size.filter(|size| *size != self.read) {
            return Some(format!("its FileSize is {}, and its NAR info file says {size}", self.read));
        }
        let expected = file.hash?;
        let found = std::mem::replace(&mut self.hasher, Hasher::new(hash_algorithm(file))).finish();
        (found != expected).then(|| format!("its FileHash is {found}, and its NAR info file says {expected}"))
    }

    fn is_enough(&self) -> bool {
        self.enough.is_some_and(|(size, hash)| self.read == size && self.hasher.clone().finish() == hash)
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if interrupt::requested() {
            self.broke = true;
            return Err(io::Error::other(interrupt::Interrupted));
        }
        if self.is_enough() {
            return Ok(0);
        }
        let count = self.body.read(buffer).inspect_err(|_| self.broke = true)?;
        self.hasher.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}
