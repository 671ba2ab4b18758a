//! Derivations: attributes become a file in the store that tells how to build, and
//! the paths that come of it.

mod attributes;
mod inputs;
mod outputs;

use std::collections::BTreeSet;

use self::attributes::Asked;
use super::super::context::{Context, Element};
use super::super::error::{Error, Traced};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::symbols::known;
use super::super::value::{Attrs, Builtin, Position};
use crate::model::content_address::{ContentAddress, ContentAddressMethod, ContentReferences};
use crate::model::derivation::{Derivation, DerivationFile, placeholder};
use crate::model::hash::Hash;
use crate::model::store_path::{self, StoreDir, StorePath};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[Builtin::new(
    "derivationStrict",
    1,
    derivation_strict,
    "`attributes`: the paths of a derivation and its outputs; `derivation` is built on it.",
)];

fn derivation_strict<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the argument passed to builtins.derivationStrict";
    let attrs = worker.force_attrs(arguments[0], Position::NONE, text)?;
    let Some(name) = attrs.get(known::NAME) else {
        let text = "in the attrset passed as argument to builtins.derivationStrict";
        return Err(Error::new("attribute 'name' missing").frame(Position::NONE, text));
    };
    let text = "while evaluating the `name` attribute passed to builtins.derivationStrict";
    let text = worker
        .force_plain(name.value, Position::NONE, text)
        .during_at(name.position, || "while evaluating the derivation attribute 'name'".to_owned())?;
    match made(worker, attrs, text) {
        Ok(value) => Ok(value),
        Err(error) => {
            let place = match name.position {
                Position::NONE => "«none»:0".to_owned(),
                position => worker.shared.place_text(position),
            };
            let text = String::from_utf8_lossy(text);
            let frame =
                format!("while evaluating derivation '{text}'\nwhose name attribute is located at {place}");
            Err(error.frame(Position::NONE, frame))
        }
    }
}

/// Makes a derivation of the given name.
fn made<'e>(worker: &Worker<'e>, attrs: Attrs<'e>, name: &[u8]) -> Evaluated<'e> {
    let name = String::from_utf8_lossy(name).into_owned();
    store_path::check_name(&name).map_err(|error| {
        Error::new(format!("invalid derivation name: {error}. Please pass a different 'name'."))
    })?;
    let mut asked = Asked::read(worker, attrs, &name)?;
    check(&asked, &name)?;
    let dir = worker.store_dir()?;
    let elements = std::mem::take(&mut asked.context).finish(&worker.heap);
    inputs::fill_in(worker, &dir, elements, &mut asked.derivation)?;
    outputs::fill_in(worker, &dir, &name, &mut asked)?;
    let derivation = asked.derivation;
    let path = write(worker, &dir, &name, &derivation)?;
    inputs::keep(worker, &dir, &path, &derivation)?;
    result(worker, &dir, &path, &derivation)
}

/// Refuses what cannot be built.
fn check(asked: &Asked<'_>, name: &str) -> Result<(), Error> {
    if asked.derivation.builder.is_empty() {
        return Err(Error::new("required attribute 'builder' missing"));
    }
    if asked.derivation.platform.is_empty() {
        return Err(Error::new("required attribute 'system' missing"));
    }
    let makes_derivation = asked.method == Some(ContentAddressMethod::Text)
        && asked.outputs.iter().map(String::as_str).eq(["out"]);
    if name.ends_with(".drv") && !makes_derivation {
        let message =
            "derivation names are allowed to end in '.drv' only if they produce a single derivation file";
        return Err(Error::new(message));
    }
    Ok(())
}

/// Hands the text of a derivation to the world and gives its path.
fn write(
    worker: &Worker<'_>,
    dir: &StoreDir,
    name: &str,
    derivation: &Derivation,
) -> Result<StorePath, Error> {
    let text = derivation.print(dir);
    let others: BTreeSet<StorePath> = derivation.references();
    let references = others.clone();
    let ca = ContentAddress { method: ContentAddressMethod::Text, hash: Hash::sha256(&text) };
    let path = dir
        .content_path(&format!("{name}.drv"), &ca, &ContentReferences { others, itself: false })
        .map_err(|error| Error::new(error.to_string()))?;
    let outputs = derivation.known_outputs();
    let file = DerivationFile { path: path.clone(), text, references, outputs };
    worker.world.add_derivation(file)?;
    Ok(path)
}

/// The paths of a derivation and its outputs, as a set.
fn result<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    path: &StorePath,
    derivation: &Derivation,
) -> Evaluated<'e> {
    let heap = &worker.heap;
    let file: &'e [u8] = heap.slice(dir.print(path).as_bytes());
    let all = Context::new(heap, vec![Element::All(file)]);
    let mut attrs = vec![(known::DRV_PATH, Value::string_with(heap, file, all))];
    for (name, output) in &derivation.outputs {
        let symbol = worker.intern(name.as_bytes());
        let text = match output.path() {
            Some(output) => dir.print(output).into_bytes(),
            None => placeholder::of_input(path, name),
        };
        let element = Element::Output { derivation: file, output: worker.text(symbol) };
        let context = Context::new(heap, vec![element]);
        attrs.push((symbol, Value::string_with(heap, heap.slice(&text), context)));
    }
    Ok(worker.new_set(attrs))
}
