//! What values are made of.

use std::borrow::Cow;

use super::context::Context;
use super::heap::{Closure, Heap, Thunk, Value};
use super::interpret::{Evaluated, Worker};
use super::symbols::Symbol;

/// A place in a source: 0 is no place, others are numbers that [`super::sources::Sources`] gives out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u32);

impl Position {
    /// No place.
    pub const NONE: Position = Position(0);
}

/// A value as a case distinction.
#[derive(Clone, Copy)]
pub enum View<'e> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string and its context.
    String(&'e [u8], Option<&'e Context<'e>>),
    /// An absolute path.
    Path(&'e [u8]),
    /// A list.
    List(&'e [Value<'e>]),
    /// A set.
    Attrs(Attrs<'e>),
    /// A function.
    Lambda(&'e Closure<'e>),
    /// A builtin function.
    Builtin(&'static Builtin),
    /// A builtin function that waits for more arguments.
    Applied(&'e Applied<'e>),
    /// A thunk, evaluated or not.
    Thunk(&'e Thunk<'e>),
}

/// A builtin function with some of its arguments.
#[derive(Clone, Copy)]
pub struct Applied<'e> {
    /// The function.
    pub builtin: &'static Builtin,
    /// The arguments so far.
    pub arguments: &'e [Value<'e>],
}

/// A call that was put off.
#[derive(Clone, Copy)]
pub struct Pending<'e> {
    /// What is called.
    pub function: Value<'e>,
    /// With what.
    pub arguments: Arguments<'e>,
}

/// The arguments of a call that was put off.
#[derive(Clone, Copy)]
pub enum Arguments<'e> {
    /// Values.
    Values(&'e [Value<'e>]),
    /// A whole number.
    Number(i64),
    /// The name of an attribute, and its value.
    Attribute(&'e Attr<'e>),
    /// A name and the values that sets have by it.
    Zipped(&'e Attr<'e>),
}

/// One attribute.
#[derive(Clone, Copy)]
pub struct Attr<'e> {
    /// The name.
    pub name: Symbol,
    /// Where it was defined.
    pub position: Position,
    /// The value.
    pub value: Value<'e>,
}

/// A set: attributes sorted by symbol, or layers of such.
#[derive(Clone, Copy)]
pub struct Attrs<'e> {
    own: &'e [Attr<'e>],
    layered: Option<&'e Layered<'e>>,
}

/// Attributes over those of another set that they hide.
#[derive(Clone, Copy)]
pub struct Layered<'e> {
    own: &'e [Attr<'e>],
    base: Attrs<'e>,
    count: u32,
}

/// Each layer of a set has at least this many times the attributes of the one above.
const LAYER_RATIO: usize = 4;
/// Sets up to this size are searched from the front.
const LINEAR: usize = 8;

