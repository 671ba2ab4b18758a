//! Tokens outside strings and paths.

use super::characters::{DIGIT, NAME, NAME_START, PATH, SCHEME, URI, is};
use super::engine::Value;
use super::error::{Failed, Lint, ParseOptions, SyntaxError};
use super::tables::Token;

/// What the lexer stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Ordinary text, in an interpolation or between braces.
    Plain,
    /// A string.
    String,
    /// An indented string.
    Indented,
    /// A path that may go on.
    Path,
    /// A path that may go on and now ends with a slash.
    PathSlash,
}

/// The run of path letters that was looked at last: many tokens lie in one run.
#[derive(Clone, Copy, Default)]
struct Run {
    start: usize,
    end: usize,
    /// Behind the last underscore in it.
    after_underscore: usize,
}

/// A source of tokens.
pub(super) struct Lexer<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) mode: Mode,
    /// The modes to which closing braces return.
    pub(super) outer: Vec<Mode>,
    /// The pieces of indented strings that are not complete.
    pub(super) pieces: Vec<super::engine::Piece>,
    /// Where the last token began and the one before it; blanks and comments count.
    pub(super) last: usize,
    pub(super) before_last: usize,
    /// Where the reference sees the end of the file: it is a little off behind a path.
    pub(super) end_place: Option<usize>,
    /// Literals that a lint warns of.
    pub(super) lints: Vec<(u32, String)>,
    /// What is wrong with the text, behind a [`Failed`].
    pub(super) error: Option<Box<SyntaxError>>,
    run: Run,
    /// No `*/` lies behind this place.
    no_comment_end: bool,
}

