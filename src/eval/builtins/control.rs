//! Types, functions, errors, tracing, order of evaluation.

use super::super::coerce::{NO_COPY, STRICT};
use super::super::error::{Error, FrameKind, Kind};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::print::Style;
use super::super::symbols::known;
use super::super::value::{Attr, Attrs, Position, View};
use super::Builtin;

/// Gives the time, for a world that has to know that it is used; no name leads to the function.
pub static CURRENT_TIME: Builtin = Builtin::new(
    "currentTime",
    1,
    |w, _, _| {
        let now = w.world.now();
        now.map(Value::int).ok_or_else(|| Error::new("there is no time in a pure evaluation"))
    },
    "`anything`: the current time in seconds since 1970.",
);

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("typeOf", 1, type_of, "`value`: the name of the value's type."),
    Builtin::new(
        "isNull",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::Null)),
        "`value`: whether it is null.",
    ),
    Builtin::new(
        "isBool",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::Bool(_))),
        "`value`: whether it is a Boolean.",
    ),
    Builtin::new(
        "isInt",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::Int(_))),
        "`value`: whether it is a whole number.",
    ),
    Builtin::new(
        "isFloat",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::Float(_))),
        "`value`: whether it is a floating-point number.",
    ),
    Builtin::new(
        "isString",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::String(..))),
        "`value`: whether it is a string.",
    ),
    Builtin::new(
        "isPath",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::Path(_))),
        "`value`: whether it is a path.",
    ),
    Builtin::new(
        "isList",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::List(_))),
        "`value`: whether it is a list.",
    ),
    Builtin::new(
        "isAttrs",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::Attrs(_))),
        "`value`: whether it is a set.",
    ),
    Builtin::new(
        "isFunction",
        1,
        |w, a, p| is(w, a, p, |v| matches!(v, View::Lambda(_) | View::Builtin(_) | View::Applied(_))),
        "`value`: whether it is a function.",
    ),
    Builtin::new(
        "functionArgs",
        1,
        function_args,
        "`function`: its formal arguments, and whether each has a default.",
    ),
    Builtin::new("seq", 2, seq, "`a b`: evaluates `a`, then gives `b`."),
    Builtin::new("deepSeq", 2, deep_seq, "`a b`: evaluates `a` and everything in it, then gives `b`."),
    Builtin::new(
        "tryEval",
        1,
        try_eval,
        "`value`: its evaluation as `{ success; value; }`; catches `throw` and `assert`.",
    ),
    Builtin::new("throw", 1, throw, "`message`: fails in a way that `tryEval` catches."),
    Builtin::new("abort", 1, abort, "`message`: ends the evaluation with a message."),
    Builtin::new("trace", 2, trace, "`message value`: tells the message, then gives the value."),
    Builtin::new(
        "traceVerbose",
        2,
        trace_verbose,
        "`message value`: as `trace`, only with the setting `trace-verbose`.",
    ),
    Builtin::new("warn", 2, warn, "`message value`: tells a warning, then gives the value."),
    Builtin::new(
        "break",
        1,
        |w, a, p| w.force_at(a[0], p),
        "`value`: the value; a place to stop at in a debugger.",
    ),
    Builtin::new(
        "addErrorContext",
        2,
        add_error_context,
        "`text value`: the value; if it fails, the trace tells the text.",
    ),
];

fn type_of<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let name: &'static [u8] = match worker.force_at(arguments[0], position)?.view() {
        View::Null => b"null",
        View::Bool(_) => b"bool",
        View::Int(_) => b"int",
        View::Float(_) => b"float",
        View::String(..) => b"string",
        View::Path(_) => b"path",
        View::List(_) => b"list",
        View::Attrs(_) => b"set",
        View::Lambda(_) | View::Builtin(_) | View::Applied(_) | View::Thunk(_) => b"lambda",
    };
    Ok(Value::string(name))
}

fn is<'e>(
    worker: &Worker<'e>,
    arguments: &[Value<'e>],
    position: Position,
    test: fn(View<'e>) -> bool,
) -> Evaluated<'e> {
    Ok(Value::bool(test(worker.force_at(arguments[0], position)?.view())))
}

fn function_args<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    match worker.force_at(arguments[0], position)?.view() {
        View::Lambda(closure) => {
            let formals = closure.code.formals.map_or(&[][..], |formals| formals.formals);
            let attrs = worker.heap.slice_with(formals.len(), |index| Attr {
                name: formals[index].name,
                position: formals[index].position,
                value: Value::bool(formals[index].default.is_some()),
            });
            Ok(Value::attrs(Attrs::new(&worker.heap, attrs)))
        }
        View::Builtin(_) | View::Applied(_) => Ok(worker.new_set(Vec::new())),
        _ => Err(Error::new("'functionArgs' requires a function")),
    }
}

fn seq<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    worker.force_at(arguments[0], position)?;
    worker.force_at(arguments[1], position)
}

fn deep_seq<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    worker.force_deep(arguments[0])?;
    worker.force_at(arguments[1], position)
}

fn try_eval<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let (success, value) = match worker.force_at(arguments[0], position) {
        Ok(value) => (true, value),
        Err(error) if error.is_catchable() => (false, Value::bool(false)),
        Err(error) => return Err(error),
    };
    let name = worker.intern(b"success");
    Ok(worker.new_set(vec![(name, Value::bool(success)), (known::VALUE, value)]))
}

fn message<'e>(worker: &Worker<'e>, value: Value<'e>, name: &str) -> Result<String, Error> {
    let text = format!("while evaluating the error message passed to {name}");
    let (message, _) = worker.coerce(value, STRICT, Position::NONE, &text)?;
    Ok(String::from_utf8_lossy(message).into_owned())
}

fn throw<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    Err(Error::of(Kind::Throw, message(worker, arguments[0], "builtin.throw")?))
}

fn abort<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = message(worker, arguments[0], "builtins.abort")?;
    let text = format!("evaluation aborted with the following error message: '{text}'");
    Err(Error::of(Kind::Abort, text))
}

fn trace<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let told = worker.force_at(arguments[0], position)?;
    let text = match told.view() {
        View::String(text, _) => text.to_vec(),
        _ => worker.print(told, Style::Trace)?,
    };
    worker.tell(&format!("trace: {}", String::from_utf8_lossy(&text)))?;
    worker.force_at(arguments[1], position)
}

fn trace_verbose<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    if worker.shared.settings.trace_verbose {
        return trace(worker, arguments, position);
    }
    worker.force_at(arguments[1], position)
}

fn warn<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument; the message passed to builtins.warn";
    let (message, _) = worker.force_text(arguments[0], Position::NONE, text)?;
    let message = String::from_utf8_lossy(message).replace('\n', &format!("\n{}", " ".repeat(20)));
    let told = if message.is_empty() { message } else { format!("evaluation warning: {message}") };
    worker.tell(&told)?;
    if worker.shared.settings.abort_on_warn {
        let text = "aborting to reveal stack trace of warning, as abort-on-warn is set";
        return Err(Error::of(Kind::Abort, text));
    }
    worker.force_at(arguments[1], position)
}

fn add_error_context<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    match worker.force_at(arguments[1], position) {
        Ok(value) => Ok(value),
        Err(error) => {
            let text = "while evaluating the error message passed to builtins.addErrorContext";
            let (text, _) = worker.coerce(arguments[0], NO_COPY, Position::NONE, text)?;
            Err(error.frame_of(FrameKind::Added, Position::NONE, String::from_utf8_lossy(text)))
        }
    }
}
