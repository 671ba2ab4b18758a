//! A value in which packages lie, and what its functions gave when they were called: each is called once, so that
//! whoever comes to a package twice comes to the same one.

use std::cell::RefCell;
use std::collections::HashMap;

use super::Package;
use super::walk::COMBINED;
use crate::eval::error::Error;
use crate::eval::heap::Value;
use crate::eval::interpret::{Evaluated, Worker};
use crate::eval::symbols::{Symbol, known};
use crate::eval::value::{Position, View};
use crate::ops::evaluate::selection::{Arguments, called};

/// A value in which packages lie.
pub struct Place<'w, 'e> {
    pub(super) worker: &'w Worker<'e>,
    arguments: &'w Arguments<'e>,
    value: Value<'e>,
    path: &'w str,
    pub(super) combined: Symbol,
    /// What was entered, by attribute paths.
    entered: RefCell<HashMap<String, Value<'e>>>,
}

impl<'w, 'e> Place<'w, 'e> {
    /// The place that `value` is, whose attribute path is `path`. Functions are called with `arguments`.
    pub fn new(
        worker: &'w Worker<'e>,
        arguments: &'w Arguments<'e>,
        value: Value<'e>,
        path: &'w str,
    ) -> Place<'w, 'e> {
        let combined = worker.intern(COMBINED);
        Place { worker, arguments, value, path, combined, entered: RefCell::default() }
    }

    /// Who evaluates.
    pub fn worker(&self) -> &'w Worker<'e> {
        self.worker
    }

    /// The value, and its attribute path.
    pub(super) fn top(&self) -> (Value<'e>, &'w str) {
        (self.value, self.path)
    }

    /// What is behind the value at a path; functions are called.
    pub(super) fn enter(&self, value: Value<'e>, path: &str) -> Evaluated<'e> {
        let known = self.entered.borrow().get(path).copied();
        if let Some(entered) = known {
            return Ok(entered);
        }
        let entered = called(self.worker, value, self.arguments)?;
        self.entered.borrow_mut().insert(path.to_owned(), entered);
        Ok(entered)
    }

    /// The package that a walk finds at an attribute path, without looking at any other. None if there is no such
    /// package.
    ///
    /// # Errors
    /// Those of the values on the way.
    pub fn package(&self, path: &str) -> Result<Option<Package<'e>>, Error> {
        let worker = self.worker;
        let Some(rest) = path.strip_prefix(self.path) else { return Ok(None) };
        let mut value = self.enter(self.value, self.path)?;
        let mut end = self.path.len();
        let mut steps = rest.split('.').filter(|step| !step.is_empty()).peekable();
        while let Some(step) = steps.next() {
            let (below, is_member) = match value.view() {
                View::Attrs(attrs) => {
                    let symbol = worker.shared.symbols.find(step.as_bytes());
                    let Some(attr) = symbol.and_then(|symbol| attrs.get(symbol)) else { return Ok(None) };
                    (attr.value, attrs.get(self.combined).is_none())
                }
                View::List(items) => match step.parse().ok().and_then(|index: usize| items.get(index)) {
                    Some(item) => (worker.force(*item)?, false),
                    None => return Ok(None),
                },
                _ => return Ok(None),
            };
            // A derivation in a list is not called; members are called to be entered only.
            let is_last = steps.peek().is_none();
            let is_item = matches!(value.view(), View::List(_));
            end += usize::from(end > 0) + step.len();
            value = match is_last && (is_member || is_item && is_derivation(worker, below)?) {
                true => worker.force(below)?,
                false => self.enter(below, path.get(..end).unwrap_or(path))?,
            };
        }
        package(worker, value, path)
    }
}

pub(super) fn is_derivation<'e>(worker: &Worker<'e>, value: Value<'e>) -> Result<bool, Error> {
    match worker.force(value)?.view() {
        View::Attrs(attrs) => worker.is_derivation(attrs),
        _ => Ok(false),
    }
}

/// The package that a value is, if it is a derivation.
pub(super) fn package<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    path: &str,
) -> Result<Option<Package<'e>>, Error> {
    let value = worker.force(value)?;
    let View::Attrs(attrs) = value.view() else { return Ok(None) };
    if !worker.is_derivation(attrs)? {
        return Ok(None);
    }
    let Some(name) = attrs.get(known::NAME) else { return Err(Error::new("derivation name missing")) };
    let text = "while evaluating the 'name' attribute of a derivation";
    let name = worker.force_plain(name.value, Position::NONE, text)?;
    let name = String::from_utf8_lossy(name).into_owned();
    Ok(Some(Package { attr_path: path.to_owned(), name, attrs }))
}
