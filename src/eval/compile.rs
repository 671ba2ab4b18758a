//! From trees to code: names become places, free names are refused.

use std::collections::HashMap;

use super::code::{
    BindingCode, Code, DynamicCode, FormalCode, FormalsCode, JoinCode, LambdaCode, Operation, SelectCode,
    SetCode, StepCode,
};
use super::error::{Error, Kind};
use super::heap::{Heap, Value};
use super::shared::Functors;
use super::stack::Stack;
use super::symbols::{Symbol, Symbols, known};
use super::syntax::tree::{
    Bound, Formals, FormalsId, List, Node, NodeId, Operator, SetId, Step, Steps, Tree,
};
use super::value::{Attrs, Position, View};

/// The names that are bound outside all texts.
pub type Globals<'e> = HashMap<Symbol, Value<'e>>;

/// What a text is compiled with.
pub struct Compiler<'a, 'e> {
    /// Where the code goes.
    pub heap: &'a Heap<'e>,
    /// The text.
    pub tree: &'a Tree,
    /// The number of the text's first byte, 0 for a text without places.
    pub base: u32,
    /// The names.
    pub symbols: &'a Symbols,
    /// The builtin names.
    pub globals: &'a Globals<'e>,
    /// Names of a `scopedImport`, which hide the builtin ones.
    pub scoped: Option<Attrs<'e>>,
    /// Takes in where sets are written that can be called.
    pub functors: &'a Functors,
    /// The limit of the native stack.
    pub stack: Stack,
}

/// The scopes around an expression.
enum Scope<'s> {
    Root,
    /// Names, sorted by symbol, and their slots.
    Names(&'s [(Symbol, u32)], &'s Scope<'s>),
    /// `with`, at its place.
    With(Position, &'s Scope<'s>),
}

enum Found<'e> {
    Local(u32, u32),
    Global(Value<'e>),
    With(Vec<(u32, Position)>),
}

type Compiled<'e> = Result<&'e Code<'e>, Error>;

