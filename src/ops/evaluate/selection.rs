//! From a value to the one that is meant: functions are called on the way, attributes selected.

use crate::eval::error::{Error, Kind};
use crate::eval::heap::Value;
use crate::eval::interpret::{Evaluated, Worker};
use crate::eval::symbols::{Symbol, known};
use crate::eval::text::suggest;
use crate::eval::value::{Position, View};

/// Arguments for functions, by name.
pub type Arguments<'e> = Vec<(Symbol, Value<'e>)>;

/// What follows the message about an argument that is missing.
const NO_ARGUMENT: &str = "Nix attempted to evaluate a function as a top level expression; in
this case it must have its arguments supplied either by default
values, or passed explicitly with '--arg' or '--argstr'. See
https://nix.dev/manual/nix/stable/language/syntax.html#functions.";

/// Values that function calls lead to may be functions again, but not without end.
const MOST_CALLS: usize = 1000;

/// Calls a function with named arguments, as often as one comes out; gives other values back.
///
/// # Errors
/// An argument without a value, or a failed call.
pub fn called<'e>(worker: &Worker<'e>, value: Value<'e>, arguments: &Arguments<'e>) -> Evaluated<'e> {
    let mut value = worker.force(value)?;
    for _ in 0..MOST_CALLS {
        match value.view() {
            View::Attrs(attrs) => match attrs.get(known::FUNCTOR) {
                Some(functor) => value = worker.call(functor.value, &[value], Position::NONE)?,
                None => return Ok(value),
            },
            View::Lambda(closure) => {
                let Some(formals) = closure.code.formals else { return Ok(value) };
                let is_formal = |name| formals.formals.iter().any(|formal| formal.name == name);
                let passed = arguments.iter().filter(|(name, _)| formals.ellipsis || is_formal(*name));
                let passed: Arguments<'e> = passed.copied().collect();
                let missing = formals.formals.iter().find(|formal| {
                    formal.default.is_none() && passed.iter().all(|(name, _)| *name != formal.name)
                });
                if let Some(formal) = missing {
                    let name = worker.name(formal.name);
                    let message = format!(
                        "cannot evaluate a function that has an argument without a value ('{name}')\n{NO_ARGUMENT}"
                    );
                    return Err(Error::new(message).at(formal.position));
                }
                return worker.call(value, &[worker.new_set(passed)], Position::NONE);
            }
            _ => return Ok(value),
        }
    }
    Err(Error::of(Kind::Depth, "stack overflow (possible infinite recursion)"))
}

/// The attribute that a selection path means. Functions before a step are called.
///
/// # Errors
/// There is no such attribute, or it cannot be evaluated.
pub fn selected<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    path: &str,
    arguments: &Arguments<'e>,
) -> Evaluated<'e> {
    let mut value = worker.force(value)?;
    for name in steps(path)? {
        value = called(worker, value, arguments)?;
        let refused = |wanted: &str| {
            let what = worker.type_of(value);
            let subject = format!("the expression selected by the selection path '{path}'");
            Error::new(format!("{subject} should be {wanted} but is {what}"))
        };
        if let Ok(index) = name.parse::<u32>() {
            let View::List(items) = value.view() else { return Err(refused("a list")) };
            let item = usize::try_from(index).ok().and_then(|index| items.get(index));
            let out_of_range = || format!("list index {index} in selection path '{path}' is out of range");
            value = worker.force(*item.ok_or_else(|| Error::new(out_of_range()))?)?;
            continue;
        }
        let View::Attrs(attrs) = value.view() else { return Err(refused("a set")) };
        if name.is_empty() {
            return Err(Error::new(format!("empty attribute name in selection path '{path}'")));
        }
        let attr = worker.shared.symbols.find(name.as_bytes()).and_then(|symbol| attrs.get(symbol));
        let Some(attr) = attr else {
            let entries = attrs.entries();
            let near = suggest::near(name.as_bytes(), entries.iter().map(|attr| worker.text(attr.name)));
            let near = near.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            let message = format!("attribute '{name}' in selection path '{path}' not found");
            return Err(Error::new(message).suggest(near));
        };
        value = worker.force_at(attr.value, Position::NONE)?;
    }
    Ok(value)
}

/// The names of a selection path: separated by dots, those with dots in quotes.
fn steps(path: &str) -> Result<Vec<String>, Error> {
    let (mut steps, mut step) = (Vec::new(), String::new());
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '.' => steps.push(std::mem::take(&mut step)),
            '"' => loop {
                match letters.next() {
                    Some('"') => break,
                    Some(letter) => step.push(letter),
                    None => {
                        return Err(Error::new(format!("missing closing quote in selection path '{path}'")));
                    }
                }
            },
            letter => step.push(letter),
        }
    }
    if !step.is_empty() {
        steps.push(step);
    }
    Ok(steps)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::steps;

    #[test]
    fn selection_paths() {
        for (path, wanted) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a.b", &["a", "b"]),
            ("a.", &["a"]),
            ("a..b", &["a", "", "b"]),
            (".", &[""]),
            ("a.\"b.c\"d", &["a", "b.cd"]),
            ("\"\"", &[]),
        ] {
            assert_eq!(steps(path).unwrap(), wanted, "{path}");
        }
        assert!(steps("a.\"x").is_err());
    }
}