impl<'e> Attrs<'e> {
    /// A set of `own`, which are sorted by symbol, each once.
    pub fn new(heap: &Heap<'e>, own: &'e [Attr<'e>]) -> Attrs<'e> {
        debug_assert!(own.windows(2).all(|pair| pair[0].name < pair[1].name));
        // Each empty set is an object of its own.
        Attrs::flat(if own.is_empty() { heap.nothing() } else { own })
    }

    /// A set of attributes in any order, each once.
    pub fn unsorted(heap: &Heap<'e>, mut attrs: Vec<Attr<'e>>) -> Attrs<'e> {
        attrs.sort_unstable_by_key(|attr| attr.name);
        Attrs::new(heap, heap.slice(&attrs))
    }

    #[inline]
    pub(super) fn flat(own: &'e [Attr<'e>]) -> Attrs<'e> {
        Attrs { own, layered: None }
    }

    #[inline]
    pub(super) fn layered(layered: &'e Layered<'e>) -> Attrs<'e> {
        Attrs { own: layered.own, layered: Some(layered) }
    }

    /// The topmost attributes, and all layers if there are several.
    #[inline]
    pub(super) fn parts(self) -> (&'e [Attr<'e>], Option<&'e Layered<'e>>) {
        (self.own, self.layered)
    }

    /// The number of attributes.
    #[inline]
    pub fn len(self) -> usize {
        self.layered.map_or(self.own.len(), |layered| layered.count as usize)
    }

    /// Whether the set is empty.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The attribute of a name.
    #[inline]
    pub fn get(self, name: Symbol) -> Option<&'e Attr<'e>> {
        let mut layer = self;
        loop {
            if let Some(found) = search(layer.own, name) {
                return Some(found);
            }
            layer = layer.layered?.base;
        }
    }

    /// The attributes in the order of their symbols.
    pub fn entries(self) -> Cow<'e, [Attr<'e>]> {
        let Some(layered) = self.layered else { return Cow::Borrowed(self.own) };
        // The lowest layer has most attributes: the others are merged first.
        let mut merged = Cow::Borrowed(layered.own);
        let mut base = layered.base;
        loop {
            merged = Cow::Owned(Merged { left: base.own, right: &merged }.copied().collect());
            match base.layered {
                Some(layered) => base = layered.base,
                None => return merged,
            }
        }
    }

    /// The same, in the memory of the evaluation.
    pub fn stored(self, heap: &Heap<'e>) -> &'e [Attr<'e>] {
        match self.entries() {
            Cow::Borrowed(entries) => entries,
            Cow::Owned(entries) => heap.slice(&entries),
        }
    }

    /// `left // right`
    pub fn update(heap: &Heap<'e>, left: Attrs<'e>, right: Attrs<'e>) -> Attrs<'e> {
        if right.is_empty() {
            return left;
        }
        if left.is_empty() {
            return right;
        }
        // Layers that are not much larger than what comes above are joined with it, so that
        // a set that grows one by one is not copied each time, and has few layers all the same.
        let entries = right.entries();
        let (mut own, mut base) = (Cow::Borrowed(&*entries), left);
        while base.own.len() < own.len() * LAYER_RATIO {
            let merged = Merged { left: base.own, right: &own };
            match base.layered {
                Some(layered) => base = layered.base,
                None => {
                    let all = base.own.len() + own.len();
                    return Attrs::new(heap, heap.slice_of(all, merged.copied()));
                }
            }
            own = Cow::Owned(merged.copied().collect());
        }
        let new = entries.iter().filter(|attr| left.get(attr.name).is_none()).count();
        let count = (left.len() + new) as u32;
        let own = match own {
            Cow::Borrowed(_) if right.layered.is_none() => right.own,
            own => heap.slice(&own),
        };
        Attrs::layered(heap.alloc(Layered { own, base, count }))
    }
}

#[inline]
fn search<'e>(attrs: &'e [Attr<'e>], name: Symbol) -> Option<&'e Attr<'e>> {
    if attrs.len() <= LINEAR {
        return attrs.iter().find(|attr| attr.name == name);
    }
    attrs.binary_search_by_key(&name, |attr| attr.name).ok().map(|index| &attrs[index])
}

/// The attributes of both in order; where both have a name, the right one's.
struct Merged<'a, 'e> {
    left: &'a [Attr<'e>],
    right: &'a [Attr<'e>],
}

impl<'a, 'e> Iterator for Merged<'a, 'e> {
    type Item = &'a Attr<'e>;

    #[inline]
    fn next(&mut self) -> Option<&'a Attr<'e>> {
        match (self.left.split_first(), self.right.split_first()) {
            (Some((left, rest)), None) => {
                self.left = rest;
                Some(left)
            }
            (Some((left, rest)), Some((right, _))) if left.name < right.name => {
                self.left = rest;
                Some(left)
            }
            (left, Some((right, rest))) => {
                if let Some((left, others)) = left
                    && left.name == right.name
                {
                    self.left = others;
                }
                self.right = rest;
                Some(right)
            }
            (None, None) => None,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.len().max(self.right.len()), Some(self.left.len() + self.right.len()))
    }
}

/// What a builtin function does with all its arguments, which are not yet
/// evaluated; the place is that of the call.
pub type Run = for<'a, 'e> fn(&'a Worker<'e>, &'a [Value<'e>], Position) -> Evaluated<'e>;

/// A builtin function.
pub struct Builtin {
    /// Its name in `builtins`.
    pub name: &'static str,
    /// How many arguments it takes.
    pub arity: usize,
    /// The names of its arguments and what it does, a sentence or more.
    pub doc: &'static str,
    /// What it does.
    pub run: Run,
    /// The experimental feature without which it is absent.
    pub feature: Option<&'static str>,
}

impl Builtin {
    /// A function that is always there.
    pub const fn new(name: &'static str, arity: usize, run: Run, doc: &'static str) -> Builtin {
        Builtin { name, arity, doc, run, feature: None }
    }

    /// The same, absent without an experimental feature.
    #[must_use]
    pub const fn of(mut self, feature: &'static str) -> Builtin {
        self.feature = Some(feature);
        self
    }
}
