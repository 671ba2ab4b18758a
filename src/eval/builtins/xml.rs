//! XML from values.

use std::collections::HashSet;

use super::super::context::{Context, Gathered};
use super::super::error::Error;
use super::super::heap::{Closure, Thunk, Value};
use super::super::interpret::{Evaluated, Worker};
use super::super::sources::Origin;
use super::super::symbols::known;
use super::super::text::numbers;
use super::super::text::xml::Writer;
use super::super::value::{Attrs, Position, View};
use super::Builtin;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[Builtin::new("toXML", 1, to_xml, "`value`: the value as XML.")];

fn to_xml<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let how = XmlStyle { strict: true, places: false };
    let mut out = Vec::new();
    let context = worker.write_xml(arguments[0], how, position, &mut out)?;
    Ok(Value::string_with(&worker.heap, worker.heap.slice(&out), context))
}

/// How a value is written as XML.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XmlStyle {
    /// Whether everything is evaluated.
    pub strict: bool,
    /// Whether the places of attributes and functions are told.
    pub places: bool,
}

struct Printer<'w, 'e> {
    worker: &'w Worker<'e>,
    how: XmlStyle,
    out: Writer<&'w mut Vec<u8>>,
    context: Gathered<'e>,
    /// The derivations whose attributes were written, by their paths.
    seen: HashSet<&'e [u8]>,
}

/// Attributes of an element, in the order of their names.
type Notes = Vec<(&'static str, Vec<u8>)>;

fn failed(error: std::io::Error) -> Error {
    Error::new(error.to_string())
}

impl<'e> Worker<'e> {
    /// Appends a value as XML, and gives what its texts depend on.
    ///
    /// # Errors
    /// Something in the value cannot be evaluated.
    pub fn write_xml(
        &self,
        value: Value<'e>,
        how: XmlStyle,
        position: Position,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'e Context<'e>>, Error> {
        let writer = Writer::new(out).map_err(failed)?;
        let mut printer =
            Printer { worker: self, how, out: writer, context: Gathered::new(), seen: HashSet::new() };
        printer.begin("expr", Notes::new())?;
        printer.value(value, position)?;
        printer.out.finish().map_err(failed)?;
        Ok(printer.context.finish(&self.heap))
    }
}

impl<'e> Printer<'_, 'e> {
    fn begin(&mut self, name: &'static str, notes: Notes) -> Result<(), Error> {
        let notes: Vec<(&str, &[u8])> = notes.iter().map(|(name, value)| (*name, &value[..])).collect();
        self.out.begin(name, &notes).map_err(failed)
    }

    fn empty(&mut self, name: &str, notes: &[(&str, &[u8])]) -> Result<(), Error> {
        self.out.empty(name, notes).map_err(failed)
    }

    fn end(&mut self) -> Result<(), Error> {
        self.out.end().map_err(failed)
    }

    /// Adds a place to the attributes of an element, where places are told.
    fn place(&self, position: Position, notes: &mut Notes) {
        if !self.how.places {
            return;
        }
        if let Some((origin, line, column)) = self.worker.shared.place(position) {
            notes.push(("column", column.to_string().into_bytes()));
            notes.push(("line", line.to_string().into_bytes()));
            if let Origin::File(path) = origin {
                notes.push(("path", path));
            }
            notes.sort_unstable();
        }
    }

    fn value(&mut self, value: Value<'e>, position: Position) -> Result<(), Error> {
        let worker = self.worker;
        let _deeper = worker.deeper_at(position)?;
        worker.check_stack()?;
        let value = if self.how.strict {
            worker.force_at(value, position)?
        } else {
            value.as_thunk().and_then(Thunk::value).unwrap_or(value)
        };
        match value.view() {
            View::Null => self.empty("null", &[]),
            View::Bool(holds) => {
                let text: &[u8] = if holds { b"true" } else { b"false" };
                self.empty("bool", &[("value", text)])
            }
            View::Int(number) => self.empty("int", &[("value", number.to_string().as_bytes())]),
            View::Float(number) => self.empty("float", &[("value", numbers::general(number).as_bytes())]),
            View::String(text, context) => {
                self.context.add(context);
                self.empty("string", &[("value", text)])
            }
            View::Path(path) => self.empty("path", &[("value", path)]),
            View::List(items) => {
                self.begin("list", Notes::new())?;
                for item in items {
                    self.value(*item, position)?;
                }
                self.end()
            }
            View::Attrs(attrs) => self.set(attrs),
            View::Lambda(closure) => self.function(closure),
            View::Builtin(_) | View::Applied(_) | View::Thunk(_) => self.empty("unevaluated", &[]),
        }
    }

    fn set(&mut self, attrs: Attrs<'e>) -> Result<(), Error> {
        if !self.worker.is_derivation(attrs)? {
            self.begin("attrs", Notes::new())?;
            self.attributes(attrs)?;
            return self.end();
        }
        let mut notes = Notes::new();
        let mut derivation = None;
        for (name, text) in [(known::DRV_PATH, "drvPath"), (known::OUT_PATH, "outPath")] {
            let Some(attr) = attrs.get(name) else { continue };
            let value = if self.how.strict { self.worker.force(attr.value)? } else { attr.value };
            let value = value.as_thunk().and_then(Thunk::value).unwrap_or(value);
            if let View::String(path, _) = value.view() {
                notes.push((text, path.to_vec()));
                if name == known::DRV_PATH {
                    derivation = Some(path);
                }
            }
        }
        self.begin("derivation", notes)?;
        match derivation {
            Some(path) if !path.is_empty() && self.seen.insert(path) => self.attributes(attrs)?,
            _ => self.empty("repeated", &[])?,
        }
        self.end()
    }

    fn attributes(&mut self, attrs: Attrs<'e>) -> Result<(), Error> {
        for attr in self.worker.by_name(attrs) {
            let mut notes: Notes = vec![("name", self.worker.text(attr.name).to_vec())];
            self.place(attr.position, &mut notes);
            self.begin("attr", notes)?;
            self.value(attr.value, attr.position)?;
            self.end()?;
        }
        Ok(())
    }

    fn function(&mut self, closure: &'e Closure<'e>) -> Result<(), Error> {
        let code = closure.code;
        let mut notes = Notes::new();
        self.place(code.position, &mut notes);
        self.begin("function", notes)?;
        let argument = code.argument.map(|name| self.worker.text(name));
        match code.formals {
            None => self.empty("varpat", &[("name", argument.unwrap_or_default())])?,
            Some(formals) => {
                let mut notes = Notes::new();
                if formals.ellipsis {
                    notes.push(("ellipsis", b"1".to_vec()));
                }
                notes.extend(argument.map(|name| ("name", name.to_vec())));
                self.begin("attrspat", notes)?;
                let mut names: Vec<&[u8]> =
                    formals.formals.iter().map(|formal| self.worker.text(formal.name)).collect();
                names.sort_unstable();
                for name in names {
                    self.empty("attr", &[("name", name)])?;
                }
                self.end()?;
            }
        }
        self.end()
    }
}
