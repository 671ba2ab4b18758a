//! Bindings: nested definitions of one name become one set, other second definitions are errors.

use super::super::symbols::Symbol;
use super::super::text::quote::push_name;
use super::engine::{Parser, Value};
use super::error::{Failed, SyntaxError};
use super::tree::{Binding, Bound, DynamicBinding, Node, NodeId, Set, SetId, Step};
use std::hash::Hasher;

/// From this number of names on, a set has its names in [`Parser::index`].
const LARGE: usize = 16;

/// A hash of a pair of small numbers.
#[derive(Default)]
pub(super) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(23) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
}

/// A set that is being merged into another.
struct Merge {
    target: SetId,
    source: Set,
    /// The next of the source's bindings.
    next: usize,
    /// What its sources are moved by.
    moved: u32,
}

impl Parser<'_> {
    /// Adds an empty set.
    pub(super) fn new_set(&mut self) -> SetId {
        self.tree.sets.push(Set::default());
        SetId(self.tree.sets.len() as u32 - 1)
    }

    /// Makes a set complete.
    pub(super) fn set_node(&mut self, at: u32, set: Value, recursive: bool) -> NodeId {
        self.tree.sets[set.a() as usize].recursive = recursive;
        self.add(Node::Set(SetId(set.a())), at)
    }

    pub(super) fn let_in(&mut self, at: u32, set: Value, body: Value) -> Result<NodeId, Failed> {
        let bindings = &mut self.tree.sets[set.a() as usize];
        if !bindings.dynamic.is_empty() {
            return Err(self.lexer.fail(at as usize, "dynamic attributes not allowed in let"));
        }
        bindings.recursive = true;
        Ok(self.add(Node::Let { set: SetId(set.a()), body: body.node() }, at))
    }

    /// `let { … }`
    pub(super) fn let_body(&mut self, at: u32, set: Value) -> NodeId {
        let base = self.set_node(at, set, true);
        self.steps.push((Step::Name(self.symbols.intern(b"body")), at));
        let path = self.steps_from(self.steps.len() - 1);
        self.add(Node::Select { base, path, default: None }, at)
    }

    fn find(&self, set: SetId, name: Symbol) -> Option<usize> {
        let bindings = &self.tree.sets[set.0 as usize].bindings;
        if bindings.len() < LARGE {
            return bindings.iter().position(|binding| binding.name == name);
        }
        self.index.get(&(set.0, name.0)).map(|at| *at as usize)
    }

    fn push(&mut self, set: SetId, binding: Binding) {
        let bindings = &mut self.tree.sets[set.0 as usize].bindings;
        bindings.push(binding);
        let count = bindings.len();
        if count < LARGE {
            return;
        }
        let new = if count == LARGE { 0 } else { count - 1 };
        for (at, binding) in bindings.iter().enumerate().skip(new) {
            self.index.insert((set.0, binding.name.0), at as u32);
        }
    }

    /// `path = value;` in a set; the path's steps are those from `path.a()` on.
    pub(super) fn bind(&mut self, set: u32, path: Value, value: Value) -> Result<(), Failed> {
        let start = path.a() as usize;
        let mut set = SetId(set);
        let last = self.steps.len() - 1;
        for number in start..last {
            set = match self.steps[number].0 {
                Step::Name(name) => match self.find(set, name) {
                    Some(at) => match self.set_of(set, at) {
                        Some(inner) => inner,
                        None => return Err(self.twice(set, at, path.at, start..number + 1, &[])),
                    },
                    None => {
                        let (inner, node) = self.inner_set(path.at);
                        self.push(set, Binding { name, offset: path.at, value: Bound::Value(node) });
                        inner
                    }
                },
                Step::Dynamic(name) => {
                    let (inner, value) = self.inner_set(path.at);
                    self.tree.sets[set.0 as usize].dynamic.push(DynamicBinding {
                        name,
                        offset: path.at,
                        value,
                    });
                    inner
                }
            };
        }
        let value = value.node();
        match self.steps[last].0 {
            Step::Name(name) => match self.find(set, name) {
                Some(at) => match (self.set_of(set, at), self.tree.node(value)) {
                    (Some(inner), Node::Set(source)) => self.merge(inner, source, start)?,
                    _ => return Err(self.twice(set, at, path.at, start..last + 1, &[])),
                },
                None => self.push(set, Binding { name, offset: path.at, value: Bound::Value(value) }),
            },
            Step::Dynamic(name) => {
                let binding = DynamicBinding { name, offset: path.at, value };
                self.tree.sets[set.0 as usize].dynamic.push(binding);
            }
        }
        self.steps.truncate(start);
        Ok(())
    }

    /// A set for the names behind a dot.
    fn inner_set(&mut self, at: u32) -> (SetId, NodeId) {
        let set = self.new_set();
        let node = self.add(Node::Set(set), at);
        (set, node)
    }

    /// The set that a binding is bound to, if it is a literal one.
    fn set_of(&self, set: SetId, at: usize) -> Option<SetId> {
        let Bound::Value(node) = self.tree.sets[set.0 as usize].bindings[at].value else { return None };
        match self.tree.node(node) {
            Node::Set(inner) => Some(inner),
            _ => None,
        }
    }

    /// Moves all that `source` defines into `target`, the oldest names first; `path` is where its path begins in `steps`.
    fn merge(&mut self, target: SetId, source: SetId, path: usize) -> Result<(), Failed> {
        let mut names: Vec<Symbol> = Vec::new();
        let mut work = vec![self.take(target, source)];
        while let Some(top) = work.last_mut() {
            let Some(binding) = top.source.bindings.get(top.next).copied() else {
                work.pop();
                names.pop();
                continue;
            };
            top.next += 1;
            let (target, moved) = (top.target, top.moved);
            let Some(at) = self.find(target, binding.name) else {
                let value = match binding.value {
                    Bound::From { source } => Bound::From { source: source + moved },
                    other => other,
                };
                self.push(target, Binding { value, ..binding });
                continue;
            };
            let literal = match binding.value {
                Bound::Value(node) => Some(self.tree.node(node)),
                _ => None,
            };
            match (self.set_of(target, at), literal) {
                (Some(inner), Some(Node::Set(source))) => {
                    names.push(binding.name);
                    let next = self.take(inner, source);
                    work.push(next);
                }
                _ => {
                    names.push(binding.name);
                    let steps = path..self.steps.len();
                    return Err(self.twice(target, at, binding.offset, steps, &names));
                }
            }
        }
        Ok(())
    }

    /// Begins a merge: what needs no names is moved at once.
    fn take(&mut self, target: SetId, source: SetId) -> Merge {
        let mut source = std::mem::take(&mut self.tree.sets[source.0 as usize]);
        source.bindings.sort_by_key(|binding| binding.name);
        let set = &mut self.tree.sets[target.0 as usize];
        let moved = set.sources.len() as u32;
        set.sources.append(&mut source.sources);
        set.dynamic.append(&mut source.dynamic);
        Merge { target, source, next: 0, moved }
    }

    /// The error about a name that has a definition already: that of the binding `at` of a set.
    #[cold]
    fn twice(
        &mut self,
        set: SetId,
        at: usize,
        offset: u32,
        steps: std::ops::Range<usize>,
        names: &[Symbol],
    ) -> Failed {
        let mut path = Vec::new();
        let steps = self.steps[steps].iter().map(|(step, _)| *step);
        for step in steps.chain(names.iter().map(|name| Step::Name(*name))) {
            if !path.is_empty() {
                path.push(b'.');
            }
            match step {
                Step::Name(name) => push_name(&mut path, self.symbols.symbols.text(name)),
                Step::Dynamic(node) => {
                    super::print::dynamic(&self.tree, self.symbols.symbols, node, &mut path)
                }
            }
        }
        let path = String::from_utf8_lossy(&path).into_owned();
        let other = Some(self.tree.sets[set.0 as usize].bindings[at].offset);
        self.lexer.fail_with(SyntaxError {
            offset,
            message: format!("attribute '{path}' already defined at "),
            other,
            warnings: Vec::new(),
            lints: Vec::new(),
        })
    }

    /// `inherit names;`: the names are the steps from `start` on.
    pub(super) fn inherit(&mut self, set: u32, start: usize) -> Result<(), Failed> {
        for number in start..self.steps.len() {
            let (Step::Name(name), offset) = self.steps[number] else { continue };
            self.refuse_second(SetId(set), name, number)?;
            let node = if self.symbols.symbols.text(name) == b"__curPos" {
                Node::Position
            } else {
                Node::Variable(name)
            };
            let node = self.add(node, offset);
            self.push(SetId(set), Binding { name, offset, value: Bound::Inherit(node) });
        }
        self.steps.truncate(start);
        Ok(())
    }

    /// `inherit (source) names;`
    pub(super) fn inherit_from(&mut self, set: u32, source: NodeId, start: usize) -> Result<(), Failed> {
        let sources = self.tree.sets[set as usize].sources.len() as u32;
        for number in start..self.steps.len() {
            let (Step::Name(name), offset) = self.steps[number] else { continue };
            self.refuse_second(SetId(set), name, number)?;
            self.push(SetId(set), Binding { name, offset, value: Bound::From { source: sources } });
        }
        if self.steps.len() > start {
            self.tree.sets[set as usize].sources.push(source);
        }
        self.steps.truncate(start);
        Ok(())
    }

    fn refuse_second(&mut self, set: SetId, name: Symbol, step: usize) -> Result<(), Failed> {
        match self.find(set, name) {
            Some(at) => Err(self.twice(set, at, self.steps[step].1, step..step + 1, &[])),
            None => Ok(()),
        }
    }
}
