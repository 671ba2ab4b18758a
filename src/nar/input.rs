//! Reading a stream token by token and in bulk, to the exact byte.

use std::io::{self, Read};

use super::NarError;

/// Bytes read from the stream at a time.
const BUFFER: usize = 128 * 1024;

/// A buffered reader for streams of length-prefixed strings: archives, export
/// streams, protocols.
pub struct Input<R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes that may still be taken.
    allowance: u64,
}

impl<R: Read> Input<R> {
    /// A reader over `reader`, which may be read further than what is taken.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; BUFFER].into_boxed_slice(), start: 0, end: 0, allowance: u64::MAX }
    }

    /// Lets so many more bytes be taken: what comes after them is an error.
    pub fn limit(&mut self, bytes: u64) {
        self.allowance = bytes;
    }

    /// Lets no more than so many bytes be taken for now; gives how many are held
    /// back, for [`Input::allow`].
    pub fn hold_back(&mut self, bytes: u64) -> u64 {
        let rest = self.allowance.saturating_sub(bytes);
        self.allowance -= rest;
        rest
    }

    /// Lets so many bytes be taken besides those that may be taken already.
    pub fn allow(&mut self, bytes: u64) {
        self.allowance = self.allowance.saturating_add(bytes);
    }

    fn spend(&mut self, count: usize) -> Result<(), NarError> {
        match self.allowance.checked_sub(count as u64) {
            Some(left) => {
                self.allowance = left;
                Ok(())
            }
            None => Err(NarError::bad("there is more of it than was announced or is sensible")),
        }
    }

    fn fill(&mut self) -> Result<bool, NarError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let count = read(&mut self.reader, &mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count > 0)
    }

    /// Whether something was read from the stream that is not taken yet.
    pub fn has_more(&self) -> bool {
        self.start < self.end
    }

    /// What was read from the stream and is not taken yet.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the stream ends here.
    ///
    /// # Errors
    /// Errors of the stream.
    pub fn at_end(&mut self) -> Result<bool, NarError> {
        Ok(self.start == self.end && !self.fill()?)
    }

    /// Makes at least `count` (at most the buffer's size) bytes available.
    fn require(&mut self, count: usize) -> Result<(), NarError> {
        while self.end - self.start < count {
            if !self.fill()? {
                return Err(NarError::Eof);
            }
        }
        Ok(())
    }

    /// Takes exactly `count` bytes (at most 64 KiB).
    fn take(&mut self, count: usize) -> Result<&[u8], NarError> {
        self.spend(count)?;
        self.require(count)?;
        let taken = &self.buffer[self.start..self.start + count];
        self.start += count;
        Ok(taken)
    }

    /// A 64-bit little-endian number.
    ///
    /// # Errors
    /// [`NarError::Eof`] and those of the stream.
    pub fn number(&mut self) -> Result<u64, NarError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// The number that comes next, which stays to be read.
    ///
    /// # Errors
    /// See [`Input::number`].
    pub fn peek_number(&mut self) -> Result<u64, NarError> {
        let number = self.number()?;
        self.start -= 8;
        self.allowance = self.allowance.saturating_add(8);
        Ok(number)
    }

    /// A string of at most `limit` (≤ 65,000) bytes, with its padding.
    ///
    /// # Errors
    /// [`NarError::TooLong`] before anything of it is read, `Padding`, `Eof`.
    pub fn string(&mut self, limit: usize) -> Result<&[u8], NarError> {
        let len =
            usize::try_from(self.number()?).ok().filter(|len| *len <= limit).ok_or(NarError::TooLong)?;
        let padded = len.next_multiple_of(8);
        let (text, padding) = self.take(padded)?.split_at(len);
        if padding.iter().any(|b| *b != 0) {
            return Err(NarError::Padding);
        }
        Ok(text)
    }

    /// The zeros after `len` bytes of data.
    ///
    /// # Errors
    /// `Padding`, `Eof`.
    pub fn padding(&mut self, len: u64) -> Result<(), NarError> {
        // Below 8, so it fits.
        let count = (len.wrapping_neg() % 8) as usize;
        if self.take(count)?.iter().any(|b| *b != 0) { Err(NarError::Padding) } else { Ok(()) }
    }

    /// Reads up to `buffer.len()` bytes of bulk data; large reads pass by the
    /// internal buffer.
    ///
    /// # Errors
    /// [`NarError::Eof`] at the end of the stream.
    pub fn bulk(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        let count = if self.start < self.end {
            let count = buffer.len().min(self.end - self.start);
            buffer[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
            self.start += count;
            count
        } else if buffer.len() >= BUFFER / 2 {
            read(&mut self.reader, buffer)?
        } else {
            self.require(1.min(buffer.len()))?;
            let count = buffer.len().min(self.end - self.start);
            buffer[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
            self.start += count;
            count
        };
        if count == 0 && !buffer.is_empty() {
            return Err(NarError::Eof);
        }
        self.spend(count)?;
        Ok(count)
    }

    /// Passes over `count` bytes.
    ///
    /// # Errors
    /// [`NarError::Eof`] and those of the stream.
    pub fn skip(&mut self, mut count: u64) -> Result<(), NarError> {
        while count > 0 {
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(BUFFER / 2);
            let available = (self.end - self.start).clamp(1, step);
            self.take(available)?;
            count -= available as u64;
        }
        Ok(())
    }
}

fn read(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, NarError> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                crate::sys::interrupt::check()?;
            }
            result => return result.map_err(NarError::reading),
        }
    }
}
