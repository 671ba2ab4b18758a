//! The JSON of structured attributes.

use super::super::super::coerce::STRICT;
use super::super::super::context::Gathered;
use super::super::super::error::{Error, Traced};
use super::super::super::heap::Value;
use super::super::super::interpret::Worker;
use super::super::super::symbols::known;
use super::super::super::value::{Attr, Attrs, Position, View};

/// Appends `"NAME":VALUE`, and what the value depends on.
pub fn push_member<'e>(
    worker: &Worker<'e>,
    name: &[u8],
    value: Value<'e>,
    out: &mut Vec<u8>,
    context: &mut Gathered<'e>,
) -> Result<(), Error> {
    push_text(out, name);
    out.push(b':');
    push_value(worker, value, out, context)
}

fn push_value<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    out: &mut Vec<u8>,
    context: &mut Gathered<'e>,
) -> Result<(), Error> {
    let _deeper = worker.deeper()?;
    let value = worker.force(value)?;
    match value.view() {
        View::Null => out.extend_from_slice(b"null"),
        View::Bool(holds) => out.extend_from_slice(if holds { b"true" } else { b"false" }),
        View::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        View::Float(number) => out.extend_from_slice(float(number).as_bytes()),
        View::String(text, own) => {
            push_text(out, text);
            context.add(own);
        }
        View::Path(_) => push_coerced(worker, value, out, context)?,
        View::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_value(worker, *item, out, context).during_at(Position::NONE, || {
                    format!("while evaluating list element at index {index}")
                })?;
            }
            out.push(b']');
        }
        View::Attrs(attrs) => push_set(worker, value, attrs, out, context)?,
        View::Lambda(closure) => {
            return Err(Error::new("cannot convert a function to JSON").at(closure.code.position));
        }
        _ => return Err(Error::new(format!("cannot convert {} to JSON", worker.type_of(value)))),
    }
    Ok(())
}

fn push_coerced<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    out: &mut Vec<u8>,
    context: &mut Gathered<'e>,
) -> Result<(), Error> {
    let (text, own) = worker.coerce(value, STRICT, Position::NONE, "")?;
    push_text(out, text);
    context.add(own);
    Ok(())
}

fn push_set<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    attrs: &'e Attrs<'e>,
    out: &mut Vec<u8>,
    context: &mut Gathered<'e>,
) -> Result<(), Error> {
    if attrs.get(known::TO_STRING).is_some() {
        return push_coerced(worker, value, out, context);
    }
    if let Some(attr) = attrs.get(known::OUT_PATH) {
        return push_value(worker, attr.value, out, context);
    }
    let mut sorted: Vec<Attr<'e>> = attrs.entries().into_owned();
    sorted.sort_unstable_by_key(|attr| worker.text(attr.name));
    out.push(b'{');
    for (index, attr) in sorted.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_member(worker, worker.text(attr.name), attr.value, out, context)
            .during_at(attr.position, || {
                format!("while evaluating attribute '{}'", worker.name(attr.name))
            })?;
    }
    out.push(b'}');
    Ok(())
}

/// Appends a string in JSON.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

/// Exponents for which the digits are written out.
const WRITTEN_OUT: std::ops::Range<i32> = -4..15;

/// The shortest digits that read as the same number, with an exponent where there would be many zeros.
fn float(number: f64) -> String {
    if !number.is_finite() {
        return "null".to_owned();
    }
    let short = format!("{number:e}");
    let Some((digits, exponent)) = short.split_once('e') else { return short };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if WRITTEN_OUT.contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [
            (1.5, "1.5"),
            (0.1, "0.1"),
            (1e40, "1e+40"),
            (-2.0, "-2.0"),
            (1.25e-7, "1.25e-07"),
            (1e14, "100000000000000.0"),
        ] {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn texts() {
        let mut out = Vec::new();
        push_text(&mut out, "é\n\"\\\u{1}".as_bytes());
        assert_eq!(out, "\"é\\n\\\"\\\\\\u0001\"".as_bytes());
    }
}
