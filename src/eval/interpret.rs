//! The interpreter: expressions to values, thunks to values, calls.

use std::cell::Cell;

use super::code::{Code, LambdaCode, SelectCode, SetCode, StepCode};
use super::error::{Error, FrameKind, Kind, Traced};
use super::heap::{Claim, Closure, Env, Heap, Thunk, Value};
use super::shared::Shared;
use super::stack::Stack;
use super::symbols::{Symbol, known};
use super::value::{Attr, Attrs, Pending, Position, View};

/// What evaluating gives.
pub type Evaluated<'e> = Result<Value<'e>, Error>;

/// One thread that evaluates.
pub struct Worker<'e> {
    /// Where its values go.
    pub heap: Heap<'e>,
    /// What all threads of the evaluation share.
    pub shared: &'e Shared<'e>,
    depth: Cell<u32>,
    calls: Cell<u32>,
    stack: Stack,
}

/// After so many calls the world is asked whether to go on.
const CALLS_BETWEEN_QUESTIONS: u32 = 8192;

impl<'e> Worker<'e> {
    /// A worker on a stack with the limit `stack`.
    pub fn new(shared: &'e Shared<'e>, stack: Stack) -> Worker<'e> {
        Worker { heap: Heap::new(shared.arena), shared, depth: Cell::new(0), calls: Cell::new(0), stack }
    }

    /// The limit of this thread's stack.
    pub fn stack(&self) -> Stack {
        self.stack
    }

    /// The text of a name.
    pub fn text(&self, name: Symbol) -> &'static [u8] {
        self.shared.symbols.text(name)
    }

    /// The text of a name for messages.
    pub fn name(&self, name: Symbol) -> String {
        String::from_utf8_lossy(self.text(name)).into_owned()
    }

    // ------------------------------------------------------------ forcing

    /// The value behind `value`, evaluated to its outermost constructor.
    ///
    /// # Errors
    /// The evaluation failed.
    #[inline]
    pub fn force(&self, value: Value<'e>) -> Evaluated<'e> {
        self.force_at(value, Position::NONE)
    }

    /// The same; a value that needs itself is reported at `position`.
    ///
    /// # Errors
    /// The evaluation failed.
    #[inline]
    pub fn force_at(&self, value: Value<'e>, position: Position) -> Evaluated<'e> {
        match value.as_thunk() {
            None => Ok(value),
            Some(thunk) => match thunk.value() {
                Some(value) => Ok(value),
                None => self.force_thunk(thunk, position),
            },
        }
    }

    fn force_thunk(&self, thunk: &'e Thunk<'e>, position: Position) -> Evaluated<'e> {
        let result = match thunk.claim() {
            Claim::Done(value) => return Ok(value),
            Claim::Evaluate(code, env) => self.eval(code, env),
            Claim::Call(pending) => {
                self.call(pending.function, pending.arguments, pending_position(&pending))
            }
            Claim::Running => {
                return Err(Error::of(Kind::Recursion, "infinite recursion encountered").at(position));
            }
            Claim::Failed(number) => return Err(self.shared.failure(number)),
        };
        match result {
            Ok(value) => {
                thunk.finish(value);
                Ok(value)
            }
            Err(error) => {
                thunk.fail(self.shared.keep_failure(&error));
                Err(error)
            }
        }
    }

    /// A value for `code` that is evaluated when it is needed: a thunk, or what is known already.
    #[inline]
    pub fn delay(&self, code: &'e Code<'e>, env: &'e Env<'e>) -> Value<'e> {
        match code {
            Code::Constant(value) => *value,
            Code::Local { depth, index, .. } => {
                let value = slot(env, *depth, *index);
                if value.is_empty() { self.heap.suspend(code, env) } else { value }
            }
            Code::List([]) => Value::list(&[]),
            _ => self.heap.suspend(code, env),
        }
    }

    // --------------------------------------------------------- evaluating

    /// Evaluates an expression to its outermost constructor.
    ///
    /// # Errors
    /// The evaluation failed.
    pub fn eval(&self, code: &'e Code<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        if self.stack.is_exhausted() {
            return Err(stack_overflow());
        }
        let (mut code, mut env) = (code, env);
        loop {
            match code {
                Code::Constant(value) => return self.force(*value),
                Code::Local { depth, index, position } => {
                    return self.force_at(slot(env, *depth, *index), *position);
                }
                Code::Call { function, arguments, position } => {
                    return self.eval_call(function, arguments, *position, env);
                }
                Code::Select(select) => return self.select(select, env),
                Code::Operate { operation, operands, position } => {
                    return self.operate(*operation, operands, *position, env);
                }
                Code::Lambda(lambda) => return Ok(Value::lambda(&self.heap, lambda, env)),
                Code::Set(set) => return self.set(set, env),
                Code::List(items) => {
                    let items = self.heap.slice_with(items.len(), |index| self.delay(items[index], env));
                    return Ok(Value::list(items));
                }
                Code::Let(set, body) => {
                    env = self.scope(set, env);
                    code = body;
                }
                Code::Scope { set, body, .. } => {
                    let inner = self.heap.env(Some(env), 1);
                    inner.fill(0, self.delay(set, env));
                    env = inner;
                    code = body;
                }
                Code::If { parts, position } => {
                    let holds =
                        self.condition(parts[0], env, *position, "while evaluating a branch condition")?;
                    code = if holds { parts[1] } else { parts[2] };
                }
                Code::Assert { parts, position } => {
                    self.assert(parts[0], env, *position)?;
                    code = parts[1];
                }
                Code::Not(operand, _) => {
                    let text = "in the argument of the not operator";
                    return Ok(Value::bool(!self.condition(operand, env, operand.position(), text)?));
                }
                Code::Binary { operator, operands, position } => {
                    return self.binary(*operator, operands, *position, env);
                }
                Code::Join(join) => return self.join(join, env),
                Code::Has(select) => return self.has(select, env),
                Code::With { name, scopes, position } => return self.scoped(*name, scopes, *position, env),
                Code::Here(position) => return Ok(self.position_value(*position)),
            }
        }
    }

    /// The value of a condition. An error is told at `position` with `text`.
    pub(super) fn condition(
        &self,
        code: &'e Code<'e>,
        env: &'e Env<'e>,
        position: Position,
        text: &str,
    ) -> Result<bool, Error> {
        let result = self.eval(code, env).and_then(|value| match value.view() {
            View::Bool(holds) => Ok(holds),
            _ => Err(self.wrong_type("a Boolean", value).at(position)),
        });
        match result {
            Ok(holds) => Ok(holds),
            Err(error) => Err(error.frame(position, text)),
        }
    }

    fn scoped(
        &self,
        name: Symbol,
        scopes: &[(u32, Position)],
        position: Position,
        env: &'e Env<'e>,
    ) -> Evaluated<'e> {
        for (depth, place) in scopes {
            let text = "while evaluating the first subexpression of a with expression";
            let set = self.force_attrs(slot(env, *depth, 0), *place, text)?;
            if let Some(attr) = set.get(name) {
                return self.force_at(attr.value, position);
            }
        }
        let message = format!("undefined variable '{}'", self.name(name));
        Err(Error::new(message).at(position))
    }

    /// The scope of a recursive set or `let`, or of the sources of another set.
    fn scope(&self, set: &'e SetCode<'e>, env: &'e Env<'e>) -> &'e Env<'e> {
        let names = if set.recursive { set.bindings.len() } else { 0 };
        let inner = self.heap.env(Some(env), names + set.sources.len());
        for (index, source) in set.sources.iter().enumerate() {
            inner.fill(names + index, self.heap.suspend(source, inner));
        }
        if set.recursive {
            for (index, binding) in set.bindings.iter().enumerate() {
                let value = self.delay(binding.value, if binding.outside { env } else { inner });
                inner.fill(index, value);
            }
        }
        inner
    }

    fn set(&self, set: &'e SetCode<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let inner = if set.recursive || !set.sources.is_empty() { self.scope(set, env) } else { env };
        if set.overrides {
            return self.overridden(set, env, inner);
        }
        let own = self.heap.slice_with(set.bindings.len(), |index| {
            let binding = &set.bindings[index];
            let value = if set.recursive {
                inner.get(index)
            } else {
                self.delay(binding.value, if binding.outside { env } else { inner })
            };
            Attr { name: binding.name, position: binding.position, value }
        });
        let attrs = Attrs::new(&self.heap, own);
        if set.dynamic.is_empty() { Ok(Value::attrs(attrs)) } else { self.with_dynamic(set, attrs, inner) }
    }

    /// A recursive set whose `__overrides` replace attributes, for the references inside, too.
    fn overridden(&self, set: &'e SetCode<'e>, env: &'e Env<'e>, inner: &'e Env<'e>) -> Evaluated<'e> {
        let at = set.bindings.iter().position(|binding| binding.name == known::OVERRIDES).unwrap_or_default();
        let text = "while evaluating the `__overrides` attribute";
        let overrides = self.force_attrs(inner.get(at), Position::NONE, text)?;
        // The scope was seen by the thunks of the overrides alone; others are made anew over a changed one.
        let changed = self.heap.env(inner.up, set.bindings.len() + set.sources.len());
        for (index, source) in set.sources.iter().enumerate() {
            changed.fill(set.bindings.len() + index, self.heap.suspend(source, changed));
        }
        let mut attrs = Vec::with_capacity(set.bindings.len() + overrides.len());
        for (index, binding) in set.bindings.iter().enumerate() {
            let (value, position) = match overrides.get(binding.name) {
                Some(attr) => (attr.value, attr.position),
                None if index == at => (inner.get(at), binding.position),
                None => {
                    let scope = if binding.outside { env } else { changed };
                    (self.heap.suspend(binding.value, scope), binding.position)
                }
            };
            changed.fill(index, value);
            attrs.push(Attr { name: binding.name, position, value });
        }
        for attr in overrides.entries().iter() {
            if set.bindings.iter().all(|binding| binding.name != attr.name) {
                attrs.push(*attr);
            }
        }
        let attrs = Attrs::unsorted(&self.heap, attrs);
        if set.dynamic.is_empty() { Ok(Value::attrs(attrs)) } else { self.with_dynamic(set, attrs, changed) }
    }

    fn with_dynamic(&self, set: &'e SetCode<'e>, attrs: &'e Attrs<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let mut all = attrs.entries().into_owned();
        for binding in set.dynamic {
            let text = "while evaluating the name of a dynamic attribute";
            let name = self.eval(binding.name, env)?;
            if matches!(name.view(), View::Null) {
                continue;
            }
            let name = self.force_name(name, binding.position, text).located(binding.position)?;
            if let Some(other) = all.iter().find(|attr| attr.name == name) {
                let place = self.shared.place_text(other.position);
                let message = format!("dynamic attribute '{}' already defined at {place}", self.name(name));
                return Err(Error::new(message).at(binding.position));
            }
            let value = self.delay(binding.value, env);
            all.push(Attr { name, position: binding.position, value });
        }
        Ok(Value::attrs(Attrs::unsorted(&self.heap, all)))
    }

    // ---------------------------------------------------------- selecting

    fn step(&self, step: StepCode<'e>, env: &'e Env<'e>) -> Result<Symbol, Error> {
        match step {
            StepCode::Name(name) => Ok(name),
            StepCode::Dynamic(code) => {
                let value = self.eval(code, env)?;
                self.force_name(value, Position::NONE, "while evaluating an attribute name")
            }
        }
    }

    fn select(&self, select: &'e SelectCode<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let mut value = self.eval(select.base, env);
        let mut found: Option<&'e Attr<'e>> = None;
        let mut names: Vec<Symbol> = Vec::new();
        for step in select.path {
            let name = match value.as_ref() {
                Err(_) => break,
                Ok(_) => self.step(*step, env)?,
            };
            let Ok(base) = value else { break };
            let View::Attrs(attrs) = base.view() else {
                if let Some(default) = select.default {
                    value = self.eval(default, env);
                    break;
                }
                let error = self.wrong_type("a set", base);
                value = Err(error.frame(select.position, "while selecting an attribute"));
                break;
            };
            let Some(attr) = attrs.get(name) else {
                if let Some(default) = select.default {
                    value = self.eval(default, env);
                    break;
                }
                value = Err(self.missing(name, attrs, select.position));
                break;
            };
            if select.path.len() > 1 {
                names.push(name);
            }
            found = Some(attr);
            let place = if attr.position == Position::NONE { select.position } else { attr.position };
            value = self.force_at(attr.value, place);
        }
        match (value, found) {
            (Err(error), Some(attr)) if self.shared.is_told(attr.position) => {
                Err(error.frame(attr.position, self.attribute_text(select, &names, attr)))
            }
            (value, _) => value,
        }
    }

    #[cold]
    fn attribute_text(&self, select: &SelectCode<'e>, names: &[Symbol], attr: &Attr<'e>) -> String {
        let mut path: Vec<String> = names.iter().map(|name| self.quoted_name(*name)).collect();
        if path.is_empty() {
            path.push(self.quoted_name(attr.name));
        }
        for step in select.path.iter().skip(path.len()) {
            match step {
                StepCode::Name(name) => path.push(self.quoted_name(*name)),
                StepCode::Dynamic(_) => break,
            }
        }
        format!("while evaluating the attribute '{}'", path.join("."))
    }

    fn has(&self, select: &'e SelectCode<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let mut value = self.eval(select.base, env)?;
        for (index, step) in select.path.iter().enumerate() {
            let name = self.step(*step, env)?;
            let View::Attrs(attrs) = value.view() else { return Ok(Value::bool(false)) };
            let Some(attr) = attrs.get(name) else { return Ok(Value::bool(false)) };
            if index + 1 < select.path.len() {
                value = self.force_at(attr.value, select.position)?;
            }
        }
        Ok(Value::bool(true))
    }

    // ------------------------------------------------------------ calling

    fn eval_call(
        &self,
        function: &'e Code<'e>,
        arguments: &'e [&'e Code<'e>],
        position: Position,
        env: &'e Env<'e>,
    ) -> Evaluated<'e> {
        let function = self.eval(function, env)?;
        match arguments {
            [one] => self.call(function, &[self.delay(one, env)], position),
            [one, two] => self.call(function, &[self.delay(one, env), self.delay(two, env)], position),
            many => {
                let values: Vec<Value<'e>> = many.iter().map(|code| self.delay(code, env)).collect();
                self.call(function, &values, position)
            }
        }
    }

    /// Calls `function` with one argument after the other.
    ///
    /// # Errors
    /// It is no function, or its evaluation failed.
    pub fn call(&self, function: Value<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
        let mut function = self.force_at(function, position)?;
        let mut rest = arguments;
        while let Some((first, after)) = rest.split_first() {
            match function.view() {
                View::Lambda(closure) => {
                    let (result, used) = self.call_closure(closure, rest, position)?;
                    function = result;
                    rest = &rest[used..];
                }
                View::Builtin(builtin) => {
                    if rest.len() < builtin.arity {
                        return Ok(Value::applied(&self.heap, builtin, rest));
                    }
                    let (now, later) = rest.split_at(builtin.arity);
                    function = self.call_builtin(builtin, now, position)?;
                    rest = later;
                }
                View::Applied(applied) => {
                    let missing = applied.builtin.arity - applied.arguments.len();
                    let (now, later) = rest.split_at(missing.min(rest.len()));
                    let all = [applied.arguments, now].concat();
                    if now.len() < missing {
                        return Ok(Value::applied(&self.heap, applied.builtin, &all));
                    }
                    function = self.call_builtin(applied.builtin, &all, position)?;
                    rest = later;
                }
                View::Attrs(attrs) if attrs.get(known::FUNCTOR).is_some() => {
                    let (functor, place) = attrs
                        .get(known::FUNCTOR)
                        .map_or((function, position), |attr| (attr.value, attr.position));
                    let text = "while calling a functor (an attribute set with a '__functor' attribute)";
                    function = self
                        .call(functor, &[function, *first], place)
                        .map_err(|error| error.frame(position, text))?;
                    rest = after;
                }
                _ => {
                    let what = self.describe(function);
                    let message = format!("attempt to call something which is not a function but {what}");
                    return Err(Error::new(message).at(position));
                }
            }
            if !rest.is_empty() {
                function = self.force_at(function, position)?;
            }
        }
        Ok(function)
    }

    /// Calls a builtin with all its arguments.
    fn call_builtin(
        &self,
        builtin: &'static super::value::Builtin,
        arguments: &[Value<'e>],
        position: Position,
    ) -> Evaluated<'e> {
        let _deeper = self.deeper_at(position)?;
        // What a builtin does itself has no place: its frames and errors tell none.
        let result = (builtin.run)(self, arguments, Position::NONE).and_then(|value| self.force(value));
        match result {
            Ok(value) => Ok(value),
            Err(error) if builtin.name == "addErrorContext" => Err(error),
            Err(error) => Err(error.frame(position, format!("while calling the '{}' builtin", builtin.name))),
        }
    }

    /// Calls a function with one argument, and the functions that it consists of (`a: b: …`) with
    /// the next ones; tells how many.
    #[inline]
    fn call_closure(
        &self,
        closure: &'e Closure<'e>,
        arguments: &[Value<'e>],
        position: Position,
    ) -> Result<(Value<'e>, usize), Error> {
        let (mut code, mut env) = (closure.code, closure.env);
        let (before, mut used, mut plain) = (self.heap.mark(), 0, true);
        loop {
            env = if code.formals.is_none() {
                let inner = self.heap.env(Some(env), 1);
                inner.fill(0, arguments[used]);
                inner
            } else {
                plain = false;
                self.bind_formals(code, env, arguments[used], position)?
            };
            used += 1;
            match code.body {
                Code::Lambda(inner) if used < arguments.len() => code = inner,
                _ => break,
            }
        }
        let after = self.heap.mark();
        let _deeper = self.deeper_at(position)?;
        match self.eval(code.body, env) {
            Ok(value) => {
                if plain {
                    self.heap.take_back(before, after);
                }
                Ok((value, used))
            }
            Err(error) => Err(self.called(error, code, position)),
        }
    }

    #[cold]
    fn called(&self, error: Error, code: &LambdaCode<'e>, position: Position) -> Error {
        let text = format!("while calling {}", self.function_name(code));
        let error = error.frame_of(FrameKind::Call, code.position, text);
        if position == Position::NONE {
            return error;
        }
        error.frame_of(FrameKind::Call, position, "from call site")
    }

    /// A function's name for messages: `'f'` or `anonymous lambda`.
    pub(super) fn function_name(&self, code: &LambdaCode<'e>) -> String {
        code.name.map_or_else(|| "anonymous lambda".to_owned(), |name| format!("'{}'", self.name(name)))
    }

    fn bind_formals(
        &self,
        code: &'e LambdaCode<'e>,
        around: &'e Env<'e>,
        argument: Value<'e>,
        position: Position,
    ) -> Result<&'e Env<'e>, Error> {
        let Some(formals) = code.formals else { return Ok(around) };
        let text = "while evaluating the value passed for the lambda argument";
        let attrs = match self.force_attrs(argument, code.position, text) {
            Ok(attrs) => attrs,
            Err(error) if position == Position::NONE => return Err(error),
            Err(error) => return Err(error.frame(position, "from call site")),
        };
        let count = formals.formals.len();
        let env = self.heap.env(Some(around), count + usize::from(code.argument.is_some()));
        let mut used = 0;
        for (index, formal) in formals.formals.iter().enumerate() {
            if let Some(attr) = attrs.get(formal.name) {
                used += 1;
                env.fill(index, attr.value);
            } else if let Some(default) = formal.default {
                env.fill(index, self.heap.suspend(default, env));
            } else {
                let message = format!(
                    "function '{}' called without required argument '{}'",
                    self.function_name(code).trim_matches('\''),
                    self.name(formal.name)
                );
                return Err(Error::new(message).at(code.position).frame(position, "from call site"));
            }
        }
        if code.argument.is_some() {
            env.fill(count, argument);
        }
        if used != attrs.len() && !formals.ellipsis {
            return Err(self.unexpected_argument(code, attrs, position));
        }
        Ok(env)
    }

    #[cold]
    fn unexpected_argument(&self, code: &LambdaCode<'e>, attrs: &Attrs<'e>, position: Position) -> Error {
        let formals = code.formals.map_or(&[][..], |formals| formals.formals);
        let known: Vec<Symbol> = formals.iter().map(|formal| formal.name).collect();
        let unexpected = attrs.entries().iter().map(|attr| attr.name).find(|name| !known.contains(name));
        let Some(name) = unexpected else {
            return Error::new("a function was called with too many arguments");
        };
        let message = format!(
            "function '{}' called with unexpected argument '{}'",
            self.function_name(code).trim_matches('\''),
            self.name(name)
        );
        let suggestions = self.suggestions(name, known.into_iter());
        Error::new(message).at(code.position).suggest(suggestions).frame(position, "from call site")
    }

    /// Counts a call that is under way; the count ends with the guard.
    ///
    /// # Errors
    /// Too many calls are under way, or the user interrupted the evaluation.
    #[inline]
    pub fn deeper(&self) -> Result<Deeper<'_>, Error> {
        self.deeper_at(Position::NONE)
    }

    /// The same for a call at `position`.
    ///
    /// # Errors
    /// As [`Worker::deeper`].
    #[inline]
    pub fn deeper_at(&self, position: Position) -> Result<Deeper<'_>, Error> {
        let depth = self.depth.get();
        if depth > self.shared.settings.max_call_depth {
            return Err(Error::of(Kind::Depth, "stack overflow; max-call-depth exceeded").at(position));
        }
        self.check_stack()?;
        let calls = self.calls.get().wrapping_add(1);
        self.calls.set(calls);
        if calls.is_multiple_of(CALLS_BETWEEN_QUESTIONS) {
            self.shared.world.go_on()?;
        }
        self.depth.set(depth + 1);
        Ok(Deeper(&self.depth))
    }

    /// Checks that the stack of the machine has room for more recursion.
    ///
    /// # Errors
    /// It has none.
    #[inline]
    pub fn check_stack(&self) -> Result<(), Error> {
        if self.stack.is_exhausted() { Err(stack_overflow()) } else { Ok(()) }
    }

    #[cold]
    fn missing(&self, name: Symbol, attrs: &Attrs<'e>, position: Position) -> Error {
        let names: Vec<Symbol> = attrs.entries().iter().map(|attr| attr.name).collect();
        let suggestions = self.suggestions(name, names.into_iter());
        Error::new(format!("attribute '{}' missing", self.quoted_name(name)))
            .at(position)
            .suggest(suggestions)
    }
}

/// Ends the count of a call when it is dropped.
pub struct Deeper<'a>(&'a Cell<u32>);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The place of a call that was put off: `map` and `genList` call a function where it was written.
fn pending_position(pending: &Pending<'_>) -> Position {
    match (pending.function.view(), pending.arguments) {
        (View::Lambda(closure), [_]) => closure.code.position,
        _ => Position::NONE,
    }
}

#[cold]
fn stack_overflow() -> Error {
    Error::of(Kind::Depth, "stack overflow (possible infinite recursion)")
}

#[inline]
fn slot<'e>(env: &'e Env<'e>, depth: u32, index: u32) -> Value<'e> {
    let mut env = env;
    for _ in 0..depth {
        match env.up {
            Some(up) => env = up,
            None => return Value::null(),
        }
    }
    env.get(index as usize)
}
