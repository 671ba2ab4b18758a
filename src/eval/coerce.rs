//! What values must be: forced to a type, or coerced to a text.

use super::context::{Context, Element, Gathered};
use super::error::{Error, Traced};
use super::heap::Value;
use super::interpret::Worker;
use super::symbols::{Symbol, known};
use super::text::{numbers, path, quote, suggest};
use super::value::{Attrs, Position, View};

/// What may be coerced to a text, and how.
#[derive(Clone, Copy, Debug)]
pub struct Coercion {
    /// Whether numbers, Booleans, null and lists are texts, too.
    pub more: bool,
    /// Whether a path is copied to the store.
    pub copy: bool,
}

/// Interpolation: texts, paths (copied), sets that say what they are.
pub const STRICT: Coercion = Coercion { more: false, copy: true };
/// The same without copying.
pub const NO_COPY: Coercion = Coercion { more: false, copy: false };
/// `toString`
pub const MORE: Coercion = Coercion { more: true, copy: false };
/// Attributes of derivations.
pub const DERIVATION: Coercion = Coercion { more: true, copy: true };

/// A text and its context.
pub type Text<'e> = (&'e [u8], Option<&'e Context<'e>>);

impl<'e> Worker<'e> {
    /// `expected WANTED but found WHAT: VALUE`
    #[cold]
    pub fn wrong_type(&self, wanted: &str, value: Value<'e>) -> Error {
        Error::new(format!("expected {wanted} but found {}", self.describe(value)))
    }

    /// The value's type and the value, for messages.
    pub fn describe(&self, value: Value<'e>) -> String {
        format!("{}: {}", self.type_of(value), self.shown(value))
    }

    /// The value's type with an article, for messages.
    pub fn type_of(&self, value: Value<'e>) -> String {
        match value.view() {
            View::Null => "null".to_owned(),
            View::Bool(_) => "a Boolean".to_owned(),
            View::Int(_) => "an integer".to_owned(),
            View::Float(_) => "a float".to_owned(),
            View::String(_, None) => "a string".to_owned(),
            View::String(_, Some(_)) => "a string with context".to_owned(),
            View::Path(_) => "a path".to_owned(),
            View::List(_) => "a list".to_owned(),
            View::Attrs(_) => "a set".to_owned(),
            View::Lambda(_) => "a function".to_owned(),
            View::Builtin(builtin) => format!("the built-in function '{}'", builtin.name),
            View::Applied(applied) => {
                format!("the partially applied built-in function '{}'", applied.builtin.name)
            }
            View::Thunk(thunk) => {
                thunk.value().map_or_else(|| "a thunk".to_owned(), |value| self.type_of(value))
            }
        }
    }

