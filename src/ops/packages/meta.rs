//! What the attribute `meta` of a package says.

use super::Package;
use crate::eval::error::Error;
use crate::eval::heap::Value;
use crate::eval::interpret::Worker;
use crate::eval::symbols::{Symbol, known};
use crate::eval::value::{Attr, Attrs, View};
use crate::model::manifest_nix;

/// A value in `meta`.
#[derive(Clone, Debug, PartialEq)]
pub enum Meta {
    /// A string, without its context.
    Text(String),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A list.
    List(Vec<Meta>),
    /// A set, in the order in which the evaluation came to know the names.
    Set(Vec<(String, Meta)>),
}

impl Meta {
    /// A value of a manifest; none where there is nothing in it.
    pub fn of(value: &manifest_nix::Value) -> Option<Self> {
        use manifest_nix::Value;
        Some(match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Int(number) => Self::Int(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Null => return None,
            Value::List(items) => Self::List(items.iter().filter_map(Self::of).collect()),
            Value::Set(members) => Self::Set(
                members.iter().filter_map(|(name, value)| Some((name.clone(), Self::of(value)?))).collect(),
            ),
        })
    }
}

impl From<&Meta> for manifest_nix::Value {
    fn from(meta: &Meta) -> Self {
        match meta {
            Meta::Text(text) => Self::String(text.clone()),
            Meta::Int(number) => Self::Int(*number),
            Meta::Float(number) => Self::Float(*number),
            Meta::Bool(truth) => Self::Bool(*truth),
            Meta::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Meta::Set(members) => {
                Self::Set(members.iter().map(|(name, value)| (name.clone(), value.into())).collect())
            }
        }
    }
}

impl<'e> Package<'e> {
    /// The attributes of `meta`; none where there is no such set.
    ///
    /// # Errors
    /// `meta` cannot be evaluated, or is no set.
    pub fn metas(&self, worker: &Worker<'e>) -> Result<Option<Attrs<'e>>, Error> {
        let Some(attr) = self.get(known::META) else { return Ok(None) };
        let text = "while evaluating the 'meta' attribute of a derivation";
        worker.force_attrs(attr.value, attr.position, text).map(Some)
    }

    /// One attribute of `meta`; none where it is missing, or no value of which is told.
    ///
    /// # Errors
    /// It cannot be evaluated.
    pub fn meta(&self, worker: &Worker<'e>, name: Symbol) -> Result<Option<Meta>, Error> {
        match self.metas(worker)?.and_then(|metas| metas.get(name)) {
            Some(attr) => told(worker, attr.value),
            None => Ok(None),
        }
    }

    /// The description, empty where there is none.
    ///
    /// # Errors
    /// It cannot be evaluated.
    pub fn description(&self, worker: &Worker<'e>) -> Result<String, Error> {
        match self.meta(worker, known::DESCRIPTION)? {
            Some(Meta::Text(text)) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    /// Gives each attribute of `meta` by the order of their names to `each`: what it says, or nothing where that
    /// is not told of.
    ///
    /// # Errors
    /// One of them cannot be evaluated; those before it were given.
    pub fn each_meta(
        &self,
        worker: &Worker<'e>,
        mut each: impl FnMut(String, Option<Meta>),
    ) -> Result<(), Error> {
        let Some(metas) = self.metas(worker)? else { return Ok(()) };
        for Attr { name, value, .. } in worker.by_name(metas) {
            each(worker.name(name), told(worker, value)?);
        }
        Ok(())
    }
}

/// A value, if nothing in it is a function, a path, null or a derivation.
fn told<'e>(worker: &Worker<'e>, value: Value<'e>) -> Result<Option<Meta>, Error> {
    let _deeper = worker.deeper()?;
    let value = worker.force(value)?;
    Ok(Some(match value.view() {
        View::Bool(truth) => Meta::Bool(truth),
        View::Int(number) => Meta::Int(number),
        View::Float(number) => Meta::Float(number),
        View::String(text, _) => Meta::Text(String::from_utf8_lossy(text).into_owned()),
        View::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                match told(worker, *item)? {
                    Some(item) => list.push(item),
                    None => return Ok(None),
                }
            }
            Meta::List(list)
        }
        View::Attrs(attrs) => {
            if attrs.get(known::OUT_PATH).is_some() {
                return Ok(None);
            }
            let mut set = Vec::with_capacity(attrs.len());
            for attr in worker.in_order(attrs)?.iter() {
                match told(worker, attr.value)? {
                    Some(member) => set.push((worker.name(attr.name), member)),
                    None => return Ok(None),
                }
            }
            Meta::Set(set)
        }
        _ => return Ok(None),
    }))
}
