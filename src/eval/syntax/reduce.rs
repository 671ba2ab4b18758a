//! What each rule of the grammar makes of the symbols that it takes.

use super::super::symbols::Symbol;
use super::engine::{Arguments, Parser, Value};
use super::error::Failed;
use super::tables::Action;
use super::tree::{Formal, Formals, FormalsId, List, Node, NodeId, Operator, Step, Steps, Text};

/// A whole expression.
pub(super) const PLAIN: u32 = 0;
/// An expression followed by `or`, which is a call.
const CALL_OF_OR: u32 = 1;
/// A call whose arguments are pending from `b - PENDING` on.
const PENDING: u32 = 2;
/// A string that is a node, not a text.
const JOINED: u32 = u32::MAX;
/// Above this number of arguments, `(f a…) b` stays a call of a call.
const MOST_MOVED: u32 = 32;

type Reduced = Result<Value, Failed>;

impl Parser<'_> {
    /// Makes the value of a symbol; `first` is the value of the first symbol that the rule takes.
    pub(super) fn reduce(&mut self, action: Action, first: Value, all: Arguments) -> Reduced {
        let node = match action {
            Action::Variable => self.variable(first),
            Action::Int => self.add(Node::Int(first.bits() as i64), first.at),
            Action::Float => self.add(Node::Float(f64::from_bits(first.bits())), first.at),
            Action::StringEnd => self.string_node(first.at, all.get(1)),
            Action::IndentedEnd => self.strip(all.get(1).a() as usize, first.at),
            Action::PathPlain => first.node(),
            Action::PathJoin => self.path_join(first, all.get(1)),
            Action::SearchPath => self.search_path(first),
            Action::Uri => {
                let text = self.copy(first);
                self.add(Node::String(text), first.at)
            }
            Action::Paren => return Ok(Value::new(all.get(1).a(), all.get(1).b(), first.at)),
            Action::List => {
                let list = self.list_from(all.get(1).a() as usize);
                self.add(Node::List(list), first.at)
            }
            Action::ListMore => {
                self.warn_of_or(all.get(1));
                self.pending.push((all.get(1).node(), 0));
                return Ok(first);
            }
            Action::NoList => return Ok(Value::new(self.pending.len() as u32, first.b(), first.at)),
            Action::ApplyMore => return Ok(self.apply_more(first, all.get(1))),
            Action::ApplyEnd => return Ok(self.apply_end(first)),
            Action::Select => {
                let path = self.steps_from(all.get(2).a() as usize);
                self.add(Node::Select { base: first.node(), path, default: None }, first.at)
            }
            Action::SelectOr => {
                let path = self.steps_from(all.get(2).a() as usize);
                self.warn_of_or(all.get(4));
                let default = Some(all.get(4).node());
                self.add(Node::Select { base: first.node(), path, default }, first.at)
            }
            Action::CallOr => {
                let symbol = self.symbols.intern(b"or");
                let or = self.add(Node::Variable(symbol), all.get(1).at);
                let node = self.call(first.node(), &[or], first.at);
                return Ok(Value::new(node.0, CALL_OF_OR, first.at));
            }
            _ => return self.reduce_binding(action, first, all),
        };
        Ok(Value::new(node.0, PLAIN, first.at))
    }

    fn reduce_operator(&mut self, action: Action, first: Value, all: Arguments) -> Reduced {
        let (left, operator) = (first.node(), if all.len() > 1 { all.get(1).at } else { 0 });
        let right = if all.len() > 2 { all.get(2).node() } else { left };
        let binary = |operator| Node::Binary { operator, left, right };
        let node = match action {
            Action::Not => self.add(Node::Not(all.get(1).node()), self.tree.offset(all.get(1).node())),
            Action::Negate => {
                let zero = self.add(Node::Int(0), first.at);
                self.call_named(b"__sub", &[zero, all.get(1).node()], first.at)
            }
            Action::Equal => self.add(binary(Operator::Equal), operator),
            Action::NotEqual => self.add(binary(Operator::NotEqual), operator),
            Action::And => self.add(binary(Operator::And), operator),
            Action::Or => self.add(binary(Operator::Or), operator),
            Action::Implies => self.add(binary(Operator::Implies), operator),
            Action::Update => self.add(binary(Operator::Update), operator),
            Action::Concat => self.add(binary(Operator::Concat), operator),
            Action::Less => self.call_named(b"__lessThan", &[left, right], operator),
            Action::Greater => self.call_named(b"__lessThan", &[right, left], operator),
            Action::LessEqual => {
                let call = self.call_named(b"__lessThan", &[right, left], operator);
                self.add(Node::Not(call), operator)
            }
            Action::GreaterEqual => {
                let call = self.call_named(b"__lessThan", &[left, right], operator);
                self.add(Node::Not(call), operator)
            }
            Action::Minus => self.call_named(b"__sub", &[left, right], operator),
            Action::Times => self.call_named(b"__mul", &[left, right], operator),
            Action::Divide => self.call_named(b"__div", &[left, right], operator),
            Action::Plus => {
                let start = self.pending.len();
                self.pending.extend([(left, first.at), (right, all.get(2).at)]);
                let parts = self.list_from(start);
                self.add(Node::Join { string: false, parts }, operator)
            }
            Action::Has => {
                let path = self.steps_from(all.get(2).a() as usize);
                self.add(Node::Has { base: left, path }, operator)
            }
            Action::PipeInto => self.pipe(right, left, operator),
            Action::PipeFrom => self.pipe(left, right, operator),
            _ => return self.reduce_scope(action, first, all),
        };
        Ok(Value::new(node.0, PLAIN, first.at))
    }

    fn reduce_scope(&mut self, action: Action, first: Value, all: Arguments) -> Reduced {
        let node = match action {
            Action::Lambda => {
                let argument = Some(self.intern(first));
                self.add(Node::Lambda { argument, formals: None, body: all.get(2).node() }, first.at)
            }
            Action::LambdaFormals => self.lambda(first, None, all.get(2), first.at)?,
            Action::LambdaFormalsAt => self.lambda(first, Some(all.get(2)), all.get(4), first.at)?,
            Action::LambdaAtFormals => self.lambda(all.get(2), Some(first), all.get(4), first.at)?,
            Action::Assert => {
                self.add(Node::Assert { condition: all.get(1).node(), body: all.get(3).node() }, first.at)
            }
            Action::With => {
                self.add(Node::With { set: all.get(1).node(), body: all.get(3).node() }, first.at)
            }
            Action::If => {
                let (condition, then) = (all.get(1).node(), all.get(3).node());
                self.add(Node::If { condition, then, otherwise: all.get(5).node() }, first.at)
            }
            Action::Let => self.let_in(first.at, all.get(1), all.get(3))?,
            Action::LetBody => self.let_body(first.at, all.get(2)),
            Action::Rec => self.set_node(first.at, all.get(2), true),
            Action::Set => self.set_node(first.at, all.get(1), false),
            Action::EmptySet => {
                let set = self.new_set();
                self.add(Node::Set(set), first.at)
            }
            _ => return self.reduce_formals(action, first, all),
        };
        Ok(Value::new(node.0, PLAIN, first.at))
    }

    fn reduce_part(&mut self, action: Action, first: Value, all: Arguments) -> Reduced {
        match action {
            Action::StringText => {}
            Action::StringEmpty => return Ok(Value::new(self.tree.bytes.len() as u32, 0, first.at)),
            Action::StringJoin => {
                let parts = self.list_from(first.a() as usize);
                let node = self.add(Node::Join { string: true, parts }, first.at);
                return Ok(Value::new(node.0, JOINED, first.at));
            }
            Action::PartText => self.text_part(all.get(1)),
            Action::PartExpr => self.pending.push((all.get(2).node(), all.get(1).at)),
            Action::FirstExpr => {
                let start = self.pending.len() as u32;
                self.pending.push((all.get(1).node(), first.at));
                return Ok(Value::new(start, 0, first.at));
            }
            Action::FirstTextExpr => {
                let start = self.pending.len() as u32;
                self.text_part(first);
                self.pending.push((all.get(2).node(), all.get(1).at));
                return Ok(Value::new(start, 0, first.at));
            }
            Action::PathStart => return self.path_start(first),
            Action::HomeStart => return self.home_start(first),
            Action::IndentedText => {}
            Action::IndentedExpr => self.indented_part(all.get(2), all.get(1).at),
            Action::IndentedEmpty => {
                return Ok(Value::new(self.lexer.pieces.len() as u32, first.b(), first.at));
            }
            _ => return self.reduce_operator(action, first, all),
        }
        Ok(first)
    }

    fn reduce_binding(&mut self, action: Action, first: Value, all: Arguments) -> Reduced {
        match action {
            Action::NoBinds => return Ok(Value::new(self.new_set().0, first.b(), first.at)),
            Action::Bind => self.bind(first.a(), all.get(1), all.get(3))?,
            Action::FirstBind => {
                let set = self.new_set();
                self.bind(set.0, first, all.get(2))?;
                return Ok(Value::new(set.0, first.b(), first.at));
            }
            Action::Inherit => self.inherit(first.a(), all.get(2).a() as usize)?,
            Action::InheritFrom => {
                self.inherit_from(first.a(), all.get(3).node(), all.get(5).a() as usize)?
            }
            Action::NoNames => return Ok(Value::new(self.steps.len() as u32, first.b(), first.at)),
            Action::NameMore => {
                let step = step_of(all.get(1));
                if matches!(step, Step::Dynamic(_)) {
                    return Err(self
                        .lexer
                        .fail(all.get(1).at as usize, "dynamic attributes not allowed in inherit"));
                }
                self.steps.push((step, all.get(1).at));
            }
            Action::StepMore => self.steps.push((step_of(all.get(2)), all.get(2).at)),
            Action::StepFirst => {
                let start = self.steps.len() as u32;
                self.steps.push((step_of(first), first.at));
                return Ok(Value::new(start, 0, first.at));
            }
            Action::Name | Action::NameOr => return Ok(name(self.intern(first), first.at)),
            Action::NameExpr => return Ok(self.name_of(all.get(1), first.at)),
            Action::NameQuoted => return Ok(self.quoted_name(all.get(1), first.at)),
            _ => return self.reduce_part(action, first, all),
        }
        Ok(first)
    }

    fn reduce_formals(&mut self, action: Action, first: Value, all: Arguments) -> Reduced {
        let at = first.at;
        match action {
            Action::Formal | Action::FormalDefault => {
                let name = self.intern(first);
                let default = (action == Action::FormalDefault).then(|| all.get(2).node());
                self.arguments.push(Formal { name, offset: at, default });
                Ok(Value::new(self.arguments.len() as u32 - 1, 0, at))
            }
            Action::FormalsEllipsis => Ok(self.formals(all.get(1).a() as usize, true, at)),
            Action::Formals => Ok(self.formals(all.get(1).a() as usize, false, at)),
            Action::OnlyEllipsis => Ok(self.formals(self.arguments.len(), true, at)),
            Action::NoFormals => Ok(self.formals(self.arguments.len(), false, at)),
            // The first formal's place among those pending stands for all that follow it.
            _ => Ok(first),
        }
    }

    fn formals(&mut self, start: usize, ellipsis: bool, at: u32) -> Value {
        let formals = self.arguments.drain(start..).collect();
        self.tree.formals.push(Formals { formals, ellipsis });
        Value::new(self.tree.formals.len() as u32 - 1, 0, at)
    }

    fn lambda(
        &mut self,
        formals: Value,
        argument: Option<Value>,
        body: Value,
        at: u32,
    ) -> Result<NodeId, Failed> {
        let argument = argument.map(|value| self.intern(value));
        let id = FormalsId(formals.a());
        let mut places: Vec<(Symbol, u32)> =
            self.tree.formals(id).formals.iter().map(|formal| (formal.name, formal.offset)).collect();
        places.sort_unstable();
        let twice = places.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1]);
        let argument_too = argument.filter(|name| places.iter().any(|place| place.0 == *name));
        if let Some((name, at)) = twice.or(argument_too.map(|name| (name, at))) {
            let name = String::from_utf8_lossy(self.symbols.symbols.text(name));
            return Err(self.lexer.fail(at as usize, format!("duplicate formal function argument '{name}'")));
        }
        Ok(self.add(Node::Lambda { argument, formals: Some(id), body: body.node() }, at))
    }

    fn variable(&mut self, value: Value) -> NodeId {
        if self.source(value.a(), value.b()) == b"__curPos" {
            return self.add(Node::Position, value.at);
        }
        let symbol = self.intern(value);
        self.add(Node::Variable(symbol), value.at)
    }

    fn search_path(&mut self, value: Value) -> NodeId {
        let text = self.copy(value);
        let text = self.add(Node::String(text), value.at);
        let symbol = self.symbols.intern(b"__findFile");
        let function = self.add(Node::Variable(symbol), value.at);
        let symbol = self.symbols.intern(b"__nixPath");
        let path = self.add(Node::Variable(symbol), value.at);
        self.call(function, &[path, text], value.at)
    }

    /// Copies a piece of the source to the texts of the tree.
    fn copy(&mut self, value: Value) -> Text {
        let start = self.tree.bytes.len() as u32;
        self.tree.bytes.extend_from_slice(&self.lexer.text()[value.a() as usize..value.b() as usize]);
        Text { start, length: value.b() - value.a() }
    }

    fn text_part(&mut self, value: Value) {
        let node = self.add(Node::String(Text { start: value.a(), length: value.b() }), value.at);
        self.pending.push((node, value.at));
    }

    fn string_node(&mut self, at: u32, parts: Value) -> NodeId {
        match parts.b() {
            JOINED => parts.node(),
            length => self.add(Node::String(Text { start: parts.a(), length }), at),
        }
    }

    fn call(&mut self, function: NodeId, arguments: &[NodeId], at: u32) -> NodeId {
        let list = List { start: self.tree.lists.len() as u32, length: arguments.len() as u32 };
        self.tree.lists.extend_from_slice(arguments);
        self.tree.part_offsets.resize(self.tree.lists.len(), 0);
        self.add(Node::Apply { function, arguments: list }, at)
    }

    fn call_named(&mut self, name: &[u8], arguments: &[NodeId], at: u32) -> NodeId {
        let symbol = self.symbols.intern(name);
        let function = self.add(Node::Variable(symbol), at);
        self.call(function, arguments, at)
    }

    /// `argument |> function`: a function that is a call takes one more argument.
    fn pipe(&mut self, function: NodeId, argument: NodeId, at: u32) -> NodeId {
        let value = Value::new(function.0, PLAIN, at);
        let call = self.apply_more(value, Value::new(argument.0, PLAIN, at));
        self.apply_end(call).node()
    }

    /// One more argument of a call; a call in parentheses takes it too.
    fn apply_more(&mut self, function: Value, argument: Value) -> Value {
        self.warn_of_or(argument);
        if function.b() >= PENDING {
            self.pending.push((argument.node(), 0));
            return function;
        }
        let start = self.pending.len() as u32;
        let (mut called, mut at) = (function.node(), function.at);
        if let Node::Apply { function: inner, arguments } = self.tree.node(called)
            && arguments.length <= MOST_MOVED
        {
            at = self.tree.offset(called);
            called = inner;
            self.pending.extend(self.tree.list(arguments).iter().map(|node| (*node, 0)));
        }
        self.pending.push((argument.node(), 0));
        // The place of the call is kept as a node offset until the call is complete.
        self.starts.push(at);
        Value::new(called.0, start + PENDING, function.at)
    }

    fn apply_end(&mut self, value: Value) -> Value {
        if value.b() < PENDING {
            return Value::new(value.a(), PLAIN, value.at);
        }
        let arguments = self.list_from((value.b() - PENDING) as usize);
        let at = self.starts.pop().unwrap_or(value.at);
        let node = self.add(Node::Apply { function: value.node(), arguments }, at);
        Value::new(node.0, PLAIN, value.at)
    }

    /// Warns of `a or` where a call by that name will cease to be read as one.
    fn warn_of_or(&mut self, value: Value) {
        if value.b() != CALL_OF_OR {
            return;
        }
        let Node::Apply { arguments, .. } = self.tree.node(value.node()) else { return };
        let end = self.tree.list(arguments).last().map_or(value.at, |or| self.tree.offset(*or) + 2);
        let source = String::from_utf8_lossy(self.source(value.at, end));
        let text = format!(
            "This expression uses `or` as an identifier in a way that will change in a future Nix release.\n\
             Wrap this entire expression in parentheses to preserve its current meaning:\n    ({})\n\
             Give feedback at https://github.com/NixOS/nix/pull/11121",
            source.replace("\r\n", "\n").replace('\r', "\n")
        );
        self.tree.warnings.push((value.at, text));
    }

    /// Moves the steps from `start` on to the tree.
    pub(super) fn steps_from(&mut self, start: usize) -> Steps {
        let steps = Steps { start: self.tree.steps.len() as u32, length: (self.steps.len() - start) as u32 };
        self.tree.steps.extend(self.steps[start..].iter().map(|(step, _)| *step));
        self.steps.truncate(start);
        steps
    }

    /// `${e}`: a name where `e` is a text.
    fn name_of(&mut self, value: Value, at: u32) -> Value {
        match self.tree.node(value.node()) {
            Node::String(text) => name(self.symbols.intern(self.tree.text(text)), at),
            _ => Value::new(value.a(), DYNAMIC, at),
        }
    }

    fn quoted_name(&mut self, parts: Value, at: u32) -> Value {
        if parts.b() == JOINED {
            return Value::new(parts.a(), DYNAMIC, at);
        }
        let text = Text { start: parts.a(), length: parts.b() };
        let symbol = self.symbols.intern(self.tree.text(text));
        self.tree.bytes.truncate(parts.a() as usize);
        name(symbol, at)
    }
}

/// The mark of a step that is computed.
const DYNAMIC: u32 = 1;

fn name(symbol: Symbol, at: u32) -> Value {
    Value::new(symbol.0, 0, at)
}

fn step_of(value: Value) -> Step {
    if value.b() == DYNAMIC { Step::Dynamic(NodeId(value.a())) } else { Step::Name(Symbol(value.a())) }
}
