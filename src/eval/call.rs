//! Calling functions.
//!
//! A function of several arguments (`a: b: …`) has one scope for all of them. Given less, it
//! becomes a function whose scope has those only; each call of that one copies them.

use super::code::{Code, FormalCode, FormalsCode, LambdaCode};
use super::error::{Error, FrameKind};
use super::heap::{Closure, Env, Value};
use super::interpret::{Evaluated, Worker};
use super::symbols::{Symbol, known};
use super::value::{Applied, Arguments, Attr, Attrs, Builtin, Pending, Position, View};

/// No builtin takes more arguments.
pub(super) const MOST_ARGUMENTS: usize = 4;

impl<'e> Worker<'e> {
    /// A call as it is written.
    #[inline(never)]
    pub(super) fn eval_call(
        &self,
        function: &'e Code<'e>,
        arguments: &'e [&'e Code<'e>],
        position: Position,
        env: &'e Env<'e>,
    ) -> Evaluated<'e> {
        let function = self.value_of(function, env)?;
        match arguments {
            [one] => self.call_one(function, &[self.delay(one, env)], position),
            [one, two] => self.call_one(function, &[self.delay(one, env), self.delay(two, env)], position),
            [one, two, three] => {
                let values = [self.delay(one, env), self.delay(two, env), self.delay(three, env)];
                self.call_one(function, &values, position)
            }
            many => {
                let values: Vec<Value<'e>> = many.iter().map(|code| self.delay(code, env)).collect();
                self.call(function, &values, position)
            }
        }
    }

    /// As [`Worker::call`], the shortest way for a function that takes all arguments at once.
    #[inline]
    fn call_one(&self, function: Value<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
        if let View::Lambda(closure) = function.view() {
            let (result, used) = self.call_closure(closure, arguments, position)?;
            return match arguments.get(used..) {
                None | Some([]) => Ok(result),
                Some(rest) => self.call(result, rest, position),
            };
        }
        self.call(function, arguments, position)
    }

    /// Makes a call that was put off.
    pub(super) fn call_pending(&self, pending: &Pending<'e>) -> Evaluated<'e> {
        // `map`, `genList` and `zipAttrsWith` call a function where it was written.
        let place = || match pending.function.view() {
            View::Lambda(closure) => closure.code.position,
            View::Attrs(attrs) => self.place_of_functor(attrs),
            _ => Position::NONE,
        };
        match pending.arguments {
            Arguments::Values(values @ [_]) => self.call(pending.function, values, place()),
            Arguments::Values(values) => self.call(pending.function, values, Position::NONE),
            Arguments::Number(number) => self.call(pending.function, &[Value::int(number)], place()),
            Arguments::Attribute(attr) => self.call_with(pending.function, attr, Position::NONE),
            Arguments::Zipped(attr) => self.call_with(pending.function, attr, place()),
        }
    }

    /// Where a set that can be called was written, if it is as it was written there.
    #[inline(never)]
    fn place_of_functor(&self, attrs: Attrs<'e>) -> Position {
        let functor = attrs.get(known::FUNCTOR);
        functor.map_or(Position::NONE, |functor| self.shared.functors.place(functor.position, attrs.len()))
    }

    /// Calls `function` with a name and a value.
    fn call_with(&self, function: Value<'e>, attr: &Attr<'e>, position: Position) -> Evaluated<'e> {
        self.call(function, &[Value::string(self.text(attr.name)), attr.value], position)
    }

    /// Calls `function` with one argument after the other.
    ///
    /// # Errors
    /// It is no function, or its evaluation failed.
    pub fn call(&self, function: Value<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
        let mut function = self.force_at(function, position)?;
        let mut rest = arguments;
        while !rest.is_empty() {
            let used;
            (function, used) = match function.view() {
                View::Lambda(closure) => self.call_closure(closure, rest, position)?,
                View::Builtin(builtin) => match rest.get(..builtin.arity) {
                    Some(now) => (self.call_builtin(builtin, now, position)?, builtin.arity),
                    None => return Ok(Value::applied(&self.heap, builtin, rest)),
                },
                View::Applied(applied) => match self.call_applied(applied, rest, position)? {
                    (result, 0) => return Ok(result),
                    done => done,
                },
                _ => (self.call_other(function, rest, position)?, 1),
            };
            rest = rest.get(used..).unwrap_or_default();
            if !rest.is_empty() {
                function = self.force_at(function, position)?;
            }
        }
        Ok(function)
    }

    /// Calls a builtin that has some of its arguments. Where it has still not all of them, what comes
    /// of it is told to have used none.
    #[inline(never)]
    fn call_applied(
        &self,
        applied: &'e Applied<'e>,
        arguments: &[Value<'e>],
        position: Position,
    ) -> Result<(Value<'e>, usize), Error> {
        let (before, arity) = (applied.arguments.len(), applied.builtin.arity);
        let now = arguments.len().min(arity - before);
        let mut all = [Value::EMPTY; MOST_ARGUMENTS];
        for (place, value) in all.iter_mut().zip(applied.arguments.iter().chain(arguments)) {
            *place = *value;
        }
        let all = all.get(..before + now).unwrap_or_default();
        if all.len() < arity {
            return Ok((Value::applied(&self.heap, applied.builtin, all), 0));
        }
        Ok((self.call_builtin(applied.builtin, all, position)?, now))
    }

    /// Calls a set that says how, with one argument.
    #[inline(never)]
    fn call_other(&self, function: Value<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
        if let View::Attrs(attrs) = function.view()
            && let (Some(functor), Some(first)) = (attrs.get(known::FUNCTOR), arguments.first())
        {
            let text = "while calling a functor (an attribute set with a '__functor' attribute)";
            let result = self.call(functor.value, &[function, *first], functor.position);
            return result.map_err(|error| error.frame(position, text));
        }
        let what = self.describe(function);
        let message = format!("attempt to call something which is not a function but {what}");
        Err(Error::new(message).at(position))
    }

    /// Calls a builtin with all its arguments.
    #[inline(never)]
    fn call_builtin(
        &self,
        builtin: &'static Builtin,
        arguments: &[Value<'e>],
        position: Position,
    ) -> Evaluated<'e> {
        let _deeper = self.deeper_at(position)?;
        // What a builtin does itself has no place: its frames and errors tell none.
        match (builtin.run)(self, arguments, Position::NONE).and_then(|value| self.force(value)) {
            Ok(value) => Ok(value),
            Err(error) => Err(builtin_failed(error, builtin, position)),
        }
    }

    /// Calls a function with one argument, and the functions that it consists of (`a: b: …`) with
    /// the next ones; tells how many.
    #[inline(never)]
    fn call_closure(
        &self,
        closure: &'e Closure<'e>,
        arguments: &[Value<'e>],
        position: Position,
    ) -> Result<(Value<'e>, usize), Error> {
        let (mut code, mut env) = (closure.code, closure.env);
        let (before, mut used, mut plain) = (self.heap.mark(), 0, true);
        loop {
            // The functions that share one scope.
            let (first, start) = (code, used);
            used += 1;
            while let Code::Lambda(inner) = code.body
                && inner.taken > 0
                && used < arguments.len()
            {
                code = inner;
                used += 1;
            }
            let values = arguments.get(start..used).unwrap_or_default();
            env = match code.formals {
                None if first.taken == 0 => self.heap.env(Some(env), values, values.len()),
                None => self.heap.longer_env(env, values, 0),
                Some(formals) => {
                    plain = false;
                    self.bind_formals(code, formals, env, values, position)?
                }
            };
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

    /// The scope of a function with formal arguments. The last of `values` is the set of the
    /// arguments; those before are arguments of functions around that share the scope.
    #[inline(never)]
    fn bind_formals(
        &self,
        code: &'e LambdaCode<'e>,
        formals: &'e FormalsCode<'e>,
        around: &'e Env<'e>,
        values: &[Value<'e>],
        position: Position,
    ) -> Result<&'e Env<'e>, Error> {
        let Some((argument, values)) = values.split_last() else { return Ok(around) };
        let text = "while evaluating the value passed for the lambda argument";
        let attrs = match self.force_attrs(*argument, code.position, text) {
            Ok(attrs) => attrs,
            Err(error) if position == Position::NONE => return Err(error),
            Err(error) => return Err(error.frame(position, "from call site")),
        };
        let (start, count) = (code.taken as usize, formals.formals.len());
        let more = count + usize::from(code.argument.is_some());
        let env = if start == values.len() {
            self.heap.env(Some(around), values, start + more)
        } else {
            self.heap.longer_env(around, values, more)
        };
        let mut used = 0;
        for (index, formal) in formals.formals.iter().enumerate() {
            if let Some(attr) = attrs.get(formal.name) {
                used += 1;
                env.fill(start + index, attr.value);
            } else if let Some(default) = formal.default {
                env.fill(start + index, self.delay(default, env));
            } else {
                return Err(self.missing_argument(code, formals, attrs, position));
            }
        }
        if code.argument.is_some() {
            env.fill(start + count, *argument);
        }
        if used != attrs.len() && !formals.ellipsis {
            return Err(self.unexpected_argument(code, attrs, position));
        }
        Ok(env)
    }

    #[cold]
    fn missing_argument(
        &self,
        code: &LambdaCode<'e>,
        formals: &FormalsCode<'e>,
        attrs: Attrs<'e>,
        position: Position,
    ) -> Error {
        let is_missing =
            |formal: &&FormalCode<'e>| formal.default.is_none() && attrs.get(formal.name).is_none();
        // Of several the one whose name is the oldest.
        let missing = formals.formals.iter().filter(is_missing).map(|formal| formal.name);
        let name = missing.min_by_key(|name| self.shared.symbols.age(*name)).unwrap_or(known::OUT_PATH);
        let message = format!(
            "function '{}' called without required argument '{}'",
            self.function_name(code).trim_matches('\''),
            self.name(name)
        );
        Error::new(message).at(code.position).frame(position, "from call site")
    }

    #[cold]
    fn unexpected_argument(&self, code: &LambdaCode<'e>, attrs: Attrs<'e>, position: Position) -> Error {
        let formals = code.formals.map_or(&[][..], |formals| formals.formals);
        let known: Vec<Symbol> = formals.iter().map(|formal| formal.name).collect();
        let entries = match self.in_order(attrs) {
            Ok(entries) => entries,
            Err(error) => return error,
        };
        let unexpected = entries.iter().map(|attr| attr.name).find(|name| !known.contains(name));
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
}

#[cold]
fn builtin_failed(error: Error, builtin: &Builtin, position: Position) -> Error {
    match builtin.name {
        "addErrorContext" | "break" => error,
        name => error.frame(position, format!("while calling the '{name}' builtin")),
    }
}
