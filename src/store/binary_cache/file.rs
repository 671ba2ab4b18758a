//! A cache in a directory of this machine (`file://`).

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tempfile::{NamedTempFile, TempPath};

use super::CacheError;
use super::stage::{MODE, PREFIX, Staged};
use super::transport::{Body, Presence, Transport};
use crate::model::store_path::HASH_LEN;
use crate::sys::{PathError, atomic};

/// The directory.
pub struct FileTransport {
    root: PathBuf,
    uri: String,
    /// Whether archives reach the disk before what names them.
    sync: bool,
    /// Whether the umask takes bits away from new files.
    masked: OnceLock<bool>,
}

impl FileTransport {
    /// The cache at `root`; what is missing of its directories is made.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn open(root: PathBuf, uri: String, sync: bool) -> Result<Self, PathError> {
        for dir in ["nar", "log", "realisations"] {
            let dir = root.join(dir);
            if !dir.is_dir()
                && let Err(error) = std::fs::create_dir_all(&dir)
            {
                // A cache that can only be read has what it has.
                if root.join(super::CACHE_INFO).exists() {
                    break;
                }
                return Err(PathError::new("creating directory", dir, error));
            }
        }
        remove_abandoned(&root);
        remove_abandoned(&root.join("nar"));
        Ok(Self { root, uri, sync, masked: OnceLock::new() })
    }
}

/// Removes what killed processes left a day ago or earlier.
fn remove_abandoned(dir: &Path) {
    const AGE: Duration = Duration::from_secs(24 * 3600);
    let old = |entry: &std::fs::DirEntry| {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let changed = || entry.metadata().and_then(|meta| meta.modified()).ok();
        let age = || changed().and_then(|time| SystemTime::now().duration_since(time).ok());
        named && age().is_some_and(|age| age > AGE)
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(old) {
        let _ = std::fs::remove_file(entry.path());
    }
}

impl FileTransport {
    /// A complete file beside its place.
    fn aside(&self, name: &str, data: Staged) -> Result<NamedTempFile, CacheError> {
        let path = self.root.join(name);
        let dir = path.parent().unwrap_or(&self.root);
        let error = |operation| PathError::at(operation, &path);
        let file = match data {
            Staged::File(file, _) => file,
            Staged::Memory(data) => {
                let mut builder = tempfile::Builder::new();
                builder.prefix(PREFIX).permissions(std::fs::Permissions::from_mode(MODE));
                let make = || builder.tempfile_in(dir);
                let mut file = match make() {
                    Err(failure) if failure.kind() == io::ErrorKind::NotFound => {
                        std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
                        make()
                    }
                    made => made,
                }
                .map_err(error("creating file"))?;
                file.write_all(&data).map_err(error("writing file"))?;
                file
            }
        };
        let masked =
            || file.as_file().metadata().map_or(true, |meta| meta.permissions().mode() & 0o777 != MODE);
        if *self.masked.get_or_init(masked) {
            let mode = std::fs::Permissions::from_mode(MODE);
            file.as_file().set_permissions(mode).map_err(error("changing mode of"))?;
        }
        Ok(file)
    }

    fn rename(&self, aside: TempPath, name: &str) -> Result<(), CacheError> {
        let path = self.root.join(name);
        aside.persist(&path).map_err(|failure| PathError::new("renaming file to", &path, failure.error))?;
        Ok(())
    }

    fn sync(&self) -> Result<(), CacheError> {
        if !self.sync {
            return Ok(());
        }
        let root = std::fs::File::open(&self.root).map_err(PathError::at("opening directory", &self.root))?;
        rustix::fs::syncfs(root).map_err(PathError::at("syncing the file system of", &self.root))?;
        Ok(())
    }
}

impl Transport for FileTransport {
    fn uri(&self) -> &str {
        &self.uri
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
        let mut file = match std::fs::File::open(&path) {
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

    fn put(&self, name: &str, _content_type: &'static str, data: Staged) -> Result<(), CacheError> {
        let aside = self.aside(name, data)?;
        self.rename(aside.into_temp_path(), name)
    }

    /// One sync serves all of them, and whatever was stored before.
    fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), CacheError> {
        let mut asides = Vec::with_capacity(files.len());
        for (name, data) in files {
            // Closed: there may be more of them than a process may have open.
            asides.push((self.aside(&name, Staged::Memory(data))?.into_temp_path(), name));
        }
        self.sync()?;
        asides.into_iter().try_for_each(|(aside, name)| self.rename(aside, &name))?;
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
/// Those of reading.
pub fn read_small(body: Body, most: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    if body.reader.take(most + 1).read_to_end(&mut data)? as u64 > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    Ok(data)
}
