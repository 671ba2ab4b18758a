//! "nix32", the base-32 notation of the store.
//!
//! Alphabet `0123456789abcdfghijklmnpqrsvwxyz` (no `e o u t`). `n` bytes become
//! ⌈8n/5⌉ characters; the character at distance `k` from the *end* holds bits
//! `5k … 5k+4` of the bytes read as one little-endian number.

/// The 32 digits in order of their value.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Number of characters that `bytes` bytes take.
pub const fn encoded_len(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// Whether `c` is one of the 32 digits.
pub const fn is_digit(c: u8) -> bool {
    matches!(c, b'0'..=b'9' | b'a'..=b'd' | b'f'..=b'n' | b'p'..=b's' | b'v'..=b'z')
}

/// Writes `bytes` in nix32.
pub fn encode(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    nix_base32::to_nix_base32(bytes)
}

/// Why a text is not the nix32 form of a given number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// A character outside the alphabet, or the wrong number of characters.
    Malformed,
    /// The unused high bits of the first character are not zero, so the text
    /// stands for a larger number than fits.
    Overflow,
}

/// Reads exactly `len` bytes from their nix32 form.
pub fn decode(text: &str, len: usize) -> Result<Vec<u8>, DecodeError> {
    // The crate indexes by the length of its input, so that is settled first.
    if text.len() != encoded_len(len) || !text.bytes().all(is_digit) {
        return Err(DecodeError::Malformed);
    }
    if len == 0 {
        return Ok(Vec::new());
    }
    nix_base32::from_nix_base32(text).ok_or(DecodeError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_are_the_alphabet() {
        for c in 0..=255u8 {
            assert_eq!(is_digit(c), ALPHABET.contains(&c), "{c}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(decode("", 0), Ok(vec![]));
        assert_eq!(decode("z", 0), Err(DecodeError::Malformed));
        assert_eq!(decode(&"z".repeat(52), 32), Err(DecodeError::Overflow));
        assert_eq!(decode(&"e".repeat(52), 32), Err(DecodeError::Malformed));
        assert_eq!(decode("é", 1), Err(DecodeError::Malformed));
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len(), encoded_len(bytes.len()));
            prop_assert_eq!(decode(&text, bytes.len()), Ok(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", len in 0usize..70) {
            if let Ok(bytes) = decode(&text, len) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
