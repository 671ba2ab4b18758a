//! Contexts of strings: the store paths that a text stands for.

use super::heap::Heap;

/// One thing that a string depends on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Element<'e> {
    /// A store path as it is.
    Plain(&'e [u8]),
    /// An output of a derivation.
    Output {
        /// The path of the derivation.
        derivation: &'e [u8],
        /// The name of the output.
        output: &'e [u8],
    },
    /// A derivation with all its outputs and its closure.
    All(&'e [u8]),
}

/// What a string depends on: elements sorted, each once, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context<'e> {
    elements: &'e [Element<'e>],
}

impl<'e> Context<'e> {
    /// A context of `elements`, in any order and number; none where there are none.
    pub fn new(heap: &Heap<'e>, mut elements: Vec<Element<'e>>) -> Option<&'e Context<'e>> {
        if elements.is_empty() {
            return None;
        }
        elements.sort_unstable();
        elements.dedup();
        Some(heap.alloc(Context { elements: heap.slice(&elements) }))
    }

    /// The elements.
    pub fn elements(&self) -> &'e [Element<'e>] {
        self.elements
    }
}

/// Gathers the contexts of the parts of a text.
#[derive(Default)]
pub struct Gathered<'e> {
    first: Option<&'e Context<'e>>,
    more: Vec<Element<'e>>,
}

impl<'e> Gathered<'e> {
    /// Nothing gathered so far.
    pub fn new() -> Gathered<'e> {
        Gathered::default()
    }

    /// Adds a context.
    pub fn add(&mut self, context: Option<&'e Context<'e>>) {
        let Some(context) = context else { return };
        match self.first {
            None => self.first = Some(context),
            Some(first) if std::ptr::eq(first, context) || first == context => {}
            Some(_) => self.more.extend_from_slice(context.elements),
        }
    }

    /// Adds one element.
    pub fn add_element(&mut self, element: Element<'e>) {
        self.more.push(element);
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    /// The context of the whole text.
    pub fn finish(mut self, heap: &Heap<'e>) -> Option<&'e Context<'e>> {
        if self.more.is_empty() {
            return self.first;
        }
        if let Some(first) = self.first {
            self.more.extend_from_slice(first.elements);
        }
        Context::new(heap, self.more)
    }
}
