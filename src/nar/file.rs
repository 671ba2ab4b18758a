//! The sink of exactly one regular file.

use std::ffi::CStr;

use super::writer::Output;
use super::{Contents, NarError, Sink};

/// Takes one file, and neither a directory nor a symlink.
pub struct OneFile<T> {
    /// Takes whether the file is executable, and its contents.
    take: T,
    /// What only a file can do or be.
    can: &'static str,
}

impl<T: FnMut(bool, &mut dyn Contents) -> Result<(), NarError>> OneFile<T> {
    /// Gives the file to `take`; an error says that only a file `can` do or be what is wanted.
    pub fn new(can: &'static str, take: T) -> Self {
        Self { take, can }
    }

    fn no_file(&self, what: &str) -> NarError {
        NarError::Sink(format!("it is a {what}, and only a file can {}", self.can).into())
    }
}

/// Lets the contents of one file through to `output`, of `limit` bytes at most.
pub fn contents_to<'o, O: Output>(
    output: &'o mut O,
    can: &'static str,
    limit: u64,
) -> impl Sink + use<'o, O> {
    OneFile::new(can, move |_, contents: &mut dyn Contents| match contents.remaining() > limit {
        true => Err(NarError::TooLong),
        false => output.contents(contents),
    })
}

impl<T: FnMut(bool, &mut dyn Contents) -> Result<(), NarError>> Sink for OneFile<T> {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        Err(self.no_file("directory"))
    }

    fn entry(&mut self, _name: &CStr) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        Ok(())
    }

    fn regular(
        &mut self,
        executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        (self.take)(executable, contents)
    }

    fn symlink(&mut self, _target: &CStr) -> std::result::Result<(), NarError> {
        Err(self.no_file("symlink"))
    }
}
