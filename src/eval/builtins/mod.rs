//! The builtin functions, a table for each family.
//!
//! A row gives name, arity, documentation and function; `builtins`, the global
//! names, completion and the manual come from the tables.

/// Frames of arguments, made when the program is compiled: most are never told.
macro_rules! argument {
    ($name:literal) => {
        concat!("while evaluating the argument passed to builtins.", $name)
    };
}
macro_rules! first {
    ($name:literal) => {
        concat!("while evaluating the first argument passed to builtins.", $name)
    };
}
macro_rules! second {
    ($name:literal) => {
        concat!("while evaluating the second argument passed to builtins.", $name)
    };
}

pub mod adding;
pub mod attrs;
pub mod closure;
pub mod closures;
pub mod context;
pub mod control;
pub mod derivation;
pub mod fetch;
pub mod flake_refs;
pub mod internal;
pub mod json;
pub mod lists;
pub mod mercurial;
pub mod numbers;
pub mod paths;
pub mod regex;
pub mod strings;
pub mod toml;
pub mod trees;
pub mod xml;

use super::compile::Globals;
use super::heap::Value;
use super::interpret::Worker;
use super::symbols::known;
use super::value::{Attr, Attrs, Position};
pub use super::value::{Builtin, Run};

/// All families.
pub const FAMILIES: &[&[Builtin]] = &[
    control::TABLE,
    numbers::TABLE,
    lists::TABLE,
    closure::TABLE,
    attrs::TABLE,
    strings::TABLE,
    regex::TABLE,
    json::TABLE,
    xml::TABLE,
    toml::TABLE,
    context::TABLE,
    paths::TABLE,
    adding::TABLE,
    derivation::TABLE,
    closures::TABLE,
    fetch::TABLE,
    flake_refs::TABLE,
    mercurial::TABLE,
    trees::TABLE,
];

/// The builtins that are global names without `__` in front.
const BARE: &[&str] = &[
    "abort",
    "baseNameOf",
    "break",
    "derivationStrict",
    "dirOf",
    "fetchGit",
    "fetchMercurial",
    "fetchTarball",
    "fetchTree",
    "fromTOML",
    "import",
    "isNull",
    "map",
    "placeholder",
    "removeAttrs",
    "scopedImport",
    "throw",
    "toString",
];

/// The version of the language's implementation that `builtins.nixVersion` tells: expressions compare it.
pub const VERSION: &str = "2.34.8";
/// The version of the language.
const LANGUAGE: i64 = 6;

impl<'e> Worker<'e> {
    /// Makes `builtins` and the global names; once for an evaluation.
    pub(super) fn make_globals(&self) -> Globals<'e> {
        let mut globals = Globals::default();
        let mut members: Vec<(&[u8], Value<'e>, bool)> = Vec::new();
        for builtin in FAMILIES.iter().copied().flatten() {
            // Flakes are made of fetched trees.
            let has = |feature| {
                let settings = &self.shared.settings;
                settings.has(feature) || (feature == trees::FEATURE && settings.has("flakes"))
            };
            if builtin.feature.is_none_or(has) {
                members.push((
                    builtin.name.as_bytes(),
                    Value::builtin(builtin),
                    BARE.contains(&builtin.name),
                ));
            }
        }
        members.extend(self.constants());
        let mut attrs = Vec::with_capacity(members.len() + 1);
        for (name, value, bare) in members {
            let global = if bare { name.to_vec() } else { [b"__", name].concat() };
            globals.insert(self.intern(&global), value);
            attrs.push(Attr { name: self.intern(name), position: Position::NONE, value });
        }
        let whole = self.self_containing(attrs);
        globals.insert(known::BUILTINS, whole);
        globals
    }

    fn constants(&self) -> Vec<(&'static [u8], Value<'e>, bool)> {
        let world = self.world;
        let mut constants: Vec<(&'static [u8], Value<'e>, bool)> = vec![
            (b"true", Value::bool(true), true),
            (b"false", Value::bool(false), true),
            (b"null", Value::null(), true),
            (b"derivation", self.heap.knot().0, true),
            (b"nixVersion", Value::string(VERSION.as_bytes()), false),
            (b"langVersion", Value::int(LANGUAGE), false),
            (b"storeDir", Value::string(self.heap.slice(world.store_dir())), false),
            (b"nixPath", self.search_path_value(), false),
        ];
        if world.watches_time() {
            let asked = self.heap.suspend_call(Value::builtin(&control::CURRENT_TIME), &[Value::null()]);
            constants.push((b"currentTime", asked, false));
        } else if let Some(now) = world.now() {
            constants.push((b"currentTime", Value::int(now), false));
        }
        if let Some(system) = world.system() {
            constants.push((b"currentSystem", Value::string(self.heap.slice(&system)), false));
        }
        constants
    }

    fn search_path_value(&self) -> Value<'e> {
        let entries: Vec<Value<'e>> = self
            .shared
            .world
            .search_path()
            .into_iter()
            .map(|(prefix, path)| {
                let text = |bytes: &[u8]| Value::string(self.heap.slice(bytes));
                self.new_set(vec![(known::PATH, text(&path)), (known::PREFIX, text(&prefix))])
            })
            .collect();
        Value::list(self.heap.slice(&entries))
    }

    /// The set of all builtins, which has itself as a member.
    fn self_containing(&self, mut attrs: Vec<Attr<'e>>) -> Value<'e> {
        let (knot, tie) = self.heap.knot();
        attrs.push(Attr { name: known::BUILTINS, position: Position::NONE, value: knot });
        let whole = Value::attrs(Attrs::unsorted(&self.heap, attrs));
        tie.finish(whole, self.claimant.get(), &self.shared.crew.bell);
        whole
    }

    /// A set of names and values, each name once, without places.
    pub fn new_set(&self, attrs: Vec<(super::symbols::Symbol, Value<'e>)>) -> Value<'e> {
        let attrs =
            attrs.into_iter().map(|(name, value)| Attr { name, position: Position::NONE, value }).collect();
        Value::attrs(Attrs::unsorted(&self.heap, attrs))
    }

    /// A string without context, copied.
    pub fn new_string(&self, text: &[u8]) -> Value<'e> {
        Value::string(self.heap.slice(text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod world_tests;
