//! Lists.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::super::error::{Error, Traced};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::symbols::known;
use super::super::value::{Position, View};
use super::Builtin;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("length", 1, length, "`list`: the number of its elements."),
    Builtin::new("head", 1, head, "`list`: its first element."),
    Builtin::new("tail", 1, tail, "`list`: the list without its first element."),
    Builtin::new("elemAt", 2, elem_at, "`list index`: an element, counted from 0."),
    Builtin::new("elem", 2, elem, "`value list`: whether an element is equal to the value."),
    Builtin::new("map", 2, map, "`function list`: the function applied to each element."),
    Builtin::new("genList", 2, gen_list, "`function count`: the function applied to 0, 1, …"),
    Builtin::new("filter", 2, filter, "`function list`: the elements for which the function gives true."),
    Builtin::new(
        "all",
        2,
        |w, a, p| any_all(w, a, p, "all", false),
        "`function list`: whether the function gives true for all elements.",
    ),
    Builtin::new(
        "any",
        2,
        |w, a, p| any_all(w, a, p, "any", true),
        "`function list`: whether the function gives true for an element.",
    ),
    Builtin::new(
        "concatLists",
        1,
        concat_lists,
        "`lists`: the elements of all lists, one list after the other.",
    ),
    Builtin::new(
        "concatMap",
        2,
        concat_map,
        "`function list`: the elements of the lists that the function gives for each element.",
    ),
    Builtin::new(
        "foldl'",
        3,
        fold,
        "`function start list`: `function (function start first) second`, and so on.",
    ),
    Builtin::new(
        "sort",
        2,
        sort,
        "`function list`: the elements sorted by a function that tells whether one comes before another.",
    ),
    Builtin::new(
        "partition",
        2,
        partition,
        "`function list`: the elements as `{ right; wrong; }` by what the function gives.",
    ),
    Builtin::new(
        "genericClosure",
        1,
        generic_closure,
        "`{ startSet; operator; }`: all items that the operator leads to, each key once.",
    ),
];

fn length<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.length";
    Ok(Value::int(worker.force_list(arguments[0], Position::NONE, text)?.len() as i64))
}

fn head<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to 'builtins.head'";
    match worker.force_list(arguments[0], Position::NONE, text)?.first() {
        Some(first) => worker.force_at(*first, position),
        None => Err(Error::new("'builtins.head' called on an empty list")),
    }
}

fn tail<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to 'builtins.tail'";
    match worker.force_list(arguments[0], Position::NONE, text)? {
        [] => Err(Error::new("'builtins.tail' called on an empty list")),
        [_, rest @ ..] => Ok(Value::list(rest)),
    }
}

fn elem_at<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the second argument passed to 'builtins.elemAt'";
    let index = worker.force_int(arguments[1], Position::NONE, text)?;
    let text = "while evaluating the first argument passed to 'builtins.elemAt'";
    let list = worker.force_list(arguments[0], Position::NONE, text)?;
    match usize::try_from(index).ok().and_then(|index| list.get(index)) {
        Some(item) => worker.force_at(*item, position),
        None => {
            let size = list.len();
            Err(Error::new(format!("'builtins.elemAt' called with index {index} on a list of size {size}")))
        }
    }
}

fn elem<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the second argument passed to builtins.elem";
    for item in worker.force_list(arguments[1], Position::NONE, text)? {
        if worker.equal_elements(arguments[0], *item, position)? {
            return Ok(Value::bool(true));
        }
    }
    Ok(Value::bool(false))
}

fn map<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the second argument passed to builtins.map";
    let list = worker.force_list(arguments[1], Position::NONE, text)?;
    if list.is_empty() {
        return Ok(Value::list(list));
    }
    let text = "while evaluating the first argument passed to builtins.map";
    let function = worker.force_function(arguments[0], Position::NONE, text)?;
    let mapped =
        worker.heap.slice_with(list.len(), |index| worker.heap.suspend_call(function, &[list[index]]));
    Ok(Value::list(mapped))
}

/// Longer lists are refused before memory is taken for them: their thunks alone would need over 16 GiB.
const LONGEST: usize = 1 << 28;

fn gen_list<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the second argument passed to builtins.genList";
    let count = worker.force_int(arguments[1], Position::NONE, text)?;
    let size = usize::try_from(count).ok().filter(|size| *size <= LONGEST);
    let Some(size) = size else { return Err(Error::new(format!("cannot create list of size {count}"))) };
    let text = "while evaluating the first argument passed to builtins.genList";
    let function = worker.force_function(arguments[0], Position::NONE, text)?;
    let items =
        worker.heap.slice_with(size, |index| worker.heap.suspend_call(function, &[Value::int(index as i64)]));
    Ok(Value::list(items))
}

