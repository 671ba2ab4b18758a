//! JSON as tokens.

use std::fmt::Write;

/// A token, with its value if it has one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    ArrayBegin,
    ArrayEnd,
    ObjectBegin,
    ObjectEnd,
    Colon,
    Comma,
    Null,
    True,
    False,
    String(Vec<u8>),
    Number(Number),
    End,
    /// Something that is no token, and why.
    Wrong(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    /// An integer that only fits without a sign.
    Unsigned(u64),
    Float(f64),
}

impl Token {
    /// What messages call the token.
    pub fn name(&self) -> &'static str {
        match self {
            Token::ArrayBegin => "'['",
            Token::ArrayEnd => "']'",
            Token::ObjectBegin => "'{'",
            Token::ObjectEnd => "'}'",
            Token::Colon => "':'",
            Token::Comma => "','",
            Token::Null => "null literal",
            Token::True => "true literal",
            Token::False => "false literal",
            Token::String(_) => "string literal",
            Token::Number(_) => "number literal",
            Token::End => "end of input",
            Token::Wrong(_) => "<parse error>",
        }
    }
}

/// Reads tokens and counts as the original does: also the end counts as read, and
/// what is shown as read last begins with the last string or number.
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    /// Bytes read, and the end.
    read: usize,
    shown_from: usize,
    pub line: usize,
    pub column: usize,
}

const ILL_FORMED: &str = "invalid string: ill-formed UTF-8 byte";
const NOT_HEX: &str = "invalid string: '\\u' must be followed by 4 hex digits";
const LONE_HIGH: &str = "invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF";
const LONE_LOW: &str = "invalid string: surrogate U+DC00..U+DFFF must follow U+D800..U+DBFF";