impl<'e> Compiler<'_, 'e> {
    /// Compiles the whole tree.
    ///
    /// # Errors
    /// A variable that nothing binds, or an expression that is nested too deeply.
    pub fn compile(&self) -> Compiled<'e> {
        self.expression(self.tree.root, &Scope::Root)
    }

    fn position(&self, offset: u32) -> Position {
        if self.base == 0 { Position::NONE } else { Position(self.base + offset) }
    }

    fn place(&self, node: NodeId) -> Position {
        self.position(self.tree.offset(node))
    }

    fn find(&self, name: Symbol, scope: &Scope<'_>, mut depth: u32) -> Option<Found<'e>> {
        let mut withs = Vec::new();
        let mut scope = scope;
        loop {
            match scope {
                Scope::Names(names, up) => {
                    if let Ok(at) = names.binary_search_by_key(&name, |entry| entry.0) {
                        return Some(Found::Local(depth, names[at].1));
                    }
                    scope = up;
                }
                Scope::With(place, up) => {
                    withs.push((depth, *place));
                    scope = up;
                }
                Scope::Root => break,
            }
            depth += 1;
        }
        if let Some(attr) = self.scoped.and_then(|attrs| attrs.get(name)) {
            return Some(Found::Global(attr.value));
        }
        if let Some(value) = self.globals.get(&name) {
            return Some(Found::Global(*value));
        }
        (!withs.is_empty()).then_some(Found::With(withs))
    }

    fn variable(&self, name: Symbol, position: Position, scope: &Scope<'_>, skip: u32) -> Compiled<'e> {
        Ok(self.heap.alloc(match self.find(name, scope, skip) {
            Some(Found::Local(depth, index)) => Code::Local { depth, index, position },
            Some(Found::Global(value)) => Code::Constant(value, position),
            Some(Found::With(scopes)) => Code::With { name, scopes: self.heap.slice(&scopes), position },
            None => {
                let name = String::from_utf8_lossy(self.symbols.text(name));
                return Err(Error::of(Kind::Syntax, format!("undefined variable '{name}'")).at(position));
            }
        }))
    }

    fn expression(&self, id: NodeId, scope: &Scope<'_>) -> Compiled<'e> {
        if self.stack.is_exhausted() {
            return Err(Error::of(Kind::Depth, "the expression is nested too deeply").at(self.place(id)));
        }
        let position = self.place(id);
        let code = match self.tree.node(id) {
            Node::Int(value) => literal(Value::int(value)),
            Node::Float(value) => literal(Value::float(value)),
            Node::String(text) => literal(Value::string(self.heap.slice(self.tree.text(text)))),
            Node::Path(text) => literal(Value::path(self.heap.slice(self.tree.text(text)))),
            Node::Variable(name) => return self.variable(name, position, scope, 0),
            Node::Position => Code::Here(position),
            Node::Join { string, parts } => self.join(string, parts, position, scope)?,
            Node::Select { base, path, default } => {
                Code::Select(self.selection(base, path, default, position, scope)?)
            }
            Node::Has { base, path } => Code::Has(self.selection(base, path, None, position, scope)?),
            Node::Apply { function, arguments } => self.call(function, arguments, position, scope)?,
            Node::List(items) => Code::List(self.all(items, scope)?),
            Node::Set(set) => Code::Set(self.set(set, position, scope)?.0),
            Node::Lambda { .. } => Code::Lambda(self.lambda(id, None, scope)?),
            Node::Let { set, body } => {
                let (set, names) = self.set(set, position, scope)?;
                let body = self.expression(body, &Scope::Names(&names, scope))?;
                Code::Let(set, body)
            }
            Node::With { set, body } => {
                let set = self.expression(set, scope)?;
                Code::Scope { set, body: self.expression(body, &Scope::With(position, scope))?, position }
            }
            Node::If { condition, then, otherwise } => {
                let parts = [
                    self.expression(condition, scope)?,
                    self.expression(then, scope)?,
                    self.expression(otherwise, scope)?,
                ];
                Code::If { parts: self.heap.alloc(parts), position }
            }
            Node::Assert { condition, body } => {
                let parts = [self.expression(condition, scope)?, self.expression(body, scope)?];
                Code::Assert { parts: self.heap.alloc(parts), position }
            }
            Node::Not(operand) => Code::Not(self.expression(operand, scope)?),
            Node::Binary { operator, left, right } => self.binary(operator, left, right, position, scope)?,
        };
        Ok(self.heap.alloc(code))
    }

    fn binary(
        &self,
        operator: Operator,
        left: NodeId,
        right: NodeId,
        position: Position,
        scope: &Scope<'_>,
    ) -> Result<Code<'e>, Error> {
        let operands = [self.expression(left, scope)?, self.expression(right, scope)?];
        Ok(Code::Binary { operator, operands: self.heap.alloc(operands), position })
    }

    fn all(&self, list: List, scope: &Scope<'_>) -> Result<&'e [&'e Code<'e>], Error> {
        let items: Result<Vec<_>, _> =
            self.tree.list(list).iter().map(|item| self.expression(*item, scope)).collect();
        Ok(self.heap.slice(&items?))
    }

    fn join(
        &self,
        string: bool,
        parts: List,
        position: Position,
        scope: &Scope<'_>,
    ) -> Result<Code<'e>, Error> {
        let places = self.tree.parts(parts);
        let parts: Result<Vec<_>, Error> = self
            .tree
            .list(parts)
            .iter()
            .zip(places)
            .map(|(part, place)| Ok((self.expression(*part, scope)?, self.position(*place))))
            .collect();
        Ok(Code::Join(self.heap.alloc(JoinCode { string, parts: self.heap.slice(&parts?), position })))
    }

    fn selection(
        &self,
        base: NodeId,
        path: Steps,
        default: Option<NodeId>,
        position: Position,
        scope: &Scope<'_>,
    ) -> Result<&'e SelectCode<'e>, Error> {
        let base = self.expression(base, scope)?;
        let steps: Result<Vec<_>, Error> = self
            .tree
            .path(path)
            .iter()
            .map(|step| match step {
                Step::Name(name) => Ok(StepCode::Name(*name)),
                Step::Dynamic(node) => Ok(StepCode::Dynamic(self.expression(*node, scope)?)),
            })
            .collect();
        let path = self.heap.slice(&steps?);
        let default = default.map(|default| self.expression(default, scope)).transpose()?;
        Ok(self.heap.alloc(SelectCode { base, path, default, position }))
    }

    fn call(
        &self,
        function: NodeId,
        arguments: List,
        position: Position,
        scope: &Scope<'_>,
    ) -> Result<Code<'e>, Error> {
        let operator = matches!(self.tree.node(function), Node::Variable(_));
        let function = constant_selection(self.heap, self.expression(function, scope)?);
        let arguments = self.all(arguments, scope)?;
        if let (true, Code::Constant(value, _), [left, right]) = (operator, function, arguments)
            && let View::Builtin(builtin) = value.view()
        {
            let operation = match builtin.name {
                "sub" => Some(Operation::Subtract),
                "mul" => Some(Operation::Multiply),
                "div" => Some(Operation::Divide),
                "lessThan" => Some(Operation::Less),
                _ => None,
            };
            if let Some(operation) = operation {
                let operands = self.heap.alloc([*left, *right]);
                return Ok(Code::Operate { operation, operands, position });
            }
        }
        Ok(Code::Call { function, arguments, position })
    }

    /// A function, with the functions that it gives at once, which share its scope.
    fn lambda(
        &self,
        id: NodeId,
        name: Option<Symbol>,
        scope: &Scope<'_>,
    ) -> Result<&'e LambdaCode<'e>, Error> {
        // One with formals ends the chain: it needs its argument for its scope.
        let mut chain = Vec::new();
        let mut names: Vec<(Symbol, u32)> = Vec::new();
        let mut next = id;
        let last = loop {
            let Node::Lambda { argument, formals, body } = self.tree.node(next) else {
                return Err(Error::new("not a function"));
            };
            match (formals, argument, self.tree.node(body)) {
                (None, Some(argument), Node::Lambda { .. }) => {
                    bind(&mut names, argument, chain.len() as u32);
                    chain.push((next, argument));
                    next = body;
                }
                _ => break (next, argument, formals, body),
            }
        };
        let (last, argument, formals, body) = last;
        let taken = chain.len() as u32;
        let order = self.formal_names(argument, formals, taken, &mut names);
        names.sort_unstable_by_key(|entry| entry.0);
        let inside = Scope::Names(&names, scope);
        let formals = match formals {
            None => None,
            Some(id) => Some(self.formals(self.tree.formals(id), &order, &inside)?),
        };
        // A function that a function of some name gives at once has that name, too.
        let body = match (name, self.tree.node(body)) {
            (Some(name), Node::Lambda { .. }) => self.bound(body, name, &inside)?,
            _ => self.expression(body, &inside)?,
        };
        let position = self.place(last);
        let mut code = LambdaCode { name, argument, formals, body, position, taken };
        for (taken, (id, argument)) in chain.into_iter().enumerate().rev() {
            let body = self.heap.alloc(Code::Lambda(self.heap.alloc(code)));
            let (argument, formals, taken) = (Some(argument), None, taken as u32);
            code = LambdaCode { name, argument, formals, body, position: self.place(id), taken };
        }
        Ok(self.heap.alloc(code))
    }

    /// Adds the names of a function's scope, whose slots begin with `start`; gives the formals in the
    /// order of their symbols.
    fn formal_names(
        &self,
        argument: Option<Symbol>,
        formals: Option<FormalsId>,
        start: u32,
        names: &mut Vec<(Symbol, u32)>,
    ) -> Vec<usize> {
        let written = formals.map_or(&[][..], |id| &self.tree.formals(id).formals);
        let mut order: Vec<usize> = (0..written.len()).collect();
        order.sort_by_key(|index| written[*index].name);
        // The arguments of functions around are few, and so is what they hide.
        names.retain(|entry| order.binary_search_by_key(&entry.0, |index| written[*index].name).is_err());
        let slots = start..;
        names.extend(order.iter().zip(slots).map(|(index, slot)| (written[*index].name, slot)));
        if let Some(argument) = argument {
            bind(names, argument, start + written.len() as u32);
        }
        order
    }

    fn formals(
        &self,
        written: &Formals,
        order: &[usize],
        inside: &Scope<'_>,
    ) -> Result<&'e FormalsCode<'e>, Error> {
        let formals: Result<Vec<_>, Error> = order
            .iter()
            .map(|index| {
                let formal = &written.formals[*index];
                let default = formal.default.map(|default| self.expression(default, inside)).transpose()?;
                Ok(FormalCode { name: formal.name, position: self.position(formal.offset), default })
            })
            .collect();
        let formals = self.heap.slice(&formals?);
        Ok(self.heap.alloc(FormalsCode { formals, ellipsis: written.ellipsis }))
    }

    /// The code of a set, and the names of its scope.
    #[allow(clippy::type_complexity)]
    fn set(
        &self,
        id: SetId,
        position: Position,
        scope: &Scope<'_>,
    ) -> Result<(&'e SetCode<'e>, Vec<(Symbol, u32)>), Error> {
        let set = self.tree.set(id);
        let mut order: Vec<usize> = (0..set.bindings.len()).collect();
        order.sort_by_key(|index| set.bindings[*index].name);
        let names: Vec<(Symbol, u32)> = if set.recursive {
            order.iter().enumerate().map(|(slot, index)| (set.bindings[*index].name, slot as u32)).collect()
        } else {
            Vec::new()
        };
        let has_scope = set.recursive || !set.sources.is_empty();
        let inner = Scope::Names(&names, scope);
        let inside: &Scope<'_> = if has_scope { &inner } else { scope };
        let sources: Result<Vec<_>, Error> =
            set.sources.iter().map(|source| self.expression(*source, inside)).collect();
        let sources = self.heap.slice(&sources?);
        let mut bindings = Vec::with_capacity(order.len());
        for index in order {
            let binding = &set.bindings[index];
            let position = self.position(binding.offset);
            let (value, outside) = match binding.value {
                Bound::Value(node) => (self.bound(node, binding.name, inside)?, false),
                Bound::Inherit(node) => (self.expression(node, scope)?, true),
                Bound::From { source } => {
                    let index = names.len() as u32 + source;
                    let base = self.heap.alloc(Code::Local { depth: 0, index, position: Position::NONE });
                    let path = self.heap.slice(&[StepCode::Name(binding.name)]);
                    let select = SelectCode { base, path, default: None, position };
                    let select: &'e Code<'e> = self.heap.alloc(Code::Select(self.heap.alloc(select)));
                    (select, false)
                }
            };
            bindings.push(BindingCode { name: binding.name, position, value, outside });
        }
        let mut dynamic = Vec::with_capacity(set.dynamic.len());
        for binding in &set.dynamic {
            let name = self.expression(binding.name, inside)?;
            let value = self.expression(binding.value, inside)?;
            dynamic.push(DynamicCode { name, position: self.position(binding.offset), value });
        }
        let overrides = set.recursive && set.bindings.iter().any(|binding| binding.name == known::OVERRIDES);
        if let (Some(functor), []) =
            (bindings.iter().find(|binding| binding.name == known::FUNCTOR), &dynamic[..])
        {
            self.functors.add(functor.position, position, bindings.len());
        }
        let (bindings, dynamic) = (self.heap.slice(&bindings), self.heap.slice(&dynamic));
        Ok((
            self.heap.alloc(SetCode {
                recursive: set.recursive,
                bindings,
                dynamic,
                sources,
                overrides,
                position,
            }),
            names,
        ))
    }

    /// The value of a binding; a function gets its name.
    fn bound(&self, node: NodeId, name: Symbol, scope: &Scope<'_>) -> Compiled<'e> {
        if matches!(self.tree.node(node), Node::Lambda { .. }) && !self.stack.is_exhausted() {
            return Ok(self.heap.alloc(Code::Lambda(self.lambda(node, Some(name), scope)?)));
        }
        self.expression(node, scope)
    }
}

/// Gives a name a slot, instead of another that it has.
fn bind(names: &mut Vec<(Symbol, u32)>, name: Symbol, slot: u32) {
    names.retain(|entry| entry.0 != name);
    names.push((name, slot));
}

/// A constant that errors do not point at.
fn literal(value: Value<'_>) -> Code<'_> {
    Code::Constant(value, Position::NONE)
}

/// `builtins.name` where `builtins` is the builtin set: what it selects. Only for
/// what is called at once, since elsewhere the selection counts as not yet evaluated.
fn constant_selection<'e>(heap: &Heap<'e>, code: &'e Code<'e>) -> &'e Code<'e> {
    if let Code::Select(select) = code
        && let (Code::Constant(base, _), [StepCode::Name(name)], None) =
            (select.base, select.path, select.default)
        && let View::Attrs(attrs) = base.view()
        && let Some(attr) = attrs.get(*name)
        && let View::Builtin(_) = attr.value.view()
    {
        return heap.alloc(Code::Constant(attr.value, select.position));
    }
    code
}

impl Code<'_> {
    /// The place that errors about this expression as an operand name.
    pub fn position(&self) -> Position {
        match self {
            Code::Binary { operator: Operator::Equal | Operator::NotEqual, .. } => Position::NONE,
            Code::Constant(_, position)
            | Code::Local { position, .. }
            | Code::With { position, .. }
            | Code::Here(position)
            | Code::Call { position, .. }
            | Code::Operate { position, .. }
            | Code::If { position, .. }
            | Code::Assert { position, .. }
            | Code::Scope { position, .. }
            | Code::Binary { position, .. } => *position,
            Code::Set(set) => set.position,
            Code::Join(join) => join.position,
            Code::Select(select) | Code::Has(select) => select.position,
            Code::Lambda(lambda) => lambda.position,
            Code::Not(operand) => operand.position(),
            Code::List(_) | Code::Let(..) | Code::File(_) => Position::NONE,
        }
    }
}
