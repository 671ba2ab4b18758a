//! The alphabet of the protocols.
//!
//! ```text
//! number  = 64-bit little-endian
//! string  = number, bytes, zeros up to a multiple of 8
//! list    = number, items
//! frames  = { number > 0, so many bytes } 0
//! ```
//!
//! Every length is checked before anything is allocated, and what is allocated
//! grows with what has arrived.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use crate::model::{ContentAddress, Hash, HashAlgorithm, StoreDir, StorePath, ValidPathInfo};
use crate::nar::input::Input;
use crate::nar::writer::Output;
use crate::nar::{Contents, NarError};
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;

/// Longest path, name or other word, in bytes.
pub const MAX_WORD: usize = 8 * 1024;
/// Longest message for people.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Longest text that is a file of the store: a derivation, a manifest.
pub const MAX_TEXT: usize = 64 << 20;
/// Most items of a list.
pub const MAX_ITEMS: u64 = 16 << 20;
/// Bytes of what is said of one path at most, as of a narinfo.
const MAX_INFO: u64 = 4 << 20;
/// Bytes of all that is said before both sides know each other.
pub const MAX_HELLO: u64 = 64 * 1024;
/// Bytes of a frame, as we write them.
const FRAME: usize = 64 * 1024;

/// The reading side.
pub struct Reader<R> {
    /// What is read from.
    pub input: Input<R>,
}

impl<R: Read> Reader<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { input: Input::new(reader) }
    }

    /// A number.
    ///
    /// # Errors
    /// The end of the stream, and those of reading.
    pub fn number(&mut self) -> Result<u64> {
        Ok(self.input.number()?)
    }

    /// A number of which only zero or not counts.
    ///
    /// # Errors
    /// See [`Reader::number`].
    pub fn boolean(&mut self) -> Result<bool> {
        Ok(self.number()? != 0)
    }

    /// Bytes.
    ///
    /// # Errors
    /// [`NarError::TooLong`] before anything of a longer string is read.
    pub fn bytes(&mut self, limit: usize) -> Result<Vec<u8>> {
        let len = self.number()?;
        let wanted = usize::try_from(len).ok().filter(|len| *len <= limit).ok_or(NarError::TooLong)?;
        let mut bytes = Vec::new();
        while bytes.len() < wanted {
            let filled = bytes.len();
            bytes.resize(wanted.min(filled + FRAME), 0);
            let count = self.input.bulk(&mut bytes[filled..])?;
            bytes.truncate(filled + count);
        }
        self.input.padding(len)?;
        Ok(bytes)
    }

    /// Text; what is not UTF-8 in it is replaced.
    ///
    /// # Errors
    /// See [`Reader::bytes`].
    pub fn text(&mut self, limit: usize) -> Result<String> {
        let bytes = self.bytes(limit)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// A word.
    ///
    /// # Errors
    /// See [`Reader::bytes`].
    pub fn word(&mut self) -> Result<String> {
        self.text(MAX_WORD)
    }

    /// A list; `item` reads one.
    ///
    /// # Errors
    /// Errors of `item`, and more than [`MAX_ITEMS`].
    pub fn each(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let count = self.number()?;
        if count > MAX_ITEMS {
            return Err(NarError::TooLong.into());
        }
        for _ in 0..count {
            item(self)?;
        }
        Ok(())
    }

    /// A list of words.
    ///
    /// # Errors
    /// See [`Reader::each`].
    pub fn words(&mut self) -> Result<Vec<String>> {
        self.words_up_to(usize::MAX)
    }

    /// A list of so many words at most.
    ///
    /// # Errors
    /// See [`Reader::each`].
    pub fn words_up_to(&mut self, most: usize) -> Result<Vec<String>> {
        let mut words = Vec::new();
        self.each(|reader| {
            if words.len() >= most {
                return Err(NarError::TooLong.into());
            }
            words.push(reader.word()?);
            Ok(())
        })?;
        Ok(words)
    }

    /// A store path, by its full name.
    ///
    /// # Errors
    /// See [`StoreDir::parse`].
    pub fn path(&mut self, dir: &StoreDir) -> Result<StorePath> {
        Ok(dir.parse(&self.word()?)?)
    }

    /// A store path, or nothing.
    ///
    /// # Errors
    /// See [`Reader::path`].
    pub fn optional_path(&mut self, dir: &StoreDir) -> Result<Option<StorePath>> {
        let text = self.word()?;
        if text.is_empty() { Ok(None) } else { Ok(Some(dir.parse(&text)?)) }
    }

    /// A list of store paths.
    ///
    /// # Errors
    /// See [`Reader::path`].
    pub fn paths(&mut self, dir: &StoreDir) -> Result<BTreeSet<StorePath>> {
        let mut paths = BTreeSet::new();
        self.each(|reader| {
            paths.insert(reader.path(dir)?);
            Ok(())
        })?;
        Ok(paths)
    }

    /// A content address, or nothing.
    ///
    /// # Errors
    /// For a text that is none.
    pub fn content_address(&mut self) -> Result<Option<ContentAddress>> {
        let text = self.word()?;
        if text.is_empty() {
            return Ok(None);
        }
        let ca = text.parse();
        Ok(Some(ca.map_err(|_| StoreError::NotAContentAddress(text))?))
    }

    /// What the worker protocol says of a path besides its name.
    ///
    /// # Errors
    /// Errors of its parts.
    pub fn info(&mut self, dir: &StoreDir, path: StorePath) -> Result<ValidPathInfo> {
        // An archive may follow, of any length: this alone is held in memory.
        let rest = self.input.hold_back(MAX_INFO);
        let info = self.read_info(dir, path);
        self.input.allow(rest);
        info
    }

    fn read_info(&mut self, dir: &StoreDir, path: StorePath) -> Result<ValidPathInfo> {
        let deriver = self.optional_path(dir)?;
        let hash = self.word()?;
        let nar_hash = Hash::parse(&hash, Some(HashAlgorithm::Sha256))?;
        let references = self.paths(dir)?;
        let time = self.number()?;
        let mut info = ValidPathInfo::new(path, nar_hash, self.number()?);
        info.deriver = deriver;
        info.references = references;
        info.registration_time = i64::try_from(time).unwrap_or(0);
        info.ultimate = self.boolean()?;
        info.signatures = self.words()?.into_iter().collect();
        info.ca = self.content_address()?;
        Ok(info)
    }
}

