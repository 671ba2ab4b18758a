//! Packages of an expression: which derivations it offers, by which attribute paths, and what
//! is told of them.
//!
//! ```text
//! source    a file or a directory of files → the value that packages are chosen from
//! place     a value in which packages lie, looked up by their attribute paths
//! walk      a value → packages, in the order of their attribute paths
//! choose    several packages → the one that is meant
//! describe  a package → a row: the facts that somebody asked for, and no others
//! order     the order of listings
//! meta      what the attribute `meta` says
//! memory    what was found, remembered between evaluations
//! ```
//!
//! Nothing of a package is evaluated before it is needed: a listing of names reads no paths, and so
//! no derivation is made for it.

pub mod choose;
pub mod describe;
pub mod memory;
pub mod meta;
pub mod order;
pub mod place;
pub mod source;
pub mod walk;

use crate::eval::error::Error;
use crate::eval::symbols::Symbol;
use crate::eval::value::{Attr, Attrs, Position};
use crate::model::package_name;

/// A derivation that an expression offers.
#[derive(Clone)]
pub struct Package<'e> {
    /// The attributes that lead to it.
    pub attr_path: String,
    /// Name and version.
    pub name: String,
    /// Its attributes.
    pub attrs: Attrs<'e>,
}

impl<'e> Package<'e> {
    /// The name without the version.
    pub fn package(&self) -> &str {
        package_name::split(&self.name).0
    }

    /// The version.
    pub fn version(&self) -> &str {
        package_name::split(&self.name).1
    }

    /// The attribute of a name.
    pub(super) fn get(&self, name: Symbol) -> Option<&'e Attr<'e>> {
        self.attrs.get(name)
    }

    /// Tells of which package a failure is.
    pub fn querying<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| {
            let text = format!("while querying the derivation named '{}'", self.name);
            error.frame(Position::NONE, text)
        })
    }
}

/// What was computed, or nothing where it threw or an assertion failed.
///
/// # Errors
/// All other failures.
pub fn unless_thrown<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_catchable() => Ok(None),
        Err(error) => Err(error),
    }
}
