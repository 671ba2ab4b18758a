//! Hashes and their text forms.
//!
//! ```text
//! hash   = ALGO ":" digits | ALGO "-" base64 | digits     (the last only where ALGO is known)
//! ALGO   = "blake3" | "md5" | "sha1" | "sha256" | "sha512"
//! digits = base16 | nix32 | base64                        (told apart by their length)
//! ```
//!
//! Base-16 may be upper case. The form `ALGO-base64` (Subresource Integrity)
//! may lack its padding.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::Digest as _;

use super::base32;

/// Reads base-64 with or without padding and ignores surplus bits in the last
/// character; always writes padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Size of the largest digest, in bytes.
const MAX_LEN: usize = 64;

/// Why a text is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// An algorithm name that is not in the list.
    #[error("unknown hash algorithm '{0}', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'")]
    UnknownAlgorithm(String),
    /// Bare digits, and nothing says which algorithm made them.
    #[error("hash '{0}' does not include a type, nor is the type otherwise known from context")]
    MissingAlgorithm(String),
    /// Another algorithm was asked for.
    #[error("hash '{text}' should have type '{expected}'")]
    WrongAlgorithm {
        /// The text as given.
        text: String,
        /// What was asked for.
        expected: HashAlgorithm,
    },
    /// No notation has that many characters.
    #[error("hash '{text}' has wrong length for hash algorithm '{algorithm}'")]
    WrongLength {
        /// The digits as given.
        text: String,
        /// The algorithm they should belong to.
        algorithm: HashAlgorithm,
    },
    /// The right length, but not digits of that notation.
    #[error("invalid {notation} hash '{text}', length {found} != expected length {expected}")]
    Malformed {
        /// `base16`, `nix32`, `Base64` or `SRI`.
        notation: &'static str,
        /// The digits as given.
        text: String,
        /// Bytes read; 0 when nothing could be read.
        found: usize,
        /// Bytes of a digest.
        expected: usize,
    },
    /// A notation name that is not in the list.
    #[error("unknown hash format '{0}', expect 'base16', 'base32', 'base64', or 'sri'")]
    UnknownFormat(String),
}

/// The algorithms the store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashAlgorithm {
    /// 16 bytes.
    Md5,
    /// 20 bytes.
    Sha1,
    /// 32 bytes; the algorithm of store paths and NAR hashes.
    Sha256,
    /// 64 bytes.
    Sha512,
    /// 32 bytes; programs take it only where the feature `blake3-hashes` is enabled.
    Blake3,
}

impl HashAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512, Self::Blake3];

    /// Its name in every text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// Bytes of a digest.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
        }
    }

    const fn base16_len(self) -> usize {
        self.digest_len() * 2
    }

    const fn base32_len(self) -> usize {
        base32::encoded_len(self.digest_len())
    }

    const fn base64_len(self) -> usize {
        self.digest_len().div_ceil(3) * 4
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for HashAlgorithm {
    type Err = HashError;

    fn from_str(s: &str) -> Result<Self, HashError> {
        match s {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            "blake3" => Ok(Self::Blake3),
            _ => Err(HashError::UnknownAlgorithm(s.to_owned())),
        }
    }
}

/// The notations of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashFormat {
    /// Lower-case hexadecimal.
    Base16,
    /// See [`base32`].
    Nix32,
    /// With padding.
    Base64,
    /// `ALGO-base64`, the only one that always names the algorithm.
    Sri,
}

impl HashFormat {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base16 => "base16",
            Self::Nix32 => "nix32",
            Self::Base64 => "base64",
            Self::Sri => "sri",
        }
    }
}

impl std::str::FromStr for HashFormat {
    type Err = HashError;

    fn from_str(s: &str) -> Result<Self, HashError> {
        match s {
            "base16" => Ok(Self::Base16),
            "nix32" | "base32" => Ok(Self::Nix32),
            "base64" => Ok(Self::Base64),
            "sri" => Ok(Self::Sri),
            _ => Err(HashError::UnknownFormat(s.to_owned())),
        }
    }
}

