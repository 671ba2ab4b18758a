//! Values as text: for messages, `nix-instantiate --eval` and `nix eval`.

use std::collections::HashSet;

use super::crew::{Offered, Purpose};
use super::error::Error;
use super::heap::{Closure, Value};
use super::interpret::Worker;
use super::symbols::{Symbol, known};
use super::text::{numbers, quote};
use super::value::{Attr, Attrs, View};

/// Who reads the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Messages: nothing is forced, large values are cut.
    Message,
    /// `trace`: as messages, but whole.
    Trace,
    /// `nix-instantiate --eval`: nothing is forced.
    Instantiate,
    /// `nix eval`: everything is forced, failures stand in their places.
    Eval,
}

/// The number of list items and of attributes that a message shows.
const MOST_SHOWN: usize = 10;

struct Printer<'w, 'e> {
    worker: &'w Worker<'e>,
    style: Style,
    seen: HashSet<u64>,
    items: usize,
    attributes: usize,
    out: Vec<u8>,
}

impl<'e> Worker<'e> {
    /// A value as messages show it.
    #[cold]
    pub fn shown(&self, value: Value<'e>) -> String {
        match self.print(value, Style::Message) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(_) => "«too deep»".to_owned(),
        }
    }

    /// A value as text.
    ///
    /// # Errors
    /// The value is nested too deeply.
    pub fn print(&self, value: Value<'e>, style: Style) -> Result<Vec<u8>, Error> {
        let mut printer =
            Printer { worker: self, style, seen: HashSet::new(), items: 0, attributes: 0, out: Vec::new() };
        printer.value(value)?;
        Ok(printer.out)
    }

    /// The attributes of a set in the order of their names' bytes.
    pub fn by_name(&self, attrs: Attrs<'e>) -> Vec<Attr<'e>> {
        let mut entries = attrs.entries().into_owned();
        entries.sort_by_cached_key(|attr| self.text(attr.name));
        entries
    }

    /// `«lambda f @ FILE:1:2»`
    fn lambda_text(&self, closure: &Closure<'e>) -> String {
        let name = closure.code.name.map(|name| format!("{} ", self.name(name))).unwrap_or_default();
        format!("«lambda {name}@ {}»", self.shared.place_text(closure.code.position))
    }
}

impl<'e> Printer<'_, 'e> {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn value(&mut self, value: Value<'e>) -> Result<(), Error> {
        let (_deeper, slot) = (self.worker.deeper()?, value);
        let value = if self.style == Style::Eval {
            match self.worker.force(value) {
                Ok(value) => value,
                Err(error) => {
                    self.text(&format!("«error: {error}»"));
                    return Ok(());
                }
            }
        } else {
            value.as_thunk().and_then(super::heap::Thunk::value).unwrap_or(value)
        };
        match value.view() {
            View::Null => self.text("null"),
            View::Bool(holds) => self.text(if holds { "true" } else { "false" }),
            View::Int(number) => self.text(&number.to_string()),
            View::Float(number) => self.text(&numbers::general(number)),
            View::String(text, _) if self.style == Style::Message => quote::push_shown(&mut self.out, text),
            View::String(text, _) => quote::push_string(&mut self.out, text),
            View::Path(text) => self.out.extend_from_slice(text),
            View::List(items) => return self.list(slot.slot_identity(), value, items),
            View::Attrs(attrs) => return self.set(value, attrs),
            View::Thunk(_) => {
                self.text(if self.style == Style::Instantiate { "<CODE>" } else { "«thunk»" })
            }
            View::Lambda(_) if self.style == Style::Instantiate => self.text("<LAMBDA>"),
            View::Lambda(closure) => {
                let text = self.worker.lambda_text(closure);
                self.text(&text);
            }
            View::Builtin(_) if self.style == Style::Instantiate => self.text("<PRIMOP>"),
            View::Builtin(builtin) => self.text(&format!("«primop {}»", builtin.name)),
            View::Applied(_) if self.style == Style::Instantiate => self.text("<PRIMOP-APP>"),
            View::Applied(applied) => {
                self.text(&format!("«partially applied primop {}»", applied.builtin.name));
            }
        }
        Ok(())
    }

    /// Tells helpers what will be needed, if anything is.
    fn offered(&self, whole: Value<'e>, values: impl Iterator<Item = Value<'e>> + Clone) -> Offered<'e> {
        match self.style {
            Style::Eval => self.worker.offer(Purpose::Printed, whole, values),
            _ => Offered::default(),
        }
    }

    /// Whether the object was printed before; then that is all that is printed.
    fn repeated(&mut self, identity: u64) -> bool {
        let repeated = !self.seen.insert(identity);
        if repeated {
            self.text("«repeated»");
        }
        repeated
    }

    fn list(&mut self, slot: Option<u64>, list: Value<'e>, items: &'e [Value<'e>]) -> Result<(), Error> {
        // A list is the same where it is the same variable, a set where it is the same object.
        if !items.is_empty() && slot.is_some_and(|slot| self.repeated(slot)) {
            return Ok(());
        }
        self.text("[ ");
        let offered = self.offered(list, items.iter().copied());
        for (index, item) in items.iter().enumerate() {
            offered.reach(index);
            if self.style == Style::Message {
                if self.items >= MOST_SHOWN {
                    quote::push_elided(&mut self.out, items.len() - index, "item", "items");
                    self.text(" ");
                    break;
                }
                self.items += 1;
            }
            self.value(*item)?;
            self.text(" ");
        }
        self.text("]");
        Ok(())
    }

    fn set(&mut self, value: Value<'e>, attrs: Attrs<'e>) -> Result<(), Error> {
        let told = !attrs.is_empty() || self.style == Style::Eval;
        if told && value.identity().is_some_and(|identity| self.repeated(identity)) {
            return Ok(());
        }
        if self.style == Style::Eval && self.worker.is_derivation(attrs).unwrap_or(false) {
            return self.derivation(attrs);
        }
        self.text("{ ");
        let mut entries = self.worker.by_name(attrs);
        if self.style == Style::Message {
            let old = self.worker.shared.symbols.find(b"_type");
            let first = |name: Symbol| name == known::TYPE || Some(name) == old;
            entries.sort_by_key(|attr| !first(attr.name));
        }
        let count = entries.len();
        let offered = self.offered(value, entries.iter().map(|attr| attr.value));
        for (index, attr) in entries.iter().enumerate() {
            offered.reach(index);
            if self.style == Style::Message {
                if self.attributes >= MOST_SHOWN {
                    quote::push_elided(&mut self.out, count - index, "attribute", "attributes");
                    self.text(" ");
                    break;
                }
                self.attributes += 1;
            }
            quote::push_name(&mut self.out, self.worker.text(attr.name));
            self.text(" = ");
            self.value(attr.value)?;
            self.text("; ");
        }
        self.text("}");
        Ok(())
    }

    fn derivation(&mut self, attrs: Attrs<'e>) -> Result<(), Error> {
        let path = attrs.get(known::DRV_PATH).map(|attr| self.worker.force(attr.value));
        match path {
            Some(Ok(value)) => match value.view() {
                View::String(path, _) => {
                    self.text("«derivation ");
                    self.out.extend_from_slice(path);
                    self.text("»");
                }
                _ => self.text("«derivation»"),
            },
            Some(Err(error)) => self.text(&format!("«derivation «error: {error}»»")),
            None => self.text("«derivation»"),
        }
        Ok(())
    }
}
