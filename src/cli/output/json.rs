//! JSON written piece by piece, in the form of the original: on one line, or
//! with `--pretty` (and on a terminal) indented by two blanks a level.

use std::io::{self, IsTerminal as _};

use nival::nar::NarError;
use nival::store::StoreError;
use serde_json::{Number, Value};

use crate::cli::output::streams::{BrokenPipe, Out, stdout_file};

/// What the flags say about JSON.
#[derive(Default)]
pub struct Style {
    /// `--json` was given.
    pub json: bool,
    /// Whether the text is to be indented, if a flag says so.
    pub pretty: Option<bool>,
}

impl Style {
    /// Whether the text is to be indented.
    pub fn is_pretty(&self) -> bool {
        self.pretty.unwrap_or_else(|| stdout_file().is_terminal())
    }

    /// A writer to standard output in that style.
    pub fn writer(&self) -> Json {
        Json::new(self.is_pretty())
    }
}

/// A JSON text without blanks, with line breaks and two blanks a level. The text is not read as
/// values, which would write its numbers anew.
pub fn indented(text: &[u8]) -> Vec<u8> {
    indented_at(0, text)
}

/// The same for a text that stands `depth` levels deep in another.
pub fn indented_at(depth: usize, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (depth, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + depth * 2, b' ');
    };
    for (index, byte) in text.iter().enumerate() {
        if quoted {
            out.push(*byte);
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        let is_empty = matches!((byte, text.get(index + 1)), (b'[', Some(b']')) | (b'{', Some(b'}')));
        let was_empty = index > 0 && matches!((text[index - 1], byte), (b'[', b']') | (b'{', b'}'));
        match byte {
            b'[' | b'{' => {
                out.push(*byte);
                depth += 1;
                if !is_empty {
                    line(&mut out, depth);
                }
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if !was_empty {
                    line(&mut out, depth);
                }
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                quoted = *byte == b'"';
                out.push(*byte);
            }
        }
    }
    out
}

/// Writes one JSON text to standard output.
pub struct Json {
    out: Out,
    pretty: bool,
    depth: usize,
    /// Nothing stands in the innermost array or object yet.
    empty: bool,
    /// A key waits for its value.
    keyed: bool,
}

impl Json {
    /// A writer.
    pub fn new(pretty: bool) -> Self {
        Self { out: Out::new(), pretty, depth: 0, empty: true, keyed: false }
    }