/// The writing side: gathers, and sends when it is told to or has much.
pub struct Writer<W: Write> {
    output: io::BufWriter<W>,
}

impl<W: Write> Writer<W> {
    /// Writes to `output`.
    pub fn new(output: W) -> Self {
        Self { output: io::BufWriter::with_capacity(FRAME, output) }
    }

    /// Writes to somebody else from now on, and gives who was written to; what
    /// was gathered is lost.
    pub fn replace(&mut self, output: W) -> W {
        let before = std::mem::replace(&mut self.output, io::BufWriter::with_capacity(FRAME, output));
        before.into_parts().0
    }

    /// What is written to; nothing must be gathered.
    pub fn inner(&mut self) -> &mut W {
        self.output.get_mut()
    }

    /// Sends what is gathered.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn flush(&mut self) -> Result<()> {
        check(self.output.flush())
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        check(self.output.write_all(bytes))
    }

    /// A number.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn number(&mut self, value: u64) -> Result<()> {
        self.raw(&value.to_le_bytes())
    }

    /// A yes or no.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn boolean(&mut self, value: bool) -> Result<()> {
        self.number(u64::from(value))
    }

    /// A string.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.number(bytes.len() as u64)?;
        self.raw(bytes)?;
        // Below 8, so it fits.
        self.raw(&[0; 8][..(bytes.len() as u64).wrapping_neg() as usize % 8])
    }

    /// A string.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn text(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// A list of strings.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn texts<T: AsRef<str>>(&mut self, texts: impl ExactSizeIterator<Item = T>) -> Result<()> {
        self.number(texts.len() as u64)?;
        texts.into_iter().try_for_each(|text| self.text(text.as_ref()))
    }

    /// A store path.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn path(&mut self, dir: &StoreDir, path: &StorePath) -> Result<()> {
        self.text(&dir.print(path))
    }

    /// A store path or nothing.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn optional_path(&mut self, dir: &StoreDir, path: Option<&StorePath>) -> Result<()> {
        self.text(&path.map(|path| dir.print(path)).unwrap_or_default())
    }

    /// A list of store paths.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn paths<'p>(
        &mut self,
        dir: &StoreDir,
        paths: impl ExactSizeIterator<Item = &'p StorePath>,
    ) -> Result<()> {
        self.texts(paths.map(|path| dir.print(path)))
    }

    /// What the worker protocol says of a path besides its name.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn info(&mut self, dir: &StoreDir, info: &ValidPathInfo) -> Result<()> {
        self.optional_path(dir, info.deriver.as_ref())?;
        self.text(&info.nar_hash.to_base16())?;
        self.paths(dir, info.references.iter())?;
        self.number(u64::try_from(info.registration_time).unwrap_or(0))?;
        self.number(info.nar_size)?;
        self.boolean(info.ultimate)?;
        self.texts(info.signatures.iter())?;
        self.text(&info.ca.as_ref().map(ToString::to_string).unwrap_or_default())
    }
}

