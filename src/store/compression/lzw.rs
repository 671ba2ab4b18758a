//! The format of `compress`: LZW with codes of 9 to 16 bits.
//!
//! ```text
//! file  = 1F 9D FLAGS group*            FLAGS: 80 = there are resets, low five bits = longest code
//! group = eight codes of as many bits, lowest bits first; the last one may be short
//! code  = byte | 256 (reset, if there are resets) | entry of the table
//! ```
//!
//! Each code but the first after the beginning or a reset makes an entry: what the
//! code before it stands for, and one byte more. When entries no longer fit, codes
//! become a bit longer with the next group, and the rest of a group that is not full
//! is passed over. The format has neither an end mark nor a checksum.

use std::io::{self, BufRead, Read, Write};

const MAGIC: [u8; 2] = [0x1f, 0x9d];
/// There are resets.
const RESETS: u8 = 0x80;
const FIRST_BITS: u32 = 9;
const MOST_BITS: u32 = 16;
const RESET: u16 = 256;
/// Bytes between two looks at how well it goes, once the table is full.
const CHECK: u64 = 10_000;
/// Places of the encoder's table, several times as many as there are codes.
const PLACES: usize = 1 << 18;
/// Bytes that are written at a time.
const BUFFER: usize = 64 * 1024;

fn damaged(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The largest code that the table may have while codes have so many bits.
fn most_codes(bits: u32) -> u32 {
    if bits == MOST_BITS { 1 << MOST_BITS } else { (1 << bits) - 1 }
}

/// Compresses what is written to it.
pub struct LzwWriter<W> {
    output: W,
    packed: Vec<u8>,
    /// Bits that make no byte yet, and how many.
    pending: u32,
    pending_bits: u32,
    /// Codes in the group that is being written.
    in_group: u32,
    bits: u32,
    /// The next entry.
    free: u32,
    /// What the bytes since the last code stand for.
    current: Option<u16>,
    /// `(code before, byte) + 1`, and the entry's code.
    table: Vec<(u32, u16)>,
    read: u64,
    written: u64,
    next_check: u64,
    ratio: u64,
}

impl<W: Write> LzwWriter<W> {
    /// Begins a file.
    pub fn new(output: W) -> Self {
        let mut packed = Vec::with_capacity(BUFFER);
        packed.extend(MAGIC);
        // At most 16.
        packed.push(RESETS | MOST_BITS as u8);
        Self {
            output,
            packed,
            pending: 0,
            pending_bits: 0,
            in_group: 0,
            bits: FIRST_BITS,
            free: u32::from(RESET) + 1,
            current: None,
            table: vec![(0, 0); PLACES],
            read: 0,
            written: 3,
            next_check: CHECK,
            ratio: 0,
        }
    }

    fn put(&mut self, value: u32, bits: u32) {
        self.pending |= value << self.pending_bits;
        self.pending_bits += bits;
        while self.pending_bits >= 8 {
            // The lowest byte.
            self.packed.push(self.pending as u8);
            self.written += 1;
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    /// Fills the group that was begun.
    fn end_group(&mut self) {
        if self.in_group > 0 {
            for _ in self.in_group..8 {
                self.put(0, self.bits);
            }
            self.in_group = 0;
        }
    }

    fn code(&mut self, code: u16) {
        self.put(u32::from(code), self.bits);
        self.in_group = (self.in_group + 1) % 8;
        if self.free > most_codes(self.bits) {
            self.end_group();
            self.bits += 1;
        }
    }

    fn reset(&mut self) {
        self.put(u32::from(RESET), self.bits);
        self.in_group = (self.in_group + 1) % 8;
        self.end_group();
        self.bits = FIRST_BITS;
        self.free = u32::from(RESET) + 1;
        self.table.fill((0, 0));
    }

    /// Begins anew, once the table is full, when it no longer fits what comes.
    fn reset_if_worse(&mut self) {
        if self.read < self.next_check {
            return;
        }
        self.next_check = self.read + CHECK;
        let ratio = self.read.saturating_mul(256) / self.written;
        if ratio > self.ratio {
            self.ratio = ratio;
        } else {
            self.ratio = 0;
            self.reset();
        }
    }

    fn byte(&mut self, byte: u8) {
        self.read += 1;
        let Some(current) = self.current else {
            self.current = Some(u16::from(byte));
            return;
        };
        let key = ((u32::from(current) << 8) | u32::from(byte)) + 1;
        let mut place = key.wrapping_mul(0x9e37_79b1) as usize % PLACES;
        loop {
            match self.table[place] {
                (found, code) if found == key => {
                    self.current = Some(code);
                    return;
                }
                (0, _) => break,
                _ => place = (place + 1) % PLACES,
            }
        }
        self.code(current);
        self.current = Some(u16::from(byte));
        match u16::try_from(self.free) {
            Ok(code) => {
                self.table[place] = (key, code);
                self.free += 1;
            }
            Err(_) => self.reset_if_worse(),
        }
    }

    /// Writes what is left and gives the output back.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(current) = self.current.take() {
            self.put(u32::from(current), self.bits);
        }
        if self.pending_bits > 0 {
            self.put(0, 8 - self.pending_bits);
        }
        self.output.write_all(&self.packed)?;
        Ok(self.output)
    }
}

impl<W: Write> Write for LzwWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        for byte in data {
            self.byte(*byte);
            if self.packed.len() >= BUFFER {
                self.output.write_all(&self.packed)?;
                self.packed.clear();
            }
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a file decompresses to.
pub struct LzwReader<R> {
    input: R,
    begun: bool,
    most_bits: u32,
    resets: bool,
    pending: u64,
    pending_bits: u32,
    in_group: u32,
    bits: u32,
    /// The next entry.
    free: u32,
    previous: Option<u16>,
    /// The first byte of what the previous code stands for.
    first: u8,
    /// Of each code: the code before it, and its last byte.
    entries: Vec<(u16, u8)>,
    /// Bytes to be given, the last one first.
    waiting: Vec<u8>,
}

impl<R: BufRead> LzwReader<R> {
    /// Begins to read a file.
    pub fn new(input: R) -> Self {
        Self {
            input,
            begun: false,
            most_bits: MOST_BITS,
            resets: true,
            pending: 0,
            pending_bits: 0,
            in_group: 0,
            bits: FIRST_BITS,
            free: u32::from(RESET) + 1,
            previous: None,
            first: 0,
            entries: vec![(0, 0); 1 << MOST_BITS],
            waiting: Vec::new(),
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut head = [0; 3];
        self.input.read_exact(&mut head)?;
        let [first, second, flags] = head;
        if [first, second] != MAGIC {
            return Err(damaged("this was not made by 'compress'"));
        }
        (self.begun, self.resets, self.most_bits) = (true, flags & RESETS != 0, u32::from(flags & 0x1f));
        if !(FIRST_BITS..=MOST_BITS).contains(&self.most_bits) {
            return Err(damaged("codes of a length that 'compress' does not have"));
        }
        self.free = if self.resets { u32::from(RESET) + 1 } else { u32::from(RESET) };
        Ok(())
    }

    /// The next bits; nothing at the end, where the bits that are left fill a byte.
    fn take(&mut self, bits: u32) -> io::Result<Option<u32>> {
        while self.pending_bits < bits {
            let Some(byte) = self.input.fill_buf()?.first().copied() else {
                return match self.pending_bits < 8 && self.pending == 0 {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            };
            self.input.consume(1);
            self.pending |= u64::from(byte) << self.pending_bits;
            self.pending_bits += 8;
        }
        // At most 16 bits.
        let value = (self.pending & ((1 << bits) - 1)) as u32;
        self.pending >>= bits;
        self.pending_bits -= bits;
        Ok(Some(value))
    }

    /// Passes over the rest of a group.
    fn end_group(&mut self) -> io::Result<()> {
        while self.in_group != 0 {
            if self.take(self.bits)?.is_none() {
                break;
            }
            self.in_group = (self.in_group + 1) % 8;
        }
        self.in_group = 0;
        Ok(())
    }

    fn code(&mut self) -> io::Result<Option<u16>> {
        let longest = self.bits == self.most_bits;
        if !longest && self.free > most_codes(self.bits) {
            self.end_group()?;
            self.bits += 1;
        }
        let code = self.take(self.bits)?;
        self.in_group = (self.in_group + 1) % 8;
        // At most 16 bits.
        Ok(code.map(|code| code as u16))
    }

    /// What the next code stands for; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let Some(code) = self.code()? else { return Ok(false) };
        if self.resets && code == RESET {
            self.end_group()?;
            (self.bits, self.free, self.previous) = (FIRST_BITS, u32::from(RESET) + 1, None);
            return Ok(true);
        }
        let Some(previous) = self.previous else {
            self.first = u8::try_from(code).map_err(|_| damaged("a code without an entry"))?;
            self.previous = Some(code);
            self.waiting.push(self.first);
            return Ok(true);
        };
        let mut at = code;
        if u32::from(code) >= self.free {
            if u32::from(code) > self.free {
                return Err(damaged("a code without an entry"));
            }
            // The entry that this code makes.
            self.waiting.push(self.first);
            at = previous;
        }
        while at > 255 {
            let (before, last) = self.entries[usize::from(at)];
            self.waiting.push(last);
            at = before;
        }
        // At most 255.
        self.first = at as u8;
        self.waiting.push(self.first);
        if self.free < 1 << self.most_bits {
            self.entries[self.free as usize] = (previous, self.first);
            self.free += 1;
        }
        self.previous = Some(code);
        Ok(true)
    }
}

impl<R: BufRead> Read for LzwReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            self.begin()?;
        }
        let mut count = 0;
        while count < buffer.len() {
            match self.waiting.pop() {
                Some(byte) => {
                    buffer[count] = byte;
                    count += 1;
                }
                None if self.next()? => {}
                None => break,
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pack(data: &[u8]) -> Vec<u8> {
        let mut writer = LzwWriter::new(Vec::new());
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        LzwReader::new(packed).read_to_end(&mut data).map(|_| data)
    }

    /// Bytes that look random.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn there_and_back() {
        let text: Vec<u8> = (0..60_000).flat_map(|n: u32| n.to_string().into_bytes()).collect();
        // The last makes a reset worth while.
        let mixed = [text.clone(), noise(400_000), text.clone()].concat();
        for data in [&[][..], b"a", b"aaaaaaaaaa", &noise(700), &text, &mixed] {
            assert!(unpack(&pack(data)).unwrap() == data, "{}", data.len());
        }
        for length in 0..3_000 {
            assert!(unpack(&pack(&text[..length])).unwrap() == text[..length], "{length}");
        }
    }

    #[test]
    fn bytes_as_other_programs_write_them() {
        // The beginning of an archive as libarchive compresses it.
        let archive = b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0";
        let packed = [
            0x1f, 0x9d, 0x90, 0x0d, 0x00, 0x08, 0x1c, 0x08, 0xc0, 0x4d, 0x1a, 0x3c, 0x2d, 0xc2, 0xc8, 0x19,
            0x83, 0x26, 0x8d, 0x9d, 0x32, 0x2d, 0x62, 0x0c, 0x0c, 0x40, 0x70, 0x20, 0x8a, 0x8a, 0x02, 0x09,
        ];
        assert_eq!(pack(archive)[..30], packed[..30]);
        assert_eq!(unpack(&[0x1f, 0x9d, 0x90]).unwrap(), b"");
    }

    #[test]
    fn damage_is_an_error_or_other_bytes() {
        let packed = pack(&noise(5_000));
        for place in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[place] ^= 0x55;
            let _ = unpack(&damaged);
            let _ = unpack(&packed[..place]);
        }
        for bad in
            [&b""[..], b"\x1f", b"\x1f\x8b\x90", b"\x1f\x9d\x88", b"\x1f\x9d\x91", b"\x1f\x9d\x90\xff\xff"]
        {
            assert!(unpack(bad).is_err(), "{bad:?}");
        }
    }
}
