//! JSON from values, and values from JSON.

use super::super::coerce::STRICT;
use super::super::context::{Context, Element, Gathered};
use super::super::crew::Purpose;
use super::super::error::{Error, Traced};
use super::super::heap::{Thunk, Value};
use super::super::interpret::{Evaluated, Worker};
use super::super::symbols::{Symbol, known};

use super::super::value::{Attr, Attrs, Position, View};
use super::Builtin;
use crate::model::json::{self, JsonBuilder, JsonError, NotUtf8};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("toJSON", 1, to_json, "`value`: the value as JSON."),
    Builtin::new("fromJSON", 1, from_json, "`string`: the value that a JSON text describes."),
];

fn to_json<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let mut out = Vec::new();
    let context = worker.write_json(arguments[0], JsonStyle::STRICT, position, &mut out)?;
    Ok(Value::string_with(&worker.heap, worker.heap.slice(&out), context))
}

/// How a value becomes JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JsonStyle {
    /// Whether everything is evaluated; otherwise, what is not yet evaluated is a failure.
    pub strict: bool,
    /// Whether paths become store paths of the files copied there; otherwise they stay.
    pub copies: bool,
}

impl JsonStyle {
    /// As `builtins.toJSON` does it.
    pub const STRICT: JsonStyle = JsonStyle { strict: true, copies: true };
}

struct Printer<'w, 'e> {
    worker: &'w Worker<'e>,
    style: JsonStyle,
    context: Gathered<'e>,
    /// The first text that is no UTF-8; it is told after everything was evaluated.
    invalid: Option<NotUtf8>,
}

impl<'e> Worker<'e> {
    /// Appends a value as JSON without blanks, and gives what its texts depend on.
    ///
    /// # Errors
    /// Something in the value has no form in JSON, or cannot be evaluated or copied to the store.
    pub fn write_json(
        &self,
        value: Value<'e>,
        style: JsonStyle,
        position: Position,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'e Context<'e>>, Error> {
        let mut printer = Printer { worker: self, style, context: Gathered::new(), invalid: None };
        printer.value(value, position, out)?;
        match printer.invalid {
            Some(invalid) => Err(Error::new(invalid.to_string())),
            None => Ok(printer.context.finish(&self.heap)),
        }
    }
}

impl<'e> Printer<'_, 'e> {
    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if let Err(invalid) = json::push_string(out, text) {
            self.invalid.get_or_insert(invalid);
        }
    }

    fn value(&mut self, value: Value<'e>, position: Position, out: &mut Vec<u8>) -> Result<(), Error> {
        let worker = self.worker;
        let _deeper = worker.deeper_at(position)?;
        worker.check_stack()?;
        let value = if self.style.strict {
            worker.force_at(value, position)?
        } else {
            value.as_thunk().and_then(Thunk::value).unwrap_or(value)
        };
        match value.view() {
            View::Null => out.extend_from_slice(b"null"),
            View::Bool(holds) => out.extend_from_slice(if holds { b"true" } else { b"false" }),
            View::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
            View::Float(number) => json::push_float(out, number),
            View::String(text, context) => {
                self.context.add(context);
                self.text(text, out);
            }
            View::Path(file) if !self.style.copies => self.text(file, out),
            View::Path(file) => {
                let path = worker.copy_to_store(file)?;
                self.context.add_element(Element::Plain(path));
                self.text(path, out);
            }
            View::List(items) => return self.list(value, items, position, out),
            View::Attrs(attrs) => return self.set(value, attrs, position, out),
            View::Lambda(closure) => return Err(self.refused(value).at(closure.code.position)),
            View::Builtin(_) | View::Applied(_) | View::Thunk(_) => {
                return Err(self.refused(value).at(position));
            }
        }
        Ok(())
    }

    #[cold]
    fn refused(&self, value: Value<'e>) -> Error {
        Error::new(format!("cannot convert {} to JSON", self.worker.type_of(value)))
    }

    fn list(
        &mut self,
        list: Value<'e>,
        items: &'e [Value<'e>],
        position: Position,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.push(b'[');
        let offered = self.worker.offer(Purpose::Json, list, items.iter().copied());
        for (index, item) in items.iter().enumerate() {
            offered.reach(index);
            if index > 0 {
                out.push(b',');
            }
            let text = || format!("while evaluating list element at index {index}");
            self.value(*item, position, out).during_at(position, text)?;
        }
        out.push(b']');
        Ok(())
    }

    fn set(
        &mut self,
        value: Value<'e>,
        attrs: Attrs<'e>,
        position: Position,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if attrs.get(known::TO_STRING).is_some() {
            let (text, context) = self.worker.coerce(value, STRICT, position, "")?;
            self.context.add(context);
            self.text(text, out);
            return Ok(());
        }
        if let Some(attr) = attrs.get(known::OUT_PATH) {
            return self.value(attr.value, attr.position, out);
        }
        out.push(b'{');
        let entries = self.worker.by_name(attrs);
        let offered = self.worker.offer(Purpose::Json, value, entries.iter().map(|attr| attr.value));
        for (index, attr) in entries.iter().enumerate() {
            offered.reach(index);
            if index > 0 {
                out.push(b',');
            }
            self.text(self.worker.text(attr.name), out);
            out.push(b':');
            let text = || format!("while evaluating attribute '{}'", self.worker.quoted_name(attr.name));
            self.value(attr.value, attr.position, out).during_at(attr.position, text)?;
        }
        out.push(b'}');
        Ok(())
    }
}

