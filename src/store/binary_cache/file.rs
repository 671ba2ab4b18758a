//! A cache in a directory of this machine (`file://`).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::CacheError;
use super::stage::{MODE, PREFIX};
use super::transport::{Body, Presence, Transport};
use crate::http::staged::Staged;
use crate::model::store_path::HASH_LEN;
use crate::store::compression::Compression;
use crate::sys::threads::locked;
use crate::sys::writeback::Ahead;
use crate::sys::{PathError, atomic};

/// The directory.
pub struct FileTransport {
    root: PathBuf,
    uri: String,
    /// Whether archives reach the disk before what names them.
    sync: bool,
    /// Whether the umask takes bits away from new files.
    masked: OnceLock<bool>,
    /// The directory, open before anything is written: a process that opens it later
    /// does not hear of failures that another sync was told of.
    handle: OnceLock<File>,
    ahead: Mutex<Ahead>,
}

impl FileTransport {
    /// The cache at `root`, which need not be there.
    pub fn open(root: PathBuf, uri: String, sync: bool) -> Self {
        Self { root, uri, sync, masked: OnceLock::new(), handle: OnceLock::new(), ahead: Mutex::default() }
    }
}

/// Removes what killed processes of ours left a day ago or earlier.
fn remove_abandoned(dir: &Path) {
    const AGE: Duration = Duration::from_secs(24 * 3600);
    let user = rustix::process::geteuid().as_raw();
    let old = |entry: &std::fs::DirEntry| {
        let named = entry.file_name().to_str().is_some_and(is_of_ours);
        let Some(meta) = named.then(|| entry.metadata().ok()).flatten() else { return false };
        let age = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        meta.is_file() && meta.uid() == user && age.is_some_and(|age| age > AGE)
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(old) {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// Whether a file is named as ours are that have not been stored yet: after an
/// archive, or at random.
fn is_of_ours(name: &str) -> bool {
    const RANDOM: usize = 6;
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let (stem, suffix) = rest.split_once('.').unwrap_or((rest, ""));
    let is_plain = stem.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_archive = stem.len() == 52 && (suffix == "nar" || suffix.starts_with("nar."));
    is_plain && (is_archive || stem.len() == RANDOM && suffix.is_empty())
}

impl FileTransport {
    /// A complete file beside its place.
    fn aside(&self, name: &str, data: &[u8]) -> Result<NamedTempFile, CacheError> {
        let path = self.root.join(name);
        let dir = path.parent().unwrap_or(&self.root);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).permissions(std::fs::Permissions::from_mode(MODE));
        let make = || builder.tempfile_in(dir);
        let error = |operation| PathError::at(operation, &path);
        let mut file = match make() {
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
                make()
            }
            made => made,
        }
        .map_err(error("creating file"))?;
        file.write_all(data).map_err(error("writing file"))?;
        self.unmask(&file, &path)?;
        Ok(file)
    }

    /// Readable by all, whatever the umask says: as the reference does.
    fn unmask(&self, file: &NamedTempFile, path: &Path) -> Result<(), PathError> {
        let masked =
            || file.as_file().metadata().map_or(true, |meta| meta.permissions().mode() & 0o777 != MODE);
        if *self.masked.get_or_init(masked) {
            let mode = std::fs::Permissions::from_mode(MODE);
            file.as_file().set_permissions(mode).map_err(PathError::at("changing mode of", path))?;
        }
        Ok(())
    }

    /// Gives a complete file its name.
    fn store(&self, name: &str, data: Staged) -> Result<(), CacheError> {
        let path = self.root.join(name);
        let aside = match data {
            Staged::Memory(data) => self.aside(name, &data)?.into_temp_path(),
            Staged::Closed(aside, _) => aside,
            // Stays open, and with that locked, until it has its name.
            Staged::File(file, _) => {
                self.unmask(&file, &path)?;
                let renamed = file.persist(&path).map(drop);
                return Ok(renamed.map_err(|e| PathError::new("renaming file to", &path, e.error))?);
            }
        };
        Ok(aside.persist(&path).map_err(|e| PathError::new("renaming file to", &path, e.error))?)
    }

    fn sync(&self) -> Result<(), CacheError> {
        if self.sync
            && let Some(handle) = self.handle.get()
        {
            let synced = rustix::fs::syncfs(handle);
            synced.map_err(PathError::at("syncing the file system of", &self.root))?;
        }
        Ok(())
    }

    /// A file was stored that will be synced.
    fn wrote(&self) {
        if self.sync
            && let Some(handle) = self.handle.get()
        {
            locked(&self.ahead).wrote(handle.as_fd());
        }
    }
}

impl Transport for FileTransport {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn missing(&self) -> Option<&'static str> {
        // One that can only be read has what it has.
        (!self.root.is_dir()).then_some("there is no such directory")
    }

    fn make(&self) -> Result<(), CacheError> {
        if self.handle.get().is_some() {
            return Ok(());
        }
        for dir in ["nar", "log", "realisations"] {
            let dir = self.root.join(dir);
            if !dir.is_dir() {
                std::fs::create_dir_all(&dir).map_err(PathError::at("creating directory", &dir))?;
            }
        }
        remove_abandoned(&self.root);
        remove_abandoned(&self.root.join("nar"));
        let handle = File::open(&self.root).map_err(PathError::at("opening directory", &self.root))?;
        let _ = self.handle.set(handle);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Presence, CacheError> {
        let path = self.root.join(name);
        match std::fs::metadata(&path) {
            Ok(meta) => Ok(Presence::Present(Some(meta.len()))),
            Err(error) if is_absent(&error) => Ok(Presence::Absent),
            Err(error) => Err(PathError::new("getting status of", path, error).into()),
        }
    }

    fn get(&self, name: &str, from: u64) -> Result<Option<Body>, CacheError> {
        let path = self.root.join(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(PathError::new("opening file", path, error).into()),
        };
        let meta = file.metadata().map_err(PathError::at("getting status of", &path))?;
        if !meta.is_file() {
            let error = io::Error::other("it is not a regular file");
            return Err(PathError::new("opening file", path, error).into());
        }
        if from > 0 {
            file.seek(SeekFrom::Start(from)).map_err(PathError::at("reading file", &path))?;
        }
        Ok(Some(Body { len: Some(meta.len().saturating_sub(from)), reader: Box::new(file) }))
    }

    fn put_encoded(
        &self,
        name: &str,
        _content_type: &'static str,
        _coding: Compression,
        data: Staged,
    ) -> Result<(), CacheError> {
        self.store(name, data)?;
        self.wrote();
        Ok(())
    }

    fn prepare(&self, name: &str, data: Vec<u8>) -> Result<Staged, CacheError> {
        let aside = self.aside(name, &data)?.into_temp_path();
        self.wrote();
        Ok(Staged::Closed(aside, data.len() as u64))
    }

    /// One sync serves all of them, and whatever was stored before.
    fn put_all(&self, files: Vec<(String, Staged)>, _coding: Compression) -> Result<(), CacheError> {
        self.sync()?;
        files.into_iter().try_for_each(|(name, data)| self.store(&name, data))?;
        if self.sync { Ok(atomic::sync_dir(&self.root)?) } else { Ok(()) }
    }

    fn gathers(&self) -> bool {
        true
    }

    fn staging(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn parallel(&self) -> usize {
        crate::sys::threads::cores()
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn hash_parts(&self) -> Result<Option<Vec<String>>, CacheError> {
        let error = |error| PathError::new("cannot read directory", &self.root, error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            let part = name.to_str().and_then(|name| name.strip_suffix(".narinfo"));
            found.extend(part.filter(|part| is_hash_part(part)).map(str::to_owned));
        }
        found.sort_unstable();
        Ok(Some(found))
    }
}

fn is_hash_part(text: &str) -> bool {
    text.len() == HASH_LEN && crate::model::StorePath::from_base_name(&format!("{text}-x")).is_ok()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a small file whole; longer ones are refused.
///
/// # Errors
/// Errors of reading.
pub fn read_small(body: Body, most: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    if body.reader.take(most + 1).read_to_end(&mut data)? as u64 > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::is_of_ours;

    #[test]
    fn names_of_what_is_not_stored_yet() {
        let hash = "1".repeat(52);
        for ours in [".tmp-aB3dE6", &format!(".tmp-{hash}.nar"), &format!(".tmp-{hash}.nar.xz")] {
            assert!(is_of_ours(ours), "{ours}");
        }
        for other in
            [".tmp-", ".tmp-notes.txt", ".tmp-backups", "aB3dE6", &format!(".tmp-{hash}"), ".tmp-a.nar"]
        {
            assert!(!is_of_ours(other), "{other}");
        }
    }
}
