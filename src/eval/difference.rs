//! Why two values are not equal: what a failed `assert a == b` tells.

use super::error::{Error, Kind, unless_interrupted};
use super::heap::Value;
use super::interpret::Worker;
use super::text::numbers;
use super::value::{Attrs, Position, View};

impl<'e> Worker<'e> {
    /// The first difference of two values that were found unequal, `None` where none can be told.
    ///
    /// # Errors
    /// The user interrupted the evaluation.
    #[cold]
    pub(super) fn difference(&self, left: Value<'e>, right: Value<'e>) -> Result<Option<Error>, Error> {
        let Some(_deeper) = unless_interrupted(self.deeper())? else { return Ok(None) };
        let told = |text: String| Ok(Some(Error::of(Kind::Assertion, text)));
        let both = |what: &str, a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
            told(format!("{what} '{a}' is not equal to {what} '{b}'"))
        };
        match (left.view(), right.view()) {
            (View::Int(a), View::Int(b)) => both("an integer with value", &a, &b),
            (View::Float(a), View::Float(b)) => {
                both("a float with value", &numbers::general(a), &numbers::general(b))
            }
            (View::String(..), View::String(..)) => both("string", &self.shown(left), &self.shown(right)),
            (View::Path(..), View::Path(..)) => both("path", &self.shown(left), &self.shown(right)),
            (View::Bool(a), View::Bool(b)) => both("boolean", &a, &b),
            (View::List(a), View::List(b)) => self.list_difference(left, right, a, b),
            (View::Attrs(a), View::Attrs(b)) => self.set_difference(left, right, a, b),
            (View::Lambda(_) | View::Builtin(_) | View::Applied(_), _)
                if matches!(right.view(), View::Lambda(_) | View::Builtin(_) | View::Applied(_)) =>
            {
                let text =
                    "distinct functions and immediate comparisons of identical functions compare as unequal";
                told(text.to_owned())
            }
            _ => {
                let of =
                    |value: Value<'e>| format!("{} of value '{}'", self.type_of(value), self.shown(value));
                told(format!("{} is not equal to {}", of(left), of(right)))
            }
        }
    }

    fn list_difference(
        &self,
        left: Value<'e>,
        right: Value<'e>,
        a: &'e [Value<'e>],
        b: &'e [Value<'e>],
    ) -> Result<Option<Error>, Error> {
        if a.len() != b.len() {
            return Ok(Some(Error::of(
                Kind::Assertion,
                format!(
                    "list of size '{}' is not equal to list of size '{}', left hand side is '{}', right hand side is '{}'",
                    a.len(),
                    b.len(),
                    self.shown(left),
                    self.shown(right)
                ),
            )));
        }
        for (index, (a, b)) in a.iter().zip(b).enumerate() {
            if let Some(known) = self.element_difference(*a, *b)? {
                let text = format!("while comparing list element {index}");
                return Ok(known.map(|error| error.frame(Position::NONE, text)));
            }
        }
        Ok(None)
    }

    /// The difference of two elements that differ or cannot be compared: `Some(None)` where it
    /// cannot be told.
    fn element_difference(&self, a: Value<'e>, b: Value<'e>) -> Result<Option<Option<Error>>, Error> {
        match unless_interrupted(self.equal_elements(a, b, Position::NONE))? {
            Some(true) => Ok(None),
            Some(false) => {
                let (a, b) = (unless_interrupted(self.force(a))?, unless_interrupted(self.force(b))?);
                let (Some(a), Some(b)) = (a, b) else { return Ok(Some(None)) };
                self.difference(a, b).map(Some)
            }
            None => Ok(Some(None)),
        }
    }

    fn set_difference(
        &self,
        left: Value<'e>,
        right: Value<'e>,
        a: Attrs<'e>,
        b: Attrs<'e>,
    ) -> Result<Option<Error>, Error> {
        let (shown_left, shown_right) = (self.shown(left), self.shown(right));
        if a.len() != b.len() {
            let text = format!(
                "attribute names of attribute set '{shown_left}' differs from attribute set '{shown_right}'"
            );
            return Ok(Some(Error::of(Kind::Assertion, text)));
        }
        for attr in self.in_order(a)?.iter() {
            let Some(other) = b.get(attr.name) else {
                let name = self.name(attr.name);
                let text = format!(
                    "attribute name '{name}' is contained in '{shown_left}', but not in '{shown_right}'"
                );
                return Ok(Some(Error::of(Kind::Assertion, text)));
            };
            if let Some(known) = self.element_difference(attr.value, other.value)? {
                let name = self.name(attr.name);
                return Ok(known.map(|error| {
                    error
                        .frame(other.position, "where right hand side is")
                        .frame(attr.position, "where left hand side is")
                        .frame(Position::NONE, format!("while comparing attribute '{name}'"))
                }));
            }
        }
        Ok(None)
    }
}
