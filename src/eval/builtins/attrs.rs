//! Sets.

use super::super::error::{Error, Traced};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::symbols::{Symbol, known};
use super::super::value::{Attr, Attrs, Position};
use super::Builtin;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("attrNames", 1, attr_names, "`set`: the names of its attributes, sorted."),
    Builtin::new(
        "attrValues",
        1,
        attr_values,
        "`set`: the values of its attributes in the order of their names.",
    ),
    Builtin::new("getAttr", 2, get_attr, "`name set`: the attribute of that name."),
    Builtin::new("hasAttr", 2, has_attr, "`name set`: whether there is an attribute of that name."),
    Builtin::new(
        "removeAttrs",
        2,
        remove_attrs,
        "`set names`: the set without the attributes of those names.",
    ),
    Builtin::new(
        "intersectAttrs",
        2,
        intersect_attrs,
        "`a b`: the attributes of `b` whose names `a` has, too.",
    ),
    Builtin::new(
        "catAttrs",
        2,
        cat_attrs,
        "`name sets`: the attributes of that name of the sets that have one.",
    ),
    Builtin::new(
        "listToAttrs",
        1,
        list_to_attrs,
        "`pairs`: a set made of `{ name; value; }`; the first of a name counts.",
    ),
    Builtin::new(
        "mapAttrs",
        2,
        map_attrs,
        "`function set`: the set with `function name value` for each value.",
    ),
    Builtin::new(
        "zipAttrsWith",
        2,
        zip_attrs_with,
        "`function sets`: `function name values` for each name in the sets.",
    ),
    Builtin::new(
        "groupBy",
        2,
        group_by,
        "`function list`: the elements by the name that the function gives each.",
    ),
    Builtin::new(
        "unsafeGetAttrPos",
        2,
        unsafe_get_attr_pos,
        "`name set`: where the attribute was defined, or null.",
    ),
];

fn attr_names<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the argument passed to builtins.attrNames";
    let attrs = worker.by_name(worker.force_attrs(arguments[0], Position::NONE, text)?);
    let names = worker.heap.slice_with(attrs.len(), |index| Value::string(worker.text(attrs[index].name)));
    Ok(Value::list(names))
}

fn attr_values<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the argument passed to builtins.attrValues";
    let attrs = worker.by_name(worker.force_attrs(arguments[0], Position::NONE, text)?);
    Ok(Value::list(worker.heap.slice_with(attrs.len(), |index| attrs[index].value)))
}

fn get_attr<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let name = worker.force_name(arguments[0], Position::NONE, first!("getAttr"))?;
    let attrs = worker.force_attrs(arguments[1], Position::NONE, second!("getAttr"))?;
    let attr = worker.required(attrs, name, "in the attribute set under consideration")?;
    worker.force(attr.value)
}

fn has_attr<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let name = worker.force_name(arguments[0], Position::NONE, first!("hasAttr"))?;
    let attrs = worker.force_attrs(arguments[1], Position::NONE, second!("hasAttr"))?;
    Ok(Value::bool(attrs.get(name).is_some()))
}

fn remove_attrs<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let attrs = worker.force_attrs(arguments[0], Position::NONE, first!("removeAttrs"))?;
    let names = worker.force_list(arguments[1], Position::NONE, second!("removeAttrs"))?;
    let text = "while evaluating the values of the second argument passed to builtins.removeAttrs";
    let mut gone: Vec<Symbol> = Vec::with_capacity(names.len());
    for name in names {
        gone.push(worker.force_name(*name, Position::NONE, text)?);
    }
    gone.sort_unstable();
    if gone.iter().all(|name| attrs.get(*name).is_none()) {
        return Ok(Value::attrs(attrs));
    }
    let entries = attrs.entries();
    let left = entries.iter().filter(|attr| gone.binary_search(&attr.name).is_err()).copied();
    Ok(Value::attrs(Attrs::new(&worker.heap, worker.heap.slice_of(attrs.len(), left))))
}

fn intersect_attrs<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let left = worker.force_attrs(arguments[0], Position::NONE, first!("intersectAttrs"))?;
    let right = worker.force_attrs(arguments[1], Position::NONE, second!("intersectAttrs"))?;
    let common: Vec<Attr<'e>> = if left.len() < right.len() {
        left.entries().iter().filter_map(|attr| right.get(attr.name)).copied().collect()
    } else {
        right.entries().iter().filter(|attr| left.get(attr.name).is_some()).copied().collect()
    };
    Ok(Value::attrs(Attrs::new(&worker.heap, worker.heap.slice(&common))))
}

fn cat_attrs<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let name = worker.force_name(arguments[0], Position::NONE, first!("catAttrs"))?;
    let list = worker.force_list(arguments[1], Position::NONE, second!("catAttrs"))?;
    let text = "while evaluating an element in the list passed as second argument to builtins.catAttrs";
    let mut values = Vec::with_capacity(list.len());
    for set in list {
        let attrs = worker.force_attrs(*set, Position::NONE, text)?;
        values.extend(attrs.get(name).map(|attr| attr.value));
    }
    Ok(Value::list(worker.heap.slice(&values)))
}

