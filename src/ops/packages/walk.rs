//! The packages in a value.
//!
//! ```text
//! value = derivation
//!       | set     its members by the bytes of their names: derivations, and sets with recurseForDerivations
//!       | list    its items, each as such a value
//! ```
//!
//! A derivation that is met twice is taken once. Where that is asked for, a member that throws, or whose
//! assertion fails, is left out; any other failure ends the walk.

use std::collections::HashSet;

use super::{Package, unless_thrown};
use crate::eval::crew::{Offered, Purpose};
use crate::eval::error::{Error, Traced};
use crate::eval::heap::Value;
use crate::eval::interpret::Worker;
use crate::eval::symbols::{Symbol, known};
use crate::eval::value::{Attr, Attrs, Position, View};
use crate::ops::evaluate::selection::{Arguments, called};

/// What is said of a value without packages.
const NO_DERIVATION: &str = "expression does not evaluate to a derivation (or a set or list of those)";

/// The name of the attribute by which the set of a directory of expressions is known: all of its members
/// are called and entered.
pub(super) const COMBINED: &[u8] = b"_combineChannels";

/// What becomes of a value that throws, or whose assertion fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thrown {
    /// It is no package.
    LeftOut,
    /// The walk ends with its failure.
    Ends,
}

/// The packages in `value`, whose attribute path is `path`. Functions are called with `arguments`.
///
/// # Errors
/// The value holds no packages, or a failure that is none of a package alone.
pub fn packages<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    path: &str,
    arguments: &Arguments<'e>,
    thrown: Thrown,
) -> Result<Vec<Package<'e>>, Error> {
    let combined = worker.intern(COMBINED);
    let walk = || {
        let mut walk = Walk { worker, arguments, combined, thrown, seen: HashSet::new(), found: Vec::new() };
        walk.value(value, path)?;
        Ok(walk.found)
    };
    match worker.force(value)?.view() {
        // One package.
        View::Attrs(attrs) if attrs.get(known::TYPE).is_some() => walk(),
        _ => worker.with_crew(Purpose::Packages, &ahead, walk),
    }
}

/// Evaluates of a value what the walk will need when it comes to it.
fn ahead<'e>(worker: &Worker<'e>, value: Value<'e>) -> Result<(), Error> {
    let value = worker.force(value)?;
    let View::Attrs(attrs) = value.view() else { return Ok(()) };
    let force = |name| attrs.get(name).map(|attr| worker.force(attr.value)).transpose();
    if worker.is_derivation(attrs)? {
        force(known::NAME)?;
        // Listings leave out packages of other systems.
        force(known::SYSTEM)?;
    } else if let Some(recurse) = force(known::RECURSE_FOR_DERIVATIONS)?
        && matches!(recurse.view(), View::Bool(true))
        && attrs.get(known::FUNCTOR).is_none()
    {
        offered(worker, value, &members(worker, attrs));
    }
    Ok(())
}

/// The members that are looked at, by the bytes of their names.
fn members<'e>(worker: &Worker<'e>, attrs: Attrs<'e>) -> Vec<Attr<'e>> {
    let mut members = worker.by_name(attrs);
    members.retain(|attr| is_plain(worker.text(attr.name)));
    members
}

fn offered<'e>(worker: &Worker<'e>, set: Value<'e>, members: &[Attr<'e>]) -> Offered<'e> {
    worker.offer(Purpose::Packages, set, members.iter().map(|attr| attr.value))
}

/// The package that [`packages`] finds at an attribute path, without looking at any other: `value` is that of
/// the path `base`. None if there is no such package.
///
/// # Errors
/// Those of the values on the way.
pub fn package_at<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    base: &str,
    path: &str,
    arguments: &Arguments<'e>,
) -> Result<Option<Package<'e>>, Error> {
    let Some(rest) = path.strip_prefix(base) else { return Ok(None) };
    let combined = worker.intern(COMBINED);
    let mut value = called(worker, value, arguments)?;
    let mut steps = rest.split('.').filter(|step| !step.is_empty()).peekable();
    while let Some(step) = steps.next() {
        let (below, is_member) = match value.view() {
            View::Attrs(attrs) => {
                let symbol = worker.shared.symbols.find(step.as_bytes());
                let Some(attr) = symbol.and_then(|symbol| attrs.get(symbol)) else { return Ok(None) };
                (attr.value, attrs.get(combined).is_none())
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
        value = match is_last && (is_member || is_item && is_derivation(worker, below)?) {
            true => worker.force(below)?,
            false => called(worker, below, arguments)?,
        };
    }
    package(worker, value, path)
}

fn is_derivation<'e>(worker: &Worker<'e>, value: Value<'e>) -> Result<bool, Error> {
    match worker.force(value)?.view() {
        View::Attrs(attrs) => worker.is_derivation(attrs),
        _ => Ok(false),
    }
}

