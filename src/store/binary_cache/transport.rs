//! Where the files of a binary cache lie: a directory, a web server, a bucket.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use tempfile::NamedTempFile;

use super::CacheError;
use crate::store::compression::Compression;
use crate::sys::{interrupt, writeback};

/// What is held in memory of an upload before a file is made for it.
const MEMORY: usize = 1 << 20;
/// Bytes after which the kernel is told to write what there is.
const WRITEBACK_STEP: u64 = 8 << 20;

/// A file that is being read.
pub struct Body {
    /// Its bytes.
    pub reader: Box<dyn Read + Send>,
    /// How many, where that is known.
    pub len: Option<u64>,
}

/// Whether there is a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// No.
    Absent,
    /// Yes, with so many bytes, where that is told.
    Present(Option<u64>),
}

/// The files of a cache. Names are relative to it, and checked by the caller.
pub trait Transport: Send + Sync {
    /// The cache's name in messages.
    fn uri(&self) -> &str;

    /// Its name in the user's memory of answers.
    fn key(&self) -> &str {
        self.uri()
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// [`CacheError`].
    fn find(&self, name: &str) -> Result<Presence, CacheError>;

    /// Opens a file, `from` so many bytes on; `None` if there is none.
    ///
    /// # Errors
    /// [`CacheError`].
    fn get(&self, name: &str, from: u64) -> Result<Option<Body>, CacheError>;

    /// Stores a file, whole or not at all.
    ///
    /// # Errors
    /// [`CacheError`].
    fn put(&self, name: &str, content_type: &'static str, data: Staged) -> Result<(), CacheError>;

    /// Stores several small files, of which all are durable at the end, and
    /// none has its name before everything stored earlier is.
    ///
    /// # Errors
    /// [`CacheError`].
    fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), CacheError> {
        files
            .into_iter()
            .try_for_each(|(name, data)| self.put(&name, super::NARINFO_TYPE, Staged::Memory(data)))
    }

    /// Whether [`Transport::put_all`] costs less than storing each alone.
    fn gathers(&self) -> bool {
        false
    }

    /// The directory in which uploads become files at no cost.
    fn staging(&self) -> Option<&Path> {
        None
    }

    /// Requests that are worth being under way at the same time.
    fn parallel(&self) -> usize;

    /// Whether asking takes so long that answers are worth remembering.
    fn is_remote(&self) -> bool {
        true
    }

    /// The hash parts of all paths, where they can be listed.
    ///
    /// # Errors
    /// [`CacheError`].
    fn hash_parts(&self) -> Result<Option<Vec<String>>, CacheError> {
        Ok(None)
    }
}

/// Something to be stored: in memory while it is small.
pub enum Staged {
    /// All of it.
    Memory(Vec<u8>),
    /// A file that goes with it.
    File(NamedTempFile, u64),
}

impl Staged {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(data) => data.len() as u64,
            Self::File(_, len) => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from `from` bytes on.
    ///
    /// # Errors
    /// Those of the file.
    pub fn reader(&self, from: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(match self {
            Self::Memory(data) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(data.len());
                Box::new(&data[from..])
            }
            Self::File(file, _) => {
                let mut file = File::open(file.path())?;
                file.seek(io::SeekFrom::Start(from))?;
                Box::new(file)
            }
        })
    }
}

/// Gathers an upload.
pub struct Stage<'d> {
    dir: Option<&'d Path>,
    /// Bytes that the kernel was told to write to disk; `None` if nobody will
    /// wait for that.
    begun: Option<u64>,
    memory: Vec<u8>,
    file: Option<NamedTempFile>,
    len: u64,
}

impl<'d> Stage<'d> {
    /// An empty one; files are made in `dir`, or where temporary files go, and
    /// written to disk while they grow if somebody will wait for that.
    pub fn new(dir: Option<&'d Path>, writeback: bool) -> Self {
        Self { dir, begun: writeback.then_some(0), memory: Vec::new(), file: None, len: 0 }
    }

    /// What was written.
    pub fn finish(self) -> Staged {
        match self.file {
            Some(file) => Staged::File(file, self.len),
            None => Staged::Memory(self.memory),
        }
    }
}

impl Write for Stage<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // Encoders write their rest when they are dropped.
        interrupt::check().map_err(io::Error::other)?;
        if self.file.is_none() && self.memory.len() + data.len() > MEMORY {
            let mut builder = tempfile::Builder::new();
            builder.prefix(".tmp-");
            let mut file = match self.dir {
                Some(dir) => builder.tempfile_in(dir)?,
                None => builder.tempfile()?,
            };
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(data)?,
            None => self.memory.extend_from_slice(data),
        }
        self.len += data.len() as u64;
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

/// How a server has encoded a file: nobody asked it to, but whoever stored the
/// file may have.
///
/// # Errors
/// A word about an encoding that nobody reads here.
pub fn coding(headers: &reqwest::header::HeaderMap) -> Result<Compression, String> {
    let coding = headers.get(reqwest::header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    match coding.unwrap_or_default().trim() {
        "" | "identity" => Ok(Compression::None),
        "gzip" | "x-gzip" => Ok(Compression::Gzip),
        "bzip2" => Ok(Compression::Bzip2),
        other => Compression::parse(other).ok_or_else(|| format!("its encoding '{other}' is not known")),
    }
}

/// A file without the server's encoding, which is only known from the beginning.
///
/// # Errors
/// [`CacheError`] for the rest of an encoded file.
pub fn decoded(
    body: impl Read + Send + 'static,
    len: Option<u64>,
    coding: Compression,
    from: u64,
) -> Result<Body, CacheError> {
    if coding == Compression::None {
        return Ok(Body { reader: Box::new(body), len });
    }
    if from > 0 {
        return Err(CacheError::Option(format!(
            "an encoded file ('{}') cannot be read from the middle",
            coding.name()
        )));
    }
    let reader = coding.decoder(1, body).map_err(|error| CacheError::Option(error.to_string()))?;
    Ok(Body { reader, len: None })
}
