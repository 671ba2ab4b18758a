//! Strings as JSON.

use thiserror::Error;

/// A string that JSON cannot hold, since it is not UTF-8.
#[derive(Error, Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotUtf8 {
    /// A byte that cannot stand where it does.
    #[error(
        "JSON serialization error: [json.exception.type_error.316] invalid UTF-8 byte at index {index}: 0x{byte:02X}"
    )]
    Byte {
        /// Its place.
        index: usize,
        /// The byte.
        byte: u8,
    },
    /// The string ends within a character.
    #[error(
        "JSON serialization error: [json.exception.type_error.316] incomplete UTF-8 string; last byte: 0x{0:02X}"
    )]
    Incomplete(u8),
}

/// Appends `text` as a JSON string.
///
/// # Errors
/// [`NotUtf8`]; then nothing was appended.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), NotUtf8> {
    check(text)?;
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut copied = 0;
    for (at, byte) in
        text.iter().enumerate().filter(|(_, byte)| **byte < 0x20 || matches!(byte, b'"' | b'\\'))
    {
        out.extend_from_slice(&text[copied..at]);
        copied = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text[copied..]);
    out.push(b'"');
    Ok(())
}

fn check(text: &[u8]) -> Result<(), NotUtf8> {
    let Err(error) = std::str::from_utf8(text) else { return Ok(()) };
    let Some(length) = error.error_len() else {
        return Err(NotUtf8::Incomplete(text.last().copied().unwrap_or_default()));
    };
    // The byte at fault is the first one that continues no character, or that begins none.
    let start = error.valid_up_to();
    let begins = matches!(text[start], 0xc2..=0xf4);
    let index = if begins { start + length } else { start };
    Err(NotUtf8::Byte { index, byte: text.get(index).copied().unwrap_or_default() })
}