    /// Ends the text and the line.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.out.raw(b"\n")?;
        self.out.finish()
    }

    fn separate(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.keyed) || self.depth == 0 {
            return Ok(());
        }
        if !std::mem::take(&mut self.empty) {
            self.out.raw(b",")?;
        }
        self.new_line()
    }

    fn new_line(&mut self) -> anyhow::Result<()> {
        if !self.pretty {
            return Ok(());
        }
        self.out.raw(b"\n")?;
        for _ in 0..self.depth {
            self.out.raw(b"  ")?;
        }
        Ok(())
    }

    fn begin(&mut self, bracket: &[u8]) -> anyhow::Result<()> {
        self.separate()?;
        self.depth += 1;
        self.empty = true;
        self.out.raw(bracket)
    }

    fn end(&mut self, bracket: &[u8]) -> anyhow::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        if !std::mem::take(&mut self.empty) {
            self.new_line()?;
        }
        self.out.raw(bracket)
    }

    /// Begins an object.
    pub fn object(&mut self) -> anyhow::Result<()> {
        self.begin(b"{")
    }

    /// Ends an object.
    pub fn end_object(&mut self) -> anyhow::Result<()> {
        self.end(b"}")
    }

    /// Begins an array.
    pub fn array(&mut self) -> anyhow::Result<()> {
        self.begin(b"[")
    }

    /// Ends an array.
    pub fn end_array(&mut self) -> anyhow::Result<()> {
        self.end(b"]")
    }

    /// A key; its value comes next.
    pub fn key(&mut self, key: &str) -> anyhow::Result<()> {
        self.key_of(&[key])
    }

    /// As [`Json::key`], of several parts.
    pub fn key_of(&mut self, parts: &[&str]) -> anyhow::Result<()> {
        self.separate()?;
        self.quoted(parts)?;
        self.keyed = true;
        let colon = if self.pretty { ": " } else { ":" };
        self.out.raw(colon.as_bytes())
    }

    /// A string.
    pub fn string(&mut self, text: &str) -> anyhow::Result<()> {
        self.string_of(&[text])
    }

    /// A string of several parts.
    pub fn string_of(&mut self, parts: &[&str]) -> anyhow::Result<()> {
        self.separate()?;
        self.quoted(parts)
    }

    fn quoted(&mut self, parts: &[&str]) -> anyhow::Result<()> {
        self.out.raw(b"\"")?;
        for part in parts {
            let plain = part.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
            if plain {
                self.out.raw(part.as_bytes())?;
            } else {
                let quoted = serde_json::to_string(part)?;
                self.out.raw(&quoted.as_bytes()[1..quoted.len() - 1])?;
            }
        }
        self.out.raw(b"\"")
    }

    /// A number, `true`, `false` or `null`, as it is written.
    pub fn bare(&mut self, value: impl std::fmt::Display) -> anyhow::Result<()> {
        self.separate()?;
        self.out.raw(value.to_string().as_bytes())
    }

    /// Any value; the keys of objects are sorted.
    pub fn value(&mut self, value: &Value) -> anyhow::Result<()> {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<(&String, &Value)> = map.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                self.object()?;
                for (key, value) in entries {
                    self.key(key)?;
                    self.value(value)?;
                }
                self.end_object()
            }
            Value::Array(values) => {
                self.array()?;
                for value in values {
                    self.value(value)?;
                }
                self.end_array()
            }
            Value::String(text) => self.string(text),
            Value::Number(number) => self.bare(number_text(number)),
            Value::Bool(_) | Value::Null => self.bare(value),
        }
    }
}

/// A value on one line, the keys of objects sorted.
pub fn compact(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            let member = |(key, value): (&String, &Value)| {
                format!("{}:{}", Value::String(key.clone()), compact(value))
            };
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(compact).collect::<Vec<_>>().join(",")),
        Value::Number(number) => number_text(number),
        Value::String(_) | Value::Bool(_) | Value::Null => value.to_string(),
    }
}

/// A number as the original writes it: floats shortest, with a decimal point
/// or an exponent of two digits at least.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

fn float_text(float: f64) -> String {
    /// The decimal point stands this far from the first digit at most.
    const RANGE: std::ops::RangeInclusive<i32> = -3..=15;
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    if digits == "0" {
        return format!("{sign}0.0");
    }
    if !RANGE.contains(&point) {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent = point - 1;
        let minus = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{dot}{rest}e{minus}{:02}", exponent.abs());
    }
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{sign}{digits:0<point$}.0"),
        Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        _ => format!("{sign}0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0))),
    }
}

/// A failure to print, for the library to hand through.
pub fn handed_through(error: anyhow::Error) -> NarError {
    if error.is::<BrokenPipe>() {
        return NarError::Write(io::ErrorKind::BrokenPipe.into());
    }
    match error.downcast::<StoreError>() {
        Ok(error) => NarError::Sink(Box::new(error)),
        Err(error) => NarError::Sink(error.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_indented_as_serde_does() {
        for text in
            ["1", "[]", "{}", r#"["\\",{"a:[\",":[],"b":{"c":[1,{}]}},""]"#, r#"{"a":{"b":null},"c":1.5}"#]
        {
            let read: Value = serde_json::from_str(text).unwrap_or_default();
            let wanted = serde_json::to_string_pretty(&read).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&indented(text.as_bytes())), wanted, "{text}");
        }
    }

    #[test]
    fn floats() {
        for (float, text) in [
            (1.5, "1.5"),
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e30, "1e+30"),
            (1.25e-7, "1.25e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456_789_012_345.0, "123456789012345.0"),
            (1e15, "1e+15"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(float_text(float), text);
        }
    }
}
