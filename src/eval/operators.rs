//! Operators: numbers, comparisons, sets and lists joined, texts joined.

use super::code::{Code, JoinCode, Operation};
use super::coerce::{Coercion, NO_COPY, STRICT};
use super::context::Gathered;
use super::error::{Error, Kind, Traced};
use super::heap::{Env, Value};
use super::interpret::{Evaluated, Worker};
use super::symbols::known;
use super::syntax::tree::Operator;
use super::text::{numbers, path};
use super::value::{Attrs, Position, View};

/// Texts of more parts need memory for the list of them.
const FEW_PARTS: usize = 8;

/// A number of either kind.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

impl Operation {
    /// The name of the builtin function, and of what it computes.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Operation::Subtract => ("sub", "argument of the subtraction"),
            Operation::Multiply => ("mul", "argument of the multiplication"),
            Operation::Divide => ("div", "operand of the division"),
            Operation::Less => ("lessThan", ""),
        }
    }
}

/// The operators are calls of builtins, which force what a variable stands for without a place:
/// an operand that needs itself has none.
#[cold]
fn without_place_of_variable(error: Error, operands: &[&Code<'_>; 2]) -> Error {
    let is_its_place = |operand: &&Code<'_>| matches!(operand, Code::Local { position, .. } if *position == error.failure().position);
    if error.kind() == Kind::Recursion && operands.iter().any(is_its_place) {
        return error.at(Position::NONE);
    }
    error
}

impl<'e> Worker<'e> {
    #[inline(never)]
    pub(super) fn operate(
        &self,
        operation: Operation,
        operands: &'e [&'e Code<'e>; 2],
        position: Position,
        env: &'e Env<'e>,
    ) -> Evaluated<'e> {
        let _deeper = self.deeper_at(position)?;
        let values = match self.value_of(operands[0], env) {
            Ok(left) => self.value_of(operands[1], env).map(|right| (left, right)),
            Err(error) => Err(error),
        };
        if let Ok((left, right)) = values
            && let (View::Int(a), View::Int(b)) = (left.view(), right.view())
        {
            let result = match operation {
                Operation::Less => return Ok(Value::bool(a < b)),
                Operation::Subtract => a.checked_sub(b),
                Operation::Multiply => a.checked_mul(b),
                Operation::Divide => None,
            };
            if let Some(result) = result {
                return Ok(Value::int(result));
            }
        }
        let values = values.map_err(|error| without_place_of_variable(error, operands));
        self.operate_slowly(operation, values, position)
    }

    #[inline(never)]
    fn operate_slowly(
        &self,
        operation: Operation,
        operands: Result<(Value<'e>, Value<'e>), Error>,
        position: Position,
    ) -> Evaluated<'e> {
        let result = operands.and_then(|(left, right)| match operation {
            Operation::Less => self.less(left, right, position, "").map(Value::bool),
            _ => self.arithmetic(operation, left, right),
        });
        result.map_err(|error| {
            error.frame(position, format!("while calling the '{}' builtin", operation.names().0))
        })
    }

    /// `-`, `*`, `/`
    pub(super) fn arithmetic(
        &self,
        operation: Operation,
        left: Value<'e>,
        right: Value<'e>,
    ) -> Evaluated<'e> {
        let what = operation.names().1;
        if let (View::Int(a), View::Int(b)) = (left.view(), right.view()) {
            let result = match operation {
                Operation::Subtract => numbers::subtract(a, b),
                Operation::Multiply => numbers::multiply(a, b),
                Operation::Divide if b == 0 => return Err(Error::new("division by zero")),
                _ => numbers::divide(a, b),
            };
            return result.map(Value::int).map_err(|overflow| Error::new(overflow.to_string()));
        }
        let (a, b) = self.two_numbers(left, right, what, operation == Operation::Divide)?;
        Ok(Value::float(match operation {
            Operation::Subtract => a - b,
            Operation::Multiply => a * b,
            _ => a / b,
        }))
    }

    /// Two operands that are not both whole numbers.
    fn two_numbers(
        &self,
        left: Value<'e>,
        right: Value<'e>,
        what: &str,
        division: bool,
    ) -> Result<(f64, f64), Error> {
        let is_float = |value: Value<'e>| matches!(value.view(), View::Float(_));
        let either = is_float(left) || is_float(right);
        let second = |worker: &Self| {
            let second = worker.number(right, if either || division { "a float" } else { "an integer" });
            second.during(&format!("while evaluating the second {what}"))
        };
        // A divisor is looked at before what it divides.
        if division && second(self)?.float() == 0.0 {
            return Err(Error::new("division by zero"));
        }
        let first = self.number(left, if either { "a float" } else { "an integer" });
        // The reference leaves a word out here.
        let what_first =
            if either && what.ends_with("multiplication") { "of the multiplication" } else { what };
        let first = first.during(&format!("while evaluating the first {what_first}"))?;
        Ok((first.float(), second(self)?.float()))
    }

    pub(super) fn number(&self, value: Value<'e>, wanted: &str) -> Result<Number, Error> {
        match value.view() {
            View::Int(value) => Ok(Number::Int(value)),
            View::Float(value) => Ok(Number::Float(value)),
            _ => Err(self.wrong_type(wanted, value)),
        }
    }

    /// `builtins.add`
    pub(super) fn add(&self, left: Value<'e>, right: Value<'e>) -> Evaluated<'e> {
        if let (View::Int(a), View::Int(b)) = (left.view(), right.view()) {
            return numbers::add(a, b).map(Value::int).map_err(|overflow| Error::new(overflow.to_string()));
        }
        let (a, b) = self.two_numbers(left, right, "argument of the addition", false)?;
        Ok(Value::float(a + b))
    }

    /// Whether `left < right`; both are evaluated to their outermost constructor.
    ///
    /// # Errors
    /// The two cannot be compared. `text` is a frame for that, unless empty.
    pub fn less(
        &self,
        left: Value<'e>,
        right: Value<'e>,
        position: Position,
        text: &str,
    ) -> Result<bool, Error> {
        let result = self.less_of(left, right, position);
        if text.is_empty() { result } else { result.during_at(position, || text.to_owned()) }
    }

    fn less_of(&self, left: Value<'e>, right: Value<'e>, position: Position) -> Result<bool, Error> {
        Ok(match (left.view(), right.view()) {
            (View::Int(a), View::Int(b)) => a < b,
            (View::Int(a), View::Float(b)) => (a as f64) < b,
            (View::Float(a), View::Int(b)) => a < b as f64,
            (View::Float(a), View::Float(b)) => a < b,
            (View::String(a, _), View::String(b, _)) | (View::Path(a), View::Path(b)) => a < b,
            (View::List(a), View::List(b)) => {
                for (a, b) in a.iter().zip(b) {
                    let text = "while comparing two list elements";
                    if !self.equal_elements(*a, *b, position)? {
                        let (a, b) = (self.force(*a)?, self.force(*b)?);
                        return self.less(a, b, Position::NONE, text);
                    }
                }
                a.len() < b.len()
            }
            _ => return Err(self.incomparable(left, right)),
        })
    }

    #[cold]
    fn incomparable(&self, left: Value<'e>, right: Value<'e>) -> Error {
        let (a, b) = (self.type_of(left), self.type_of(right));
        let values = format!("values are {} and {}", self.shown(left), self.shown(right));
        Error::new(if a == b {
            format!("cannot compare {a} with {b}; values of that type are incomparable ({values})")
        } else {
            format!("cannot compare {a} with {b}; {values}")
        })
    }

    /// Whether two elements of lists or sets are equal: the same object, or equal values.
    ///
    /// # Errors
    /// One of them cannot be evaluated.
    pub fn equal_elements(
        &self,
        left: Value<'e>,
        right: Value<'e>,
        position: Position,
    ) -> Result<bool, Error> {
        if left.same_object(right) {
            return Ok(true);
        }
        let (left, right) = (self.force_at(left, position)?, self.force_at(right, position)?);
        self.equal(left, right, position)
    }

    /// Whether two values, evaluated to their outermost constructors, are equal.
    ///
    /// # Errors
    /// A part that must be looked at cannot be evaluated.
    pub fn equal(&self, left: Value<'e>, right: Value<'e>, position: Position) -> Result<bool, Error> {
        Ok(match (left.view(), right.view()) {
            (View::Null, View::Null) => true,
            (View::Bool(a), View::Bool(b)) => a == b,
            (View::Int(a), View::Int(b)) => a == b,
            (View::Int(a), View::Float(b)) => a as f64 == b,
            (View::Float(a), View::Int(b)) => a == b as f64,
            (View::Float(a), View::Float(b)) => a == b,
            (View::String(a, _), View::String(b, _)) | (View::Path(a), View::Path(b)) => a == b,
            (View::List(a), View::List(b)) => {
                let _deeper = self.deeper()?;
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b) {
                    if !self.equal_elements(*a, *b, position)? {
                        return Ok(false);
                    }
                }
                true
            }
            (View::Attrs(a), View::Attrs(b)) => {
                let _deeper = self.deeper()?;
                return self.equal_sets(a, b, position);
            }
            _ => false,
        })
    }

    fn equal_sets(&self, a: Attrs<'e>, b: Attrs<'e>, position: Position) -> Result<bool, Error> {
        if self.is_derivation(a)?
            && self.is_derivation(b)?
            && let (Some(a), Some(b)) = (a.get(known::OUT_PATH), b.get(known::OUT_PATH))
        {
            return self.equal_elements(a.value, b.value, position);
        }
        if a.len() != b.len() {
            return Ok(false);
        }
        for (a, b) in self.in_order(a)?.iter().zip(self.in_order(b)?.iter()) {
            if a.name != b.name || !self.equal_elements(a.value, b.value, position)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a set has `type = "derivation"`.
    ///
    /// # Errors
    /// `type` cannot be evaluated.
    pub fn is_derivation(&self, attrs: Attrs<'e>) -> Result<bool, Error> {
        let Some(kind) = attrs.get(known::TYPE) else { return Ok(false) };
        let kind = self.force(kind.value)?;
        Ok(matches!(kind.view(), View::String(b"derivation", _)))
    }

    #[inline(never)]
    pub(super) fn binary(
        &self,
        operator: Operator,
        operands: &'e [&'e Code<'e>; 2],
        position: Position,
        env: &'e Env<'e>,
    ) -> Evaluated<'e> {
        let [left, right] = *operands;
        let both = |first: &str, second: &str, stop: bool, at_stop: bool| {
            if self.condition(left, env, position, first)? == stop {
                return Ok(Value::bool(at_stop));
            }
            self.condition(right, env, position, second).map(Value::bool)
        };
        match operator {
            Operator::And => both(
                "in the left operand of the AND (&&) operator",
                "in the right operand of the AND (&&) operator",
                false,
                false,
            ),
            Operator::Or => both(
                "in the left operand of the OR (||) operator",
                "in the right operand of the OR (||) operator",
                true,
                true,
            ),
            Operator::Implies => both(
                "in the left operand of the IMPL (->) operator",
                "in the right operand of the IMPL (->) operator",
                false,
                true,
            ),
            Operator::Equal | Operator::NotEqual => {
                let (a, b) = (self.value_of(left, env)?, self.value_of(right, env)?);
                let equal = self.equal(a, b, position)?;
                Ok(Value::bool(equal == (operator == Operator::Equal)))
            }
            Operator::Update => self.update(left, right, env),
            Operator::Concat => self.concat(left, right, position, env),
        }
    }

    #[inline(never)]
    fn update(&self, left: &'e Code<'e>, right: &'e Code<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let operand = |code: &'e Code<'e>, text: &str| {
            let position = code.position();
            let result = self.eval(code, env).and_then(|value| match value.view() {
                View::Attrs(attrs) => Ok((value, attrs)),
                _ => Err(self.wrong_type("a set", value)),
            });
            result.during_at(position, || text.to_owned())
        };
        let (right_value, right) = operand(right, "in the right operand of the update (//) operator")?;
        let (left_value, left) = operand(left, "in the left operand of the update (//) operator")?;
        if right.is_empty() {
            return Ok(left_value);
        }
        if left.is_empty() {
            return Ok(right_value);
        }
        Ok(Value::attrs(Attrs::update(&self.heap, left, right)))
    }

    #[inline(never)]
    fn concat(
        &self,
        left: &'e Code<'e>,
        right: &'e Code<'e>,
        position: Position,
        env: &'e Env<'e>,
    ) -> Evaluated<'e> {
        let text = "while evaluating one of the elements to concatenate";
        let operand = |code: &'e Code<'e>| {
            let value = self.eval(code, env)?;
            match value.view() {
                View::List(items) => Ok((value, items)),
                _ => Err(self.wrong_type("a list", value).frame(position, text)),
            }
        };
        let (left_value, left) = operand(left)?;
        let (right_value, right) = operand(right)?;
        if right.is_empty() {
            return Ok(left_value);
        }
        if left.is_empty() {
            return Ok(right_value);
        }
        let items = self.heap.slice_with(left.len() + right.len(), |index| {
            if index < left.len() { left[index] } else { right[index - left.len()] }
        });
        Ok(Value::list(items))
    }

    #[inline(never)]
    pub(super) fn join(&self, join: &'e JoinCode<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let Some(((first, place), rest)) = join.parts.split_first() else { return Ok(Value::string(b"")) };
        let value = self.value_of(first, env)?;
        if !join.string {
            match value.view() {
                View::Int(_) | View::Float(_) => return self.sum(value, rest, env),
                View::Path(text) => return self.extended_path(text, rest, join.position, env),
                _ => {}
            }
        }
        if let (View::String(..), []) = (value.view(), rest) {
            return Ok(value);
        }
        let mut context = Gathered::new();
        // Most texts have few parts, which need no memory of their own.
        let (mut few, mut many) = ([&b""[..]; FEW_PARTS], Vec::new());
        let parts = if join.parts.len() <= FEW_PARTS {
            &mut few[..join.parts.len()]
        } else {
            many.resize(join.parts.len(), &b""[..]);
            &mut many[..]
        };
        // A path is copied to the store in a string, and beside a string.
        let how = match value.view() {
            View::String(..) => STRICT,
            _ if join.string => STRICT,
            _ => NO_COPY,
        };
        parts[0] = self.part(value, how, *place, &mut context)?;
        for ((part, place), text) in rest.iter().zip(&mut parts[1..]) {
            let value = self.value_of(part, env)?;
            *text = self.part(value, how, *place, &mut context)?;
        }
        let mut filled = parts.iter().filter(|part| !part.is_empty());
        let text = match (filled.next(), filled.next()) {
            (None, _) => b"",
            (Some(only), None) => *only,
            _ => self.heap.joined(parts),
        };
        Ok(Value::string_with(&self.heap, text, context.finish(&self.heap)))
    }

    #[inline]
    fn part(
        &self,
        value: Value<'e>,
        how: Coercion,
        place: Position,
        context: &mut Gathered<'e>,
    ) -> Result<&'e [u8], Error> {
        let (part, part_context) = match value.view() {
            View::String(part, part_context) => (part, part_context),
            _ => {
                let frame = "while evaluating a path segment";
                self.coerce(value, how, place, frame)?
            }
        };
        context.add(part_context);
        Ok(part)
    }

    #[inline(never)]
    fn sum(&self, first: Value<'e>, rest: &'e [(&'e Code<'e>, Position)], env: &'e Env<'e>) -> Evaluated<'e> {
        let mut sum = first;
        for (part, place) in rest {
            let value = self.value_of(part, env)?;
            sum = match (sum.view(), value.view()) {
                (View::Int(a), View::Int(b)) => Value::int(
                    numbers::add(a, b).map_err(|overflow| Error::new(overflow.to_string()).at(*place))?,
                ),
                (View::Int(a), View::Float(b)) => Value::float(a as f64 + b),
                (View::Float(a), View::Int(b)) => Value::float(a + b as f64),
                (View::Float(a), View::Float(b)) => Value::float(a + b),
                _ => {
                    let what = if matches!(sum.view(), View::Int(_)) { "an integer" } else { "a float" };
                    let message = format!("cannot add {} to {what}", self.type_of(value));
                    return Err(Error::new(message).at(*place));
                }
            };
        }
        Ok(sum)
    }

    fn extended_path(
        &self,
        first: &'e [u8],
        rest: &'e [(&'e Code<'e>, Position)],
        position: Position,
        env: &'e Env<'e>,
    ) -> Evaluated<'e> {
        let mut text = first.to_vec();
        for (part, place) in rest {
            let value = self.eval(part, env)?;
            let frame = "while evaluating a path segment";
            let (part, context) = self.coerce(value, NO_COPY, *place, frame)?;
            if context.is_some() {
                let message = "a string that refers to a store path cannot be appended to a path";
                return Err(Error::new(message).at(position));
            }
            text.extend_from_slice(part);
        }
        Ok(Value::path(self.heap.slice(&path::canonical(&text))))
    }

    /// Checks the condition of an `assert`.
    pub(super) fn assert(
        &self,
        condition: &'e Code<'e>,
        env: &'e Env<'e>,
        position: Position,
    ) -> Result<(), Error> {
        if self.condition(condition, env, position, "in the condition of the assert statement")? {
            return Ok(());
        }
        let text = self.assertion_text(position).unwrap_or_default();
        if let Code::Binary { operator: Operator::Equal, operands: [left, right], .. } = condition {
            let (left, right) = (self.eval(left, env)?, self.eval(right, env)?);
            if let Some(error) = self.difference(left, right)? {
                let text = format!("while evaluating the condition of the assertion '{text}'");
                return Err(error.frame(position, text));
            }
        }
        Err(Error::of(super::error::Kind::Assertion, format!("assertion '{text}' failed")).at(position))
    }
}
