//! What was seen, as bytes.
//!
//! ```text
//! seen    = list sight, list said
//! sight   = 0 path state direct           a file
//!         | 1 path state direct           a directory
//!         | 2 path kind                   what a path names: 0 nothing, 1 file, 2 directory, 3 link, 4 other
//!         | 3 path bytes                  what a link says
//!         | 4 bytes, option digest        a variable
//!         | 5 path                        the working directory
//!         | 6 path bool                   an entry of the search path
//!         | 7 path, option digest         references
//! state   = option stamp, option digest
//! stamp   = device inode size seconds nanoseconds
//! said    = 0 text | 1 text               a line, a warning
//! number  = 7 bits a byte, the lowest first, the top bit set in all bytes but the last
//! bytes   = number (their count), bytes; text likewise, in UTF-8
//! list x  = number (their count), each x
//! option x = 0 | 1 x
//! digest  = 32 bytes
//! ```

use super::stamp::{Digest, Stamp, State};
use super::{Said, Seen, Sight};
use crate::eval::io::FileKind;

/// The bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is damaged")]
pub struct Damaged;

/// Makes bytes.
#[derive(Default)]
pub struct Encoder(pub Vec<u8>);

impl Encoder {
    /// A number.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A truth value.
    pub fn truth(&mut self, truth: bool) {
        self.0.push(u8::from(truth));
    }

    /// Bytes with their count.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A value that may be missing.
    pub fn option<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        self.truth(value.is_some());
        if let Some(value) = value {
            encode(self, value);
        }
    }

    /// Values with their count.
    pub fn list<T>(&mut self, values: &[T], mut encode: impl FnMut(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            encode(self, value);
        }
    }

    fn digest(&mut self, digest: Digest) {
        self.0.extend_from_slice(&digest);
    }
}

/// Reads bytes.
pub struct Decoder<'b>(pub &'b [u8]);

impl<'b> Decoder<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.take(1)?[0])
    }

    /// A number.
    ///
    /// # Errors
    /// There is none, or it is too large.
    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    /// A truth value.
    ///
    /// # Errors
    /// There is none.
    pub fn truth(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged),
        }
    }

    /// Bytes with their count.
    ///
    /// # Errors
    /// There are fewer.
    pub fn bytes(&mut self) -> Result<&'b [u8], Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        self.take(count)
    }

    /// A text.
    ///
    /// # Errors
    /// It is not there, or is not UTF-8.
    pub fn text(&mut self) -> Result<&'b str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    /// A value that may be missing.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn option<T>(
        &mut self,
        decode: impl FnOnce(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        if self.truth()? { decode(self).map(Some) } else { Ok(None) }
    }

    /// Values with their count; each takes a byte at least.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn list<T>(
        &mut self,
        mut decode: impl FnMut(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Vec<T>, Damaged> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len());
        (0..count.ok_or(Damaged)?).map(|_| decode(self)).collect()
    }

    fn digest(&mut self) -> Result<Digest, Damaged> {
        self.take(32)?.try_into().map_err(|_| Damaged)
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        Ok(self.number()?.cast_signed())
    }
}