impl<'t> Lexer<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Lexer { text, read: 0, shown_from: 0, line: 0, column: 0 }
    }

    fn get(&mut self) -> Option<u8> {
        let byte = self.text.get(self.read).copied();
        self.read += 1;
        self.column += 1;
        if byte == Some(b'\n') {
            self.line += 1;
            self.column = 0;
        }
        byte
    }

    fn unget(&mut self) {
        self.read -= 1;
        match self.column {
            0 => self.line = self.line.saturating_sub(1),
            _ => self.column -= 1,
        }
    }

    /// Tells whether nothing but the end was read.
    pub fn is_empty(&self) -> bool {
        self.read == 1
    }

    fn last_read(&self) -> &'t [u8] {
        &self.text[self.shown_from..self.read.min(self.text.len())]
    }

    /// What was read since the last string or number began.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for character in String::from_utf8_lossy(self.last_read()).chars() {
            match u32::from(character) {
                // Writing to a string does not fail.
                control @ ..=0x1f => _ = write!(shown, "<U+{control:04X}>"),
                _ => shown.push(character),
            }
        }
        shown
    }

    pub fn next(&mut self) -> Token {
        if self.read == 0 && !self.skip_mark() {
            return Token::Wrong("invalid BOM; must be 0xEF 0xBB 0xBF if given".to_owned());
        }
        let byte = loop {
            match self.get() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => {}
                byte => break byte,
            }
        };
        match byte {
            Some(b'[') => Token::ArrayBegin,
            Some(b']') => Token::ArrayEnd,
            Some(b'{') => Token::ObjectBegin,
            Some(b'}') => Token::ObjectEnd,
            Some(b':') => Token::Colon,
            Some(b',') => Token::Comma,
            Some(b't') => self.literal(b"rue", Token::True),
            Some(b'f') => self.literal(b"alse", Token::False),
            Some(b'n') => self.literal(b"ull", Token::Null),
            Some(b'"') => {
                self.shown_from = self.read - 1;
                self.string().map_or_else(Token::Wrong, Token::String)
            }
            Some(byte @ (b'-' | b'0'..=b'9')) => {
                self.shown_from = self.read - 1;
                self.number(byte)
                    .map_or_else(|why| Token::Wrong(format!("invalid number; {why}")), Token::Number)
            }
            None => Token::End,
            Some(_) => Token::Wrong("invalid literal".to_owned()),
        }
    }

    /// Passes over a byte order mark; false if it is incomplete.
    fn skip_mark(&mut self) -> bool {
        if self.get() == Some(0xef) {
            return self.get() == Some(0xbb) && self.get() == Some(0xbf);
        }
        self.unget();
        true
    }

    fn literal(&mut self, rest: &[u8], token: Token) -> Token {
        match rest.iter().all(|byte| self.get() == Some(*byte)) {
            true => token,
            false => Token::Wrong("invalid literal".to_owned()),
        }
    }

    fn string(&mut self) -> Result<Vec<u8>, String> {
        let mut string = Vec::new();
        loop {
            self.plain(&mut string);
            match self.get() {
                None => return Err("invalid string: missing closing quote".to_owned()),
                Some(b'"') => return Ok(string),
                Some(b'\\') => self.escape(&mut string)?,
                Some(control @ ..=0x1f) => return Err(unescaped(control)),
                Some(lead) => self.character(lead, &mut string)?,
            }
        }
    }

    /// Takes the ASCII characters that stand for themselves.
    fn plain(&mut self, string: &mut Vec<u8>) {
        let rest = self.text.get(self.read..).unwrap_or_default();
        let is_plain = |byte: &u8| matches!(byte, 0x20..=0x7f) && !matches!(byte, b'"' | b'\\');
        let length = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        string.extend_from_slice(&rest[..length]);
        self.read += length;
        self.column += length;
    }

    /// Takes the rest of a character of several bytes.
    fn character(&mut self, lead: u8, string: &mut Vec<u8>) -> Result<(), String> {
        // The range of the second byte, and how many follow that.
        let (second, more) = match lead {
            0xc2..=0xdf => (0x80..=0xbf, 0),
            0xe0 => (0xa0..=0xbf, 1),
            0xe1..=0xec | 0xee | 0xef => (0x80..=0xbf, 1),
            0xed => (0x80..=0x9f, 1),
            0xf0 => (0x90..=0xbf, 2),
            0xf1..=0xf3 => (0x80..=0xbf, 2),
            0xf4 => (0x80..=0x8f, 2),
            _ => return Err(ILL_FORMED.to_owned()),
        };
        string.push(lead);
        for range in std::iter::once(second).chain(std::iter::repeat_n(0x80..=0xbf, more)) {
            let byte = self.get().filter(|byte| range.contains(byte)).ok_or(ILL_FORMED)?;
            string.push(byte);
        }
        Ok(())
    }

    fn escape(&mut self, string: &mut Vec<u8>) -> Result<(), String> {
        string.push(match self.get() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let character = self.code_point()?;
                string.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err("invalid string: forbidden character after backslash".to_owned()),
        });
        Ok(())
    }

    fn code_point(&mut self) -> Result<char, String> {
        let unit = self.unit()?;
        let code = match unit {
            0xd800..=0xdbff => {
                if self.get() != Some(b'\\') || self.get() != Some(b'u') {
                    return Err(LONE_HIGH.to_owned());
                }
                match self.unit()? {
                    low @ 0xdc00..=0xdfff => 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(LONE_HIGH.to_owned()),
                }
            }
            unit => unit,
        };
        char::from_u32(code).ok_or_else(|| LONE_LOW.to_owned())
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, String> {
        (0..4).try_fold(0, |unit, _| {
            let digit = self.get().and_then(|byte| char::from(byte).to_digit(16)).ok_or(NOT_HEX)?;
            Ok(unit << 4 | digit)
        })
    }

    /// Takes digits; gives the byte after them, which was read too.
    fn digits(&mut self) -> Option<u8> {
        loop {
            match self.get() {
                Some(b'0'..=b'9') => {}
                after => return after,
            }
        }
    }

    fn number(&mut self, first: u8) -> Result<Number, &'static str> {
        let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
        let mut is_float = false;
        let first = match first {
            b'-' => self.get().filter(u8::is_ascii_digit).ok_or("expected digit after '-'")?,
            digit => digit,
        };
        let mut after = if first == b'0' { self.get() } else { self.digits() };
        if after == Some(b'.') {
            is_float = true;
            if !is_digit(self.get()) {
                return Err("expected digit after '.'");
            }
            after = self.digits();
        }
        if let Some(b'e' | b'E') = after {
            is_float = true;
            match self.get() {
                Some(b'+' | b'-') if is_digit(self.get()) => {}
                Some(b'+' | b'-') => return Err("expected digit after exponent sign"),
                byte if is_digit(byte) => {}
                _ => return Err("expected '+', '-', or digit after exponent"),
            }
            self.digits();
        }
        self.unget();
        let text = std::str::from_utf8(self.last_read()).unwrap_or_default();
        let integer =
            || text.parse().map(Number::Integer).or_else(|_| text.parse().map(Number::Unsigned)).ok();
        let whole = if is_float { None } else { integer() };
        // What has this form is a float for Rust too.
        Ok(whole.unwrap_or_else(|| Number::Float(text.parse().unwrap_or(f64::NAN))))
    }
}

const CONTROLS: [&str; 32] = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS",
    "US",
];

fn unescaped(control: u8) -> String {
    let name = CONTROLS.get(usize::from(control)).unwrap_or(&"");
    let short = match control {
        0x08 => " or \\b",
        b'\t' => " or \\t",
        b'\n' => " or \\n",
        0x0c => " or \\f",
        b'\r' => " or \\r",
        _ => "",
    };
    format!(
        "invalid string: control character U+{control:04X} ({name}) must be escaped to \\u{control:04X}{short}"
    )
}
