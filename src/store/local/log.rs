//! Build logs.
//!
//! `LOG/drvs/HH/REST` for the derivation whose base name is `HHREST`, either
//! plain or as `.bz2`; also `LOG/drvs/HHREST`, which is only read.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{Layout, LocalStore};
use crate::model::StorePath;
use crate::store::error::{Result, StoreError};
use crate::sys::PathError;

impl LocalStore {
    /// Opens the log of a derivation, or of the derivation that made an
    /// output; `None` where there is none.
    ///
    /// # Errors
    /// Errors of the database, and of opening the file.
    pub fn open_log(&self, path: &StorePath) -> Result<Option<Box<dyn Read>>> {
        if path.is_derivation() {
            return self.layout().open_log(path);
        }
        let Some(info) = self.db().path_info(path)? else { return Ok(None) };
        match &info.deriver {
            Some(deriver) => self.layout().open_log(deriver),
            None => Ok(None),
        }
    }

    /// Keeps the log of a derivation, compressed.
    ///
    /// # Errors
    /// Errors of reading the log and of making the file.
    pub fn add_log(&self, drv: &StorePath, log: &mut dyn Read) -> Result<()> {
        self.require_writable()?;
        let (dir, rest) = drv.base_name().split_at(2);
        let dir = self.layout().log_dir.join("drvs").join(dir);
        std::fs::create_dir_all(&dir).map_err(PathError::at("creating directory", &dir))?;
        let path = dir.join(format!("{rest}.bz2"));
        let error = |operation| PathError::at(operation, &path);
        let aside = tempfile::Builder::new()
            .prefix(".tmp-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(&dir)
            .map_err(error("creating file"))?;
        let mut encoder = bzip2::write::BzEncoder::new(aside, bzip2::Compression::best());
        io::copy(log, &mut encoder).map_err(|failure| {
            match crate::sys::interrupt::is_io_error(&failure) {
                true => StoreError::Interrupted(crate::sys::interrupt::Interrupted),
                false => error("writing file")(failure).into(),
            }
        })?;
        let aside = encoder.finish().map_err(error("writing file"))?;
        aside.as_file().sync_all().map_err(error("syncing file"))?;
        aside.persist(&path).map_err(|failure| PathError::new("renaming file to", &path, failure.error))?;
        Ok(crate::sys::atomic::sync_dir(&dir)?)
    }
}

impl Layout {
    /// Where the log of a derivation is written.
    pub fn new_log(&self, drv: &StorePath, compressed: bool) -> PathBuf {
        let (dir, rest) = drv.base_name().split_at(2);
        let name = if compressed { format!("{rest}.bz2") } else { rest.to_owned() };
        self.log_dir.join("drvs").join(dir).join(name)
    }

    /// Opens the log of a derivation; `None` where there is none.
    ///
    /// # Errors
    /// Errors of opening the file.
    pub fn open_log(&self, drv: &StorePath) -> Result<Option<Box<dyn Read>>> {
        let name = drv.base_name();
        let (dir, rest) = name.split_at(2);
        let logs = self.log_dir.join("drvs");
        // Very old versions put them all into one directory.
        for plain in [logs.join(dir).join(rest), logs.join(name)] {
            if let Some(file) = open(plain.clone())? {
                return Ok(Some(Box::new(file)));
            }
            let mut compressed = plain.into_os_string();
            compressed.push(".bz2");
            if let Some(file) = open(PathBuf::from(compressed))? {
                return Ok(Some(Box::new(bzip2::read::MultiBzDecoder::new(file))));
            }
        }
        Ok(None)
    }
}

fn open(path: PathBuf) -> Result<Option<std::fs::File>> {
    match std::fs::File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PathError::new("opening file", path, error).into()),
    }
}