fn from_json<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let frame = "while evaluating the first argument passed to builtins.fromJSON";
    let text = worker.force_plain(arguments[0], position, frame)?;
    worker.read_json(text)
}

/// Makes values of a text in another notation.
pub(super) struct Builder<'w, 'e> {
    pub(super) worker: &'w Worker<'e>,
}

impl<'e> Worker<'e> {
    /// The value that a JSON text describes.
    ///
    /// # Errors
    /// The text is no JSON, or has what no value can hold.
    pub fn read_json(&self, text: &[u8]) -> Evaluated<'e> {
        json::parse(text, &mut Builder { worker: self }).map_err(|error| {
            let failure = Error::new(error.to_string());
            match error {
                JsonError::Syntax(_) => failure.frame(Position::NONE, "while decoding a JSON string"),
                JsonError::Unsigned(_) | JsonError::Null(_) => failure,
            }
        })
    }
}

impl<'e> JsonBuilder for Builder<'_, 'e> {
    type Value = Value<'e>;

    fn null(&mut self) -> Value<'e> {
        Value::null()
    }

    fn boolean(&mut self, value: bool) -> Value<'e> {
        Value::bool(value)
    }

    fn integer(&mut self, value: i64) -> Value<'e> {
        Value::int(value)
    }

    fn float(&mut self, value: f64) -> Value<'e> {
        Value::float(value)
    }

    fn string(&mut self, value: Vec<u8>) -> Value<'e> {
        self.worker.new_string(&value)
    }

    fn list(&mut self, values: Vec<Value<'e>>) -> Value<'e> {
        Value::list(self.worker.heap.slice(&values))
    }

    fn object(&mut self, members: Vec<(Vec<u8>, Value<'e>)>) -> Value<'e> {
        let mut members: Vec<(Symbol, Value<'e>)> =
            members.into_iter().map(|(name, value)| (self.worker.intern(&name), value)).collect();
        // The order among equal names stays that of the text, and the last of them is kept.
        members.sort_by_key(|member| member.0);
        let mut attrs: Vec<Attr<'e>> = Vec::with_capacity(members.len());
        for (name, value) in members {
            let attr = Attr { name, position: Position::NONE, value };
            match attrs.last_mut() {
                Some(last) if last.name == name => *last = attr,
                _ => attrs.push(attr),
            }
        }
        Value::attrs(Attrs::new(&self.worker.heap, self.worker.heap.slice(&attrs)))
    }
}
