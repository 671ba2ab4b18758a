//! The compressions of archives in a binary cache.
//!
//! | name | suffix | default level | levels |
//! |---|---|---|---|
//! | `none` | | | |
//! | `xz` | `.xz` | 6 | 0 … 9 |
//! | `zstd` | `.zst` | 3 | 1 … 22 |
//! | `bzip2` | `.bz2` | 9 | 0 … 9 |
//! | `gzip` | | 6 | 0 … 9 |
//! | `br` | `.br` | 11 | 0 … 11 |
//! | `lz4` | `.lz4` | | |
//! | `lzma`, `lzip` | , `.lzip` | 6 | 0 … 9 |
//! | `compress` | | | |
//!
//! `xz` and `zstd` can use several threads; what they write then has a few more
//! bytes (xz: blocks of at least 8 MiB) and is read by every program.

mod lzw;

use std::io::{self, BufRead, Read, Write};

use liblzma::stream::{Action, Check, Filters, LzmaOptions, MtStreamBuilder, Status, Stream};

use crate::sys::interrupt;

/// Bytes of xz input that one thread compresses at least.
const MIN_XZ_BLOCK: u64 = 8 << 20;
/// And at most: three dictionaries of the default level.
const MAX_XZ_BLOCK: u64 = 24 << 20;
/// Levels of zstd that are slow.
const ZSTD_SLOW: u32 = 16;
/// Milliseconds after which the threads of xz let us look for a signal.
const XZ_PATIENCE: u32 = 200;
/// The smallest dictionary that the format knows.
const MIN_XZ_DICTIONARY: u32 = 4096;
/// Memory that decoding xz may take: the largest dictionary of the format's
/// presets, and a little more.
const XZ_MEMORY: u64 = 80 << 20;
/// Memory that decoding it with several threads may take: more is decoded with
/// one.
const XZ_THREADS_MEMORY: u64 = 160 << 20;
/// Largest window of zstd that is read, as a power of two: 128 MiB, what its
/// own program reads too.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Bytes that one thread of zstd compresses at a time: half of the default, for
/// memory.
const ZSTD_JOB: u32 = 4 << 20;
/// Bytes that decoders read at a time.
const BUFFER: usize = 64 * 1024;

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Stored as it is.
    None,
    /// `xz`.
    Xz,
    /// `zstd`.
    Zstd,
    /// `bzip2`.
    Bzip2,
    /// `gzip`.
    Gzip,
    /// Brotli.
    Brotli,
    /// LZ4 frames.
    Lz4,
    /// The format before `xz`.
    Lzma,
    /// `lzip`.
    Lzip,
    /// LZW.
    Compress,
}

/// What to compress with.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// As the format counts; its default if there is none.
    pub level: Option<u32>,
    /// Threads, where the format can use several.
    pub threads: u32,
    /// Bytes to come, roughly.
    pub expected: u64,
}

impl Effort {
    /// For what is small: the default, on one thread.
    pub fn small() -> Self {
        Self { level: None, threads: 1, expected: 0 }
    }
}