fn check(result: io::Result<()>) -> Result<()> {
    result.map_err(|error| match NarError::writing(error) {
        NarError::Interrupted(signal) => signal.into(),
        other => StoreError::Nar(other),
    })
}

/// The bytes of an archive, straight into the stream.
impl<W: Write> Output for Writer<W> {
    fn write(&mut self, data: &[u8]) -> std::result::Result<(), NarError> {
        self.raw(data).map_err(unwrapped)
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> std::result::Result<(), NarError> {
        let mut buffer = vec![0; FRAME];
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(&mut buffer)?;
            self.raw(&buffer[..count]).map_err(unwrapped)?;
        }
        Ok(())
    }
}

fn unwrapped(error: StoreError) -> NarError {
    match error {
        StoreError::Nar(error) => error,
        StoreError::Interrupted(error) => error.into(),
        other => NarError::Sink(Box::new(other)),
    }
}

/// Writes frames.
pub struct Frames {
    frame: Vec<u8>,
}

impl Default for Frames {
    fn default() -> Self {
        Self { frame: Vec::with_capacity(FRAME) }
    }
}

impl Frames {
    /// Writes into `writer` for a while.
    pub fn on<'w, W: Write>(&'w mut self, writer: &'w mut Writer<W>) -> FrameWriter<'w, W> {
        FrameWriter { frames: self, writer }
    }
}

/// See [`Frames::on`].
pub struct FrameWriter<'w, W: Write> {
    frames: &'w mut Frames,
    writer: &'w mut Writer<W>,
}

impl<W: Write> FrameWriter<'_, W> {
    fn send(&mut self) -> Result<()> {
        if !self.frames.frame.is_empty() {
            self.writer.number(self.frames.frame.len() as u64)?;
            self.writer.raw(&self.frames.frame)?;
            self.frames.frame.clear();
        }
        Ok(())
    }

    /// Ends the frames.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn finish(mut self) -> Result<()> {
        self.send()?;
        self.writer.number(0)
    }

    /// Writes to frames as to a stream.
    pub fn as_writer(&mut self) -> Writer<&mut Self> {
        Writer { output: io::BufWriter::with_capacity(512, self) }
    }
}

