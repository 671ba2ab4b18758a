//! What strings depend on.

use super::super::coerce::STRICT;
use super::super::context::{Context, Element, Gathered};
use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::io::Dependency;
use super::super::symbols::{Symbol, known};
use super::super::value::{Attr, Attrs, Position};
use super::Builtin;
use crate::model::store_path::{StoreDir, StorePath};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("hasContext", 1, has_context, "`string`: whether it depends on anything in the store."),
    Builtin::new(
        "getContext",
        1,
        get_context,
        "`string`: what it depends on, as a set with an attribute for each store path.",
    ),
    Builtin::new(
        "appendContext",
        2,
        append_context,
        "`string context`: the string, also depending on what the set tells.",
    ),
    Builtin::new("unsafeDiscardStringContext", 1, discard, "`string`: its text, which depends on nothing."),
    Builtin::new(
        "unsafeDiscardOutputDependency",
        1,
        discard_outputs,
        "`string`: the same, depending on the files of derivations instead of their outputs.",
    ),
    Builtin::new(
        "addDrvOutputDependencies",
        1,
        add_outputs,
        "`string`: the same, depending on all outputs of the one derivation that it names.",
    ),
];

impl<'e> Worker<'e> {
    /// The store directory, for reading and making store paths.
    ///
    /// # Errors
    /// The world's store directory is no absolute path.
    pub fn store_dir(&self) -> Result<StoreDir, Error> {
        let text = String::from_utf8_lossy(self.world.store_dir());
        StoreDir::new(&text)
            .map_err(|text| Error::new(format!("store directory '{text}' is not an absolute path")))
    }

    /// The store path that a text is, if it is one and nothing below it.
    pub(super) fn store_path_of(&self, text: &[u8]) -> Option<StorePath> {
        self.store_dir().ok()?.parse(std::str::from_utf8(text).ok()?).ok()
    }

    /// A string that depends on one store path: itself.
    pub(super) fn store_path_string(&self, path: &[u8]) -> Value<'e> {
        let path = self.heap.slice(path);
        Value::string_with(&self.heap, path, Context::new(&self.heap, vec![Element::Plain(path)]))
    }
}

/// The elements of a context, owned.
pub(super) fn dependencies(context: Option<&Context<'_>>) -> Vec<Dependency> {
    let elements = context.map_or(&[][..], |context| context.elements());
    let owned = |element: &Element<'_>| match *element {
        Element::Plain(path) => Dependency::Plain(path.to_vec()),
        Element::Output { derivation, output } => {
            Dependency::Output { derivation: derivation.to_vec(), output: output.to_vec() }
        }
        Element::All(path) => Dependency::All(path.to_vec()),
    };
    elements.iter().map(owned).collect()
}

fn has_context<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let (_, context) = worker.force_text(arguments[0], Position::NONE, argument!("hasContext"))?;
    Ok(Value::bool(context.is_some()))
}

fn discard<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = argument!("unsafeDiscardStringContext");
    let (text, _) = worker.coerce(arguments[0], STRICT, Position::NONE, text)?;
    Ok(Value::string(text))
}

fn discard_outputs<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = argument!("unsafeDiscardOutputDependency");
    let (text, context) = worker.coerce(arguments[0], STRICT, Position::NONE, text)?;
    let Some(context) = context else { return Ok(Value::string(text)) };
    let plain = |element: &Element<'e>| match *element {
        Element::All(path) => Element::Plain(path),
        other => other,
    };
    let elements = context.elements().iter().map(plain).collect();
    Ok(Value::string_with(&worker.heap, text, Context::new(&worker.heap, elements)))
}

fn add_outputs<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = argument!("addDrvOutputDependencies");
    let (text, context) = worker.coerce(arguments[0], STRICT, Position::NONE, text)?;
    let elements = context.map_or(&[][..], |context| context.elements());
    let [element] = elements else {
        let (text, count) = (String::from_utf8_lossy(text), elements.len());
        let message = format!("context of string '{text}' must have exactly one element, but has {count}");
        return Err(Error::new(message));
    };
    let path = match *element {
        Element::Plain(path) if path.ends_with(b".drv") => path,
        Element::Plain(path) => {
            let path = String::from_utf8_lossy(path);
            return Err(Error::new(format!("path '{path}' is not a derivation")));
        }
        Element::All(path) => path,
        Element::Output { output, .. } => {
            return Err(Error::new(format!(
                "`addDrvOutputDependencies` can only act on derivations, not on a derivation output such as '{}'",
                String::from_utf8_lossy(output)
            )));
        }
    };
    Ok(Value::string_with(&worker.heap, text, Context::new(&worker.heap, vec![Element::All(path)])))
}

