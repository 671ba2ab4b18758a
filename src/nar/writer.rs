//! Tree → archive.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Contents, MAGIC, NarError, Sink};
use crate::sys::interrupt;

/// Where the bytes of an archive go.
pub trait Output {
    /// Writes a few bytes.
    ///
    /// # Errors
    /// [`NarError::Write`].
    fn write(&mut self, data: &[u8]) -> Result<(), NarError>;

    /// Writes all of a file's contents.
    ///
    /// # Errors
    /// [`NarError::Write`] and those of the contents.
    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError>;
}

/// A sink that writes the archive of what it is told.
pub struct NarWriter<O> {
    output: O,
    depth: usize,
}

impl<O: Output> NarWriter<O> {
    /// Begins an archive.
    ///
    /// # Errors
    /// [`NarError::Write`].
    pub fn new(output: O) -> Result<Self, NarError> {
        let mut writer = Self { output, depth: 0 };
        writer.token(MAGIC.as_bytes())?;
        Ok(writer)
    }

    /// The output, to be finished by the caller.
    pub fn into_output(self) -> O {
        self.output
    }

    /// The output.
    pub fn output(&mut self) -> &mut O {
        &mut self.output
    }

    fn token(&mut self, text: &[u8]) -> Result<(), NarError> {
        // Tokens are short: one write each into a buffer.
        let mut bytes = [0; 64];
        let padded = 8 + text.len().next_multiple_of(8);
        if padded <= bytes.len() {
            bytes[..8].copy_from_slice(&(text.len() as u64).to_le_bytes());
            bytes[8..8 + text.len()].copy_from_slice(text);
            return self.output.write(&bytes[..padded]);
        }
        self.output.write(&(text.len() as u64).to_le_bytes())?;
        self.output.write(text)?;
        self.padding(text.len() as u64)
    }

    fn padding(&mut self, len: u64) -> Result<(), NarError> {
        // Below 8, so it fits.
        self.output.write(&[0; 8][..(len.wrapping_neg() % 8) as usize])
    }

    fn tokens(&mut self, tokens: &[&str]) -> Result<(), NarError> {
        tokens.iter().try_for_each(|token| self.token(token.as_bytes()))
    }

    /// What it writes to, for the contents of a file.
    pub(super) fn output_mut(&mut self) -> &mut O {
        &mut self.output
    }

    /// The head of a file of `len` bytes, up to its contents.
    ///
    /// # Errors
    /// [`NarError::Write`].
    pub fn begin_regular(&mut self, executable: bool, len: u64) -> Result<(), NarError> {
        self.tokens(&["(", "type", "regular"])?;
        if executable {
            self.tokens(&["executable", ""])?;
        }
        self.tokens(&["contents"])?;
        self.output.write(&len.to_le_bytes())
    }

    /// What follows the `len` bytes of a file's contents.
    ///
    /// # Errors
    /// [`NarError::Write`].
    pub fn end_regular(&mut self, len: u64) -> Result<(), NarError> {
        self.padding(len)?;
        self.end_node()
    }

    /// Closes the node, and the entry it is of.
    fn end_node(&mut self) -> Result<(), NarError> {
        self.tokens(if self.depth > 0 { &[")", ")"] } else { &[")"] })
    }
}

impl<O: Output> Sink for NarWriter<O> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        self.depth += 1;
        self.tokens(&["(", "type", "directory"])
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.tokens(&["entry", "(", "name"])?;
        self.token(name.to_bytes())?;
        self.tokens(&["node"])
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        self.depth -= 1;
        self.end_node()
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let len = contents.remaining();
        self.begin_regular(executable, len)?;
        self.output.contents(contents)?;
        self.end_regular(len)
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        self.tokens(&["(", "type", "symlink", "target"])?;
        self.token(target.to_bytes())?;
        self.end_node()
    }
}

/// Bytes gathered before they are written.
const BUFFER: usize = 128 * 1024;
/// Contents from which on the kernel copies them itself.
const KERNEL_COPY: u64 = 256 * 1024;

/// An open file, pipe, socket or terminal.
///
/// Large contents are moved by the kernel (`sendfile`) where it can.
pub struct FileOutput<'f> {
    file: &'f File,
    buffer: Vec<u8>,
    kernel_copy: bool,
}

impl<'f> FileOutput<'f> {
    /// Writes to `file`.
    pub fn new(file: &'f File) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER), kernel_copy: true }
    }

    /// Writes what is still gathered. Without this call it is lost.
    ///
    /// # Errors
    /// [`NarError::Write`].
    pub fn flush(&mut self) -> Result<(), NarError> {
        let written = write_all(self.file, &self.buffer);
        // What was not written is not written later either.
        self.buffer.clear();
        written
    }

    fn copy_in_kernel(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        self.flush()?;
        while contents.remaining() > 0 {
            interrupt::check()?;
            let Some(source) = contents.file() else { return Ok(()) };
            // A step short enough to notice a signal soon.
            let step = usize::try_from(contents.remaining()).unwrap_or(usize::MAX).min(64 << 20);
            match rustix::fs::sendfile(self.file.as_fd(), source.as_fd(), None, step) {
                // The file is shorter than announced: the ordinary read says so.
                Ok(0) => return Ok(()),
                Ok(count) => contents.taken(count as u64),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    // Not an error of writing unless a signal ended the wait.
                    interrupt::wait_writable(self.file).or_else(|error| {
                        interrupt::check()?;
                        Err(NarError::Write(error))
                    })?;
                }
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    self.kernel_copy = false;
                    return Ok(());
                }
                Err(error) => return Err(NarError::Write(error.into())),
            }
        }
        Ok(())
    }
}

fn write_all(file: &File, data: &[u8]) -> Result<(), NarError> {
    crate::sys::write_all(file, data).or_else(|error| {
        interrupt::check()?;
        Err(NarError::Write(error))
    })
}

impl Output for FileOutput<'_> {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        if self.buffer.len() + data.len() > BUFFER {
            self.flush()?;
        }
        if data.len() >= BUFFER {
            return write_all(self.file, data);
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        if self.kernel_copy && contents.remaining() >= KERNEL_COPY && contents.file().is_some() {
            self.copy_in_kernel(contents)?;
        }
        while contents.remaining() > 0 {
            interrupt::check()?;
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
            let start = self.buffer.len();
            let room = usize::try_from(contents.remaining()).unwrap_or(usize::MAX).min(BUFFER - start);
            self.buffer.resize(start + room, 0);
            let count = contents.read(&mut self.buffer[start..]);
            self.buffer.truncate(start + *count.as_ref().unwrap_or(&0));
            count?;
        }
        Ok(())
    }
}

impl Output for Vec<u8> {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.extend_from_slice(data);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        let mut buffer = [0; 8192];
        while contents.remaining() > 0 {
            let count = contents.read(&mut buffer)?;
            self.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }
}

impl<O: Output> Output for &mut O {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        (**self).write(data)
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        (**self).contents(contents)
    }
}
