//! Classes of bytes.

/// `[A-Za-z_]`
pub(super) const NAME_START: u8 = 1;
/// `[A-Za-z0-9_'-]`
pub(super) const NAME: u8 = 2;
/// `[A-Za-z0-9._+-]`
pub(super) const PATH: u8 = 4;
/// `[A-Za-z0-9%/?:@&=+$,_.!~*'-]`
pub(super) const URI: u8 = 8;
/// `[A-Za-z0-9+.-]`
pub(super) const SCHEME: u8 = 16;
/// `[0-9]`
pub(super) const DIGIT: u8 = 32;
/// `"`, `\`, `$`, CR and NUL: what needs care in a string.
pub(super) const STRING: u8 = 64;
/// `'`, `$` and NUL: what needs care in an indented string.
pub(super) const INDENTED: u8 = 128;

static CLASSES: [u8; 256] = classes();

/// Whether a byte belongs to a class.
#[inline(always)]
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut class = 0;
        let at = byte as u8;
        if at.is_ascii_alphabetic() {
            class |= NAME_START | NAME | PATH | URI | SCHEME;
        }
        if at.is_ascii_digit() {
            class |= NAME | PATH | URI | SCHEME | DIGIT;
        }
        class |= match at {
            b'_' => NAME_START | NAME | PATH | URI,
            b'-' => NAME | PATH | URI | SCHEME,
            b'.' | b'+' => PATH | URI | SCHEME,
            b'\'' => NAME | URI | INDENTED,
            b'$' => URI | STRING | INDENTED,
            b'%' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b',' | b'!' | b'~' | b'*' => URI,
            b'"' | b'\\' | b'\r' => STRING,
            0 => STRING | INDENTED,
            _ => 0,
        };
        classes[byte] = class;
        byte += 1;
    }
    classes
}

/// Finds the first LF or CR.
pub(super) fn find_line_end(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| matches!(byte, b'\n' | b'\r'))
}
