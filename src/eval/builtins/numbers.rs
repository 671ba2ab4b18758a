//! Arithmetic.

use super::super::code::Operation;
use super::super::error::{Error, Traced};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::text::numbers;
use super::super::value::{Position, View};
use super::Builtin;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("add", 2, add, "`a b`: the sum of two numbers."),
    Builtin::new("sub", 2, |w, a, _| two(w, a, Operation::Subtract), "`a b`: the difference of two numbers."),
    Builtin::new("mul", 2, |w, a, _| two(w, a, Operation::Multiply), "`a b`: the product of two numbers."),
    Builtin::new(
        "div",
        2,
        |w, a, _| two(w, a, Operation::Divide),
        "`a b`: the quotient of two numbers, towards zero for whole ones.",
    ),
    Builtin::new("lessThan", 2, less_than, "`a b`: whether `a` is less than `b`."),
    Builtin::new(
        "bitAnd",
        2,
        |w, a, _| bits(w, a, [first!("bitAnd"), second!("bitAnd")], |x, y| x & y),
        "`a b`: the bits that both numbers have.",
    ),
    Builtin::new(
        "bitOr",
        2,
        |w, a, _| bits(w, a, [first!("bitOr"), second!("bitOr")], |x, y| x | y),
        "`a b`: the bits that one of two numbers has.",
    ),
    Builtin::new(
        "bitXor",
        2,
        |w, a, _| bits(w, a, [first!("bitXor"), second!("bitXor")], |x, y| x ^ y),
        "`a b`: the bits that exactly one of two numbers has.",
    ),
    Builtin::new(
        "ceil",
        1,
        |w, a, p| round(w, a, p, "ceil", f64::ceil),
        "`number`: the least whole number that is not less.",
    ),
    Builtin::new(
        "floor",
        1,
        |w, a, p| round(w, a, p, "floor", f64::floor),
        "`number`: the greatest whole number that is not greater.",
    ),
];

fn add<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let left = worker.force(arguments[0])?;
    let right = worker.force(arguments[1])?;
    worker.add(left, right)
}

fn two<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], operation: Operation) -> Evaluated<'e> {
    worker.arithmetic(operation, worker.force(arguments[0])?, worker.force(arguments[1])?)
}

fn less_than<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let left = worker.force(arguments[0])?;
    let right = worker.force(arguments[1])?;
    worker.less(left, right, position, "").map(Value::bool)
}

fn bits<'e>(
    worker: &Worker<'e>,
    arguments: &[Value<'e>],
    frames: [&str; 2],
    combine: fn(i64, i64) -> i64,
) -> Evaluated<'e> {
    let a = worker.force_int(arguments[0], Position::NONE, frames[0])?;
    let b = worker.force_int(arguments[1], Position::NONE, frames[1])?;
    Ok(Value::int(combine(a, b)))
}

fn round<'e>(
    worker: &Worker<'e>,
    arguments: &[Value<'e>],
    position: Position,
    name: &str,
    round: fn(f64) -> f64,
) -> Evaluated<'e> {
    let text = || format!("while evaluating the first argument passed to builtins.{name}");
    let value = worker.force_at(arguments[0], position).during_at(position, text)?;
    match value.view() {
        View::Int(number) => whole(number, name).map(Value::int),
        View::Float(number) => {
            let rounded = round(number);
            let message = || {
                Error::new(format!(
                    "NixFloat argument {} is not in the range of NixInt",
                    numbers::general(rounded)
                ))
            };
            numbers::float_to_integer(rounded).map(Value::int).ok_or_else(message)
        }
        _ => Err(worker.wrong_type("a float", value).frame(position, text())),
    }
}

/// A whole number passes if a floating-point number can hold it.
fn whole(number: i64, name: &str) -> Result<i64, Error> {
    let float = number as f64;
    // The blanks in front of the second line are those of the reference.
    let later = |blanks: usize| {
        let blanks = if name == "ceil" { blanks + 2 } else { blanks };
        format!("\n{}Future Nix versions might implement the correct behavior.", " ".repeat(blanks))
    };
    let bug = "Due to a bug (see https://github.com/NixOS/nix/issues/12899)";
    match numbers::float_to_integer(float) {
        Some(back) if back == number => Ok(number),
        Some(back) => Err(Error::new(format!(
            "{bug} a loss of precision occurred in previous Nix versions because the NixInt argument {number} was \
             rounded to {back}.{}",
            later(if back == i64::MIN { 3 } else { 4 })
        ))),
        None => Err(Error::new(format!(
            "{bug} the NixInt argument {number} caused undefined behavior in previous Nix versions.{}",
            later(1)
        ))),
    }
}
