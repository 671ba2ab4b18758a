//! Regular expressions on strings.

use std::sync::Arc;

use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::text::regex::{Groups, Regex, SearchError};
use super::super::value::Position;
use super::Builtin;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new(
        "match",
        2,
        full_match,
        "`pattern string`: the groups of a match of the whole string, or null.",
    ),
    Builtin::new(
        "split",
        2,
        split,
        "`pattern string`: the parts between matches, and lists of groups in between.",
    ),
];

fn pattern<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    position: Position,
    frame: &str,
) -> Result<Arc<Regex>, Error> {
    let pattern = worker.force_plain(value, position, frame)?;
    worker.shared.regex(pattern).map_err(|error| Error::new(error.to_string()))
}

fn subject<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    position: Position,
    frame: &str,
) -> Result<&'e [u8], Error> {
    Ok(worker.force_text(value, position, frame)?.0)
}

/// The texts of groups as a list; null for one that took no part.
fn groups<'e>(worker: &Worker<'e>, text: &'e [u8], groups: &Groups) -> Value<'e> {
    Value::list(worker.heap.slice_with(groups.len(), |index| match &groups[index] {
        Some(range) => Value::string(&text[range.clone()]),
        None => Value::null(),
    }))
}

/// The failure of a search: an interruption, where that was it.
fn ended(worker: &Worker<'_>, error: SearchError) -> Error {
    let why = match error {
        SearchError::Ended => worker.world.go_on().err(),
        SearchError::TooLong => None,
    };
    why.unwrap_or_else(|| Error::new(error.to_string()))
}

fn full_match<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let regex = pattern(worker, arguments[0], position, first!("match"))?;
    let text = subject(worker, arguments[1], position, second!("match"))?;
    let watch = || worker.world.go_on().is_ok();
    let found = regex.match_whole(text, &watch).map_err(|error| ended(worker, error))?;
    Ok(found.map_or(Value::null(), |found| groups(worker, text, &found)))
}

fn split<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let regex = pattern(worker, arguments[0], position, first!("split"))?;
    let text = subject(worker, arguments[1], position, second!("split"))?;
    let mut parts = Vec::new();
    let mut end = 0;
    let watch = || worker.world.go_on().is_ok();
    for found in regex.matches(text, &watch) {
        let found = found.map_err(|error| ended(worker, error))?;
        parts.push(Value::string(&text[end..found.range.start]));
        parts.push(groups(worker, text, &found.groups));
        end = found.range.end;
    }
    // Only a string without a match keeps its context.
    let rest = if parts.is_empty() { worker.force(arguments[1])? } else { Value::string(&text[end..]) };
    parts.push(rest);
    Ok(Value::list(worker.heap.slice(&parts)))
}