/// A digest and the algorithm that made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash {
    algorithm: HashAlgorithm,
    bytes: [u8; MAX_LEN],
}

impl Hash {
    /// A hash from its bytes; `None` unless there are exactly as many as the
    /// algorithm makes.
    pub fn from_bytes(algorithm: HashAlgorithm, digest: &[u8]) -> Option<Self> {
        if digest.len() != algorithm.digest_len() {
            return None;
        }
        let mut bytes = [0; MAX_LEN];
        bytes[..digest.len()].copy_from_slice(digest);
        Some(Self { algorithm, bytes })
    }

    /// The hash of `data`.
    pub fn of(algorithm: HashAlgorithm, data: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(data);
        hasher.finish()
    }

    /// The SHA-256 hash of `data`.
    pub fn sha256(data: &[u8]) -> Self {
        Self::of(HashAlgorithm::Sha256, data)
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.digest_len()]
    }

    /// Digits in the given notation, without the algorithm (but SRI has it
    /// always).
    pub fn digits(&self, format: HashFormat) -> String {
        match format {
            HashFormat::Base16 => self.to_base16(),
            HashFormat::Nix32 => base32::encode(self.as_bytes()),
            HashFormat::Base64 => BASE64.encode(self.as_bytes()),
            HashFormat::Sri => format!("{}-{}", self.algorithm, BASE64.encode(self.as_bytes())),
        }
    }

    /// Lower-case hexadecimal digits.
    pub fn to_base16(&self) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = String::with_capacity(2 * MAX_LEN);
        for byte in self.as_bytes() {
            digits.push(char::from(HEX[usize::from(byte >> 4)]));
            digits.push(char::from(HEX[usize::from(byte & 15)]));
        }
        digits
    }

    /// `ALGO:digits`, or the SRI form.
    pub fn prefixed(&self, format: HashFormat) -> String {
        match format {
            HashFormat::Sri => self.digits(format),
            _ => format!("{}:{}", self.algorithm, self.digits(format)),
        }
    }

    /// The digest folded onto `len` (at least 1) bytes: byte `i` is XORed into `i mod len`.
    /// Store paths use 20 bytes of it, `nix-hash --truncate` too.
    pub fn fold(&self, len: usize) -> Vec<u8> {
        let mut folded = vec![0; len.clamp(1, self.algorithm.digest_len())];
        let width = folded.len();
        for (i, byte) in self.as_bytes().iter().enumerate() {
            folded[i % width] ^= byte;
        }
        folded
    }

    /// Reads a hash that names its algorithm, or one of the given algorithm.
    ///
    /// # Errors
    /// Every [`HashError`] but `UnknownFormat`; the texts are the reference's.
    pub fn parse(text: &str, expected: Option<HashAlgorithm>) -> Result<Self, HashError> {
        let (prefix, digits, sri) = if let Some((algo, digits)) = text.split_once(':') {
            (Some(algo), digits, false)
        } else if let Some((algo, digits)) = text.split_once('-') {
            (Some(algo), digits, true)
        } else {
            (None, text, false)
        };
        let algorithm = match prefix {
            Some(name) => {
                let found: HashAlgorithm = name.parse()?;
                match expected {
                    Some(expected) if expected != found => {
                        return Err(HashError::WrongAlgorithm { text: text.to_owned(), expected });
                    }
                    _ => found,
                }
            }
            None => expected.ok_or_else(|| HashError::MissingAlgorithm(text.to_owned()))?,
        };
        if sri { Self::parse_sri_digits(digits, algorithm) } else { Self::parse_digits(digits, algorithm) }
    }

    /// Reads digits without an algorithm; the notation follows from their number.
    ///
    /// # Errors
    /// `WrongLength` or `Malformed`.
    pub fn parse_digits(text: &str, algorithm: HashAlgorithm) -> Result<Self, HashError> {
        if text.len() == algorithm.base16_len() {
            let bytes = decode_base16(text).ok_or_else(|| malformed("base16", text, 0, algorithm))?;
            Ok(Self { algorithm, bytes })
        } else if text.len() == algorithm.base32_len() {
            match base32::decode(text, algorithm.digest_len()) {
                Ok(bytes) => Self::checked(algorithm, Some(&bytes), "nix32", text),
                // The surplus bits would be one byte more than a digest.
                Err(base32::DecodeError::Overflow) => {
                    Err(malformed("nix32", text, algorithm.digest_len() + 1, algorithm))
                }
                Err(base32::DecodeError::Malformed) => Err(malformed("nix32", text, 0, algorithm)),
            }
        } else if text.len() == algorithm.base64_len() {
            let bytes = BASE64.decode(text).ok();
            Self::checked(algorithm, bytes.as_deref(), "Base64", text)
        } else {
            Err(HashError::WrongLength { text: text.to_owned(), algorithm })
        }
    }

    fn parse_sri_digits(text: &str, algorithm: HashAlgorithm) -> Result<Self, HashError> {
        // Whatever is longer than a padded digest is refused before it is read.
        let bytes = (text.len() <= 4 * MAX_LEN).then(|| BASE64.decode(text).ok()).flatten();
        Self::checked(algorithm, bytes.as_deref(), "SRI", text)
    }

    fn checked(
        algorithm: HashAlgorithm,
        bytes: Option<&[u8]>,
        notation: &'static str,
        text: &str,
    ) -> Result<Self, HashError> {
        let bytes = bytes.unwrap_or_default();
        Self::from_bytes(algorithm, bytes).ok_or_else(|| malformed(notation, text, bytes.len(), algorithm))
    }
}

