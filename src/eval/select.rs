//! Selecting attributes, and asking whether they are there.

use super::code::{SelectCode, StepCode};
use super::error::Error;
use super::heap::{Env, Value};
use super::interpret::{Evaluated, Worker};
use super::symbols::{Symbol, known};
use super::value::{Attr, Attrs, Position, View};

/// The names of a path so far, for messages; a few need no memory of their own.
struct Names {
    few: [Symbol; Names::FEW],
    count: usize,
    more: Vec<Symbol>,
}

impl Names {
    const FEW: usize = 4;

    fn new() -> Names {
        Names { few: [known::OUT_PATH; Names::FEW], count: 0, more: Vec::new() }
    }

    #[inline]
    fn push(&mut self, name: Symbol) {
        match self.few.get_mut(self.count) {
            Some(place) => *place = name,
            None => self.more.push(name),
        }
        self.count += 1;
    }

    fn all(&self) -> impl Iterator<Item = Symbol> {
        self.few.iter().take(self.count).chain(&self.more).copied()
    }
}

impl<'e> Worker<'e> {
    fn step(&self, step: StepCode<'e>, env: &'e Env<'e>) -> Result<Symbol, Error> {
        match step {
            StepCode::Name(name) => Ok(name),
            StepCode::Dynamic(code) => {
                let value = self.eval(code, env)?;
                self.force_name(value, code.position(), "while evaluating an attribute name")
            }
        }
    }

    /// `a.b.c or d`
    #[inline(never)]
    pub(super) fn select(&self, select: &'e SelectCode<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let mut value = self.value_of(select.base, env)?;
        let mut names = Names::new();
        let mut found: Option<&'e Attr<'e>> = None;
        for step in select.path {
            let name = self.step(*step, env)?;
            let attrs = match value.view() {
                View::Attrs(attrs) => Ok(attrs),
                _ => Err(value),
            };
            let attr = attrs.ok().and_then(|attrs| attrs.get(name));
            let result = match attr {
                Some(attr) => {
                    names.push(name);
                    found = Some(attr);
                    let place = if attr.position == Position::NONE { select.position } else { attr.position };
                    self.force_at(attr.value, place)
                }
                None => match select.default {
                    Some(default) => self.eval(default, env),
                    None => Err(self.not_selected(attrs, name, select.position)),
                },
            };
            match (result, attr) {
                (Ok(next), Some(_)) => value = next,
                (Ok(default), None) => return Ok(default),
                (Err(error), _) => return Err(self.selection_failed(error, select, &names, found)),
            }
        }
        Ok(value)
    }

    /// `a ? b.c`
    #[inline(never)]
    pub(super) fn has(&self, select: &'e SelectCode<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let mut value = self.value_of(select.base, env)?;
        for (index, step) in select.path.iter().enumerate() {
            let name = self.step(*step, env)?;
            let View::Attrs(attrs) = value.view() else { return Ok(Value::bool(false)) };
            let Some(attr) = attrs.get(name) else { return Ok(Value::bool(false)) };
            if index + 1 < select.path.len() {
                value = self.force_at(attr.value, select.position)?;
            }
        }
        Ok(Value::bool(true))
    }

    /// The failure of a step: no set, or a set without the attribute.
    #[cold]
    fn not_selected(&self, attrs: Result<Attrs<'e>, Value<'e>>, name: Symbol, position: Position) -> Error {
        match attrs {
            Ok(attrs) => {
                let names: Vec<Symbol> = attrs.entries().iter().map(|attr| attr.name).collect();
                let suggestions = self.suggestions(name, names.into_iter());
                let message = format!("attribute '{}' missing", self.quoted_name(name));
                Error::new(message).at(position).suggest(suggestions)
            }
            Err(value) => self.wrong_type("a set", value).frame(position, "while selecting an attribute"),
        }
    }

    /// Tells which attribute was being evaluated, if one was found at all.
    #[cold]
    fn selection_failed(
        &self,
        error: Error,
        select: &SelectCode<'e>,
        names: &Names,
        found: Option<&'e Attr<'e>>,
    ) -> Error {
        let Some(attr) = found.filter(|attr| self.shared.is_told(attr.position)) else { return error };
        let mut path: Vec<String> = names.all().map(|name| self.quoted_name(name)).collect();
        for step in select.path.iter().skip(path.len()) {
            match step {
                StepCode::Name(name) => path.push(self.quoted_name(*name)),
                StepCode::Dynamic(_) => break,
            }
        }
        error.frame(attr.position, format!("while evaluating the attribute '{}'", path.join(".")))
    }
}
