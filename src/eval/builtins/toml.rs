//! Values from TOML.

use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::text::toml;
use super::super::value::Position;
use super::Builtin;
use super::json::Builder;

/// The rows of this family.
pub const TABLE: &[Builtin] =
    &[Builtin::new("fromTOML", 1, from_toml, "`string`: the set that a TOML document describes.")];

fn from_toml<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let frame = "while evaluating the argument passed to builtins.fromTOML";
    let text = worker.force_plain(arguments[0], position, frame)?;
    let times = worker.shared.settings.has("parse-toml-timestamps");
    toml::parse(text, times, &mut Builder { worker }).map_err(|error| Error::new(error.to_string()))
}