impl<W: Write> Write for FrameWriter<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = FRAME - self.frames.frame.len();
        let count = data.len().min(room);
        self.frames.frame.extend_from_slice(&data[..count]);
        if self.frames.frame.len() == FRAME {
            self.send().map_err(|error| match error {
                StoreError::Nar(NarError::Write(error)) => error,
                StoreError::Interrupted(_) => interrupt::io_error(),
                other => io::Error::other(other),
            })?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is in frames, up to their end.
pub struct FrameReader<'r, R> {
    input: &'r mut Input<R>,
    left: u64,
    ended: bool,
}

impl<'r, R: Read> FrameReader<'r, R> {
    /// Begins with the next frame.
    pub fn new(input: &'r mut Input<R>) -> Self {
        Self { input, left: 0, ended: false }
    }

    /// Whether there are more bytes; reads the head of a frame if need be.
    fn advance(&mut self) -> std::result::Result<bool, NarError> {
        if self.left == 0 && !self.ended {
            self.left = self.input.number()?;
            self.ended = self.left == 0;
        }
        Ok(!self.ended)
    }

    /// Passes over what is left.
    ///
    /// # Errors
    /// Errors of the reader.
    pub fn drain(&mut self) -> std::result::Result<(), NarError> {
        while self.advance()? {
            interrupt::check()?;
            self.input.skip(self.left)?;
            self.left = 0;
        }
        Ok(())
    }
}

impl<R: Read> Read for FrameReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.advance().map_err(into_io)? {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.bulk(&mut buffer[..most]).map_err(into_io)?;
        self.left -= count as u64;
        Ok(count)
    }
}

fn into_io(error: NarError) -> io::Error {
    match error {
        NarError::Read(error) => error,
        NarError::Eof => io::ErrorKind::UnexpectedEof.into(),
        NarError::Interrupted(_) => interrupt::io_error(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(bytes: &[u8]) -> Reader<&[u8]> {
        Reader::new(bytes)
    }

    #[test]
    fn lengths_are_checked_before_anything_is_allocated() {
        let mut long = u64::MAX.to_le_bytes().to_vec();
        long.extend_from_slice(b"abc");
        assert!(matches!(reader(&long).bytes(100), Err(StoreError::Nar(NarError::TooLong))));
        assert!(matches!(reader(&long).words(), Err(StoreError::Nar(NarError::TooLong))));
        // As long as allowed, but not there.
        let mut short = (MAX_TEXT as u64).to_le_bytes().to_vec();
        short.extend_from_slice(b"abc");
        assert!(matches!(reader(&short).bytes(MAX_TEXT), Err(StoreError::Nar(NarError::Eof))));
    }

    #[test]
    fn infos_survive() {
        let dir = StoreDir::default();
        let path = dir.parse("/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0").unwrap();
        let mut info = ValidPathInfo::new(path.clone(), Hash::sha256(b"x"), 12);
        info.references = [path.clone()].into();
        info.deriver = Some(path.clone());
        info.signatures = ["a:b".to_owned()].into();
        info.registration_time = 7;
        info.ultimate = true;
        let mut writer = Writer::new(Vec::new());
        writer.info(&dir, &info).unwrap();
        writer.flush().unwrap();
        let bytes = writer.output.into_inner().unwrap();
        assert_eq!(reader(&bytes).info(&dir, path).unwrap(), info);
    }

    proptest! {
        #[test]
        fn frames_hold_what_was_written(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50_000), 0..6)) {
            let mut writer = Writer::new(Vec::new());
            let mut frames = Frames::default();
            let mut on = frames.on(&mut writer);
            for part in &parts {
                on.write_all(part).unwrap();
            }
            on.finish().unwrap();
            writer.number(77).unwrap();
            writer.flush().unwrap();
            let bytes = writer.output.into_inner().unwrap();
            let mut input = Input::new(&bytes[..]);
            let mut found = Vec::new();
            FrameReader::new(&mut input).read_to_end(&mut found).unwrap();
            prop_assert_eq!(found, parts.concat());
            prop_assert_eq!(input.number().unwrap(), 77);
        }
    }
}
