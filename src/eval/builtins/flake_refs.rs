//! Flake references as texts and as sets.

use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::value::{Position, View};
use super::Builtin;
use super::trees;
use crate::model::flake_ref::{FlakeRef, FlakeRefError};
use crate::model::input::{Attribute, Attributes};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("parseFlakeRef", 1, parse, "`reference`: a flake reference as a set."),
    Builtin::new("flakeRefToString", 1, print, "`set`: a flake reference as a string."),
];

fn parse<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    const FRAME: &str = "while evaluating the argument passed to builtins.parseFlakeRef";
    let text = worker.force_plain(arguments[0], Position::NONE, FRAME)?;
    worker.require_feature("flakes", "")?;
    let text = String::from_utf8_lossy(text);
    trees::refuse_signed_url(worker, &text)?;
    let reference = FlakeRef::parse(&text).map_err(refused)?;
    let attributes = reference.attributes();
    Ok(worker.new_set(trees::values(worker, &attributes)))
}

fn refused(error: FlakeRefError) -> Error {
    Error::new(error.to_string())
}

fn print<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    const FRAME: &str = "while evaluating the argument passed to builtins.flakeRefToString";
    let attrs = worker.force_attrs(arguments[0], Position::NONE, FRAME)?;
    let mut attributes = Attributes::new();
    for attr in worker.in_order(attrs)?.iter() {
        let name = String::from_utf8_lossy(worker.text(attr.name)).into_owned();
        let value = worker.force_at(attr.value, attr.position)?;
        let attribute = match value.view() {
            View::Int(number) => Attribute::Number(u64::try_from(number).map_err(|_| {
                Error::new(format!("negative value given for flake ref attr {name}: {number}"))
            })?),
            View::Bool(is) => Attribute::Bool(is),
            View::String(text, _) => Attribute::Text(String::from_utf8_lossy(text).into_owned()),
            _ => {
                let (name, kind) = (worker.name(attr.name), worker.type_of(value));
                let message =
                    "flake reference attribute sets may only contain integers, Booleans, and strings";
                return Err(Error::new(format!("{message}, but attribute '{name}' is {kind}")));
            }
        };
        attributes.insert(name, attribute);
    }
    if !attributes.is_empty() {
        worker.require_feature("flakes", "")?;
    }
    trees::refuse_signed(worker, &attributes)?;
    let reference = FlakeRef::from_attributes(&attributes).map_err(|error| refused(error.into()))?;
    Ok(worker.new_string(reference.url().to_string().as_bytes()))
}
