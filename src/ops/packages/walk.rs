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
//!
//! What a walk evaluates stays in memory. So a walk can be left behind any member, and another evaluation goes on from
//! there. Which sets are the same derivation is not known across evaluations; but then they have the same name, and
//! the one that was found before is looked up again to be compared.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::memory::names::Offer;
use super::place::{Place, is_derivation, package};
use super::{Package, unless_thrown};
use crate::eval::crew::{Offered, Purpose};
use crate::eval::error::{Error, Traced};
use crate::eval::heap::Value;
use crate::eval::interpret::Worker;
use crate::eval::symbols::known;
use crate::eval::value::{Attr, Attrs, View};
use crate::ops::evaluate::selection::Arguments;

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
    let place = Place::new(worker, arguments, value, path);
    part(&place, thrown, &Course::default(), &|_| false).map(|part| part.packages)
}

/// How far a walk went in earlier evaluations.
#[derive(Default)]
pub struct Course {
    /// The packages that were found, in the order of the walk.
    pub found: Vec<Offer>,
    /// The names that lead to the member behind which the walk was left; none if it is to begin.
    pub left: Vec<Vec<u8>>,
}

/// What one evaluation found.
pub struct Part<'e> {
    /// The packages.
    pub packages: Vec<Package<'e>>,
    /// Where the walk was left, unless it came to its end.
    pub left: Option<Vec<Vec<u8>>>,
}

/// The packages in a place behind those of `course`, until there are `enough` of them, of which it is told the
/// number.
///
/// # Errors
/// See [`packages`].
pub fn part<'e>(
    place: &Place<'_, 'e>,
    thrown: Thrown,
    course: &Course,
    enough: &dyn Fn(usize) -> bool,
) -> Result<Part<'e>, Error> {
    let worker = place.worker;
    let walk = || {
        let mut earlier: HashMap<&str, Vec<&str>> = HashMap::new();
        for offer in &course.found {
            earlier.entry(&offer.name).or_default().push(&offer.attr_path);
        }
        let mut walk = Walk {
            place,
            thrown,
            enough,
            earlier,
            passed: &course.left,
            at: Vec::new(),
            lists: 0,
            seen: HashSet::new(),
            found: Vec::new(),
            left: None,
        };
        let (value, path) = place.top();
        walk.value(value, path)?;
        Ok(Part { packages: walk.found, left: walk.left })
    };
    match worker.force(place.top().0)?.view() {
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

struct Walk<'w, 'e> {
    place: &'w Place<'w, 'e>,
    thrown: Thrown,
    /// Whether the walk is left, once so many packages were found.
    enough: &'w dyn Fn(usize) -> bool,
    /// The attribute paths of what was found before, by names.
    earlier: HashMap<&'w str, Vec<&'w str>>,
    /// What is still to be passed over: the names that lead to the member behind which the walk begins.
    passed: &'w [Vec<u8>],
    /// The names that lead to the set that is walked through.
    at: Vec<Vec<u8>>,
    /// The lists around it, in which the walk is not left.
    lists: usize,
    /// The sets that were taken as derivations.
    seen: HashSet<u64>,
    found: Vec<Package<'e>>,
    left: Option<Vec<Vec<u8>>>,
}

impl<'e> Walk<'_, 'e> {
    fn value(&mut self, value: Value<'e>, path: &str) -> Result<(), Error> {
        let _deeper = self.place.worker.deeper()?;
        let value = self.place.enter(value, path)?;
        if self.is_done(value, path)? {
            return Ok(());
        }
        match value.view() {
            View::Attrs(attrs) => self.members(value, attrs, path),
            View::List(items) => {
                self.lists += 1;
                items.iter().enumerate().try_for_each(|(index, item)| {
                    let path = join(path, &index.to_string());
                    if self.is_done(*item, &path)? { Ok(()) } else { self.value(*item, &path) }
                })?;
                self.lists -= 1;
                Ok(())
            }
            _ => Err(Error::new(NO_DERIVATION)),
        }
    }

    fn members(&mut self, set: Value<'e>, attrs: Attrs<'e>, path: &str) -> Result<(), Error> {
        let worker = self.place.worker;
        let combined = attrs.get(self.place.combined).is_some();
        let mut members = members(worker, attrs);
        // The walk goes on in the first of those that are left, if that was left in its midst.
        let depth = self.at.len();
        if let Some(name) = self.passed.get(depth) {
            let is_last = self.passed.len() == depth + 1;
            members.retain(|attr| match worker.text(attr.name).cmp(&name[..]) {
                Ordering::Less => false,
                Ordering::Equal => !is_last,
                Ordering::Greater => true,
            });
            if is_last || members.first().is_none_or(|attr| worker.text(attr.name) != &name[..]) {
                self.passed = &[];
            }
        }
        let offered = offered(worker, set, &members);
        for (index, attr) in members.iter().enumerate() {
            offered.reach(index);
            let name = worker.text(attr.name);
            let path = join(path, &String::from_utf8_lossy(name));
            self.at.push(name.to_vec());
            let entered = match combined {
                true => self.value(attr.value, &path),
                false => self.member(attr.value, &path),
            };
            entered.during_at(attr.position, || {
                format!("while evaluating the attribute '{}'", worker.name(attr.name))
            })?;
            self.passed = &[];
            if self.left.is_none() && self.lists == 0 && (self.enough)(self.found.len()) {
                self.left = Some(self.at.clone());
            }
            self.at.pop();
            if self.left.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn member(&mut self, value: Value<'e>, path: &str) -> Result<(), Error> {
        if self.is_done(value, path)? {
            return Ok(());
        }
        // It was evaluated already.
        let value = self.place.worker.force(value)?;
        let View::Attrs(attrs) = value.view() else { return Ok(()) };
        let Some(recurse) = attrs.get(known::RECURSE_FOR_DERIVATIONS) else { return Ok(()) };
        let text = "while evaluating the attribute `recurseForDerivations`";
        match self.place.worker.force_bool(recurse.value, recurse.position, text)? {
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
        let worker = self.place.worker;
        if !is_derivation(worker, value)? {
            return Ok(false);
        }
        let identity = worker.force(value)?.identity();
        if identity.is_some_and(|identity| !self.seen.insert(identity)) {
            return Ok(true);
        }
        if let Some(package) = package(worker, value, path)?
            && !self.was_found(&package)?
        {
            self.found.push(package);
        }
        Ok(true)
    }

    /// Whether an earlier evaluation has found a package by another path.
    fn was_found(&self, package: &Package<'e>) -> Result<bool, Error> {
        let identity = Value::attrs(package.attrs).identity();
        for path in self.earlier.get(&package.name[..]).into_iter().flatten() {
            let other = self.place.package(path)?;
            if other.is_some_and(|other| Value::attrs(other.attrs).identity() == identity) {
                return Ok(true);
            }
        }
        Ok(false)
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
