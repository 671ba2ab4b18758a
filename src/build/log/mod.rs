//! What a builder prints: the bytes go into a file as they come, the lines to whoever watches.

mod file;
mod lines;
mod messages;

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::progress::{ActivityId, Progress};
use crate::sys::PathError;
use file::LogFile;
use lines::Lines;

/// What is kept of a log. Made by `default()`: nothing.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LogOptions {
    /// The file, in a directory that is made if need be; `None` to keep none.
    pub file: Option<PathBuf>,
    /// Whether the file is compressed by bzip2; its name is as given all the same.
    pub compress: bool,
    /// The number of lines that are remembered for errors.
    pub tail: usize,
}

/// Takes what a builder prints.
pub struct LogWriter {
    file: Option<LogFile>,
    lines: Lines,
}

impl LogWriter {
    /// Begins a log; a file that is there is replaced.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn create(options: &LogOptions) -> Result<Self, PathError> {
        let file = match &options.file {
            Some(path) => Some(LogFile::create(path, options.compress)?),
            None => None,
        };
        Ok(Self { file, lines: Lines::new(options.tail) })
    }

    /// Takes more of the output; lines that end in it are told.
    ///
    /// # Errors
    /// Errors of writing the file.
    pub fn write(
        &mut self,
        bytes: &[u8],
        told: &dyn Progress,
        activity: ActivityId,
    ) -> Result<(), PathError> {
        // What cannot be kept is shown all the same.
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write(bytes));
        self.lines.take(bytes, told, activity);
        written
    }

    /// Ends the log; a last line without an end is told.
    ///
    /// # Errors
    /// Errors of writing the file.
    pub fn finish(&mut self, told: &dyn Progress, activity: ActivityId) -> Result<(), PathError> {
        self.lines.finish(told, activity);
        self.file.take().map_or(Ok(()), LogFile::finish)
    }

    /// The last lines, as many as were asked for.
    pub fn tail(&self) -> &VecDeque<String> {
        self.lines.tail()
    }
}
