//! From a value to the derivations that it stands for.

use std::collections::HashSet;

use nival::eval::coerce::NO_COPY;
use nival::eval::error::{Error, Traced as _};
use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::eval::symbols::known;
use nival::eval::value::{Attrs, Position, View};
use nival::model::StorePath;

use super::expression::called;
use crate::cli::evaluation::Arguments;

/// A value that is a derivation.
pub struct Found<'e>(Attrs<'e>);

/// The derivations that a value stands for: itself, the members of a set in the order of their names'
/// bytes, or those of a list. Sets in sets count only where they say so, those in lists always.
///
/// # Errors
/// The value is nothing of that kind, or something in it cannot be evaluated.
pub fn derivations<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    arguments: &Arguments<'e>,
) -> Result<Vec<Found<'e>>, Error> {
    let mut walk = Walk { worker, arguments, seen: HashSet::new(), found: Vec::new() };
    walk.all(value)?;
    Ok(walk.found)
}

/// Whether a member of a set with this name is looked at. Others can be selected only.
pub fn is_looked_at(name: &[u8]) -> bool {
    let is_first = |letter: &u8| letter.is_ascii_alphabetic() || *letter == b'_';
    let is_later = |letter: &u8| letter.is_ascii_alphanumeric() || b"-_+".contains(letter);
    name.first().is_some_and(is_first) && name.iter().all(is_later)
}

struct Walk<'w, 'e> {
    worker: &'w Worker<'e>,
    arguments: &'w Arguments<'e>,
    /// The same set at two places counts once.
    seen: HashSet<u64>,
    found: Vec<Found<'e>>,
}

impl<'e> Walk<'_, 'e> {
    /// Takes what a value stands for, after it was called if it is a function.
    fn all(&mut self, value: Value<'e>) -> Result<(), Error> {
        let _deeper = self.worker.deeper()?;
        let value = called(self.worker, value, self.arguments)?;
        if self.takes(value)? {
            return Ok(());
        }
        match value.view() {
            View::Attrs(attrs) => {
                let members = self.worker.by_name(attrs);
                for attr in members.iter().filter(|attr| is_looked_at(self.worker.text(attr.name))) {
                    self.member(attr.value, attr.position).during_at(attr.position, || {
                        format!("while evaluating the attribute '{}'", self.worker.name(attr.name))
                    })?;
                }
            }
            View::List(items) => {
                for item in items {
                    let item = self.worker.force(*item)?;
                    if !self.takes(item)? {
                        self.all(item)?;
                    }
                }
            }
            _ => {
                let message = "expression does not evaluate to a derivation (or a set or list of those)";
                return Err(Error::new(message));
            }
        }
        Ok(())
    }

    /// Takes a member of a set, and what is in it if it says that derivations are.
    fn member(&mut self, value: Value<'e>, position: Position) -> Result<(), Error> {
        let value = self.worker.force_at(value, position)?;
        if self.takes(value)? {
            return Ok(());
        }
        let View::Attrs(attrs) = value.view() else { return Ok(()) };
        let Some(recurse) = attrs.get(known::RECURSE_FOR_DERIVATIONS) else { return Ok(()) };
        let text = "while evaluating the attribute `recurseForDerivations`";
        match self.worker.force_bool(recurse.value, recurse.position, text)? {
            true => self.all(value),
            false => Ok(()),
        }
    }

    /// Takes a value that is a derivation; false for any other.
    fn takes(&mut self, value: Value<'e>) -> Result<bool, Error> {
        let View::Attrs(attrs) = value.view() else { return Ok(false) };
        if !self.worker.is_derivation(attrs)? {
            return Ok(false);
        }
        if value.identity().is_none_or(|identity| self.seen.insert(identity)) {
            // A derivation without a name that can be evaluated is none.
            let name = attrs.get(known::NAME).ok_or_else(|| Error::new("derivation name missing"))?;
            let text = "while evaluating the 'name' attribute of a derivation";
            self.worker.force_plain(name.value, Position::NONE, text)?;
            self.found.push(Found(attrs));
        }
        Ok(true)
    }
}

impl<'e> Found<'e> {
    /// The file that tells how to build it.
    ///
    /// # Errors
    /// There is none, it is no store path of a derivation, or it cannot be evaluated.
    pub fn file(&self, worker: &Worker<'e>) -> Result<StorePath, Error> {
        let Some(attr) = self.0.get(known::DRV_PATH) else {
            return Err(Error::new("derivation does not contain a 'drvPath' attribute"));
        };
        let text = "while evaluating the 'drvPath' attribute of a derivation";
        let (file, _) = worker.coerce(attr.value, NO_COPY, attr.position, text)?;
        let shown = String::from_utf8_lossy(file);
        let parsed = match worker.store_dir()?.parse(&shown) {
            Ok(path) if path.is_derivation() => Ok(path),
            Ok(path) => {
                let path = path.base_name();
                Err(Error::new(format!("store path '{path}' is not a valid derivation path")))
            }
            Err(_) => Err(Error::new(format!("path '{shown}' is not in the Nix store"))),
        };
        parsed.during_at(attr.position, || text.to_owned())
    }

    /// The name of the output that is meant; empty if none is named.
    ///
    /// # Errors
    /// It is no text, or cannot be evaluated.
    pub fn output(&self, worker: &Worker<'e>) -> Result<String, Error> {
        let Some(attr) = self.0.get(known::OUTPUT_NAME) else { return Ok(String::new()) };
        let text = "while evaluating the output name of a derivation";
        let name = worker.force_plain(attr.value, Position::NONE, text)?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }
}
