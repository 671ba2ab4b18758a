//! Archives of which single files are looked at, kept on this machine
//! (`local-nar-cache`).
//!
//! | file | what |
//! |---|---|
//! | `NARHASH.nar` | an archive, named by the hash of its contents in base 32 |
//! | `NARHASH.ls` | the root node of its listing, for other programs |
//!
//! The directory is shared with the reference. What lies there counts only where its
//! contents have the hash that the cache announces.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::listing::ListingText;
use super::{BinaryCache, listing};
use crate::model::{HashFormat, Hasher};
use crate::nar::input::Input;
use crate::nar::listing::Listing;
use crate::nar::writer::{FileOutput, NarWriter};
use crate::nar::{Sink, reader};
use crate::store::api::{Item, Store as _};
use crate::store::error::{Result, StoreError};
use crate::sys::{PathError, atomic, interrupt};

impl BinaryCache {
    /// Tells `sink` of the archive of a path of which files are looked at. Where the
    /// cache was opened with `local-nar-cache`, the archive is kept there.
    ///
    /// # Errors
    /// Errors of the cache, of the directory, and of the sink.
    pub(super) fn look_into_kept(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        let Some(dir) = &self.options.nar_cache else {
            return self.source(std::slice::from_ref(item))?.read(item, sink);
        };
        let name = item.info.nar_hash.digits(HashFormat::Nix32);
        let file = dir.join(format!("{name}.nar"));
        let kept = match self.kept(&file, item) {
            Ok(kept) => kept,
            Err(error) => {
                interrupt::check()?;
                self.progress.warn(&format!("'{}' is not used: {error}", file.display()));
                None
            }
        };
        let archive = match kept {
            Some(archive) => archive,
            None => self.keep(dir, &name, item)?,
        };
        Ok(reader::read(&mut Input::new(BufReader::new(archive)), sink)?)
    }

    /// The archive that lies in the directory, if it is the right one.
    fn kept(&self, path: &Path, item: &Item) -> std::result::Result<Option<File>, PathError> {
        let error = |source| PathError::new("reading", path, source);
        let mut file = match File::open(path) {
            // It was not looked at yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(error)?,
        };
        if !is_right(&mut file, item).map_err(error)? {
            let shown = path.display();
            let text = format!("'{shown}' is not the archive that the cache announces; it is replaced");
            self.progress.warn(&text);
            return Ok(None);
        }
        Ok(Some(file))
    }

    /// Fetches an archive into the directory.
    fn keep(&self, dir: &Path, name: &str, item: &Item) -> Result<File> {
        std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
        let mut scratch = tempfile::Builder::new()
            .prefix(".tmp-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(dir)
            .map_err(PathError::at("creating file in", dir))?;
        let mut archive = NarWriter::new(FileOutput::new(scratch.as_file()))?;
        self.source(std::slice::from_ref(item))?.read(item, &mut archive)?;
        archive.into_output().flush()?;
        let path = dir.join(format!("{name}.nar"));
        let error = |source| PathError::new("writing", &path, source);
        if !is_right(scratch.as_file_mut(), item).map_err(error)? {
            let found = scratch.as_file().metadata().map_err(error)?.len();
            return Err(StoreError::Mismatch {
                what: "archive",
                path: self.dir.print(&item.info.path),
                expected: format!("{} ({} bytes)", item.info.nar_hash, item.info.nar_size),
                found: format!("another one ({found} bytes)"),
            });
        }
        let mut file = scratch.persist(&path).map_err(|failed| error(failed.error))?;
        let mut listing = ListingText::new(Vec::new()).map_err(error)?;
        let mut input = Input::new(BufReader::new(&file));
        reader::read(&mut input, &mut Listing::of_archive(&mut listing, Vec::new(), usize::MAX)?)?;
        if let Some(text) = listing.finish().map_err(error)?.0
            && let Some(node) = listing::root_node(&text)
        {
            atomic::replace_file(&dir.join(format!("{name}.ls")), node, 0o644)?;
        }
        file.rewind().map_err(error)?;
        Ok(file)
    }
}

/// Whether a file is the archive of a path; it is then at its beginning.
fn is_right(file: &mut File, item: &Item) -> std::io::Result<bool> {
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() != item.info.nar_size {
        return Ok(false);
    }
    file.rewind()?;
    let mut hashed = Hashed(Hasher::new(item.info.nar_hash.algorithm()));
    std::io::copy(file, &mut hashed)?;
    file.rewind()?;
    Ok(hashed.0.finish() == item.info.nar_hash)
}

/// Hashes what is written to it.
struct Hashed(Hasher);

impl std::io::Write for Hashed {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        interrupt::check().map_err(std::io::Error::other)?;
        self.0.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
