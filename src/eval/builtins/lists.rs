//! Lists.

use super::super::error::Error;
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
        |w, a, _| {
            any_all(
                w,
                a,
                [
                    first!("all"),
                    second!("all"),
                    "while evaluating the return value of the function passed to builtins.all",
                ],
                false,
            )
        },
        "`function list`: whether the function gives true for all elements.",
    ),
    Builtin::new(
        "any",
        2,
        |w, a, _| {
            any_all(
                w,
                a,
                [
                    first!("any"),
                    second!("any"),
                    "while evaluating the return value of the function passed to builtins.any",
                ],
                true,
            )
        },
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
    let function = worker.heap.alloc(worker.force_function(arguments[0], Position::NONE, text)?);
    let mapped = worker.heap.slice_with(list.len(), |index| worker.heap.suspend_item(function, &list[index]));
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
    let function = worker.heap.alloc(worker.force_function(arguments[0], Position::NONE, text)?);
    let items = worker.heap.slice_with(size, |index| worker.heap.suspend_number(function, index as i64));
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
    [first, second, returned]: [&str; 3],
    stop: bool,
) -> Evaluated<'e> {
    let function = worker.force_function(arguments[0], Position::NONE, first)?;
    let list = worker.force_list(arguments[1], Position::NONE, second)?;
    for item in list {
        let result = worker.call(function, &[*item], Position::NONE)?;
        if worker.force_bool(result, Position::NONE, returned)? == stop {
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
