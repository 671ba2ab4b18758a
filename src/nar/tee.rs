//! A sink that lets everything through to another one, and writes the archive of it somewhere else
//! on the way: to what hashes it or looks for something in it.

use std::ffi::CStr;

use super::writer::{NarWriter, Output};
use super::{Contents, NarError, STEP, Sink};
use crate::sys::interrupt;

/// Such a sink.
pub struct Tee<'s, O> {
    sink: &'s mut dyn Sink,
    writer: NarWriter<O>,
}

impl<'s, O: Output> Tee<'s, O> {
    /// Lets it through to `sink`, and writes the archive to `output`.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(sink: &'s mut dyn Sink, output: O) -> Result<Self, NarError> {
        Ok(Self { sink, writer: NarWriter::new(output)? })
    }

    /// The output, to be finished by the caller.
    pub fn into_output(self) -> O {
        self.writer.into_output()
    }
}

impl<O: Output> Sink for Tee<'_, O> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        self.writer.enter_directory()?;
        self.sink.enter_directory()
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.writer.entry(name)?;
        self.sink.entry(name)
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        self.writer.leave_directory()?;
        self.sink.leave_directory()
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let len = contents.remaining();
        self.writer.begin_regular(executable, len)?;
        let mut seen = Seen { contents, output: self.writer.output_mut() };
        self.sink.regular(executable, &mut seen)?;
        // A sink that keeps nothing does not read.
        let mut buffer = Vec::new();
        while seen.remaining() > 0 {
            interrupt::check()?;
            buffer.resize(STEP, 0);
            seen.read(&mut buffer)?;
        }
        self.writer.end_regular(len)
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        self.writer.symlink(target)?;
        self.sink.symlink(target)
    }
}

struct Seen<'c, O> {
    contents: &'c mut dyn Contents,
    output: &'c mut O,
}

impl<O: Output> Contents for Seen<'_, O> {
    fn remaining(&self) -> u64 {
        self.contents.remaining()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        let count = self.contents.read(buffer)?;
        self.output.write(&buffer[..count])?;
        Ok(count)
    }
}
