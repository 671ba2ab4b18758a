//! Build logs.
//!
//! `LOG/drvs/HH/REST` for the derivation whose base name is `HHREST`, either
//! plain or as `.bz2`.

use std::io::{self, Read};
use std::path::PathBuf;

use super::LocalStore;
use crate::model::StorePath;
use crate::store::error::Result;
use crate::sys::PathError;

impl LocalStore {
    /// Opens the log of a derivation, or of the derivation that made an
    /// output; `None` where there is none.
    ///
    /// # Errors
    /// Those of the database and of opening the file.
    pub fn open_log(&self, path: &StorePath) -> Result<Option<Box<dyn Read>>> {
        if path.is_derivation() {
            return self.open_derivation_log(path);
        }
        let Some(info) = self.db().path_info(path)? else { return Ok(None) };
        match &info.deriver {
            Some(deriver) => self.open_derivation_log(deriver),
            None => Ok(None),
        }
    }

    fn open_derivation_log(&self, drv: &StorePath) -> Result<Option<Box<dyn Read>>> {
        let (dir, rest) = drv.base_name().split_at(2);
        let plain = self.layout().log_dir.join("drvs").join(dir).join(rest);
        if let Some(file) = open(plain.clone())? {
            return Ok(Some(Box::new(file)));
        }
        let mut compressed = plain.into_os_string();
        compressed.push(".bz2");
        Ok(open(PathBuf::from(compressed))?
            .map(|file| Box::new(bzip2::read::MultiBzDecoder::new(file)) as Box<dyn Read>))
    }
}

fn open(path: PathBuf) -> Result<Option<std::fs::File>> {
    match std::fs::File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PathError::new("opening file", path, error).into()),
    }
}
