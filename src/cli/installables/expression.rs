//! From a text on the command line to a value: where it lies, what is called on the way, and
//! which attribute is meant.

use nival::eval::error::{Error, Kind, unless_interrupted};
use nival::eval::heap::Value;
use nival::eval::interpret::{Evaluated, Worker};
use nival::eval::symbols::known;
use nival::eval::text::path::canonical;
use nival::eval::text::suggest;
use nival::eval::value::{Position, View};
use nival::ops::evaluate::search_path::archive_url;

use crate::cli::evaluation::Arguments;

/// What follows the message about an argument that is missing.
const NO_ARGUMENT: &str = "Nix attempted to evaluate a function as a top level expression; in
this case it must have its arguments supplied either by default
values, or passed explicitly with '--arg' or '--argstr'. See
https://nix.dev/manual/nix/stable/language/syntax.html#functions.";

/// Values that function calls lead to may be functions again, but not without end.
const MOST_CALLS: usize = 1000;

/// The file or directory that a word on the command line stands for: `<NAME>`, the address of an
/// archive, or a path.
///
/// # Errors
/// It is not found, or cannot be fetched.
pub fn file(worker: &Worker<'_>, word: &str) -> Result<Vec<u8>, Error> {
    if let Some(name) = word.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return lookup(worker, name);
    }
    let world = worker.shared.world;
    if archive_url(word).is_some() || word.starts_with("flake:") {
        let unpacked = world.resolve_entry(word.as_bytes())?;
        return unpacked.ok_or_else(|| Error::new(format!("path '{word}' does not exist")));
    }
    match word.starts_with('/') {
        true => Ok(canonical(word.as_bytes())),
        false => Ok(canonical(&[&world.current_dir()[..], b"/", word.as_bytes()].concat())),
    }
}

/// Where `<NAME>` is found in the search path.
///
/// # Errors
/// It is not there.
pub fn lookup(worker: &Worker<'_>, name: &str) -> Result<Vec<u8>, Error> {
    let world = worker.shared.world;
    for (prefix, entry) in world.search_path() {
        let rest = match prefix.is_empty() {
            true => Some(name.as_bytes()),
            false => match name.as_bytes().strip_prefix(&prefix[..]) {
                Some([]) => Some(&b""[..]),
                Some([b'/', rest @ ..]) => Some(rest),
                _ => None,
            },
        };
        let Some(rest) = rest else { continue };
        let Some(found) = world.resolve_entry(&entry)? else { continue };
        let path = if rest.is_empty() { found } else { canonical(&[&found[..], b"/", rest].concat()) };
        let kind = worker.followed(&path).and_then(|path| world.kind(&path));
        if unless_interrupted(kind)?.flatten().is_some() {
            return Ok(path);
        }
    }
    if name.starts_with("nix/") {
        return Err(Error::new(format!("'<{name}>' has no physical path")));
    }
    let hint = "(add it using $NIX_PATH or -I)";
    Err(Error::of(Kind::Lookup, format!("file '{name}' was not found in the Nix search path {hint}")))
}

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
