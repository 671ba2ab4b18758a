//! `genericClosure`: what an operator leads to.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet, VecDeque};

use super::super::error::{Error, Traced};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::symbols::known;
use super::super::value::{Position, View};
use super::Builtin;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[Builtin::new(
    "genericClosure",
    1,
    generic_closure,
    "`{ startSet; operator; }`: all items that the operator leads to, each key once.",
)];

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
    let mut found = Found { worker, position, items: Vec::new(), keys: Keys::None, failed: &failed };
    // An item is looked at when its turn comes, after the operator was called for those before it.
    let mut waiting: VecDeque<Value<'e>> = start.iter().copied().collect();
    while let Some(item) = waiting.pop_front() {
        if !found.add(item)? {
            continue;
        }
        let frame = || format!("while calling operator on genericClosure element {}", worker.shown(item));
        let text = "while evaluating the return value of the `operator` passed to builtins.genericClosure";
        let more = worker.call(operator, &[item], position).and_then(|more| {
            let more = worker.force_list(more, position, text)?;
            more.iter().try_for_each(|item| worker.force(*item).map(|_| ()))?;
            Ok(more)
        });
        waiting.extend(more.during_at(position, frame)?);
    }
    Ok(Value::list(worker.heap.slice(&found.items)))
}

/// The items of a closure, and their keys.
struct Found<'w, 'e> {
    worker: &'w Worker<'e>,
    position: Position,
    items: Vec<Value<'e>>,
    keys: Keys<'w, 'e>,
    failed: &'w RefCell<Option<Error>>,
}

/// The keys so far.
enum Keys<'w, 'e> {
    None,
    /// All of them are whole numbers, …
    Numbers(HashSet<i64>),
    /// … or strings.
    Texts(HashSet<&'e [u8]>),
    /// They must be compared.
    Ordered(BTreeSet<Key<'w, 'e>>),
}

/// A key and the item that has it. The first failure of a comparison is kept in `failed`.
struct Key<'w, 'e> {
    worker: &'w Worker<'e>,
    key: Value<'e>,
    item: Value<'e>,
    failed: &'w RefCell<Option<Error>>,
}

impl<'w, 'e> Found<'w, 'e> {
    fn key(&self, key: Value<'e>, item: Value<'e>) -> Key<'w, 'e> {
        Key { worker: self.worker, key, item, failed: self.failed }
    }

    /// Adds an item whose key is new. Returns whether it is.
    fn add(&mut self, item: Value<'e>) -> Result<bool, Error> {
        let worker = self.worker;
        let frame = |item: Value<'e>| format!("in genericClosure element {}", worker.shown(item));
        let value = worker.force(item).map_err(|error| error.frame(Position::NONE, frame(item)))?;
        let View::Attrs(attrs) = value.view() else {
            return Err(worker.wrong_type("a set", value).frame(Position::NONE, frame(item)));
        };
        let Some(key) = attrs.get(known::KEY) else {
            return worker.required(attrs, known::KEY, &frame(item)).map(|_| false);
        };
        let key = worker.force_at(key.value, self.position)?;
        let is_new = self.insert(key, item)?;
        if is_new {
            self.items.push(item);
        }
        Ok(is_new)
    }

    /// Whether the key is new.
    fn insert(&mut self, key: Value<'e>, item: Value<'e>) -> Result<bool, Error> {
        match (&mut self.keys, key.view()) {
            (Keys::Numbers(known), View::Int(number)) => return Ok(known.insert(number)),
            (Keys::Texts(known), View::String(text, _)) => return Ok(known.insert(text)),
            (Keys::None, View::Int(number)) => {
                self.keys = Keys::Numbers(HashSet::from([number]));
                return Ok(true);
            }
            (Keys::None, View::String(text, _)) => {
                self.keys = Keys::Texts(HashSet::from([text]));
                return Ok(true);
            }
            _ => {}
        }
        if !matches!(self.keys, Keys::Ordered(_)) {
            self.keys = Keys::Ordered(BTreeSet::new());
            for item in std::mem::take(&mut self.items) {
                self.add(item)?;
            }
        }
        let key = self.key(key, item);
        let Keys::Ordered(ordered) = &mut self.keys else { return Ok(false) };
        let is_new = ordered.insert(key);
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(is_new),
        }
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