type Lexed = Result<(Token, Value), Failed>;

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8]) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            mode: Mode::Plain,
            outer: Vec::new(),
            pieces: Vec::new(),
            last: 0,
            before_last: 0,
            end_place: None,
            lints: Vec::new(),
            error: None,
            run: Run::default(),
            no_comment_end: false,
        }
    }

    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Where an error at a token is reported.
    pub fn error_place(&self, at: u32) -> u32 {
        match self.end_place {
            Some(place) if at as usize >= self.at => place as u32,
            _ => at,
        }
    }

    /// Notes an error.
    #[cold]
    pub fn fail(&mut self, at: usize, message: impl Into<String>) -> Failed {
        self.fail_with(SyntaxError::new(at as u32, message))
    }

    /// Notes an error.
    #[cold]
    pub fn fail_with(&mut self, error: SyntaxError) -> Failed {
        self.error = Some(Box::new(error));
        Failed
    }

    /// The byte at a place; 0 behind the end.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// Notes that a token (or a blank) begins here.
    pub(super) fn begin(&mut self) {
        self.before_last = self.last;
        self.last = self.at;
    }

    /// Gives a token that ends at `end`.
    pub(super) fn token(&mut self, kind: Token, end: usize) -> Lexed {
        let at = self.at as u32;
        self.at = end;
        Ok((kind, Value::new(at, end as u32, at)))
    }

    /// Reads a token.
    pub fn next(&mut self, bytes: &mut Vec<u8>, options: &ParseOptions) -> Lexed {
        match self.mode {
            Mode::Plain => self.plain(options),
            Mode::String => self.string(bytes),
            Mode::Indented => self.indented(),
            Mode::Path | Mode::PathSlash => self.path_rest(bytes),
        }
    }

    /// Passes blanks and comments.
    fn blanks(&mut self) {
        loop {
            let start = self.at;
            while matches!(self.byte(self.at), b' ' | b'\t' | b'\r' | b'\n') {
                self.at += 1;
            }
            if self.at > start {
                self.before_last = self.last;
                self.last = start;
            }
            match self.byte(self.at) {
                b'#' => {
                    self.begin();
                    let rest = &self.text[self.at..];
                    self.at += super::characters::find_line_end(rest).unwrap_or(rest.len());
                }
                b'/' if self.byte(self.at + 1) == b'*' => match self.comment_end() {
                    Some(end) => {
                        self.begin();
                        self.at = end;
                    }
                    None => return,
                },
                _ => return,
            }
        }
    }

    /// Where the comment that begins here ends.
    fn comment_end(&mut self) -> Option<usize> {
        if self.no_comment_end {
            return None;
        }
        let mut at = self.at + 2;
        while at < self.text.len() {
            match self.text[at..].iter().position(|byte| *byte == b'*') {
                Some(star) if self.byte(at + star + 1) == b'/' => return Some(at + star + 2),
                Some(star) => at += star + 1,
                None => break,
            }
        }
        self.no_comment_end = true;
        None
    }

    fn plain(&mut self, options: &ParseOptions) -> Lexed {
        self.blanks();
        let byte = self.byte(self.at);
        if is(byte, NAME_START) {
            return self.name(options);
        }
        self.begin();
        let at = self.at;
        let next = self.byte(at + 1);
        let (kind, length) = match byte {
            0 => return self.token(Token::End, at),
            b'0'..=b'9' => return self.number(options),
            b'(' => (Token::ParenOpen, 1),
            b')' => (Token::ParenClose, 1),
            b'[' => (Token::BracketOpen, 1),
            b']' => (Token::BracketClose, 1),
            b';' => (Token::Semicolon, 1),
            b':' => (Token::Colon, 1),
            b',' => (Token::Comma, 1),
            b'?' => (Token::Question, 1),
            b'@' => (Token::At, 1),
            b'*' => (Token::Star, 1),
            b'{' => {
                self.outer.push(Mode::Plain);
                (Token::BraceOpen, 1)
            }
            b'}' => {
                self.mode = self.outer.pop().unwrap_or(Mode::Plain);
                (Token::BraceClose, 1)
            }
            b'$' if next == b'{' => {
                self.outer.push(Mode::Plain);
                (Token::DollarBrace, 2)
            }
            b'"' => {
                self.mode = Mode::String;
                (Token::Quote, 1)
            }
            b'\'' if next == b'\'' => return self.indented_start(),
            b'=' if next == b'=' => (Token::Equal, 2),
            b'=' => (Token::Assign, 1),
            b'!' if next == b'=' => (Token::NotEqual, 2),
            b'!' => (Token::Not, 1),
            b'&' if next == b'&' => (Token::AndAnd, 2),
            b'|' if next == b'|' => (Token::OrOr, 2),
            b'|' if next == b'>' => return self.pipe(Token::PipeInto, options),
            b'>' if next == b'=' => (Token::GreaterEqual, 2),
            b'>' => (Token::Greater, 1),
            b'<' => return self.less(options),
            b'.' | b'+' | b'-' | b'/' | b'~' => return self.path_or_operator(options),
            _ => (Token::Invalid, 1),
        };
        self.token(kind, at + length)
    }

    fn pipe(&mut self, kind: Token, options: &ParseOptions) -> Lexed {
        if !options.pipe_operators {
            let message = "experimental Nix feature 'pipe-operators' is disabled; add \
                           '--extra-experimental-features pipe-operators' to enable it";
            return Err(self.fail(self.at, message));
        }
        self.token(kind, self.at + 2)
    }

    /// `<` and what begins with it.
    fn less(&mut self, options: &ParseOptions) -> Lexed {
        let mut end = self.at + 1;
        loop {
            let start = end;
            while is(self.byte(end), PATH) {
                end += 1;
            }
            match self.byte(end) {
                _ if end == start => break,
                b'/' => end += 1,
                b'>' => {
                    let at = self.at as u32;
                    self.at = end + 1;
                    return Ok((Token::SearchPath, Value::new(at + 1, end as u32, at)));
                }
                _ => break,
            }
        }
        match self.byte(self.at + 1) {
            b'=' => self.token(Token::LessEqual, self.at + 2),
            b'|' => self.pipe(Token::PipeFrom, options),
            _ => self.token(Token::Less, self.at + 1),
        }
    }

    /// What begins with a letter: a keyword, a name, a path or a URI.
    fn name(&mut self, options: &ParseOptions) -> Lexed {
        self.begin();
        let start = self.at;
        let mut end = start + 1;
        while is(self.byte(end), NAME) {
            end += 1;
        }
        if matches!(self.byte(end), b'.' | b'/' | b':' | b'+')
            && let Some(token) = self.path_or_uri(options)
        {
            return token;
        }
        let kind = if end - start <= 7 { keyword(&self.text[start..end]) } else { Token::Identifier };
        self.at = end;
        Ok((kind, Value::new(start as u32, end as u32, start as u32)))
    }

    /// The end of the run of path letters that begins here.
    fn run_end(&mut self) -> usize {
        if self.at < self.run.start || self.at >= self.run.end {
            let (mut end, mut after_underscore) = (self.at, self.at);
            while is(self.byte(end), PATH) {
                end += 1;
                if self.text[end - 1] == b'_' {
                    after_underscore = end;
                }
            }
            self.run = Run { start: self.at, end, after_underscore };
        }
        self.run.end
    }

    /// Reads a path or URI if one begins here.
    fn path_or_uri(&mut self, options: &ParseOptions) -> Option<Lexed> {
        let end = self.run_end();
        match self.byte(end) {
            b'/' => self.path(end, options),
            b':' if is(self.byte(end + 1), URI)
                && is(self.byte(self.at), NAME_START)
                && self.run.after_underscore <= self.at
                && is(self.byte(self.at), SCHEME) =>
            {
                let mut end = end + 1;
                while is(self.byte(end), URI) {
                    end += 1;
                }
                Some(self.uri(end, options))
            }
            _ => None,
        }
    }

    fn uri(&mut self, end: usize, options: &ParseOptions) -> Lexed {
        if options.url_literals != Lint::Ignore {
            let text = String::from_utf8_lossy(&self.text[self.at..end]).into_owned();
            let how = if options.url_literals == Lint::Fatal { "disallowed" } else { "discouraged" };
            let message = format!(
                "URL literals are {how}. Consider using a string literal \"{text}\" instead (lint-url-literals)"
            );
            self.lint(options.url_literals, message)?;
        }
        self.token(Token::Uri, end)
    }

    /// Warns or fails at the token that begins here.
    pub(super) fn lint(&mut self, lint: Lint, message: String) -> Result<(), Failed> {
        match lint {
            Lint::Ignore => Ok(()),
            Lint::Warn => {
                self.lints.push((self.at as u32, message));
                Ok(())
            }
            Lint::Fatal => Err(self.fail(self.at, message)),
        }
    }

    /// What begins with `.`, `+`, `-`, `/` or `~`.
    fn path_or_operator(&mut self, options: &ParseOptions) -> Lexed {
        let at = self.at;
        let (byte, next) = (self.byte(at), self.byte(at + 1));
        if byte == b'~' {
            let path = if next == b'/' { self.path(at + 1, options) } else { None };
            return path.unwrap_or_else(|| self.token(Token::Invalid, at + 1));
        }
        let end = if byte == b'/' { at } else { self.run_end() };
        if self.byte(end) == b'/'
            && let Some(path) = self.path(end, options)
        {
            return path;
        }
        match (byte, next) {
            (b'.', b'.') if self.byte(at + 2) == b'.' => self.token(Token::Ellipsis, at + 3),
            (b'.', b'0'..=b'9') => self.number(options),
            (b'.', _) => self.token(Token::Dot, at + 1),
            (b'+', b'+') => self.token(Token::Concat, at + 2),
            (b'+', _) => self.token(Token::Plus, at + 1),
            (b'-', b'>') => self.token(Token::Implies, at + 2),
            (b'-', _) => self.token(Token::Minus, at + 1),
            (_, b'/') => self.token(Token::Update, at + 2),
            _ => self.token(Token::Slash, at + 1),
        }
    }

    /// What begins with a digit, or a dot before a digit.
    fn number(&mut self, options: &ParseOptions) -> Lexed {
        let start = self.at;
        let digits = |mut at: usize| {
            while is(self.byte(at), DIGIT) {
                at += 1;
            }
            at
        };
        let whole = digits(start);
        let mut end = whole;
        let leading = self.byte(start);
        if self.byte(whole) == b'.' {
            let fraction = digits(whole + 1);
            let long = leading.is_ascii_digit() && leading != b'0';
            if long || (whole - start <= 1 && fraction > whole + 1) {
                end = fraction;
                if matches!(self.byte(end), b'e' | b'E') {
                    let sign = usize::from(matches!(self.byte(end + 1), b'+' | b'-'));
                    let exponent = digits(end + 1 + sign);
                    if exponent > end + 1 + sign {
                        end = exponent;
                    }
                }
            }
        }
        if leading != b'.'
            && let Some(token) = self.path_or_uri(options)
        {
            return token;
        }
        if end > whole { self.float(end) } else { self.int(end) }
    }

    fn int(&mut self, end: usize) -> Lexed {
        let text = &self.text[self.at..end];
        let mut number = 0i64;
        for digit in text {
            match number.checked_mul(10).and_then(|n| n.checked_add(i64::from(digit - b'0'))) {
                Some(next) => number = next,
                None => {
                    let text = String::from_utf8_lossy(text).into_owned();
                    return Err(self.fail(self.at, format!("invalid integer '{text}'")));
                }
            }
        }
        self.bits(Token::Int, number as u64, end)
    }

    fn float(&mut self, end: usize) -> Lexed {
        let text = String::from_utf8_lossy(&self.text[self.at..end]).into_owned();
        let nonzero =
            text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'));
        match text.parse::<f64>() {
            Ok(number) if number.is_normal() || (number == 0.0 && !nonzero) => {
                self.bits(Token::Float, number.to_bits(), end)
            }
            _ => Err(self.fail(self.at, format!("invalid float '{text}'"))),
        }
    }

    fn bits(&mut self, kind: Token, bits: u64, end: usize) -> Lexed {
        let at = self.at as u32;
        self.at = end;
        Ok((kind, Value::of_bits(bits, at)))
    }
}

fn keyword(text: &[u8]) -> Token {
    match text {
        b"if" => Token::If,
        b"then" => Token::Then,
        b"else" => Token::Else,
        b"assert" => Token::Assert,
        b"with" => Token::With,
        b"let" => Token::Let,
        b"in" => Token::In,
        b"rec" => Token::Rec,
        b"inherit" => Token::Inherit,
        b"or" => Token::Or,
        _ => Token::Identifier,
    }
}
