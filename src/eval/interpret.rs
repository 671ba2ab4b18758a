//! The interpreter: expressions to values, thunks to values, calls.

use std::cell::Cell;

use super::ahead::Helper;
use super::code::{Code, SetCode};
use super::crew::Purpose;
use super::error::{Error, Kind};
use super::heap::{Claim, Claimant, Env, Heap, Thunk, Value, Work};
use super::io::World;
use super::shared::Shared;
use super::stack::Stack;
use super::symbols::{Symbol, known};
use super::value::{Attr, Attrs, Position, View};

/// What evaluating gives.
pub type Evaluated<'e> = Result<Value<'e>, Error>;

/// One thread that evaluates.
pub struct Worker<'e> {
    /// Where its values go.
    pub heap: Heap<'e>,
    /// What all threads of the evaluation share.
    pub shared: &'e Shared<'e>,
    /// Files, stores, environment; for a helper what may be asked of them ahead.
    pub world: &'e dyn World,
    depth: Cell<u32>,
    calls: Cell<u32>,
    stack: Stack,
    pub(super) claimant: Cell<Claimant>,
    /// What the crew is for, where there is one.
    pub(super) purpose: Cell<Option<Purpose>>,
    /// What a thread needs that evaluates ahead of the first one.
    pub(super) helper: Option<Helper<'e>>,
}

/// After so many calls, a power of two, the world is asked whether to go on.
const CALLS_BETWEEN_QUESTIONS: u32 = 8192;

impl<'e> Worker<'e> {
    /// A worker on a stack with the limit `stack`.
    pub fn new(shared: &'e Shared<'e>, stack: Stack) -> Worker<'e> {
        Worker {
            heap: Heap::new(shared.arena),
            shared,
            world: shared.world,
            depth: Cell::new(0),
            calls: Cell::new(0),
            stack,
            claimant: Cell::new(Claimant { number: 0, alone: true }),
            purpose: Cell::new(None),
            helper: None,
        }
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

