//! Tokens inside strings, indented strings and paths.

use super::characters::{INDENTED, PATH, STRING, is};
use super::engine::{Piece, Value};
use super::error::{Failed, Lint, ParseOptions};
use super::lexer::{Lexer, Mode};
use super::tables::Token;

type Lexed = Result<(Token, Value), Failed>;

impl Lexer<'_> {
    /// The next token of a string: its text up to an interpolation or the end, `${`, or the closing quote.
    pub(super) fn string(&mut self, bytes: &mut Vec<u8>) -> Lexed {
        self.begin();
        let at = self.at;
        match self.byte(at) {
            b'"' => {
                self.mode = Mode::Plain;
                return self.token(Token::Quote, at + 1);
            }
            b'$' if self.byte(at + 1) == b'{' => return self.interpolation(),
            0 if at == self.text.len() => return self.token(Token::End, at),
            _ => {}
        }
        let start = bytes.len();
        let mut end = at;
        loop {
            let copied = end;
            while end < self.text.len() && !is(self.text[end], STRING) {
                end += 1;
            }
            bytes.extend_from_slice(&self.text[copied..end]);
            match self.byte(end) {
                b'"' => break,
                b'$' if self.byte(end + 1) == b'{' => break,
                b'$' => {
                    let dollars = 1 + usize::from(self.byte(end + 1) == b'$');
                    bytes.resize(bytes.len() + dollars, b'$');
                    end += dollars;
                }
                b'\\' if end + 1 < self.text.len() => {
                    bytes.push(unescaped(self.text[end + 1]));
                    end += 2;
                }
                b'\r' => {
                    bytes.push(b'\n');
                    end += 1 + usize::from(self.byte(end + 1) == b'\n');
                }
                _ if end == self.text.len() => break,
                _ => {
                    bytes.push(self.text[end]);
                    end += 1;
                }
            }
        }
        if bytes[start..].contains(&0) {
            return Err(self.null_byte(at, end));
        }
        self.at = end;
        Ok((Token::String, Value::new(start as u32, (bytes.len() - start) as u32, at as u32)))
    }

    /// `${` inside a string or path.
    fn interpolation(&mut self) -> Lexed {
        self.outer.push(if self.mode == Mode::PathSlash { Mode::Path } else { self.mode });
        self.mode = Mode::Plain;
        self.token(Token::DollarBrace, self.at + 2)
    }

    /// The quotes that open an indented string, with a first line of nothing but spaces.
    pub(super) fn indented_start(&mut self) -> Lexed {
        self.mode = Mode::Indented;
        let quotes = self.at + 2;
        let mut end = quotes;
        while self.byte(end) == b' ' {
            end += 1;
        }
        self.token(Token::IndentedStart, if self.byte(end) == b'\n' { end + 1 } else { quotes })
    }

    /// The next token of an indented string. All text up to an interpolation or the end is one token; its pieces
    /// (each escape is one of its own) go to `pieces`.
    pub(super) fn indented(&mut self) -> Lexed {
        self.begin();
        let start = self.at;
        loop {
            let at = self.at;
            let run = self.indented_run(at);
            if run > at {
                if self.text[at..run].contains(&0) {
                    return Err(self.null_byte(at, run));
                }
                self.pieces.push(Piece::Text { start: at as u32, end: run as u32, at: at as u32 });
                self.at = run;
                continue;
            }
            let (next, third) = (self.byte(at + 1), self.byte(at + 2));
            match self.byte(at) {
                b'$' if next == b'{' => break,
                b'\'' if next == b'\'' && third == b'$' => self.escape(b'$', false, 3),
                b'\'' if next == b'\'' && third == b'\'' => self.escape(b'\'', true, 3),
                b'\'' if next == b'\'' && third == b'\\' && at + 3 < self.text.len() => {
                    self.escape(unescaped(self.text[at + 3]), false, 4);
                }
                b'\'' if next == b'\'' => break,
                byte @ (b'\'' | b'$') => self.escape(byte, false, 1),
                _ => break,
            }
        }
        let at = self.at;
        if at > start {
            return Ok((Token::IndentedString, Value::new(0, 0, start as u32)));
        }
        match self.byte(at) {
            b'$' => self.interpolation(),
            b'\'' => {
                self.mode = Mode::Plain;
                self.token(Token::IndentedEnd, at + 2)
            }
            _ => self.token(Token::End, at),
        }
    }

    fn escape(&mut self, byte: u8, twice: bool, length: usize) {
        self.pieces.push(Piece::Escape { byte, twice, at: self.at as u32 });
        self.at += length;
    }

    /// The end of the plain text that begins at `at`: dollars go with the byte behind them unless that is a brace
    /// or quote, quotes unless it is a dollar or quote.
    fn indented_run(&self, mut at: usize) -> usize {
        let text = self.text;
        while at < text.len() {
            if !is(text[at], INDENTED) {
                at += 1;
                continue;
            }
            match (text[at], text.get(at + 1)) {
                (0, _) => at += 1,
                (b'$', Some(next)) if !matches!(next, b'{' | b'\'') => at += 2,
                (b'\'', Some(next)) if !matches!(next, b'$' | b'\'') => at += 2,
                _ => break,
            }
        }
        at
    }

    /// Reads a path whose first run of letters ends at `end`, where a slash stands; nothing if that is no path.
    pub(super) fn path(&mut self, end: usize, options: &ParseOptions) -> Option<Lexed> {
        let mut after = self.path_text(end);
        let slash = self.byte(after) == b'/';
        if slash {
            if after == end && !self.text[end + 1..].starts_with(b"${") {
                return None;
            }
            after += 1;
        }
        if let Err(error) = self.path_lints(after, options) {
            return Some(Err(error));
        }
        self.mode = if slash { Mode::PathSlash } else { Mode::Path };
        let kind = if self.byte(self.at) == b'~' { Token::HomePath } else { Token::Path };
        Some(self.token(kind, after))
    }

    /// The end of `/a/b…` at `at`, without a slash that ends it.
    fn path_text(&self, mut at: usize) -> usize {
        while self.byte(at) == b'/' && is(self.byte(at + 1), PATH) {
            at += 2;
            while is(self.byte(at), PATH) {
                at += 1;
            }
        }
        at
    }

    fn path_lints(&mut self, end: usize, options: &ParseOptions) -> Result<(), Failed> {
        let text = &self.text[self.at..end];
        let first = text[0];
        if matches!(first, b'/' | b'~') {
            if options.absolute_path_literals == Lint::Ignore {
                return Ok(());
            }
            let text = String::from_utf8_lossy(text).into_owned();
            let kind = if first == b'/' { "absolute" } else { "home" };
            let message = format!(
                "{kind} path literals are not portable. Consider replacing path literal '{text}' by a string, \
                 relative path, or parameter (lint-absolute-path-literals)"
            );
            return self.lint(options.absolute_path_literals, message);
        }
        if options.short_path_literals == Lint::Ignore || first == b'.' {
            return Ok(());
        }
        let text = String::from_utf8_lossy(text).into_owned();
        let message = format!(
            "relative path literal '{text}' should be prefixed with '.' for clarity: './{text}' \
             (lint-short-path-literals)"
        );
        self.lint(options.short_path_literals, message)
    }

    /// What follows a path: an interpolation, more of its text, or its end.
    pub(super) fn path_rest(&mut self, bytes: &mut Vec<u8>) -> Lexed {
        let at = self.at;
        if self.byte(at) == b'$' && self.byte(at + 1) == b'{' {
            self.begin();
            return self.interpolation();
        }
        let mut end = at;
        while is(self.byte(end), PATH) {
            end += 1;
        }
        end = self.path_text(end);
        let slash = self.byte(end) == b'/';
        end += usize::from(slash);
        if end > at {
            self.begin();
            self.mode = if slash { Mode::PathSlash } else { Mode::Path };
            self.at = end;
            let start = bytes.len();
            bytes.extend_from_slice(&self.text[at..end]);
            return Ok((Token::String, Value::new(start as u32, (end - at) as u32, at as u32)));
        }
        let ended = at == self.text.len();
        if self.mode == Mode::PathSlash {
            let place = if ended { self.last } else { at };
            return Err(self.fail(place, "path has a trailing slash"));
        }
        self.mode = Mode::Plain;
        if ended {
            self.end_place = Some(self.last);
        }
        let place = if ended { self.before_last } else { self.last };
        Ok((Token::PathEnd, Value::new(0, 0, place as u32)))
    }

    #[cold]
    fn null_byte(&mut self, at: usize, end: usize) -> Failed {
        let text = String::from_utf8_lossy(&self.text[at..end]).replace('\0', "␀");
        let message = format!(
            "input string '{text}' cannot be represented as Nix string because it contains null bytes"
        );
        self.fail(at, message)
    }
}

/// The byte that a backslash and a byte stand for.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}