/// What one path is in a context.
#[derive(Default)]
struct Uses<'e> {
    plain: bool,
    all: bool,
    outputs: Vec<&'e [u8]>,
}

fn get_context<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let (_, context) = worker.force_text(arguments[0], Position::NONE, argument!("getContext"))?;
    let mut paths: std::collections::BTreeMap<&[u8], Uses<'e>> = std::collections::BTreeMap::new();
    for element in context.map_or(&[][..], |context| context.elements()) {
        match *element {
            Element::Plain(path) => paths.entry(path).or_default().plain = true,
            Element::All(path) => paths.entry(path).or_default().all = true,
            // The elements are sorted, and with them the outputs.
            Element::Output { derivation, output } => {
                paths.entry(derivation).or_default().outputs.push(output)
            }
        }
    }
    let mut attrs = Vec::with_capacity(paths.len());
    for (path, uses) in paths {
        let mut entry = Vec::new();
        if uses.plain {
            entry.push((known::PATH, Value::bool(true)));
        }
        if uses.all {
            entry.push((worker.intern(b"allOutputs"), Value::bool(true)));
        }
        if !uses.outputs.is_empty() {
            let outputs =
                worker.heap.slice_with(uses.outputs.len(), |index| Value::string(uses.outputs[index]));
            entry.push((known::OUTPUTS, Value::list(outputs)));
        }
        attrs.push((worker.intern(path), worker.new_set(entry)));
    }
    Ok(worker.new_set(attrs))
}

fn append_context<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let first = "while evaluating the first argument passed to builtins.appendContext";
    let (text, context) = worker.force_text(arguments[0], Position::NONE, first)?;
    let second = "while evaluating the second argument passed to builtins.appendContext";
    let added = worker.force_attrs(arguments[1], Position::NONE, second)?;
    let mut gathered = Gathered::new();
    gathered.add(context);
    for attr in worker.in_order(added)?.iter() {
        append_entry(worker, attr, &mut gathered)?;
    }
    Ok(Value::string_with(&worker.heap, text, gathered.finish(&worker.heap)))
}

/// Adds what one attribute of a context tells of its path.
fn append_entry<'e>(worker: &Worker<'e>, attr: &Attr<'e>, gathered: &mut Gathered<'e>) -> Result<(), Error> {
    let (path, at) = (worker.text(attr.name), attr.position);
    if worker.store_path_of(path).is_none() {
        let shown = worker.quoted_name(attr.name);
        return Err(Error::new(format!("context key '{shown}' is not a store path")).at(at));
    }
    let entry =
        worker.force_attrs(attr.value, Position::NONE, "while evaluating the value of a string context");
    let entry = placed_frame(entry, at)?;
    if flag(worker, entry, known::PATH, "path")? {
        gathered.add_element(Element::Plain(path));
    }
    let is_derivation = path.ends_with(b".drv");
    if flag(worker, entry, worker.intern(b"allOutputs"), "allOutputs")? {
        if !is_derivation {
            return Err(not_a_derivation("all-outputs", path).at(at));
        }
        gathered.add_element(Element::All(path));
    }
    let Some(outputs) = entry.get(known::OUTPUTS) else { return Ok(()) };
    let text = "while evaluating the `outputs` attribute of a string context";
    let list = placed_frame(worker.force_list(outputs.value, Position::NONE, text), outputs.position)?;
    if !list.is_empty() && !is_derivation {
        return Err(not_a_derivation("derivation output", path).at(at));
    }
    for output in list {
        let text = "while evaluating an output name within a string context";
        let output = worker.force_plain(*output, outputs.position, text)?;
        gathered.add_element(Element::Output { derivation: path, output });
    }
    Ok(())
}

/// Gives the last frame of a failure a place.
fn placed_frame<T>(result: Result<T, Error>, position: Position) -> Result<T, Error> {
    result.map_err(|error| error.place_last_frame(position))
}

fn flag<'e>(worker: &Worker<'e>, entry: Attrs<'e>, name: Symbol, shown: &str) -> Result<bool, Error> {
    let Some(attr) = entry.get(name) else { return Ok(false) };
    let text = format!("while evaluating the `{shown}` attribute of a string context");
    worker.force_bool(attr.value, attr.position, &text)
}

#[cold]
fn not_a_derivation(kind: &str, path: &[u8]) -> Error {
    let (path, article) = (String::from_utf8_lossy(path), "which is not a derivation, to a string");
    Error::new(format!("tried to add {kind} context of \"{path}\", {article}"))
}