fn filter<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the second argument passed to builtins.filter";
    let list = worker.force_list(arguments[1], Position::NONE, text)?;
    if list.is_empty() {
        return Ok(Value::list(list));
    }
    let text = "while evaluating the first argument passed to builtins.filter";
    let function = worker.force_function(arguments[0], Position::NONE, text)?;
    let text = "while evaluating the return value of the filtering function passed to builtins.filter";
    let mut kept = Vec::with_capacity(list.len());
    for item in list {
        let result = worker.call(function, &[*item], Position::NONE)?;
        if worker.force_bool(result, Position::NONE, text)? {
            kept.push(*item);
        }
    }
    if kept.len() == list.len() {
        return Ok(Value::list(list));
    }
    Ok(Value::list(worker.heap.slice(&kept)))
}

fn any_all<'e>(
    worker: &Worker<'e>,
    arguments: &[Value<'e>],
    _: Position,
    name: &str,
    stop: bool,
) -> Evaluated<'e> {
    let text = format!("while evaluating the first argument passed to builtins.{name}");
    let function = worker.force_function(arguments[0], Position::NONE, &text)?;
    let text = format!("while evaluating the second argument passed to builtins.{name}");
    let list = worker.force_list(arguments[1], Position::NONE, &text)?;
    let text = format!("while evaluating the return value of the function passed to builtins.{name}");
    for item in list {
        let result = worker.call(function, &[*item], Position::NONE)?;
        if worker.force_bool(result, Position::NONE, &text)? == stop {
            return Ok(Value::bool(stop));
        }
    }
    Ok(Value::bool(!stop))
}

fn concat_lists<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.concatLists";
    let lists = worker.force_list(arguments[0], Position::NONE, text)?;
    let text = "while evaluating a value of the list passed to builtins.concatLists";
    let mut all = Vec::new();
    for list in lists {
        all.extend_from_slice(worker.force_list(*list, Position::NONE, text)?);
    }
    Ok(Value::list(worker.heap.slice(&all)))
}

fn concat_map<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.concatMap";
    let function = worker.force_function(arguments[0], Position::NONE, text)?;
    let text = "while evaluating the second argument passed to builtins.concatMap";
    let list = worker.force_list(arguments[1], Position::NONE, text)?;
    let text = "while evaluating the return value of the function passed to builtins.concatMap";
    let mut all = Vec::new();
    let place = match function.view() {
        View::Lambda(closure) => closure.code.position,
        _ => Position::NONE,
    };
    for item in list {
        let result = worker.call(function, &[*item], position)?;
        all.extend_from_slice(worker.force_list(result, place, text)?);
    }
    Ok(Value::list(worker.heap.slice(&all)))
}

fn fold<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.foldlStrict";
    let function = worker.force_function(arguments[0], Position::NONE, text)?;
    let text = "while evaluating the third argument passed to builtins.foldlStrict";
    let list = worker.force_list(arguments[2], Position::NONE, text)?;
    let mut result = arguments[1];
    for item in list {
        result = worker.call(function, &[result, *item], Position::NONE)?;
    }
    worker.force_at(result, position)
}

fn sort<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the second argument passed to builtins.sort";
    let list = worker.force_list(arguments[1], Position::NONE, text)?;
    if list.is_empty() {
        return Ok(Value::list(list));
    }
    let text = "while evaluating the first argument passed to builtins.sort";
    let function = worker.force_function(arguments[0], Position::NONE, text)?;
    for item in list {
        worker.force_at(*item, position)?;
    }
    let by_less_than = matches!(function.view(), View::Builtin(builtin) if builtin.name == "lessThan");
    let before = |a: Value<'e>, b: Value<'e>| -> Result<bool, Error> {
        if by_less_than {
            let text = "while evaluating the ordering function passed to builtins.sort";
            return worker.less(worker.force(a)?, worker.force(b)?, Position::NONE, text);
        }
        let text = "while evaluating the return value of the sorting function passed to builtins.sort";
        let result = worker.call(function, &[a, b], Position::NONE)?;
        worker.force_bool(result, Position::NONE, text)
    };
    let mut items = list.to_vec();
    merge_sort(&mut items, &before)?;
    Ok(Value::list(worker.heap.slice(&items)))
}

/// Runs up to this length are sorted by insertion.
const SHORT: usize = 16;

/// A stable sort by a comparison that may fail and need not be consistent.
fn merge_sort<T: Copy>(items: &mut [T], before: &impl Fn(T, T) -> Result<bool, Error>) -> Result<(), Error> {
    if items.len() <= SHORT {
        for index in 1..items.len() {
            let new = items[index];
            let mut at = index;
            while at > 0 && before(new, items[at - 1])? {
                items[at] = items[at - 1];
                at -= 1;
            }
            items[at] = new;
        }
        return Ok(());
    }
    let middle = items.len() / 2;
    merge_sort(&mut items[..middle], before)?;
    merge_sort(&mut items[middle..], before)?;
    if !before(items[middle], items[middle - 1])? {
        return Ok(());
    }
    let left = items[..middle].to_vec();
    let (mut l, mut r) = (0, middle);
    for at in 0..items.len() {
        if l == left.len() {
            break;
        }
        if r < items.len() && before(items[r], left[l])? {
            items[at] = items[r];
            r += 1;
        } else {
            items[at] = left[l];
            l += 1;
        }
    }
    Ok(())
}

