//! The tree of one text: what the parser makes and the compiler and `--parse` read.
//!
//! Nodes are numbered and lie in one vector; texts, lists, attribute paths, sets and
//! formals lie in vectors of their own, so that a tree is a handful of
//! allocations. Nested attribute definitions are merged, relative paths are
//! absolute, operators that call variables (`-` calls `__sub`) are calls.

use super::super::symbols::Symbol;

/// A node of a [`Tree`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeId(pub u32);

/// Bytes `start .. start + length` of [`Tree::bytes`]: a text with its escapes resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Text {
    /// Where the text begins.
    pub start: u32,
    /// How many bytes it has.
    pub length: u32,
}

/// Elements `start .. start + length` of [`Tree::lists`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct List {
    /// Where the list begins.
    pub start: u32,
    /// How many nodes it has.
    pub length: u32,
}

/// Elements `start .. start + length` of [`Tree::steps`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    /// Where the attribute path begins.
    pub start: u32,
    /// How many steps it has.
    pub length: u32,
}

/// A set of [`Tree::sets`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetId(pub u32);

/// Formals of [`Tree::formals`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FormalsId(pub u32);

/// One step of an attribute path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A name known when the text is read.
    Name(Symbol),
    /// A name to be computed.
    Dynamic(NodeId),
}

/// Operators that are not calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `->`
    Implies,
    /// `//`
    Update,
    /// `++`
    Concat,
}

/// One expression. Its place in the text is in [`Tree::offsets`]; which place that is
/// stands with each form.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Node {
    /// A whole number; its first digit.
    Int(i64),
    /// A number with a dot; its first byte.
    Float(f64),
    /// A text without interpolations, or a URI; the opening quote.
    String(Text),
    /// An absolute path without interpolations; its first byte.
    Path(Text),
    /// A variable; its first byte.
    Variable(Symbol),
    /// `__curPos`; its first byte.
    Position,
    /// The parts of `"…${}…"` or `''…''` (`string`), of an interpolated path (not
    /// `string`; the first part is a `Path`), or the two operands of `+` (not
    /// `string`). The offset is that of the first byte behind the quote, of the two quotes or of
    /// the path, or of the operator.
    /// Places of the parts that errors name are in [`Tree::part_offsets`] under the same indices as `parts`
    /// in [`Tree::lists`]: for an interpolation its `${`, else the part itself.
    Join {
        /// Whether the result is a string even with one part or a path in front.
        string: bool,
        /// The parts.
        parts: List,
    },
    /// `base.path` or `base.path or default`; the start of `base`.
    Select {
        /// The set.
        base: NodeId,
        /// What is selected.
        path: Steps,
        /// The value where something is missing.
        default: Option<NodeId>,
    },
    /// `base ? path`; the `?`.
    Has {
        /// The set.
        base: NodeId,
        /// What is asked for.
        path: Steps,
    },
    /// A call with all its arguments, or an operator that is one; the start of the function, or the operator.
    Apply {
        /// What is called.
        function: NodeId,
        /// One argument or more.
        arguments: List,
    },
    /// A list; its bracket.
    List(List),
    /// A set; its brace or `rec`.
    Set(SetId),
    /// A function; its first byte.
    Lambda {
        /// `x: …` or `{ … }@x: …`
        argument: Option<Symbol>,
        /// `{ a, b ? c, ... }`
        formals: Option<FormalsId>,
        /// What it computes.
        body: NodeId,
    },
    /// `let … in body`; `let`. (`let { … }` is a `Select` of `body` from a recursive set.)
    Let {
        /// The bindings: recursive, none dynamic.
        set: SetId,
        /// What is computed.
        body: NodeId,
    },
    /// `with set; body`; `with`.
    With {
        /// The set of names.
        set: NodeId,
        /// What is computed.
        body: NodeId,
    },
    /// `if`; `if`.
    If {
        /// The condition.
        condition: NodeId,
        /// The value where it holds.
        then: NodeId,
        /// The value where it does not.
        otherwise: NodeId,
    },
    /// `assert condition; body`; `assert`.
    Assert {
        /// What must hold.
        condition: NodeId,
        /// What is computed.
        body: NodeId,
    },
    /// `!operand`; the place of the operand.
    Not(NodeId),
    /// An operator; its own place.
    Binary {
        /// Which.
        operator: Operator,
        /// The left operand.
        left: NodeId,
        /// The right operand.
        right: NodeId,
    },
}