fn malformed(notation: &'static str, text: &str, found: usize, algorithm: HashAlgorithm) -> HashError {
    HashError::Malformed { notation, text: text.to_owned(), found, expected: algorithm.digest_len() }
}

/// The value of each byte as a hexadecimal digit; 255 for all others.
const NIBBLES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        values[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Reads at most [`MAX_LEN`] bytes from their hexadecimal form, without a branch
/// for each digit: databases have hashes by the hundred thousand.
fn decode_base16(text: &str) -> Option<[u8; MAX_LEN]> {
    let mut bytes = [0; MAX_LEN];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(bytes)
}

impl fmt::Display for Hash {
    /// `ALGO:nix32`, the form of messages and of `nix-store -q --hash`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, base32::encode(self.as_bytes()))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A digest in the making. It is also a [`std::io::Write`] that never fails.
#[derive(Clone)]
pub struct Hasher(State);

// One lives per stream, so the size of the largest state does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Clone)]
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Blake3(blake3::Hasher),
}

impl Hasher {
    /// An empty one.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self(match algorithm {
            HashAlgorithm::Md5 => State::Md5(md5::Md5::new()),
            HashAlgorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            HashAlgorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            HashAlgorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            HashAlgorithm::Blake3 => State::Blake3(blake3::Hasher::new()),
        })
    }

    /// Takes in more data.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Md5(h) => h.update(data),
            State::Sha1(h) => h.update(data),
            State::Sha256(h) => h.update(data),
            State::Sha512(h) => h.update(data),
            State::Blake3(h) => {
                h.update(data);
            }
        }
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Hash {
        fn hash(algorithm: HashAlgorithm, digest: &[u8]) -> Hash {
            let mut bytes = [0; MAX_LEN];
            bytes[..digest.len()].copy_from_slice(digest);
            Hash { algorithm, bytes }
        }
        match self.0 {
            State::Md5(h) => hash(HashAlgorithm::Md5, &h.finalize()),
            State::Sha1(h) => hash(HashAlgorithm::Sha1, &h.finalize()),
            State::Sha256(h) => hash(HashAlgorithm::Sha256, &h.finalize()),
            State::Sha512(h) => hash(HashAlgorithm::Sha512, &h.finalize()),
            State::Blake3(h) => hash(HashAlgorithm::Blake3, h.finalize().as_bytes()),
        }
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text, sha256, sha1 and md5 in nix32: from the reference.
    const KNOWN: [(&str, &str, &str, &str); 3] = [
        (
            "",
            "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "143xibwh31h9bvxzalr0sjvbbvpa6ffs",
            "3y8bwfr609h3lh9ch0izcqq7fl",
        ),
        (
            "abc",
            "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
            "kpcd173cq987hw957sx6m0868wv3x6d9",
            "3jgzhjhz9zjvbb0kyj7jc500ch",
        ),
        (
            "hello\n",
            "00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
            "iwjz551fyw0cxcjgf4l6c879zabd6wpm",
            "4425hx5d1mc9y39llj4k4nm55i",
        ),
    ];

    #[test]
    fn known_digests() {
        for (text, sha256, sha1, md5) in KNOWN {
            for (algorithm, digits) in
                [(HashAlgorithm::Sha256, sha256), (HashAlgorithm::Sha1, sha1), (HashAlgorithm::Md5, md5)]
            {
                assert_eq!(Hash::of(algorithm, text.as_bytes()).digits(HashFormat::Nix32), digits);
            }
        }
        assert_eq!(
            Hash::sha256(b"hello\n").digits(HashFormat::Sri),
            "sha256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM="
        );
    }

    #[test]
    fn messages() {
        let sha256 = Some(HashAlgorithm::Sha256);
        let message = |text: &str, expected| Hash::parse(text, expected).unwrap_err().to_string();
        assert_eq!(message("zz", sha256), "hash 'zz' has wrong length for hash algorithm 'sha256'");
        assert_eq!(message("md5-AAAA", sha256), "hash 'md5-AAAA' should have type 'sha256'");
        assert_eq!(
            message("zz", None),
            "hash 'zz' does not include a type, nor is the type otherwise known from context"
        );
        let z64 = "z".repeat(64);
        assert_eq!(
            message(&z64, sha256),
            format!("invalid base16 hash '{z64}', length 0 != expected length 32")
        );
        let z52 = "z".repeat(52);
        assert_eq!(
            message(&z52, sha256),
            format!("invalid nix32 hash '{z52}', length 33 != expected length 32")
        );
        let a44 = "A".repeat(44);
        assert_eq!(
            message(&a44, sha256),
            format!("invalid Base64 hash '{a44}', length 33 != expected length 32")
        );
        let a40 = "A".repeat(40);
        assert_eq!(
            message(&format!("sha256-{a40}"), None),
            format!("invalid SRI hash '{a40}', length 30 != expected length 32")
        );
        assert_eq!(
            message("SHA256:zz", None),
            "unknown hash algorithm 'SHA256', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'"
        );
    }

    #[test]
    fn fold_of_a_short_digest_is_the_digest() {
        let hash = Hash::of(HashAlgorithm::Md5, b"");
        assert_eq!(hash.fold(20), hash.as_bytes());
    }

    fn any_hash() -> impl Strategy<Value = Hash> {
        (0usize..4, proptest::collection::vec(any::<u8>(), MAX_LEN)).prop_map(|(a, bytes)| {
            let algorithm = HashAlgorithm::ALL[a];
            Hash::from_bytes(algorithm, &bytes[..algorithm.digest_len()]).unwrap()
        })
    }

    proptest! {
        #[test]
        fn every_notation_round_trips(hash in any_hash()) {
            for format in [HashFormat::Base16, HashFormat::Nix32, HashFormat::Base64, HashFormat::Sri] {
                prop_assert_eq!(Hash::parse(&hash.prefixed(format), None), Ok(hash));
                prop_assert_eq!(Hash::parse(&hash.digits(format), Some(hash.algorithm())), Ok(hash));
            }
            prop_assert_eq!(Hash::parse(&hash.to_base16().to_uppercase(), Some(hash.algorithm())), Ok(hash));
            let sri = hash.digits(HashFormat::Sri);
            prop_assert_eq!(Hash::parse(sri.trim_end_matches('='), None), Ok(hash));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(sha256|md5|sha1|sha512)?[:-]?.{0,140}") {
            for algorithm in [None, Some(HashAlgorithm::Sha256), Some(HashAlgorithm::Md5)] {
                if let Ok(hash) = Hash::parse(&text, algorithm) {
                    prop_assert_eq!(Hash::parse(&hash.to_string(), None), Ok(hash));
                }
            }
        }
    }
}
