//! The file of a log.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bzip2::write::BzEncoder;

use crate::sys::PathError;

/// A log that is being written. It lies at its place from the beginning, so that it can be
/// followed, and so that it is there when this process is killed.
pub(super) struct LogFile {
    path: PathBuf,
    form: Form,
}

enum Form {
    Plain(BufWriter<File>),
    Compressed(BzEncoder<File>),
}

impl LogFile {
    /// Replaces what is at `path`. The log before is another file: programs that read it go on reading it.
    pub(super) fn create(path: &Path, compress: bool) -> Result<Self, PathError> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
        }
        match std::fs::remove_file(path) {
            // There was none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(PathError::at("removing", path))?,
        }
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .map_err(PathError::at("creating file", path))?;
        let form = match compress {
            true => Form::Compressed(BzEncoder::new(file, bzip2::Compression::best())),
            false => Form::Plain(BufWriter::new(file)),
        };
        Ok(Self { path: path.to_owned(), form })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), PathError> {
        match &mut self.form {
            // Whoever follows the file sees what was printed so far.
            Form::Plain(file) => file.write_all(bytes).and_then(|()| file.flush()),
            Form::Compressed(encoder) => encoder.write_all(bytes),
        }
        .map_err(PathError::at("writing file", &self.path))
    }

    pub(super) fn finish(self) -> Result<(), PathError> {
        let ended = match self.form {
            Form::Plain(file) => file.into_inner().map(drop).map_err(io::IntoInnerError::into_error),
            Form::Compressed(encoder) => encoder.finish().map(drop),
        };
        ended.map_err(PathError::at("writing file", &self.path))
    }
}