impl Compression {
    const NAMES: [(&'static str, Self, &'static str); 10] = [
        ("none", Self::None, ""),
        ("xz", Self::Xz, ".xz"),
        ("zstd", Self::Zstd, ".zst"),
        ("bzip2", Self::Bzip2, ".bz2"),
        ("gzip", Self::Gzip, ""),
        ("br", Self::Brotli, ".br"),
        ("lz4", Self::Lz4, ".lz4"),
        ("lzma", Self::Lzma, ""),
        ("lzip", Self::Lzip, ".lzip"),
        ("compress", Self::Compress, ""),
    ];

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(name, ..)| *name)
    }

    /// The compression with a name in a narinfo or a store URI.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, ..)| *known == name).map(|(_, compression, _)| *compression)
    }

    fn row(self) -> (&'static str, &'static str) {
        let row = Self::NAMES.iter().find(|(_, compression, _)| *compression == self);
        row.map_or(("none", ""), |(name, _, suffix)| (name, suffix))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What the names of its files end in.
    pub fn suffix(self) -> &'static str {
        self.row().1
    }

    /// Begins to compress into `output`.
    ///
    /// # Errors
    /// A level that the format does not have.
    pub fn encoder<W: Write>(self, effort: Effort, output: W) -> io::Result<Encoder<W>> {
        let level = |default: u32, most: u32| match effort.level {
            None => Ok(default),
            Some(level) if level <= most => Ok(level),
            Some(_) => Err(invalid("failed to compress (compression-level invalid)")),
        };
        Ok(match self {
            Self::None => Encoder::None(output),
            Self::Xz => {
                let mut options = LzmaOptions::new_preset(level(6, 9)?)?;
                // What the dictionary is too large for only costs time.
                let useful = u32::try_from(effort.expected).unwrap_or(u32::MAX).max(MIN_XZ_DICTIONARY);
                options.dict_size(useful.min(xz_dictionary(effort.level.unwrap_or(6))));
                let mut filters = Filters::new();
                filters.lzma2(&options);
                let stream = if effort.threads > 1 && effort.expected > 2 * MIN_XZ_BLOCK {
                    let share = effort.expected / u64::from(effort.threads);
                    MtStreamBuilder::new()
                        .threads(effort.threads)
                        .timeout_ms(XZ_PATIENCE)
                        .filters(filters)
                        .check(Check::Crc64)
                        .block_size(share.clamp(MIN_XZ_BLOCK, MAX_XZ_BLOCK))
                        .encoder()
                } else {
                    Stream::new_stream_encoder(&filters, Check::Crc64)
                };
                Encoder::Xz(XzWriter::new(stream?, output))
            }
            Self::Zstd => {
                let level = level(3, 22)
                    .map_err(|_| invalid("failed to compress (compression-level out of range)"))?;
                // At most 22.
                let mut encoder = zstd::Encoder::new(output, level as i32)?;
                encoder.include_checksum(true)?;
                if effort.threads > 1 {
                    encoder.multithread(effort.threads)?;
                    // The highest levels take seconds for a few megabytes.
                    let job = if level >= ZSTD_SLOW { ZSTD_JOB / 4 } else { ZSTD_JOB };
                    encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(job))?;
                }
                Encoder::Zstd(encoder)
            }
            Self::Bzip2 => {
                let level = bzip2::Compression::new(level(9, 9)?.max(1));
                Encoder::Bzip2(bzip2::write::BzEncoder::new(output, level))
            }
            Self::Gzip => {
                let level = flate2::Compression::new(level(6, 9)?);
                Encoder::Gzip(flate2::write::GzEncoder::new(output, level))
            }
            Self::Brotli => {
                let level = level(11, 11)?;
                Encoder::Brotli(Box::new(brotli::CompressorWriter::new(output, BUFFER, level, 22)))
            }
            Self::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max4MB)
                    .content_checksum(true);
                Encoder::Lz4(lz4_flex::frame::FrameEncoder::with_frame_info(info, output))
            }
            Self::Lzma => {
                let options = lzma_options(level(6, 9)?)?;
                Encoder::Xz(XzWriter::new(Stream::new_lzma_encoder(&options)?, output))
            }
            Self::Compress if effort.level.is_some() => {
                return Err(invalid("failed to compress (compression-level invalid)"));
            }
            Self::Compress => Encoder::Compress(lzw::LzwWriter::new(output)),
            Self::Lzip => Encoder::Lzip(LzipWriter::new(level(6, 9)?, output)?),
        })
    }

    /// What `input` decompresses to, with so many threads where the format has
    /// parts that can be read side by side. The compressed bytes end where the
    /// input ends.
    ///
    /// # Errors
    /// None for the beginning; bad data is an error of reading.
    pub fn decoder<'r>(
        self,
        threads: u32,
        input: impl Read + Send + 'r,
    ) -> io::Result<Box<dyn Read + Send + 'r>> {
        let buffered = io::BufReader::with_capacity(BUFFER, input);
        Ok(match self {
            Self::None => Box::new(buffered.into_inner()),
            Self::Xz => {
                if threads > 1 {
                    return Ok(Box::new(XzStreams {
                        decoder: Some(xz_decoder(threads, buffered)?),
                        threads,
                    }));
                }
                let stream = Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(buffered, stream))
            }
            Self::Lzma => {
                let stream = Stream::new_lzma_decoder(XZ_MEMORY)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(buffered, stream))
            }
            Self::Lzip => {
                let stream = Stream::new_lzip_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(buffered, stream))
            }
            Self::Compress => Box::new(lzw::LzwReader::new(buffered)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(buffered)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered)),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
            Self::Brotli => Box::new(brotli::Decompressor::new(buffered, BUFFER)),
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(buffered)),
        })
    }
}

