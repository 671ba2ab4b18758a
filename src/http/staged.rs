//! Contents that are to be sent, in memory while they are small and in a file when
//! they are not, so that a request can be sent again.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

/// Contents that are to be sent or stored.
pub enum Staged {
    /// All of it.
    Memory(Vec<u8>),
    /// A file that goes with it.
    File(NamedTempFile, u64),
    /// The same, closed: there may be more of them than a process may have open.
    Closed(TempPath, u64),
}

impl Staged {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(data) => data.len() as u64,
            Self::File(_, len) | Self::Closed(_, len) => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from `from` bytes on.
    ///
    /// # Errors
    /// Errors of the file.
    pub fn reader(&self, from: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(match self {
            Self::Memory(data) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(data.len());
                Box::new(&data[from..])
            }
            Self::File(file, _) => open_from(file.path(), from)?,
            Self::Closed(path, _) => open_from(path, from)?,
        })
    }
}

fn open_from(path: &Path, from: u64) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    Ok(Box::new(file))
}