fn partition<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.partition";
    let function = worker.force_function(arguments[0], Position::NONE, text)?;
    let text = "while evaluating the second argument passed to builtins.partition";
    let list = worker.force_list(arguments[1], Position::NONE, text)?;
    let text = "while evaluating the return value of the partition function passed to builtins.partition";
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for item in list {
        worker.force_at(*item, position)?;
        let result = worker.call(function, &[*item], Position::NONE)?;
        if worker.force_bool(result, Position::NONE, text)? { right.push(*item) } else { wrong.push(*item) }
    }
    let list = |items: Vec<Value<'e>>| Value::list(worker.heap.slice(&items));
    Ok(worker.new_set(vec![(known::RIGHT, list(right)), (known::WRONG, list(wrong))]))
}

fn generic_closure<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.genericClosure";
    let attrs = worker.force_attrs(arguments[0], Position::NONE, text)?;
    let frame = "in the attrset passed as argument to builtins.genericClosure";
    let start = worker.required(attrs, known::START_SET, frame)?;
    let text = "while evaluating the 'startSet' attribute passed as argument to builtins.genericClosure";
    let start = worker.force_list(start.value, Position::NONE, text)?;
    if start.is_empty() {
        return Ok(Value::list(start));
    }
    let operator = worker.required(attrs, known::OPERATOR, frame)?;
    let text = "while evaluating the 'operator' attribute passed as argument to builtins.genericClosure";
    let operator = worker.force_function(operator.value, Position::NONE, text)?;
    let failed = RefCell::new(None);
    let mut found = Found { worker, position, items: Vec::new(), keys: BTreeSet::new(), failed: &failed };
    for item in start {
        found.add(*item)?;
    }
    let mut next = 0;
    while next < found.items.len() {
        let item = found.items[next];
        next += 1;
        let frame = || format!("while calling operator on genericClosure element {}", worker.shown(item));
        let text = "while evaluating the return value of the `operator` passed to builtins.genericClosure";
        let more = worker.call(operator, &[item], position).and_then(|more| {
            let more = worker.force_list(more, position, text)?;
            more.iter().try_for_each(|item| worker.force(*item).map(|_| ()))?;
            Ok(more)
        });
        for item in more.during_at(position, frame)? {
            found.add(*item)?;
        }
    }
    Ok(Value::list(worker.heap.slice(&found.items)))
}

/// The items of a closure, and their keys in order.
struct Found<'w, 'e> {
    worker: &'w Worker<'e>,
    position: Position,
    items: Vec<Value<'e>>,
    keys: BTreeSet<Key<'w, 'e>>,
    failed: &'w RefCell<Option<Error>>,
}

/// A key and the item that has it. The first failure of a comparison is kept in `failed`.
struct Key<'w, 'e> {
    worker: &'w Worker<'e>,
    key: Value<'e>,
    item: Value<'e>,
    failed: &'w RefCell<Option<Error>>,
}

impl<'e> Found<'_, 'e> {
    fn add(&mut self, item: Value<'e>) -> Result<(), Error> {
        let worker = self.worker;
        let frame = |item: Value<'e>| format!("in genericClosure element {}", worker.shown(item));
        let value = worker.force(item).map_err(|error| error.frame(Position::NONE, frame(item)))?;
        let View::Attrs(attrs) = value.view() else {
            return Err(worker.wrong_type("a set", value).frame(Position::NONE, frame(item)));
        };
        let Some(key) = attrs.get(known::KEY) else {
            return worker.required(attrs, known::KEY, &frame(item)).map(|_| ());
        };
        let key = worker.force_at(key.value, self.position)?;
        let is_new = self.keys.insert(Key { worker, key, item, failed: self.failed });
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if is_new {
            self.items.push(item);
        }
        Ok(())
    }
}

impl<'e> Key<'_, 'e> {
    fn compare(&self, other: &Self) -> Result<Ordering, Error> {
        let worker = self.worker;
        let less = |a, b| {
            worker.less(a, b, Position::NONE, "").map_err(|error| {
                let text = format!("while comparing element {}", worker.shown(self.item));
                let with = format!("with element {}", worker.shown(other.item));
                error.frame(Position::NONE, with).frame(Position::NONE, text)
            })
        };
        if less(self.key, other.key)? {
            return Ok(Ordering::Less);
        }
        Ok(if less(other.key, self.key)? { Ordering::Greater } else { Ordering::Equal })
    }
}

impl Ord for Key<'_, '_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // After a failure nothing is compared any more; the caller ends with it.
        if self.failed.borrow().is_some() {
            return Ordering::Equal;
        }
        self.compare(other).unwrap_or_else(|error| {
            *self.failed.borrow_mut() = Some(error);
            Ordering::Equal
        })
    }
}

impl PartialOrd for Key<'_, '_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_, '_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_, '_> {}