/// One stream of xz, of which blocks are decompressed side by side.
fn xz_decoder<R: BufRead>(threads: u32, input: R) -> io::Result<liblzma::bufread::XzDecoder<R>> {
    let stream = MtStreamBuilder::new()
        .threads(threads)
        .memlimit_threading(XZ_THREADS_MEMORY)
        .memlimit_stop(XZ_MEMORY)
        .decoder()?;
    Ok(liblzma::bufread::XzDecoder::new_stream(input, stream))
}

/// Streams of xz, one after the other, with zeros between them.
struct XzStreams<R: BufRead> {
    decoder: Option<liblzma::bufread::XzDecoder<R>>,
    threads: u32,
}

impl<R: BufRead> Read for XzStreams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(decoder) = self.decoder.take() else { break };
            let mut input = decoder.into_inner();
            while input.fill_buf()?.first() == Some(&0) {
                input.consume(1);
            }
            if !input.fill_buf()?.is_empty() {
                self.decoder = Some(xz_decoder(self.threads, input)?);
            }
        }
        Ok(0)
    }
}

/// The dictionary of a preset of xz, in bytes.
fn xz_dictionary(level: u32) -> u32 {
    match level {
        0 => 256 << 10,
        1 => 1 << 20,
        2 => 2 << 20,
        3 | 4 => 4 << 20,
        5 | 6 => 8 << 20,
        7 => 16 << 20,
        8 => 32 << 20,
        _ => 64 << 20,
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Compresses to xz. A signal ends it between two steps; dropped, it leaves its
/// threads at once.
pub struct XzWriter<W: Write> {
    stream: Stream,
    output: W,
    buffer: Vec<u8>,
}

/// What a level of LZMA means; all of its dictionaries are powers of two.
fn lzma_options(level: u32) -> io::Result<LzmaOptions> {
    let mut options = LzmaOptions::new_preset(level)?;
    options.dict_size(xz_dictionary(level));
    Ok(options)
}

/// Compresses to lzip.
///
/// ```text
/// member = "LZIP" 1 DICTIONARY lzma CRC32 SIZE MEMBERSIZE
/// ```
pub struct LzipWriter<W: Write> {
    lzma: XzWriter<W>,
    crc: flate2::Crc,
    size: u64,
}

impl<W: Write> LzipWriter<W> {
    /// Bytes before and after the data.
    const FRAME: u64 = 6 + 20;

    fn new(level: u32, mut output: W) -> io::Result<Self> {
        let mut filters = Filters::new();
        filters.lzma1(&lzma_options(level)?);
        // A power of two, of which the logarithm stands in the header.
        let dictionary = xz_dictionary(level).trailing_zeros() as u8;
        output.write_all(&[b'L', b'Z', b'I', b'P', 1, dictionary])?;
        let lzma = XzWriter::new(Stream::new_raw_encoder(&filters)?, output);
        Ok(Self { lzma, crc: flate2::Crc::new(), size: 0 })
    }

    fn finish(self) -> io::Result<W> {
        let (mut output, compressed) = self.lzma.finish()?;
        output.write_all(&self.crc.sum().to_le_bytes())?;
        output.write_all(&self.size.to_le_bytes())?;
        output.write_all(&(compressed + Self::FRAME).to_le_bytes())?;
        Ok(output)
    }
}

impl<W: Write> Write for LzipWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.lzma.write(data)?;
        self.crc.update(&data[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> XzWriter<W> {
    fn new(stream: Stream, output: W) -> Self {
        Self { stream, output, buffer: Vec::with_capacity(BUFFER) }
    }

    fn step(&mut self, data: &[u8], action: Action) -> io::Result<(usize, Status)> {
        interrupt::check().map_err(io::Error::other)?;
        let before = self.stream.total_in();
        self.buffer.clear();
        let status = self.stream.process_vec(data, &mut self.buffer, action)?;
        self.output.write_all(&self.buffer)?;
        // No more than there is of the data.
        Ok(((self.stream.total_in() - before) as usize, status))
    }

    /// The output, and how many bytes went into it.
    fn finish(mut self) -> io::Result<(W, u64)> {
        while self.step(&[], Action::Finish)?.1 != Status::StreamEnd {}
        Ok((self.output, self.stream.total_out()))
    }
}

impl<W: Write> Write for XzWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < data.len() {
            written += self.step(&data[written..], Action::Run)?.0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses what is written to it.
pub enum Encoder<W: Write> {
    /// As it is.
    None(W),
    /// `xz`, or LZMA alone.
    Xz(XzWriter<W>),
    /// `lzip`.
    Lzip(LzipWriter<W>),
    /// `zstd`.
    Zstd(zstd::Encoder<'static, W>),
    /// `bzip2`.
    Bzip2(bzip2::write::BzEncoder<W>),
    /// `gzip`.
    Gzip(flate2::write::GzEncoder<W>),
    /// Brotli.
    Brotli(Box<brotli::CompressorWriter<W>>),
    /// LZW.
    Compress(lzw::LzwWriter<W>),
    /// LZ4.
    Lz4(lz4_flex::frame::FrameEncoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and gives the output back.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(output) => Ok(output),
            Self::Xz(encoder) => Ok(encoder.finish()?.0),
            Self::Lzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Bzip2(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(mut encoder) => {
                encoder.flush()?;
                Ok(encoder.into_inner())
            }
            Self::Compress(encoder) => encoder.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(output) => output.write(data),
            Self::Xz(encoder) => encoder.write(data),
            Self::Lzip(encoder) => encoder.write(data),
            Self::Zstd(encoder) => encoder.write(data),
            Self::Bzip2(encoder) => encoder.write(data),
            Self::Gzip(encoder) => encoder.write(data),
            Self::Brotli(encoder) => encoder.write(data),
            Self::Compress(encoder) => encoder.write(data),
            Self::Lz4(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Compressed data goes on when there is enough of it.
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn compress(compression: Compression, effort: Effort, data: &[u8]) -> Vec<u8> {
        let mut encoder = compression.encoder(effort, Vec::new()).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn there_and_back() {
        let data: Vec<u8> = (0..3_000_000u32).flat_map(|i| (i / 7 % 1000).to_le_bytes()).collect();
        for (name, compression, _) in Compression::NAMES {
            let few = &data[..if name == "br" { 100_000 } else { 1_000_000 }];
            for (threads, data) in [(1, few), (1, &[][..]), (2, few)] {
                let effort = Effort { level: None, threads, expected: data.len() as u64 };
                let packed = compress(compression, effort, data);
                let mut unpacked = Vec::new();
                compression.decoder(threads, packed.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
                assert!(unpacked == data, "{name}");
                // Cut off, it is an error and not a shorter text.
                // `compress` has no end mark.
                if !packed.is_empty() && !["none", "compress"].contains(&name) {
                    let cut = &packed[..packed.len() - 1];
                    let result = compression.decoder(threads, cut).unwrap().read_to_end(&mut Vec::new());
                    assert!(result.is_err(), "{name}");
                }
            }
        }
        let many = Effort { level: Some(1), threads: 2, expected: 20 << 20 };
        let big = data.repeat(2);
        for compression in [Compression::Xz, Compression::Zstd] {
            let packed = compress(compression, many, &big);
            let mut unpacked = Vec::new();
            compression.decoder(2, packed.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == big);
        }
    }

    #[test]
    fn streams_after_each_other() {
        let effort = Effort { level: Some(0), threads: 1, expected: 100 };
        let pack = |data: &[u8]| compress(Compression::Xz, effort, data);
        let mut packed = pack(b"first ");
        packed.extend([0; 8]);
        packed.extend(pack(b"second"));
        let read = |threads, packed: &[u8]| {
            let mut text = String::new();
            let decoder = Compression::Xz.decoder(threads, packed);
            decoder.unwrap().read_to_string(&mut text).map(|_| text)
        };
        for threads in [1, 2] {
            assert_eq!(read(threads, &packed).unwrap(), "first second");
            assert!(read(threads, &[&packed[..], b"rubbish"].concat()).is_err());
        }
    }

    #[test]
    fn levels_have_limits() {
        for (name, level) in [
            ("xz", 10),
            ("lzma", 10),
            ("lzip", 10),
            ("gzip", 10),
            ("bzip2", 10),
            ("zstd", 23),
            ("br", 12),
            ("compress", 1),
        ] {
            let effort = Effort { level: Some(level), threads: 1, expected: 0 };
            assert!(Compression::parse(name).unwrap().encoder(effort, Vec::new()).is_err(), "{name}");
        }
    }
}
