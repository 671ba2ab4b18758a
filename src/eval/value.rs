//! What values are made of.

use std::borrow::Cow;

use super::context::Context;
use super::heap::{Closure, Heap, Thunk, Value};
use super::interpret::{Evaluated, Worker};
use super::symbols::Symbol;

/// A place in a source: 0 is no place, others are numbers that [`super::sources::Sources`] gives out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
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
    Attrs(&'e Attrs<'e>),
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
    pub arguments: &'e [Value<'e>],
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

/// A set: attributes sorted by symbol, over those of another set that they hide.
#[derive(Clone, Copy)]
pub struct Attrs<'e> {
    own: &'e [Attr<'e>],
    base: Option<&'e Attrs<'e>>,
    count: u32,
    layers: u32,
}

/// Sets of more layers than this are written out.
const MOST_LAYERS: u32 = 6;
/// An update makes a layer only over a set with this many times its attributes.
const LAYER_RATIO: usize = 4;
/// Sets up to this size are searched from the front.
const LINEAR: usize = 8;

impl<'e> Attrs<'e> {
    /// A set of `own`, which are sorted by symbol, each once.
    pub fn new(heap: &Heap<'e>, own: &'e [Attr<'e>]) -> &'e Attrs<'e> {
        debug_assert!(own.windows(2).all(|pair| pair[0].name < pair[1].name));
        heap.alloc(Attrs { own, base: None, count: own.len() as u32, layers: 0 })
    }

    /// A set of attributes in any order, each once.
    pub fn unsorted(heap: &Heap<'e>, mut attrs: Vec<Attr<'e>>) -> &'e Attrs<'e> {
        attrs.sort_unstable_by_key(|attr| attr.name);
        Attrs::new(heap, heap.slice(&attrs))
    }

    /// The number of attributes.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The attribute of a name.
    #[inline]
    pub fn get(&self, name: Symbol) -> Option<&'e Attr<'e>> {
        let mut layer = self;
        loop {
            if let Some(found) = search(layer.own, name) {
                return Some(found);
            }
            layer = layer.base?;
        }
    }

    /// The attributes in the order of their symbols.
    pub fn entries(&self) -> Cow<'e, [Attr<'e>]> {
        match self.base {
            None => Cow::Borrowed(self.own),
            Some(base) => {
                let mut merged = Vec::with_capacity(self.len());
                merge(&base.entries(), self.own, |attr| merged.push(*attr));
                Cow::Owned(merged)
            }
        }
    }

    /// `left // right`
    pub fn update(heap: &Heap<'e>, left: &'e Attrs<'e>, right: &'e Attrs<'e>) -> &'e Attrs<'e> {
        if right.is_empty() {
            return left;
        }
        if left.is_empty() {
            return right;
        }
        if right.base.is_none() && left.layers < MOST_LAYERS && right.len() * LAYER_RATIO <= left.len() {
            let new = right.own.iter().filter(|attr| left.get(attr.name).is_none()).count();
            let count = left.count + new as u32;
            return heap.alloc(Attrs { own: right.own, base: Some(left), count, layers: left.layers + 1 });
        }
        let mut merged = Vec::with_capacity(left.len() + right.len());
        merge(&left.entries(), &right.entries(), |attr| merged.push(*attr));
        Attrs::new(heap, heap.slice(&merged))
    }
}

#[inline]
fn search<'e>(attrs: &'e [Attr<'e>], name: Symbol) -> Option<&'e Attr<'e>> {
    if attrs.len() <= LINEAR {
        return attrs.iter().find(|attr| attr.name == name);
    }
    attrs.binary_search_by_key(&name, |attr| attr.name).ok().map(|index| &attrs[index])
}

/// Hands out the attributes of both in order; where both have a name, the right one's.
fn merge<'e>(left: &[Attr<'e>], right: &[Attr<'e>], mut take: impl FnMut(&Attr<'e>)) {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(l), Some(r)) if l.name < r.name => {
                take(l);
                left.next();
            }
            (Some(l), Some(r)) => {
                if l.name == r.name {
                    left.next();
                }
                take(r);
                right.next();
            }
            (Some(l), None) => {
                take(l);
                left.next();
            }
            (None, Some(r)) => {
                take(r);
                right.next();
            }
            (None, None) => return,
        }
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