    /// Names that may have been meant instead of `name`.
    pub fn suggestions(&self, name: Symbol, names: impl Iterator<Item = Symbol>) -> Vec<String> {
        let names: Vec<&'static [u8]> = names.map(|name| self.text(name)).collect();
        let near = suggest::near(self.text(name), names);
        near.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// A name as it is written in an attribute path.
    pub fn quoted_name(&self, name: Symbol) -> String {
        let mut out = Vec::new();
        quote::push_name(&mut out, self.text(name));
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Forces a set.
    ///
    /// # Errors
    /// It cannot be evaluated, or is something else; `text` is a frame for the latter.
    pub fn force_attrs(&self, value: Value<'e>, position: Position, text: &str) -> Result<Attrs<'e>, Error> {
        let value = self.force_at(value, position)?;
        match value.view() {
            View::Attrs(attrs) => Ok(attrs),
            _ => Err(self.wrong_type("a set", value).frame(position, text)),
        }
    }

    /// Forces a list.
    ///
    /// # Errors
    /// As [`Worker::force_attrs`].
    pub fn force_list(
        &self,
        value: Value<'e>,
        position: Position,
        text: &str,
    ) -> Result<&'e [Value<'e>], Error> {
        let value = self.force_at(value, position)?;
        match value.view() {
            View::List(items) => Ok(items),
            _ => Err(self.wrong_type("a list", value).frame(position, text)),
        }
    }

    /// Forces a whole number.
    ///
    /// # Errors
    /// It cannot be evaluated, or is something else; `text` is a frame for both.
    pub fn force_int(&self, value: Value<'e>, position: Position, text: &str) -> Result<i64, Error> {
        let result = self.force_at(value, position).and_then(|value| match value.view() {
            View::Int(number) => Ok(number),
            _ => Err(self.wrong_type("an integer", value)),
        });
        result.during_at(position, || text.to_owned())
    }

    /// Forces a Boolean.
    ///
    /// # Errors
    /// As [`Worker::force_int`].
    pub fn force_bool(&self, value: Value<'e>, position: Position, text: &str) -> Result<bool, Error> {
        let result = self.force_at(value, position).and_then(|value| match value.view() {
            View::Bool(holds) => Ok(holds),
            _ => Err(self.wrong_type("a Boolean", value).at(position)),
        });
        result.during_at(position, || text.to_owned())
    }

    /// Forces a function, or a set that can be called.
    ///
    /// # Errors
    /// As [`Worker::force_int`].
    pub fn force_function(
        &self,
        value: Value<'e>,
        position: Position,
        text: &str,
    ) -> Result<Value<'e>, Error> {
        let result = self.force_at(value, position).and_then(|value| match value.view() {
            View::Lambda(_) | View::Builtin(_) | View::Applied(_) => Ok(value),
            View::Attrs(attrs) if attrs.get(known::FUNCTOR).is_some() => Ok(value),
            _ => Err(self.wrong_type("a function", value)),
        });
        result.during_at(position, || text.to_owned())
    }

    /// Forces a string, with its context.
    ///
    /// # Errors
    /// As [`Worker::force_int`].
    pub fn force_text(&self, value: Value<'e>, position: Position, text: &str) -> Result<Text<'e>, Error> {
        let result = self.force_at(value, position).and_then(|value| match value.view() {
            View::String(bytes, context) => Ok((bytes, context)),
            _ => Err(self.wrong_type("a string", value).at(position)),
        });
        result.during_at(position, || text.to_owned())
    }

    /// Forces a string that may not depend on the store.
    ///
    /// # Errors
    /// As [`Worker::force_int`]; or the string has a context.
    pub fn force_plain(&self, value: Value<'e>, position: Position, text: &str) -> Result<&'e [u8], Error> {
        let (bytes, context) = self.force_text(value, position, text)?;
        match context {
            None => Ok(bytes),
            Some(context) => Err(self.context_forbidden(bytes, context).frame(position, text)),
        }
    }

    /// Forces a name of an attribute.
    ///
    /// # Errors
    /// As [`Worker::force_plain`].
    pub fn force_name(&self, value: Value<'e>, position: Position, text: &str) -> Result<Symbol, Error> {
        Ok(self.intern(self.force_plain(value, position, text)?))
    }

    /// The failure of a string that may not depend on the store.
    #[cold]
    pub fn context_forbidden(&self, text: &[u8], context: &Context<'e>) -> Error {
        let example = match context.elements().first() {
            Some(Element::Plain(path)) => String::from_utf8_lossy(path).into_owned(),
            Some(Element::Output { derivation, output }) => {
                format!("{}^{}", String::from_utf8_lossy(derivation), String::from_utf8_lossy(output))
            }
            Some(Element::All(path)) => format!("{}^*", String::from_utf8_lossy(path)),
            None => String::new(),
        };
        let text = String::from_utf8_lossy(text);
        Error::new(format!(
            "the string '{text}' is not allowed to refer to a store path (such as '{example}')"
        ))
    }

    /// Coerces a value to a text.
    ///
    /// # Errors
    /// The value is no text by the rules of `how`, for which `text` is a frame at `position`;
    /// or it cannot be evaluated or copied.
    pub fn coerce(
        &self,
        value: Value<'e>,
        how: Coercion,
        position: Position,
        text: &str,
    ) -> Result<Text<'e>, Error> {
        let value = self.force_at(value, position)?;
        match value.view() {
            View::String(bytes, context) => Ok((bytes, context)),
            View::Path(file) if how.copy => {
                let path = self.copy_to_store(file)?;
                let context = Context::new(&self.heap, vec![Element::Plain(path)]);
                Ok((path, context))
            }
            View::Path(file) => Ok((file, None)),
            View::Attrs(attrs) => self.coerce_set(value, attrs, how, position, text),
            View::List(_) | View::Int(_) | View::Float(_) | View::Null | View::Bool(_) if how.more => {
                let mut out = (Vec::new(), Gathered::new());
                self.coerce_more(value, how, position, text, &mut out)?;
                Ok((self.heap.slice(&out.0), out.1.finish(&self.heap)))
            }
            _ => Err(self.no_text(value).frame(position, text)),
        }
    }

    #[cold]
    fn no_text(&self, value: Value<'e>) -> Error {
        Error::new(format!("cannot coerce {} to a string: {}", self.type_of(value), self.shown(value)))
    }

    fn coerce_set(
        &self,
        value: Value<'e>,
        attrs: Attrs<'e>,
        how: Coercion,
        position: Position,
        text: &str,
    ) -> Result<Text<'e>, Error> {
        let _deeper = self.deeper_at(position)?;
        if let Some(attr) = attrs.get(known::TO_STRING) {
            let result = self.call(attr.value, &[value], position)?;
            let text = "while evaluating the result of the `__toString` attribute";
            return self.coerce(result, how, position, text);
        }
        match attrs.get(known::OUT_PATH) {
            Some(attr) => self.coerce(attr.value, how, position, text),
            None => Err(self.no_text(value).frame(position, text)),
        }
    }

    /// Appends the text of a value that is evaluated to its outermost constructor.
    fn coerce_more(
        &self,
        value: Value<'e>,
        how: Coercion,
        position: Position,
        text: &str,
        out: &mut (Vec<u8>, Gathered<'e>),
    ) -> Result<(), Error> {
        match value.view() {
            View::Int(number) => out.0.extend_from_slice(number.to_string().as_bytes()),
            View::Float(number) => out.0.extend_from_slice(numbers::fixed(number).as_bytes()),
            View::Bool(true) => out.0.push(b'1'),
            View::Bool(false) | View::Null => {}
            View::List(items) => {
                let _deeper = self.deeper_at(position)?;
                for (index, item) in items.iter().enumerate() {
                    let frame = "while evaluating one element of the list";
                    let item = self
                        .force(*item)
                        .and_then(|item| self.coerce_more(item, how, position, frame, out).map(|()| item))
                        .during_at(position, || text.to_owned())?;
                    let empty = matches!(item.view(), View::List([]));
                    if index + 1 < items.len() && !empty {
                        out.0.push(b' ');
                    }
                }
            }
            _ => {
                let (part, part_context) = self.coerce(value, how, position, text)?;
                out.0.extend_from_slice(part);
                out.1.add(part_context);
            }
        }
        Ok(())
    }

    /// Copies a file or directory to the store under its own name; a link stays a link.
    ///
    /// # Errors
    /// It cannot be read or added.
    pub fn copy_to_store(&self, file: &[u8]) -> Result<&'e [u8], Error> {
        if let Some(path) = self.shared.copied(file) {
            return Ok(self.heap.slice(&path));
        }
        let addition =
            super::io::Addition { path: file, name: path::store_name(file), recursive: true, expected: None };
        let path = self.world.add(&addition, None)?;
        self.shared.keep_copied(file, &path);
        Ok(self.heap.slice(&path))
    }
}
