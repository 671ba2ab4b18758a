//! JSON as values, without recursion.

use super::lexer::{Lexer, Number, Token};
use super::{JsonBuilder, JsonError};

/// A list or object that is being read.
enum Open<V> {
    List(Vec<V>),
    Object(Vec<(Vec<u8>, V)>, Vec<u8>),
}

struct Parser<'t, B: JsonBuilder> {
    lexer: Lexer<'t>,
    builder: &'t mut B,
    open: Vec<Open<B::Value>>,
}

/// Reads one JSON value.
///
/// # Errors
/// [`JsonError`], with the texts of the original.
pub fn parse<B: JsonBuilder>(text: &[u8], builder: &mut B) -> Result<B::Value, JsonError> {
    let mut parser = Parser { lexer: Lexer::new(text), builder, open: Vec::new() };
    let mut token = parser.lexer.next();
    let value = loop {
        let step = match parser.begin(token)? {
            Step::Complete(value) => parser.after(value)?,
            begun => begun,
        };
        match step {
            Step::Complete(whole) => break whole,
            Step::Next(next) => token = next,
        }
    };
    match parser.lexer.next() {
        Token::End => Ok(value),
        token => Err(parser.error(&token, "value", "end of input")),
    }
}

/// What was reached in a text.
enum Step<V> {
    Complete(V),
    /// The first token of the next value.
    Next(Token),
}

const A_VALUE: &str = "'[', '{', or a literal";

impl<B: JsonBuilder> Parser<'_, B> {
    /// Takes the first token of a value, which is complete then, or a list or
    /// object that is not empty has begun.
    fn begin(&mut self, token: Token) -> Result<Step<B::Value>, JsonError> {
        Ok(Step::Complete(match token {
            Token::ArrayBegin => match self.lexer.next() {
                Token::ArrayEnd => self.builder.list(Vec::new()),
                token => {
                    self.open.push(Open::List(Vec::new()));
                    return Ok(Step::Next(token));
                }
            },
            Token::ObjectBegin => match self.lexer.next() {
                Token::ObjectEnd => self.builder.object(Vec::new()),
                token => {
                    let name = self.name(token)?;
                    self.open.push(Open::Object(Vec::new(), name));
                    return Ok(Step::Next(self.lexer.next()));
                }
            },
            Token::Null => self.builder.null(),
            Token::True => self.builder.boolean(true),
            Token::False => self.builder.boolean(false),
            Token::String(string) => {
                without_null(&string)?;
                self.builder.string(string)
            }
            Token::Number(Number::Integer(number)) => self.builder.integer(number),
            Token::Number(Number::Unsigned(number)) => return Err(JsonError::Unsigned(number)),
            Token::Number(Number::Float(number)) if number.is_finite() => self.builder.float(number),
            Token::Number(Number::Float(_)) => {
                let shown = self.lexer.shown();
                let message = format!("[json.exception.out_of_range.406] number overflow parsing '{shown}'");
                return Err(JsonError::Syntax(message));
            }
            Token::End if self.lexer.is_empty() => {
                let hint = "attempting to parse an empty input; \
                            check that your input string or stream contains the expected JSON";
                return Err(JsonError::Syntax(format!("{}: {hint}", self.place())));
            }
            Token::Wrong(_) => return Err(self.error(&token, "value", "")),
            _ => return Err(self.error(&token, "value", A_VALUE)),
        }))
    }

    /// Takes the name of a member and its colon.
    fn name(&mut self, token: Token) -> Result<Vec<u8>, JsonError> {
        let Token::String(name) = token else {
            return Err(self.error(&token, "object key", "string literal"));
        };
        without_null(&name)?;
        match self.lexer.next() {
            Token::Colon => Ok(name),
            token => Err(self.error(&token, "object separator", "':'")),
        }
    }

    /// Puts a value where it belongs and takes what follows, up to the next value
    /// or until the whole is complete.
    fn after(&mut self, mut value: B::Value) -> Result<Step<B::Value>, JsonError> {
        loop {
            match self.open.last_mut() {
                None => return Ok(Step::Complete(value)),
                Some(Open::List(values)) => {
                    values.push(value);
                    value = match self.lexer.next() {
                        Token::Comma => return Ok(Step::Next(self.lexer.next())),
                        Token::ArrayEnd => self.close(),
                        token => return Err(self.error(&token, "array", "']'")),
                    };
                }
                Some(Open::Object(members, name)) => {
                    members.push((std::mem::take(name), value));
                    value = match self.lexer.next() {
                        Token::Comma => {
                            let token = self.lexer.next();
                            let next = self.name(token)?;
                            if let Some(Open::Object(_, name)) = self.open.last_mut() {
                                *name = next;
                            }
                            return Ok(Step::Next(self.lexer.next()));
                        }
                        Token::ObjectEnd => self.close(),
                        token => return Err(self.error(&token, "object", "'}'")),
                    };
                }
            }
        }
    }

    /// Completes the innermost list or object.
    fn close(&mut self) -> B::Value {
        match self.open.pop() {
            Some(Open::List(values)) => self.builder.list(values),
            Some(Open::Object(members, _)) => self.builder.object(members),
            // There is one when this is called.
            None => self.builder.null(),
        }
    }

    fn place(&self) -> String {
        let (line, column) = (self.lexer.line + 1, self.lexer.column);
        format!("[json.exception.parse_error.101] parse error at line {line}, column {column}")
    }

    fn error(&self, token: &Token, context: &str, expected: &str) -> JsonError {
        let mut message = format!("{}: syntax error while parsing {context} - ", self.place());
        match token {
            Token::Wrong(why) => message += &format!("{why}; last read: '{}'", self.lexer.shown()),
            token => message += &format!("unexpected {}", token.name()),
        }
        if !expected.is_empty() {
            message += &format!("; expected {expected}");
        }
        JsonError::Syntax(message)
    }
}

fn without_null(string: &[u8]) -> Result<(), JsonError> {
    match string.contains(&0) {
        true => Err(JsonError::Null(String::from_utf8_lossy(string).replace('\0', "␀"))),
        false => Ok(()),
    }
}
