//! Evaluating everything in a value.

use std::collections::HashSet;

use super::crew::Purpose;
use super::error::Error;
use super::heap::Value;
use super::interpret::Worker;
use super::symbols::known;
use super::value::{Attr, Attrs, Position, View};

impl<'e> Worker<'e> {
    /// Forces a value and everything in it.
    ///
    /// # Errors
    /// Something in it cannot be evaluated.
    pub fn force_deep(&self, value: Value<'e>) -> Result<Value<'e>, Error> {
        let mut seen = HashSet::new();
        self.force_within(value, &mut seen)
    }

    fn force_within(&self, value: Value<'e>, seen: &mut HashSet<u64>) -> Result<Value<'e>, Error> {
        let _deeper = self.deeper()?;
        let value = self.force(value)?;
        if let Some(identity) = value.identity()
            && !seen.insert(identity)
        {
            return Ok(value);
        }
        match value.view() {
            View::List(items) => {
                let offered = self.offer(Purpose::Everything, value, items.iter().copied());
                for (index, item) in items.iter().enumerate() {
                    offered.reach(index);
                    self.force_within(*item, seen).map_err(|error| {
                        error.frame(Position::NONE, format!("while evaluating list element at index {index}"))
                    })?;
                }
            }
            View::Attrs(attrs) => {
                let entries = self.in_order(attrs)?;
                let offered = self.offer(Purpose::Everything, value, entries.iter().map(|attr| attr.value));
                for (index, attr) in entries.iter().enumerate() {
                    offered.reach(index);
                    self.force_within(attr.value, seen).map_err(|error| {
                        let name = self.quoted_name(attr.name);
                        error.frame(attr.position, format!("while evaluating the attribute '{name}'"))
                    })?;
                }
            }
            _ => {}
        }
        Ok(value)
    }

    /// Does `work`, which needs a value and what is in it, with the help of a crew.
    ///
    /// # Errors
    /// Those of `work`, and that the value cannot be evaluated.
    pub fn with_deep_crew<R, E: From<Error>>(
        &self,
        value: Value<'e>,
        purpose: Purpose,
        work: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        let is_long = match self.force(value)?.view() {
            View::List(items) => items.len() > 1,
            View::Attrs(attrs) => attrs.len() > 1,
            _ => false,
        };
        if !is_long {
            return work();
        }
        self.with_crew(purpose, &|worker, value| worker.deep_ahead(value, purpose), work)
    }

    /// Evaluates a value, and offers what is in it to others.
    fn deep_ahead(&self, value: Value<'e>, purpose: Purpose) -> Result<(), Error> {
        let mut value = value;
        loop {
            value = self.force(value)?;
            value = match value.view() {
                View::List([one]) => *one,
                View::List(items) => {
                    self.offer(purpose, value, items.iter().copied());
                    return Ok(());
                }
                View::Attrs(attrs) => match self.all_needed(attrs, purpose)? {
                    Some(Attr { value, .. }) => *value,
                    None => {
                        // Their names may have no ages yet; an order that is not the right one will do.
                        let entries = match purpose {
                            Purpose::Everything => attrs.entries().into_owned(),
                            _ => self.by_name(attrs),
                        };
                        self.offer(purpose, value, entries.iter().map(|attr| attr.value));
                        return Ok(());
                    }
                },
                _ => return Ok(()),
            };
        }
    }

    /// The attribute that is all that is needed of a set, if there is one.
    fn all_needed(&self, attrs: Attrs<'e>, purpose: Purpose) -> Result<Option<&'e Attr<'e>>, Error> {
        Ok(match purpose {
            Purpose::Json => attrs.get(known::TO_STRING).or_else(|| attrs.get(known::OUT_PATH)),
            Purpose::Printed if self.is_derivation(attrs)? => attrs.get(known::DRV_PATH),
            _ => None,
        })
    }
}
