//! The text of a document: lines, keys, strings, lists and inline tables.

use super::{DEEPEST, Item, Origin, Table, TomlError, scalar, scalar::TOO_LARGE};

pub(super) struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

/// Words that tests of programs may look for are those of the original's library.
const BAD_KEY: &str =
    "toml::parse_simple_key: invalid key: key must be \"quoted\", 'quoted-literal', or bare key.";
const KEY_MARK: &str = "expected alpha [a-zA-Z], digit [0-9], -, or _
Hint: non-ASCII scripts are allowed in toml v1.1.0, but not in v1.0.0.";
const BAD_STRING: &str = "toml::parse_basic_string: invalid string format";

type Result<T> = std::result::Result<T, TomlError>;

impl<'t> Parser<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Parser { text, at, depth: 0 }
    }

    /// Reads everything.
    pub fn document(mut self) -> Result<Table> {
        if let Err(error) = std::str::from_utf8(self.text) {
            self.at = error.valid_up_to();
            return Err(self.error("invalid UTF-8"));
        }
        let mut root = Table::new(Origin::Header);
        self.section(&mut root)?;
        while self.takes(b"[") {
            let start = self.at - 1;
            self.depth = 0;
            let of_list = self.takes(b"[");
            self.blanks();
            let mut key = self.key()?;
            self.depth = key.len();
            match of_list {
                true => self.expect(b"]]", "toml::parse_file: invalid array-table key")?,
                false => self.expect(b"]", "toml::parse_file: invalid table key")?,
            }
            self.line_end("toml::parse_file: newline (or EOF) expected")?;
            let last = key.pop().unwrap_or_default();
            let table = key.into_iter().try_fold(&mut root, Table::passed);
            let table =
                table.and_then(|table| if of_list { table.appended(last) } else { table.opened(last) });
            let table = table.map_err(|why| Self { at: start, ..self }.error(why))?;
            self.section(table)?;
        }
        Ok(root)
    }

    /// Reads keys and values up to the next header.
    fn section(&mut self, table: &mut Table) -> Result<()> {
        loop {
            self.empty_lines()?;
            if matches!(self.peek(), None | Some(b'[')) {
                return Ok(());
            }
            self.member(table)?;
            self.line_end("toml::parse_table: newline (LF / CRLF) or EOF is expected")?;
        }
    }

    /// Reads a key and its value.
    fn member(&mut self, table: &mut Table) -> Result<()> {
        let start = self.at;
        let key = self.key()?;
        self.expect(b"=", "toml::parse_key_value_pair: invalid key value separator `=`")?;
        self.blanks();
        let levels = key.len();
        self.depth += levels;
        let value = self.value()?;
        self.depth -= levels;
        table.insert(key, value).map_err(|why| Self { at: start, ..*self }.error(why))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &'t [u8] {
        &self.text[self.at..]
    }

    fn takes(&mut self, word: &[u8]) -> bool {
        let there = self.rest().starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn expect(&mut self, word: &[u8], why: &str) -> Result<()> {
        match self.takes(word) {
            true => Ok(()),
            false => Err(self.marked(why, &format!("expected {}", String::from_utf8_lossy(word)))),
        }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn newline(&mut self) -> bool {
        self.takes(b"\n") || self.takes(b"\r\n")
    }

    fn comment(&mut self) -> Result<()> {
        if !self.takes(b"#") {
            return Ok(());
        }
        while let Some(byte) =
            self.peek().filter(|_| !matches!(self.rest(), [b'\n', ..] | [b'\r', b'\n', ..]))
        {
            if is_control(byte) {
                return Err(self.error("a control character in a comment"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn line_end(&mut self, why: &str) -> Result<()> {
        self.blanks();
        self.comment()?;
        if self.newline() || self.peek().is_none() {
            return Ok(());
        }
        Err(self.error(why))
    }

    fn empty_lines(&mut self) -> Result<()> {
        loop {
            self.blanks();
            self.comment()?;
            if !self.newline() {
                return Ok(());
            }
        }
    }

    /// Reads a dotted key and the blanks after it.
    fn key(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut key = Vec::new();
        loop {
            key.push(self.simple_key()?);
            self.blanks();
            if self.depth + key.len() > DEEPEST {
                return Err(self.error("tables are nested too deeply"));
            }
            if !self.takes(b".") {
                return Ok(key);
            }
            self.blanks();
        }
    }

    fn simple_key(&mut self) -> Result<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.basic_string(),
            Some(b'\'') => self.literal_string(),
            _ => {
                let rest = self.rest();
                let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                let length = rest.iter().position(|byte| !is_bare(byte)).unwrap_or(rest.len());
                if length == 0 {
                    return Err(self.marked(BAD_KEY, KEY_MARK));
                }
                self.at += length;
                Ok(rest[..length].to_vec())
            }
        }
    }

    fn value(&mut self) -> Result<Item> {
        match self.peek() {
            Some(b'"') if self.takes(b"\"\"\"") => self.long_string(b'"').map(Item::String),
            Some(b'"') => self.basic_string().map(Item::String),
            Some(b'\'') if self.takes(b"'''") => self.long_string(b'\'').map(Item::String),
            Some(b'\'') => self.literal_string().map(Item::String),
            Some(b'[') => self.nested(Self::list),
            Some(b'{') => self.nested(Self::inline_table),
            _ => self.scalar(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Item>) -> Result<Item> {
        if self.depth >= DEEPEST {
            return Err(self.error("lists and tables are nested too deeply"));
        }
        self.at += 1;
        self.depth += 1;
        let item = read(self);
        self.depth -= 1;
        item
    }

    fn list(&mut self) -> Result<Item> {
        let mut items = Vec::new();
        loop {
            self.empty_lines()?;
            if self.takes(b"]") {
                return Ok(Item::List(items));
            }
            items.push(self.value()?);
            self.empty_lines()?;
            if !self.takes(b",") {
                if !self.takes(b"]") {
                    return Err(self.error("toml::parse_array: expected value-separator `,` or closing `]`"));
                }
                return Ok(Item::List(items));
            }
        }
    }

    fn inline_table(&mut self) -> Result<Item> {
        let mut table = Table::new(Origin::Inline);
        self.blanks();
        if self.takes(b"}") {
            return Ok(Item::Table(table));
        }
        loop {
            self.blanks();
            self.member(&mut table)?;
            self.blanks();
            if self.takes(b"}") {
                return Ok(Item::Table(table));
            }
            if !self.takes(b",") {
                let why = "toml::parse_inline_table: expected value-separator `,` or closing `}`";
                return Err(self.error(why));
            }
        }
    }

    fn scalar(&mut self) -> Result<Item> {
        let word_at = |at: usize| {
            let is_part =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'_' | b'.' | b':');
            let rest = &self.text[at..];
            at + rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len())
        };
        let mut end = word_at(self.at);
        // A blank may stand between a date and a time.
        let is_date = end - self.at == 10 && self.text[self.at + 4] == b'-';
        if is_date && matches!(self.text[end..], [b' ', b'0'..=b'9', ..]) {
            end = word_at(end + 1);
        }
        let word = std::str::from_utf8(&self.text[self.at..end]).unwrap_or_default();
        let item = scalar::parse(word);
        if let Err(TOO_LARGE) = item {
            self.at = end;
            return Err(self.marked(TOO_LARGE, "must be < 2^63"));
        }
        let item = item.map_err(|why| self.error(why))?;
        self.at = end;
        Ok(item)
    }

    fn literal_string(&mut self) -> Result<Vec<u8>> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'\'') => {
                    self.at += 1;
                    return Ok(self.text[start..self.at - 1].to_vec());
                }
                Some(byte) if !is_control(byte) => self.at += 1,
                _ => {
                    return Err(
                        self.marked("toml::parse_literal_string: invalid string format", "expected '")
                    );
                }
            }
        }
    }

    fn basic_string(&mut self) -> Result<Vec<u8>> {
        self.at += 1;
        let mut string = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => self.escape(&mut string)?,
                Some(byte) if !is_control(byte) => {
                    string.push(byte);
                    self.at += 1;
                }
                _ => return Err(self.marked(BAD_STRING, "expected \"")),
            }
        }
    }

    /// Reads a string over several lines, whose opening quotes were read.
    fn long_string(&mut self, quote: u8) -> Result<Vec<u8>> {
        self.newline();
        let mut string = Vec::new();
        loop {
            let start = self.at;
            if self.takes(&[quote; 3]) {
                // Two quotes more may belong to the string.
                for _ in 0..2 {
                    if self.takes(&[quote]) {
                        string.push(quote);
                    }
                }
                return Ok(string);
            }
            if self.newline() {
                string.extend_from_slice(&self.text[start..self.at]);
                continue;
            }
            match self.peek() {
                Some(b'\\') if quote == b'"' => {
                    if !self.joined_lines() {
                        self.escape(&mut string)?;
                    }
                }
                Some(byte) if !is_control(byte) => {
                    string.push(byte);
                    self.at += 1;
                }
                _ => return Err(self.error("invalid string: expected three quotes")),
            }
        }
    }

    /// Passes over a backslash at the end of a line and all white space after it.
    fn joined_lines(&mut self) -> bool {
        let start = self.at;
        self.at += 1;
        self.blanks();
        if !self.newline() {
            self.at = start;
            return false;
        }
        loop {
            self.blanks();
            if !self.newline() {
                return true;
            }
        }
    }

    fn escape(&mut self, string: &mut Vec<u8>) -> Result<()> {
        let digits = match self.text.get(self.at + 1) {
            Some(b'b') => return self.escaped(string, 0x08),
            Some(b't') => return self.escaped(string, b'\t'),
            Some(b'n') => return self.escaped(string, b'\n'),
            Some(b'f') => return self.escaped(string, 0x0c),
            Some(b'r') => return self.escaped(string, b'\r'),
            Some(byte @ (b'"' | b'\\')) => return self.escaped(string, *byte),
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => return Err(self.error("invalid escape sequence")),
        };
        let start = self.at + 2;
        let code = self.text.get(start..start + digits).filter(|code| code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|code| u32::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        let Some(character) = code.and_then(char::from_u32) else {
            return Err(self.error("an escape sequence that is no character"));
        };
        string.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at = start + digits;
        Ok(())
    }

    fn escaped(&mut self, string: &mut Vec<u8>, byte: u8) -> Result<()> {
        string.push(byte);
        self.at += 2;
        Ok(())
    }

    /// A message with the line in which something is wrong.
    fn error(&self, why: &str) -> TomlError {
        self.marked(why, "here")
    }

    /// The same with another text at the place.
    fn marked(&self, why: &str, mark: &str) -> TomlError {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = &self.text[start..];
        let shown = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        // A long line is cut; it would not help anybody.
        let shown = String::from_utf8_lossy(&rest[..shown.min(200)]);
        let shown = shown.trim_end();
        let column = before.len() - start;
        let margin = " ".repeat(line.to_string().len());
        let mark = if column <= 200 { format!("{}^-- {mark}", " ".repeat(column)) } else { String::new() };
        let place = format!("\n --> fromTOML\n {margin} |\n {line} | {shown}\n {margin} | {mark}\n");
        TomlError::Syntax(format!("{why}{place}"))
    }
}

/// Tells whether a byte may not stand in strings and comments.
fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=8 | b'\n'..=0x1f | 0x7f)
}