    #[inline(never)]
    fn force_thunk(&self, thunk: &'e Thunk<'e>, position: Position) -> Evaluated<'e> {
        let word = loop {
            match thunk.claim(self.claimant.get()) {
                Claim::Done(value) => return Ok(value),
                Claim::Mine(word) => break word,
                Claim::Failed(number) => return Err(self.shared.failure(number)),
                Claim::Noted(note) => return Ok(self.take_note(thunk, note)),
                Claim::Running(other) if other == self.claimant.get().number => {
                    return Err(Error::of(Kind::Recursion, "infinite recursion encountered").at(position));
                }
                Claim::Running(other) => self.await_other(thunk, other)?,
            }
        };
        if let Some(helper) = &self.helper {
            return self.force_ahead(helper, thunk, word);
        }
        match self.work(thunk, word) {
            Ok(value) => {
                thunk.finish(value, self.claimant.get(), &self.shared.crew.bell);
                Ok(value)
            }
            Err(error) => Err(self.force_failed(thunk, word, error)),
        }
    }

    /// Evaluates what a thunk asks for that this thread has claimed.
    #[inline]
    pub(super) fn work(&self, thunk: &'e Thunk<'e>, word: u64) -> Evaluated<'e> {
        match thunk.work(word) {
            Work::Evaluate(code, env) => self.eval(code, env),
            Work::Call(pending) => self.call_pending(&pending),
        }
    }

    #[cold]
    fn force_failed(&self, thunk: &'e Thunk<'e>, word: u64, error: Error) -> Error {
        let (claimant, bell) = (self.claimant.get(), &self.shared.crew.bell);
        // Who interrupts one evaluation may begin another one with the same values.
        if error.kind() == Kind::Interrupted {
            thunk.give_back(word, claimant, bell);
        } else {
            thunk.fail(self.shared.keep_failure(&error), claimant, bell);
        }
        error
    }

    /// A value for `code` that is evaluated when it is needed: a thunk, or what is known already.
    #[inline]
    pub fn delay(&self, code: &'e Code<'e>, env: &'e Env<'e>) -> Value<'e> {
        match code {
            Code::Constant(value, _) => *value,
            Code::Local { depth, index, .. } => {
                let value = slot(env, *depth, *index);
                if value.is_empty() { self.heap.suspend(code, env) } else { value }
            }
            Code::List([]) => Value::list(&[]),
            _ => self.heap.suspend(code, env),
        }
    }

    // --------------------------------------------------------- evaluating

    /// The same as [`Worker::eval`], without a call for variables and constants.
    ///
    /// # Errors
    /// The evaluation failed.
    #[inline]
    pub(super) fn value_of(&self, code: &'e Code<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        match code {
            Code::Constant(value, _) => self.force(*value),
            Code::Local { depth, index, position } => self.force_at(slot(env, *depth, *index), *position),
            _ => self.eval(code, env),
        }
    }

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
                Code::Constant(value, _) => return self.force(*value),
                Code::Local { depth, index, position } => {
                    return self.force_at(slot(env, *depth, *index), *position);
                }
                // What is not inlined here would make each level of recursion need more stack.
                Code::Call { function, arguments, position } => {
                    return self.eval_call(function, arguments, *position, env);
                }
                Code::Select(select) => return self.select(select, env),
                Code::Operate { operation, operands, position } => {
                    return self.operate(*operation, operands, *position, env);
                }
                Code::Lambda(lambda) => return Ok(Value::lambda(&self.heap, lambda, env)),
                Code::Set(set) => return self.set(set, env),
                Code::List(items) => return Ok(self.list(items, env)),
                Code::Let(set, body) => {
                    env = self.scope(set, env);
                    code = body;
                }
                Code::Scope { set, body, .. } => {
                    env = self.heap.env(Some(env), &[self.delay(set, env)], 1);
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
                Code::Not(operand) => {
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
                Code::File(path) => return self.evaluate_file(path, None),
            }
        }
    }

    #[inline(never)]
    fn list(&self, items: &'e [&'e Code<'e>], env: &'e Env<'e>) -> Value<'e> {
        Value::list(self.heap.slice_with(items.len(), |index| self.delay(items[index], env)))
    }

    /// The value of a condition. An error is told at `position` with `text`.
    pub(super) fn condition(
        &self,
        code: &'e Code<'e>,
        env: &'e Env<'e>,
        position: Position,
        text: &str,
    ) -> Result<bool, Error> {
        let result = self.value_of(code, env).and_then(|value| match value.view() {
            View::Bool(holds) => Ok(holds),
            _ => Err(self.wrong_type("a Boolean", value).at(position)),
        });
        match result {
            Ok(holds) => Ok(holds),
            Err(error) => Err(error.frame(position, text)),
        }
    }

    #[inline(never)]
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
    #[inline(never)]
    fn scope(&self, set: &'e SetCode<'e>, env: &'e Env<'e>) -> &'e Env<'e> {
        let names = if set.recursive { set.bindings.len() } else { 0 };
        let inner = self.heap.env(Some(env), &[], names + set.sources.len());
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

    #[inline(never)]
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
    #[inline(never)]
    fn overridden(&self, set: &'e SetCode<'e>, env: &'e Env<'e>, inner: &'e Env<'e>) -> Evaluated<'e> {
        let at = set.bindings.iter().position(|binding| binding.name == known::OVERRIDES).unwrap_or_default();
        let text = "while evaluating the `__overrides` attribute";
        let overrides = self.force_attrs(inner.get(at), Position::NONE, text)?;
        // The scope was seen by the thunks of the overrides alone; others are made anew over a changed one.
        let changed = self.heap.env(inner.up(), &[], set.bindings.len() + set.sources.len());
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

    #[inline(never)]
    fn with_dynamic(&self, set: &'e SetCode<'e>, attrs: Attrs<'e>, env: &'e Env<'e>) -> Evaluated<'e> {
        let mut all = attrs.entries().into_owned();
        for binding in set.dynamic {
            let text = "while evaluating the name of a dynamic attribute";
            let name = self.eval(binding.name, env)?;
            if matches!(name.view(), View::Null) {
                continue;
            }
            let name = self.force_name(name, binding.position, text)?;
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
        if calls & (CALLS_BETWEEN_QUESTIONS - 1) == 0 {
            self.world.go_on()?;
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
}

/// Ends the count of a call when it is dropped.
pub struct Deeper<'a>(&'a Cell<u32>);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
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
        match env.up() {
            Some(up) => env = up,
            None => return Value::null(),
        }
    }
    env.get(index as usize)
}
