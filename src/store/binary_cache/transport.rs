//! Where the files of a binary cache lie: a directory, a web server, a bucket.

use std::io::Read;
use std::path::Path;

use super::CacheError;
use crate::http::staged::Staged;
use crate::store::compression::Compression;

/// The name of the file that makes a directory a cache.
pub const CACHE_INFO: &str = "nix-cache-info";
/// The content type of `nix-cache-info`.
pub const CACHE_INFO_TYPE: &str = "text/x-nix-cache-info";
/// The content type of narinfos.
pub const NARINFO_TYPE: &str = "text/x-nix-narinfo";
/// The content type of archives.
pub const NAR_TYPE: &str = "application/x-nix-nar";
/// The content type of listings and realisations.
pub const JSON_TYPE: &str = "application/json";
/// The content type of build logs.
pub const LOG_TYPE: &str = "text/plain; charset=utf-8";

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

    /// Stores a file, whole or not at all, of which it is told that it is encoded.
    ///
    /// # Errors
    /// [`CacheError`].
    fn put_encoded(
        &self,
        name: &str,
        content_type: &'static str,
        coding: Compression,
        data: Staged,
    ) -> Result<(), CacheError>;

    /// Stores a file as it is, whole or not at all.
    ///
    /// # Errors
    /// [`CacheError`].
    fn put(&self, name: &str, content_type: &'static str, data: Staged) -> Result<(), CacheError> {
        self.put_encoded(name, content_type, Compression::None, data)
    }

    /// Makes a small file ready for [`Transport::put_all`].
    ///
    /// # Errors
    /// [`CacheError`].
    fn prepare(&self, _name: &str, data: Vec<u8>) -> Result<Staged, CacheError> {
        Ok(Staged::Memory(data))
    }

    /// Stores narinfos in this order, of which all are durable at the end, and
    /// none has its name before everything stored earlier is.
    ///
    /// # Errors
    /// [`CacheError`].
    fn put_all(&self, files: Vec<(String, Staged)>, coding: Compression) -> Result<(), CacheError> {
        let put = |(name, data): (String, _)| self.put_encoded(&name, NARINFO_TYPE, coding, data);
        files.into_iter().try_for_each(put)
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

    /// What there is nothing of, where there is no cache yet; `None` where one
    /// without a description can be read.
    fn missing(&self) -> Option<&'static str> {
        Some("it has no 'nix-cache-info' (HTTP 404)")
    }

    /// Makes ready for what is about to be stored.
    ///
    /// # Errors
    /// [`CacheError`].
    fn make(&self) -> Result<(), CacheError> {
        Ok(())
    }

    /// Whether the URL of an archive may be that of another server, or begin at
    /// the top of this one.
    fn follows_urls(&self) -> bool {
        false
    }

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

/// How a server has encoded a file: the client did not ask for it, but the file
/// may have been stored so.
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