/// The definition of a name in a set or `let`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Binding {
    /// The name.
    pub name: Symbol,
    /// Where the name is written (the start of an attribute path; the name itself in `inherit`).
    pub offset: u32,
    /// What it is bound to.
    pub value: Bound,
}

/// What a name is bound to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// `name = value;`
    Value(NodeId),
    /// `inherit name;`: the variable of the scope outside; the node is that `Variable`.
    Inherit(NodeId),
    /// `inherit (source) name;`: selected from element `source` of [`Set::sources`].
    From {
        /// An index of `sources`.
        source: u32,
    },
}

/// A name that is computed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DynamicBinding {
    /// The name.
    pub name: NodeId,
    /// The start of the attribute path.
    pub offset: u32,
    /// The value.
    pub value: NodeId,
}

/// The bindings of a set or `let`, merged.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Set {
    /// Whether the values see the names.
    pub recursive: bool,
    /// The names in order of their first definition, each once.
    pub bindings: Vec<Binding>,
    /// The computed names as written.
    pub dynamic: Vec<DynamicBinding>,
    /// The sources of `inherit (source) …;` clauses that name something, as written.
    pub sources: Vec<NodeId>,
}

/// One formal argument.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Formal {
    /// Its name.
    pub name: Symbol,
    /// Where the name is written.
    pub offset: u32,
    /// `name ? default`
    pub default: Option<NodeId>,
}

/// `{ a, b ? c, ... }` in front of a function.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Formals {
    /// The formals as written.
    pub formals: Vec<Formal>,
    /// Whether other arguments are allowed.
    pub ellipsis: bool,
}

/// The tree of one text.
#[derive(Clone, PartialEq, Debug)]
pub struct Tree {
    /// All nodes; children come before their parents, but for values that were merged into an earlier set
    /// (`a.b = 1; a.c = 2;`). Some nodes belong to nothing.
    pub nodes: Vec<Node>,
    /// The place of each node in the text, in bytes.
    pub offsets: Vec<u32>,
    /// The texts, one after the other.
    pub bytes: Vec<u8>,
    /// The elements of lists, arguments and parts.
    pub lists: Vec<NodeId>,
    /// For each element of `lists` that is a part of a `Join`, its place in error messages (else 0).
    pub part_offsets: Vec<u32>,
    /// The steps of attribute paths.
    pub steps: Vec<Step>,
    /// The sets.
    pub sets: Vec<Set>,
    /// The formals.
    pub formals: Vec<Formals>,
    /// The whole expression.
    pub root: NodeId,
    /// What to warn of: a place and a text.
    pub warnings: Vec<(u32, String)>,
    /// Literals that a lint warns of: a place and a text. (Here the place comes below the text.)
    pub lints: Vec<(u32, String)>,
}

impl Tree {
    /// The node of a number.
    pub fn node(&self, id: NodeId) -> Node {
        self.nodes[id.0 as usize]
    }

    /// The place of a node.
    pub fn offset(&self, id: NodeId) -> u32 {
        self.offsets[id.0 as usize]
    }

    /// The bytes of a text.
    pub fn text(&self, text: Text) -> &[u8] {
        &self.bytes[text.start as usize..(text.start + text.length) as usize]
    }

    /// The nodes of a list.
    pub fn list(&self, list: List) -> &[NodeId] {
        &self.lists[list.start as usize..(list.start + list.length) as usize]
    }

    /// The places of the parts of a `Join`.
    pub fn parts(&self, list: List) -> &[u32] {
        &self.part_offsets[list.start as usize..(list.start + list.length) as usize]
    }

    /// The steps of an attribute path.
    pub fn path(&self, steps: Steps) -> &[Step] {
        &self.steps[steps.start as usize..(steps.start + steps.length) as usize]
    }

    /// A set.
    pub fn set(&self, id: SetId) -> &Set {
        &self.sets[id.0 as usize]
    }

    /// Formals.
    pub fn formals(&self, id: FormalsId) -> &Formals {
        &self.formals[id.0 as usize]
    }
}
