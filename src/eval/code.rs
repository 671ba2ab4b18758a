//! Compiled expressions: what the interpreter runs.
//!
//! Names are places in environments, constants are values, calls of `__sub` and
//! its kin that reach the builtin functions are operators.

use super::heap::Value;
use super::symbols::Symbol;
use super::value::Position;

/// An expression.
#[derive(Clone, Copy)]
pub enum Code<'e> {
    /// A literal, or a builtin and where its name is written.
    Constant(Value<'e>, Position),
    /// The variable `index` of the scope `depth` scopes out.
    Local {
        /// How many scopes out.
        depth: u32,
        /// Which of its slots.
        index: u32,
        /// Where it is written.
        position: Position,
    },
    /// A name that only `with` can supply.
    With {
        /// The name.
        name: Symbol,
        /// How many scopes out each `with` is and where it is written, the innermost first; each has one slot.
        scopes: &'e [(u32, Position)],
        /// Where it is written.
        position: Position,
    },
    /// `__curPos`
    Here(Position),
    /// Texts joined, or `+`.
    Join(&'e JoinCode<'e>),
    /// `a.b.c or d`
    Select(&'e SelectCode<'e>),
    /// `a ? b.c`
    Has(&'e SelectCode<'e>),
    /// A call.
    Call {
        /// The function.
        function: &'e Code<'e>,
        /// The arguments, one or more.
        arguments: &'e [&'e Code<'e>],
        /// The start of the function, or the operator.
        position: Position,
    },
    /// An operator on numbers.
    Operate {
        /// Which.
        operation: Operation,
        /// The operands.
        operands: &'e [&'e Code<'e>; 2],
        /// The operator.
        position: Position,
    },
    /// A list.
    List(&'e [&'e Code<'e>]),
    /// A set.
    Set(&'e SetCode<'e>),
    /// A function.
    Lambda(&'e LambdaCode<'e>),
    /// `let`
    Let(&'e SetCode<'e>, &'e Code<'e>),
    /// `with`
    Scope {
        /// The set.
        set: &'e Code<'e>,
        /// What is computed.
        body: &'e Code<'e>,
        /// The keyword.
        position: Position,
    },
    /// `if`
    If {
        /// Condition, value where it holds, value where it does not.
        parts: &'e [&'e Code<'e>; 3],
        /// The keyword.
        position: Position,
    },
    /// `assert`
    Assert {
        /// What must hold, and what is computed then.
        parts: &'e [&'e Code<'e>; 2],
        /// The keyword.
        position: Position,
    },
    /// `!`
    Not(&'e Code<'e>),
    /// The value of the file at a path, which is read, parsed and compiled first.
    File(&'e [u8]),
    /// An operator that cannot be redefined.
    Binary {
        /// Which.
        operator: super::syntax::tree::Operator,
        /// The operands.
        operands: &'e [&'e Code<'e>; 2],
        /// The operator, or for some the operand that errors point at.
        position: Position,
    },
}

/// Operators that are calls of builtin functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `<`
    Less,
}

/// Texts joined, or `+`.
#[derive(Clone, Copy)]
pub struct JoinCode<'e> {
    /// Whether the result is a string in any case.
    pub string: bool,
    /// The parts and their places.
    pub parts: &'e [(&'e Code<'e>, Position)],
    /// The place of the whole.
    pub position: Position,
}

/// One step of a selection.
#[derive(Clone, Copy)]
pub enum StepCode<'e> {
    /// A name.
    Name(Symbol),
    /// A name to be computed.
    Dynamic(&'e Code<'e>),
}

/// A selection or a question.
#[derive(Clone, Copy)]
pub struct SelectCode<'e> {
    /// The set.
    pub base: &'e Code<'e>,
    /// The path.
    pub path: &'e [StepCode<'e>],
    /// The value where something is missing.
    pub default: Option<&'e Code<'e>>,
    /// The start.
    pub position: Position,
}

/// A name and its value.
#[derive(Clone, Copy)]
pub struct BindingCode<'e> {
    /// The name.
    pub name: Symbol,
    /// Where it is written.
    pub position: Position,
    /// The value.
    pub value: &'e Code<'e>,
    /// Whether the value belongs to the scope outside the set.
    pub outside: bool,
}

/// A computed name and its value.
#[derive(Clone, Copy)]
pub struct DynamicCode<'e> {
    /// The name.
    pub name: &'e Code<'e>,
    /// Its place.
    pub position: Position,
    /// The value.
    pub value: &'e Code<'e>,
}

/// The bindings of a set or `let`. A recursive one has a scope with a slot for each
/// binding, then one for each source; another has such a scope only where it has sources.
#[derive(Clone, Copy)]
pub struct SetCode<'e> {
    /// Whether values see the names.
    pub recursive: bool,
    /// The bindings, sorted by symbol.
    pub bindings: &'e [BindingCode<'e>],
    /// The computed names.
    pub dynamic: &'e [DynamicCode<'e>],
    /// What `inherit (…)` clauses select from.
    pub sources: &'e [&'e Code<'e>],
    /// Whether a binding is named `__overrides` and obeyed.
    pub overrides: bool,
    /// Where the set is written.
    pub position: Position,
}

/// A formal argument.
#[derive(Clone, Copy)]
pub struct FormalCode<'e> {
    /// Its name.
    pub name: Symbol,
    /// Where it is written.
    pub position: Position,
    /// What it is without an argument.
    pub default: Option<&'e Code<'e>>,
}

/// `{ a, b ? c, ... }`
#[derive(Clone, Copy)]
pub struct FormalsCode<'e> {
    /// The formals, sorted by symbol.
    pub formals: &'e [FormalCode<'e>],
    /// Whether other arguments are allowed.
    pub ellipsis: bool,
}

/// A function. Its scope has a slot for each formal, then one for the argument if that has a name.
/// A function that another one gives at once (`a: b: …`) shares the scope of that one.
#[derive(Clone, Copy)]
pub struct LambdaCode<'e> {
    /// What it is bound to.
    pub name: Option<Symbol>,
    /// The name of the whole argument.
    pub argument: Option<Symbol>,
    /// The formals.
    pub formals: Option<&'e FormalsCode<'e>>,
    /// What it computes.
    pub body: &'e Code<'e>,
    /// Where it begins.
    pub position: Position,
    /// The number of slots in front that functions around it fill; where that is not 0, the
    /// function is made in a scope of those slots, and its own is a longer copy of that.
    pub taken: u32,
}
