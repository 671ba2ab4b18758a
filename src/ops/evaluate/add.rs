//! Files and texts → store paths.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::eval::error::{Error, Kind};
use crate::eval::io::FileKind;
use crate::model::content_address::ContentReferences;
use crate::model::store_path::{HASH_BYTES, NameError, check_name};
use crate::model::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, HashFormat, StoreDir, StorePath,
};
use crate::nar::hashing::HashPipe;
use crate::nar::writer::{NarWriter, Output};
use crate::nar::{Contents, NarError, Sink, dump};
use crate::store::StoreError;
use crate::sys::interrupt;

use super::files;
use super::tree::Tree;

/// A file or tree that is to be added.
pub enum Source {
    /// Everything at a path.
    Whole(std::path::PathBuf),
    /// What a filter left.
    Filtered(Tree),
    /// What something else tells of.
    Told(Teller),
}

/// Tells a sink of a tree, as often as it is asked to.
pub type Teller = Box<dyn Fn(&mut dyn Sink) -> Result<(), NarError> + Send>;

impl Source {
    /// Tells a sink of it.
    pub fn tell(&self, sink: &mut dyn Sink) -> Result<(), NarError> {
        match self {
            Source::Whole(path) => dump::walk(path, sink),
            Source::Filtered(tree) => tree.tell(sink),
            Source::Told(tell) => tell(sink),
        }
    }

    /// The hash of its archive; with `hold` also the archive, unless it is large.
    pub fn archive_hash(&self, hold: bool) -> Result<(Hash, Option<Vec<u8>>), Error> {
        let hash = || -> Result<_, NarError> {
            let pipe = HashPipe::new(HashAlgorithm::Sha256);
            let mut writer = NarWriter::new(Holding { pipe, held: hold.then(Vec::new) })?;
            self.tell(&mut writer)?;
            let Holding { pipe, held } = writer.into_output();
            Ok((pipe.finish().0, held))
        };
        hash().map_err(of_archive)
    }
}

/// Bytes of an archive that are held in memory.
const MOST_HELD: usize = 8 << 20;

/// Hashes an archive, and holds it as long as it is small.
struct Holding {
    pipe: HashPipe,
    held: Option<Vec<u8>>,
}

fn hold(held: &mut Option<Vec<u8>>, data: &[u8]) {
    match held {
        Some(bytes) if bytes.len() + data.len() <= MOST_HELD => bytes.extend_from_slice(data),
        _ => *held = None,
    }
}

impl Output for Holding {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        hold(&mut self.held, data);
        self.pipe.write(data)
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        while contents.remaining() > 0 {
            interrupt::check()?;
            let room = self.pipe.room();
            let count = contents.read(room)?;
            hold(&mut self.held, &room[..count]);
            self.pipe.filled(count);
        }
        Ok(())
    }
}

/// The hash of the contents of a file.
pub fn flat_hash(path: &Path) -> Result<Hash, Error> {
    use std::io::Read as _;
    let mut file = match files::kind(path)? {
        Some(FileKind::Directory) => {
            return Err(Error::new("read of 4096 bytes: Is a directory"));
        }
        _ => File::open(path).map_err(|error| files::failure(path, "opening file", &error))?,
    };
    let mut pipe = HashPipe::new(HashAlgorithm::Sha256);
    loop {
        interrupt::check().map_err(|_| files::interrupted())?;
        match file.read(pipe.room()) {
            Ok(0) => return Ok(pipe.finish().0),
            Ok(count) => pipe.filled(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(files::failure(path, "reading", &error)),
        }
    }
}

/// The store path of contents with a hash.
pub fn content_path(
    dir: &StoreDir,
    name: &str,
    method: ContentAddressMethod,
    hash: Hash,
    references: BTreeSet<StorePath>,
) -> Result<StorePath, Error> {
    check_name(name).map_err(|reason| bad_name(dir, name, &hash, reason))?;
    let references = ContentReferences { others: references, itself: false };
    let path = dir.content_path(name, &ContentAddress { method, hash }, &references);
    path.map_err(|error| of_store(error.into()))
}

/// The failure for a name that no store path can have, which tells the path that it would be.
fn bad_name(dir: &StoreDir, name: &str, hash: &Hash, reason: NameError) -> Error {
    let fingerprint = format!("source:{}:{}:{name}", hash.prefixed(HashFormat::Base16), dir.as_str());
    let mut folded = [0; HASH_BYTES];
    folded.copy_from_slice(&Hash::sha256(fingerprint.as_bytes()).fold(HASH_BYTES));
    let path = StorePath::from_parts(&folded, "x");
    let part = path.as_ref().map_or("", StorePath::hash_part);
    Error::new(format!("path '{part}-{name}' is not a valid store path: {reason}"))
}

/// The text of a name.
pub fn name_text(name: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(name).map_err(|_| {
        let name = String::from_utf8_lossy(name).into_owned();
        let illegal = name.chars().find(|letter| !letter.is_ascii_alphanumeric()).unwrap_or('?');
        Error::new(NameError::BadCharacter(name, illegal).to_string())
    })
}

/// The store path that a text is.
pub fn store_path(dir: &StoreDir, path: &[u8]) -> Result<StorePath, Error> {
    let text = String::from_utf8_lossy(path);
    dir.parse(&text).map_err(|error| Error::new(error.to_string()))
}

/// A path as the bytes that the language has for it.
pub fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// The failure of reading or writing an archive.
pub fn of_archive(error: NarError) -> Error {
    of_store(StoreError::Nar(error))
}

/// The failure of a store.
pub fn of_store(error: StoreError) -> Error {
    if interrupt::requested() {
        return files::interrupted();
    }
    Error::new(error.to_string())
}

/// The exit status after contents with another hash than they should have.
const OTHER_HASH: u8 = 102;

/// The failure for files with another hash than they should have.
pub fn other_hash(message: String) -> Error {
    Error::of(Kind::World(OTHER_HASH), message)
}
