//! The sink of exactly one regular file.

use std::ffi::CStr;

use super::writer::Output;
use super::{Contents, NarError, Sink};

/// Lets the contents of one file through, of so many bytes at most.
pub struct OneFile<O> {
    /// Where the contents go.
    pub output: O,
    /// Bytes that there may be.
    pub limit: u64,
}

fn no_file(what: &str) -> NarError {
    NarError::Sink(format!("it is a {what}, and only a file can be hashed flat or be a derivation").into())
}

impl<O: Output> Sink for OneFile<O> {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        Err(no_file("directory"))
    }

    fn entry(&mut self, _name: &CStr) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn regular(
        &mut self,
        _executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        match contents.remaining() > self.limit {
            true => Err(NarError::TooLong),
            false => self.output.contents(contents),
        }
    }

    fn symlink(&mut self, _target: &CStr) -> std::result::Result<(), NarError> {
        Err(no_file("symlink"))
    }
}
