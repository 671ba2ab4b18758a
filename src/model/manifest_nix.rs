//! `manifest.nix`: what is installed in a user environment, as an expression.
//!
//! ```text
//! value  = string | integer | float | "true" | "false" | "null" | list | set
//! list   = "[" { value } "]"
//! set    = "{" { name "=" value ";" } "}"
//! name   = identifier | string
//! string = '"' { char | '\' char } '"'          \n \r \t \" \\ \${
//! ```
//!
//! It is written on one line, names sorted, without a newline at the end; read
//! with any white space and with comments. Nothing is evaluated.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Deepest nesting of lists and sets that is read.
const MAX_DEPTH: usize = 100;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    String(String),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Nothing.
    Null,
    /// A list.
    List(Vec<Value>),
    /// A set.
    Set(BTreeMap<String, Value>),
}

/// Why a text is no such value, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
#[non_exhaustive]
pub struct ManifestError {
    /// What was expected or found.
    pub what: &'static str,
    /// Position in the text.
    pub at: usize,
}

impl Value {
    /// The member of a set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Set(set) => set.get(name),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Writes it in the canonical form.
    pub fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::String(text) => write_string(text, out),
            Self::Int(number) => drop(write!(out, "{number}")),
            Self::Float(number) => out.push_str(&print_float(*number)),
            Self::Bool(truth) => drop(write!(out, "{truth}")),
            Self::Null => out.push_str("null"),
            Self::List(items) => {
                out.push_str("[ ");
                for item in items {
                    item.write(out);
                    out.push(' ');
                }
                out.push(']');
            }
            Self::Set(members) => {
                out.push_str("{ ");
                for (name, value) in members {
                    if is_identifier(name) {
                        out.push_str(name);
                    } else {
                        write_string(name, out);
                    }
                    out.push_str(" = ");
                    value.write(out);
                    out.push_str("; ");
                }
                out.push('}');
            }
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.skip_blanks();
        if parser.at < text.len() { Err(parser.error("unexpected text after the value")) } else { Ok(value) }
    }
}

/// As the original prints it: six significant digits, without zeros at the
/// end, with an exponent where that is shorter (`%g` of C).
fn print_float(number: f64) -> String {
    const DIGITS: i32 = 6;
    if !number.is_finite() {
        return number.to_string();
    }
    if number == 0.0 {
        // Without the sign, which an integer read back could not have.
        return "0".to_owned();
    }
    let scientific = format!("{number:.5e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    let strip = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        let after = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return strip(&format!("{number:.after$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", strip(digits), exponent.abs())
}

/// Words that are no names.
const KEYWORDS: [&str; 9] = ["if", "then", "else", "assert", "with", "let", "in", "rec", "inherit"];

fn is_identifier(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|byte| first(*byte))
        && bytes.iter().all(|byte| first(*byte) || byte.is_ascii_digit() || matches!(byte, b'\'' | b'-'))
        && !KEYWORDS.contains(&name)
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' if rest.peek() == Some(&'{') => out.push_str("\\$"),
            _ => out.push(c),
        }
    }
    out.push('"');
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> ManifestError {
        ManifestError { what, at: self.at }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\n', '\r', '\t']);
            let skipped = rest.len() - trimmed.len();
            let comment = if trimmed.starts_with('#') {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                0
            };
            self.at += skipped + comment;
            if comment == 0 {
                return;
            }
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, ManifestError> {
        if depth > MAX_DEPTH {
            return Err(self.error("values are nested too deep"));
        }
        if self.take("[") {
            let mut items = Vec::new();
            while !self.take("]") {
                items.push(self.value(depth + 1)?);
            }
            return Ok(Value::List(items));
        }
        if self.take("{") {
            let mut members = BTreeMap::new();
            while !self.take("}") {
                let name = self.name()?;
                if !self.take("=") {
                    return Err(self.error("expected '='"));
                }
                let value = self.value(depth + 1)?;
                if !self.take(";") {
                    return Err(self.error("expected ';'"));
                }
                members.insert(name, value);
            }
            return Ok(Value::Set(members));
        }
        if self.rest().starts_with('"') {
            return self.string().map(Value::String);
        }
        let word: String = self
            .rest()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_'))
            .collect();
        let value = match word.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => match (word.parse(), word.parse::<f64>()) {
                (Ok(number), _) => Value::Int(number),
                (_, Ok(number))
                    if number.is_finite() && word.starts_with(|c: char| c.is_ascii_digit() || c == '-') =>
                {
                    Value::Float(number)
                }
                _ => return Err(self.error("expected a value")),
            },
        };
        self.at += word.len();
        Ok(value)
    }

    fn name(&mut self) -> Result<String, ManifestError> {
        self.skip_blanks();
        if self.rest().starts_with('"') {
            return self.string();
        }
        let name: String = self
            .rest()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '\''))
            .collect();
        if !is_identifier(&name) {
            return Err(self.error("expected a name"));
        }
        self.at += name.len();
        Ok(name)
    }

    fn string(&mut self) -> Result<String, ManifestError> {
        let mut text = String::new();
        let mut chars = self.text[self.at..].char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                '$' if self.text[self.at + at + 1..].starts_with('{') => {
                    return Err(self.error("a string that must be evaluated"));
                }
                _ => text.push(c),
            }
        }
        Err(self.error("a string without an end"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = r#"[ { meta = { description = "Foo \"two\"\n\${x} $y"; f = 1.5; n = -3; t = true; "we ird" = [ ]; }; name = "foo-2.0"; out = { outPath = "/nix/store/x"; }; outputs = [ "dev" "out" ]; type = "derivation"; } ]"#;

    #[test]
    fn reads_and_writes() {
        let value = Value::parse(TEXT).unwrap();
        assert_eq!(value.print(), TEXT);
        assert_eq!(Value::parse(" # comment\n[/* x */\n1 ]").unwrap(), Value::List(vec![Value::Int(1)]));
        assert_eq!(Value::List(vec![]).print(), "[ ]");
        assert_eq!(Value::Set(BTreeMap::new()).print(), "{ }");
        for bad in ["", "[", "{ x = 1 }", "{ = 1; }", "\"x", "[ ] x", "x", "{ let = 1; }", "\"${x}\""] {
            assert!(Value::parse(bad).is_err(), "{bad}");
        }
        assert!(Value::parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn floats() {
        for (number, text) in [
            (1.5, "1.5"),
            (100.0, "100"),
            (0.1, "0.1"),
            (1e10, "1e+10"),
            (-2.0, "-2"),
            (1e100, "1e+100"),
            (1.25e-7, "1.25e-07"),
            (123456.7, "123457"),
        ] {
            assert_eq!(Value::Float(number).print(), text);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::String),
            any::<i64>().prop_map(Value::Int),
            // Whole numbers come back as integers, as in the original.
            (-1000i32..1000).prop_map(|n| Value::Float(f64::from(n) + 0.375)),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                prop::collection::btree_map(".{0,8}", inner, 0..5).prop_map(Value::Set),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in value()) {
            prop_assert_eq!(Value::parse(&value.print()).unwrap(), value);
        }

        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let _ = Value::parse(&text);
        }
    }
}
