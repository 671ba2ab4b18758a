//! Values over several lines.
//!
//! ```text
//! { }   [ ]   { a = 1; }   [ «lambda @ FILE:1:2» ]      nothing, or one thing that holds nothing
//! {
//!   a = [ ... ];                                        deeper than is asked for
//!   b = {
//!     c = 2;
//!     d = «error: …»;
//!   };
//! }
//! ```

use std::collections::HashSet;

use nival::eval::error::{Error, Kind};
use nival::eval::heap::Value;
use nival::eval::print::Style;
use nival::eval::symbols::{Symbol, known};
use nival::eval::text::quote;
use nival::eval::value::{Attrs, View};

use super::Session;

/// Colours of values on a terminal.
mod colour {
    pub const NUMBER: &str = "36;1";
    pub const TEXT: &str = "35;1";
    pub const PATH: &str = "32;1";
    pub const FUNCTION: &str = "34;1";
    pub const FAILURE: &str = "31;1";
}

struct Printer<'w, 's, 'e> {
    session: &'w Session<'s, 'e>,
    /// How many levels of sets and lists are shown.
    levels: Option<usize>,
    colours: bool,
    seen: HashSet<u64>,
    out: Vec<u8>,
}

impl<'e> Session<'_, 'e> {
    /// A value as text, with at most so many levels of sets and lists. With colours, which are
    /// escape sequences, other characters that act on a terminal are question marks.
    ///
    /// # Errors
    /// The value itself cannot be evaluated, or the user interrupted it.
    pub fn printed(&self, value: Value<'e>, levels: Option<usize>, colours: bool) -> Result<Vec<u8>, Error> {
        let value = self.worker.force(value)?;
        let mut printer = Printer { session: self, levels, colours, seen: HashSet::new(), out: Vec::new() };
        printer.value(value, 0)?;
        Ok(printer.out)
    }
}

impl<'e> Printer<'_, '_, 'e> {
    fn coloured(&mut self, colour: &str, text: &[u8]) {
        if !self.colours {
            return self.out.extend_from_slice(text);
        }
        self.out.extend_from_slice(format!("\x1b[{colour}m").as_bytes());
        // What a text holds must not act on the terminal.
        let harmless = |byte: &u8| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\t');
        self.out.extend(text.iter().map(|byte| if harmless(byte) { *byte } else { b'?' }));
        self.out.extend_from_slice(b"\x1b[0m");
    }

    fn line(&mut self, depth: usize) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + 2 * depth, b' ');
    }

    fn value(&mut self, slot: Value<'e>, depth: usize) -> Result<(), Error> {
        let worker = self.session.worker;
        let _deeper = worker.deeper()?;
        let value = match worker.force(slot) {
            Ok(value) => value,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                self.coloured(colour::FAILURE, format!("«error: {error}»").as_bytes());
                return Ok(());
            }
        };
        let colour = match value.view() {
            View::Attrs(attrs) if !self.is_derivation(attrs) => {
                let identity = value.identity().filter(|_| !attrs.is_empty());
                return self.set(identity, attrs, depth);
            }
            View::List(items) => {
                return self.list(slot.slot_identity().filter(|_| !items.is_empty()), items, depth);
            }
            View::Null | View::Bool(_) | View::Int(_) | View::Float(_) => colour::NUMBER,
            View::String(..) => colour::TEXT,
            View::Path(_) => colour::PATH,
            View::Attrs(attrs) => {
                // The path of a derivation that is shown by itself must be there.
                if depth == 0
                    && let Some(attr) = attrs.get(known::DRV_PATH)
                {
                    worker.force(attr.value)?;
                }
                colour::PATH
            }
            View::Lambda(_) | View::Builtin(_) | View::Applied(_) | View::Thunk(_) => colour::FUNCTION,
        };
        let text = worker.print(value, Style::Eval)?;
        self.coloured(colour, &text);
        Ok(())
    }

    fn is_derivation(&self, attrs: Attrs<'e>) -> bool {
        self.session.worker.is_derivation(attrs).unwrap_or(false)
    }

    /// Whether an object that holds something was shown before.
    fn repeated(&mut self, identity: Option<u64>) -> bool {
        let repeated = identity.is_some_and(|identity| !self.seen.insert(identity));
        if repeated {
            self.coloured(colour::TEXT, "«repeated»".as_bytes());
        }
        repeated
    }

    fn is_too_deep(&self, depth: usize) -> bool {
        self.levels.is_some_and(|levels| depth >= levels)
    }

    /// Whether what is in a set or list stands on lines of its own.
    fn is_long(&self, items: &[(Option<Symbol>, Value<'e>)]) -> bool {
        let [(_, one)] = items else { return !items.is_empty() };
        self.session
            .worker
            .force(*one)
            .is_ok_and(|value| matches!(value.view(), View::Attrs(_) | View::List(_)))
    }

    fn set(&mut self, identity: Option<u64>, attrs: Attrs<'e>, depth: usize) -> Result<(), Error> {
        let entries = self.session.worker.by_name(attrs);
        let items: Vec<_> = entries.iter().map(|attr| (Some(attr.name), attr.value)).collect();
        self.items(identity, [b'{', b'}'], &items, depth)
    }

    fn list(&mut self, identity: Option<u64>, items: &[Value<'e>], depth: usize) -> Result<(), Error> {
        let items: Vec<_> = items.iter().map(|item| (None, *item)).collect();
        self.items(identity, [b'[', b']'], &items, depth)
    }

    /// What a set or list holds, between its brackets; attributes have names.
    fn items(
        &mut self,
        identity: Option<u64>,
        [open, close]: [u8; 2],
        items: &[(Option<Symbol>, Value<'e>)],
        depth: usize,
    ) -> Result<(), Error> {
        if self.repeated(identity) {
            return Ok(());
        }
        self.out.push(open);
        if self.is_too_deep(depth) {
            self.out.extend_from_slice(&[b" ... ", &[close][..]].concat());
            return Ok(());
        }
        let worker = self.session.worker;
        let long = self.is_long(items);
        let gap = |this: &mut Self, depth| if long { this.line(depth) } else { this.out.push(b' ') };
        for (name, value) in items {
            gap(self, depth + 1);
            if let Some(name) = name {
                quote::push_name(&mut self.out, worker.text(*name));
                self.out.extend_from_slice(b" = ");
            }
            self.value(*value, depth + 1)?;
            if name.is_some() {
                self.out.push(b';');
            }
        }
        gap(self, depth);
        self.out.push(close);
        Ok(())
    }
}