impl Seen {
    /// As bytes.
    pub fn encode(&self, to: &mut Encoder) {
        to.list(&self.sights, |to, sight| sight.encode(to));
        to.list(&self.said, |to, said| {
            let (kind, text) = match said {
                Said::Line(text) => (0, text),
                Said::Warning(text) => (1, text),
            };
            to.0.push(kind);
            to.bytes(text.as_bytes());
        });
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are none of this.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Seen, Damaged> {
        let sights = from.list(Sight::decode)?;
        let said = from.list(|from| match (from.byte()?, from.text()?.to_owned()) {
            (0, text) => Ok(Said::Line(text)),
            (1, text) => Ok(Said::Warning(text)),
            _ => Err(Damaged),
        })?;
        Ok(Seen { sights, said })
    }
}

/// The kinds in the order of their numbers.
const KINDS: [Option<FileKind>; 5] = [
    None,
    Some(FileKind::Regular),
    Some(FileKind::Directory),
    Some(FileKind::Symlink),
    Some(FileKind::Unknown),
];

impl Sight {
    fn encode(&self, to: &mut Encoder) {
        let mut begin = |number: u8, path: &[u8]| {
            to.0.push(number);
            to.bytes(path);
        };
        match self {
            Sight::File { path, state, direct } => {
                begin(0, path);
                state.encode(to);
                to.truth(*direct);
            }
            Sight::Directory { path, state, direct } => {
                begin(1, path);
                state.encode(to);
                to.truth(*direct);
            }
            Sight::Kind { path, kind } => {
                begin(2, path);
                to.0.push(KINDS.iter().position(|other| other == kind).unwrap_or_default() as u8);
            }
            Sight::Link { path, target } => {
                begin(3, path);
                to.bytes(target);
            }
            Sight::Variable { name, value } => {
                begin(4, name);
                to.option(*value, Encoder::digest);
            }
            Sight::WorkingDirectory(path) => begin(5, path),
            Sight::Entry { path, exists } => {
                begin(6, path);
                to.truth(*exists);
            }
            Sight::References { path, list } => {
                begin(7, path);
                to.option(*list, Encoder::digest);
            }
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Sight, Damaged> {
        let (number, path) = (from.byte()?, from.bytes()?.to_vec());
        Ok(match number {
            0 => Sight::File { path, state: State::decode(from)?, direct: from.truth()? },
            1 => Sight::Directory { path, state: State::decode(from)?, direct: from.truth()? },
            2 => {
                let kind = *KINDS.get(usize::from(from.byte()?)).ok_or(Damaged)?;
                Sight::Kind { path, kind }
            }
            3 => Sight::Link { path, target: from.bytes()?.to_vec() },
            4 => Sight::Variable { name: path, value: from.option(Decoder::digest)? },
            5 => Sight::WorkingDirectory(path),
            6 => Sight::Entry { path, exists: from.truth()? },
            7 => Sight::References { path, list: from.option(Decoder::digest)? },
            _ => return Err(Damaged),
        })
    }
}

impl State {
    fn encode(&self, to: &mut Encoder) {
        to.option(self.stamp, |to, stamp| {
            let (seconds, nanoseconds) = stamp.changed;
            for number in [stamp.device, stamp.inode, stamp.size] {
                to.number(number);
            }
            to.number(seconds.cast_unsigned());
            to.number(nanoseconds.cast_unsigned());
        });
        to.option(self.digest, Encoder::digest);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<State, Damaged> {
        let stamp = from.option(|from| {
            Ok(Stamp {
                device: from.number()?,
                inode: from.number()?,
                size: from.number()?,
                changed: (from.signed()?, from.signed()?),
            })
        })?;
        Ok(State { stamp, digest: from.option(Decoder::digest)? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn everything() -> Seen {
        let stamp = Stamp { device: 1, inode: u64::MAX, size: 0, changed: (-1, 999_999_999) };
        let path = || b"/a \xff".to_vec();
        let states = [
            State { stamp: Some(stamp), digest: Some([7; 32]) },
            State { stamp: None, digest: Some([8; 32]) },
            State { stamp: Some(stamp), digest: None },
        ];
        let mut sights = vec![
            Sight::Link { path: path(), target: b"../b".to_vec() },
            Sight::Variable { name: path(), value: Some([9; 32]) },
            Sight::Variable { name: path(), value: None },
            Sight::WorkingDirectory(path()),
            Sight::Entry { path: path(), exists: true },
            Sight::References { path: path(), list: None },
        ];
        sights.extend(states.map(|state| Sight::File { path: path(), state, direct: true }));
        sights.extend(states.map(|state| Sight::Directory { path: path(), state, direct: false }));
        sights.extend(KINDS.map(|kind| Sight::Kind { path: path(), kind }));
        Seen { sights, said: vec![Said::Line("trace: é".to_owned()), Said::Warning(String::new())] }
    }

    fn encoded() -> Vec<u8> {
        let mut to = Encoder::default();
        everything().encode(&mut to);
        to.0
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let bytes = encoded();
        let mut from = Decoder(&bytes);
        assert_eq!(Seen::decode(&mut from).unwrap(), everything());
        assert!(from.0.is_empty());
    }

    #[test]
    fn no_bytes_lead_to_a_panic() {
        let bytes = encoded();
        for end in 0..bytes.len() {
            assert!(Seen::decode(&mut Decoder(&bytes[..end])).is_err());
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                // Whatever it is, it is no panic and takes no memory to speak of.
                let _ = Seen::decode(&mut Decoder(&bytes));
            }
        }
    }
}