/// The package that a value is, if it is a derivation.
fn package<'e>(worker: &Worker<'e>, value: Value<'e>, path: &str) -> Result<Option<Package<'e>>, Error> {
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

struct Walk<'w, 'e> {
    worker: &'w Worker<'e>,
    arguments: &'w Arguments<'e>,
    combined: Symbol,
    thrown: Thrown,
    /// The sets that were taken as derivations.
    seen: HashSet<u64>,
    found: Vec<Package<'e>>,
}

impl<'e> Walk<'_, 'e> {
    fn value(&mut self, value: Value<'e>, path: &str) -> Result<(), Error> {
        let _deeper = self.worker.deeper()?;
        let value = called(self.worker, value, self.arguments)?;
        if self.is_done(value, path)? {
            return Ok(());
        }
        match value.view() {
            View::Attrs(attrs) => self.members(value, attrs, path),
            View::List(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                let path = join(path, &index.to_string());
                if self.is_done(*item, &path)? { Ok(()) } else { self.value(*item, &path) }
            }),
            _ => Err(Error::new(NO_DERIVATION)),
        }
    }

    fn members(&mut self, set: Value<'e>, attrs: Attrs<'e>, path: &str) -> Result<(), Error> {
        let combined = attrs.get(self.combined).is_some();
        let members = members(self.worker, attrs);
        let offered = offered(self.worker, set, &members);
        for (index, attr) in members.iter().enumerate() {
            offered.reach(index);
            let path = join(path, &String::from_utf8_lossy(self.worker.text(attr.name)));
            let entered = match combined {
                true => self.value(attr.value, &path),
                false => self.member(attr.value, &path),
            };
            entered.during_at(attr.position, || {
                format!("while evaluating the attribute '{}'", self.worker.name(attr.name))
            })?;
        }
        Ok(())
    }

    fn member(&mut self, value: Value<'e>, path: &str) -> Result<(), Error> {
        if self.is_done(value, path)? {
            return Ok(());
        }
        // It was evaluated already.
        let value = self.worker.force(value)?;
        let View::Attrs(attrs) = value.view() else { return Ok(()) };
        let Some(recurse) = attrs.get(known::RECURSE_FOR_DERIVATIONS) else { return Ok(()) };
        let text = "while evaluating the attribute `recurseForDerivations`";
        match self.worker.force_bool(recurse.value, recurse.position, text)? {
            true => self.value(value, path),
            false => Ok(()),
        }
    }

    /// Whether there is no more to do about a value: it is a derivation, which is taken, or is left out.
    fn is_done(&mut self, value: Value<'e>, path: &str) -> Result<bool, Error> {
        let taken = self.taken(value, path);
        match self.thrown {
            Thrown::LeftOut => Ok(unless_thrown(taken)?.unwrap_or(true)),
            Thrown::Ends => taken,
        }
    }

    /// Takes a derivation; false if the value is something else.
    fn taken(&mut self, value: Value<'e>, path: &str) -> Result<bool, Error> {
        if !is_derivation(self.worker, value)? {
            return Ok(false);
        }
        let identity = self.worker.force(value)?.identity();
        if identity.is_some_and(|identity| !self.seen.insert(identity)) {
            return Ok(true);
        }
        self.found.extend(package(self.worker, value, path)?);
        Ok(true)
    }
}

/// Whether an attribute is looked at: others are only reached by their full paths.
fn is_plain(name: &[u8]) -> bool {
    let begins = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.first().is_some_and(begins)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+'))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