fn list_to_attrs<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the argument passed to builtins.listToAttrs";
    let list = worker.force_list(arguments[0], Position::NONE, text)?;
    let mut attrs: Vec<Attr<'e>> = Vec::with_capacity(list.len());
    let mut pairs: Vec<(Symbol, u32, Attrs<'e>)> = Vec::with_capacity(list.len());
    let text = "while evaluating an element of the list passed to builtins.listToAttrs";
    for (index, pair) in list.iter().enumerate() {
        let pair = worker.force_attrs(*pair, Position::NONE, text)?;
        let frame = "in a {name=...; value=...;} pair";
        let name = worker.required(pair, known::NAME, frame)?;
        let text =
            "while evaluating the `name` attribute of an element of the list passed to builtins.listToAttrs";
        let value = worker.force(name.value).during_at(name.position, || text.to_owned())?;
        let symbol = worker.force_name(value, name.position, text)?;
        pairs.push((symbol, index as u32, pair));
    }
    pairs.sort_unstable_by_key(|pair| (pair.0, pair.1));
    pairs.dedup_by_key(|pair| pair.0);
    // A missing value is told of the first pair in the list.
    let mut lacking: Option<(u32, Error)> = None;
    for (name, index, pair) in pairs {
        match worker.required(pair, known::VALUE, "in a {name=...; value=...;} pair") {
            Ok(value) => attrs.push(Attr { name, position: value.position, value: value.value }),
            Err(error) if lacking.as_ref().is_none_or(|other| other.0 > index) => {
                lacking = Some((index, error))
            }
            Err(_) => {}
        }
    }
    match lacking {
        Some((_, error)) => Err(error),
        None => Ok(Value::attrs(Attrs::new(&worker.heap, worker.heap.slice(&attrs)))),
    }
}

fn map_attrs<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let attrs = worker.force_attrs(arguments[1], Position::NONE, second!("mapAttrs"))?.stored(&worker.heap);
    let function = worker.heap.alloc(arguments[0]);
    let mapped = worker.heap.slice_with(attrs.len(), |index| {
        let value = worker.heap.suspend_attribute(function, &attrs[index]);
        Attr { name: attrs[index].name, position: Position::NONE, value }
    });
    Ok(Value::attrs(Attrs::new(&worker.heap, mapped)))
}

/// The values of each name, in the order of the symbols; those of one name in the order of the pairs.
fn grouped<'e>(worker: &Worker<'e>, mut pairs: Vec<(Symbol, Value<'e>)>) -> Vec<Attr<'e>> {
    // Those of a set are sorted already, which this sort makes use of.
    pairs.sort_by_key(|pair| pair.0);
    let group = |pairs: &[(Symbol, Value<'e>)]| {
        let values = worker.heap.slice_with(pairs.len(), |index| pairs[index].1);
        Attr { name: pairs[0].0, position: Position::NONE, value: Value::list(values) }
    };
    pairs.chunk_by(|a, b| a.0 == b.0).map(group).collect()
}

fn zip_attrs_with<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let function = worker.force_function(arguments[0], Position::NONE, first!("zipAttrsWith"))?;
    let list = worker.force_list(arguments[1], Position::NONE, second!("zipAttrsWith"))?;
    let text = "while evaluating a value of the list passed as second argument to builtins.zipAttrsWith";
    let mut pairs = Vec::new();
    for set in list {
        let attrs = worker.force_attrs(*set, Position::NONE, text)?.entries();
        pairs.extend(attrs.iter().map(|attr| (attr.name, attr.value)));
    }
    let (function, zipped) = (worker.heap.alloc(function), worker.heap.slice(&grouped(worker, pairs)));
    let zipped = worker.heap.slice_with(zipped.len(), |index| {
        let attr = &zipped[index];
        Attr { value: worker.heap.suspend_zipped(function, attr), ..*attr }
    });
    Ok(Value::attrs(Attrs::new(&worker.heap, zipped)))
}

fn group_by<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let function = worker.force_function(arguments[0], Position::NONE, first!("groupBy"))?;
    let list = worker.force_list(arguments[1], Position::NONE, second!("groupBy"))?;
    let text = "while evaluating the return value of the grouping function passed to builtins.groupBy";
    let mut pairs = Vec::with_capacity(list.len());
    for item in list {
        let name = worker.call(function, &[*item], Position::NONE)?;
        pairs.push((worker.force_name(name, Position::NONE, text)?, *item));
    }
    Ok(Value::attrs(Attrs::new(&worker.heap, worker.heap.slice(&grouped(worker, pairs)))))
}

fn unsafe_get_attr_pos<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let name = worker.force_name(arguments[0], Position::NONE, first!("unsafeGetAttrPos"))?;
    let attrs = worker.force_attrs(arguments[1], Position::NONE, second!("unsafeGetAttrPos"))?;
    Ok(attrs.get(name).map_or(Value::null(), |attr| worker.position_value(attr.position)))
}

impl<'e> Worker<'e> {
    /// An attribute that must be there; `text` is a frame for its absence.
    ///
    /// # Errors
    /// It is missing.
    pub fn required(&self, attrs: Attrs<'e>, name: Symbol, text: &str) -> Result<&'e Attr<'e>, Error> {
        match attrs.get(name) {
            Some(attr) => Ok(attr),
            None => {
                let error = Error::new(format!("attribute '{}' missing", self.quoted_name(name)));
                Err(error).during(text)
            }
        }
    }
}
