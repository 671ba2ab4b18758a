//! Trees as text: what `--parse` prints, and error messages about expressions.

use super::super::symbols::{Symbol, Symbols};
use super::super::text::quote::{push_name, push_string};
use super::tree::{Bound, DynamicBinding, FormalsId, Node, NodeId, Operator, Set, SetId, Step, Steps, Tree};

/// What is still to be printed.
#[derive(Clone, Copy)]
enum Item<'a> {
    Node(NodeId),
    Bytes(&'a [u8]),
    Name(Symbol),
}

/// Expressions that are nested deeper are not printed by recursion.
const MOST_NESTED: u32 = 100;
/// The size from which on a piece of a text is handed on.
const PIECE: usize = 64 << 10;

/// Appends the text of a part of a tree. The depth of the tree does not matter.
pub fn print(tree: &Tree, symbols: &Symbols, root: NodeId, out: &mut Vec<u8>) {
    let mut printer = Printer::new(tree, symbols, root, usize::MAX);
    printer.out = std::mem::take(out);
    while printer.goes_on() {}
    *out = printer.out;
}

/// Hands on the text of a part of a tree in pieces.
///
/// # Errors
/// That of `take`, which is not called again then.
pub fn print_pieces<E>(
    tree: &Tree,
    symbols: &Symbols,
    root: NodeId,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut printer = Printer::new(tree, symbols, root, PIECE);
    while printer.goes_on() {
        if printer.out.len() >= PIECE {
            take(&printer.out)?;
            printer.out.clear();
        }
    }
    take(&printer.out)
}

/// Appends a computed name: `"${e}"`.
pub(super) fn dynamic(tree: &Tree, symbols: &Symbols, node: NodeId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"${");
    print(tree, symbols, node, out);
    out.extend_from_slice(b"}\"");
}

/// Prints what comes next at once, by recursion, as long as that does not go too deep and the piece is not full. From there on
/// everything is put off, until the recursion has ended and goes on with the first of what was put off.
struct Printer<'a> {
    tree: &'a Tree,
    symbols: &'a Symbols,
    out: Vec<u8>,
    /// The size from which on things are put off.
    full: usize,
    /// What was put off earlier, the next last.
    items: Vec<Item<'a>>,
    /// What was put off now, the next first.
    new: Vec<Item<'a>>,
    depth: u32,
}

impl<'a> Printer<'a> {
    fn new(tree: &'a Tree, symbols: &'a Symbols, root: NodeId, full: usize) -> Printer<'a> {
        let (items, new, out) = (vec![Item::Node(root)], Vec::new(), Vec::new());
        Printer { tree, symbols, out, full, items, new, depth: 0 }
    }

    /// Prints the next thing that was put off; false if there is none.
    fn goes_on(&mut self) -> bool {
        let Some(item) = self.items.pop() else { return false };
        self.item(item);
        while let Some(item) = self.new.pop() {
            self.items.push(item);
        }
        true
    }

    fn item(&mut self, item: Item<'a>) {
        match item {
            Item::Bytes(bytes) => self.out.extend_from_slice(bytes),
            Item::Name(symbol) => push_name(&mut self.out, self.symbols.text(symbol)),
            Item::Node(id) => {
                self.depth += 1;
                self.node(id);
                self.depth -= 1;
            }
        }
    }

    /// Whether the next thing can be printed at once.
    #[inline]
    fn is_now(&self) -> bool {
        self.new.is_empty() && self.depth < MOST_NESTED && self.out.len() < self.full
    }

    /// Prints something now or later.
    fn add(&mut self, item: Item<'a>) {
        if self.is_now() { self.item(item) } else { self.new.push(item) }
    }

    // A text that is known here is written by a store or two.
    #[inline(always)]
    fn text(&mut self, text: &'static str) {
        if text.is_empty() {
        } else if self.is_now() {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            self.new.push(Item::Bytes(text.as_bytes()));
        }
    }

    #[inline(always)]
    fn put(&mut self, before: &'static str, node: NodeId, after: &'static str) {
        self.text(before);
        self.add(Item::Node(node));
        self.text(after);
    }

    fn node(&mut self, id: NodeId) {
        let (tree, out) = (self.tree, &mut self.out);
        match tree.node(id) {
            Node::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Node::Float(number) => float(number, out),
            Node::String(text) => push_string(out, tree.text(text)),
            Node::Path(text) => out.extend_from_slice(tree.text(text)),
            Node::Variable(symbol) => out.extend_from_slice(self.symbols.text(symbol)),
            Node::Position => out.extend_from_slice(b"__curPos"),
            Node::Join { parts, .. } => {
                for (number, part) in tree.list(parts).iter().enumerate() {
                    self.put(if number == 0 { "(" } else { " + " }, *part, "");
                }
                self.text(")");
            }
            Node::Select { base, path, default } => {
                self.put("(", base, ").");
                self.path(path);
                if let Some(default) = default {
                    self.put(" or (", default, ")");
                }
            }
            Node::Has { base, path } => {
                self.put("((", base, ") ? ");
                self.path(path);
                self.text(")");
            }
            Node::Apply { function, arguments } => {
                self.put("(", function, "");
                for argument in tree.list(arguments) {
                    self.put(" ", *argument, "");
                }
                self.text(")");
            }
            Node::List(list) => {
                self.text("[ ");
                for element in tree.list(list) {
                    self.put("(", *element, ") ");
                }
                self.text("]");
            }
            Node::Not(operand) => self.put("(! ", operand, ")"),
            Node::Binary { operator, left, right } => {
                self.put("(", left, sign(operator));
                self.put("", right, ")");
            }
            other => self.scope(other),
        }
    }

    /// Adds what a node with names of its own or with parts in words consists of.
    fn scope(&mut self, node: Node) {
        let tree = self.tree;
        match node {
            Node::Set(set) => self.set(set),
            Node::Lambda { argument, formals, body } => self.lambda(argument, formals, body),
            Node::Let { set, body } => {
                self.text("(let ");
                self.bindings(tree.set(set));
                self.put("in ", body, ")");
            }
            Node::With { set, body } => {
                self.put("(with ", set, "; ");
                self.put("", body, ")");
            }
            Node::If { condition, then, otherwise } => {
                self.put("(if ", condition, " then ");
                self.put("", then, " else ");
                self.put("", otherwise, ")");
            }
            Node::Assert { condition, body } => {
                self.put("assert ", condition, "; ");
                self.put("", body, "");
            }
            _ => {}
        }
    }

    fn path(&mut self, steps: Steps) {
        for (number, step) in self.tree.path(steps).iter().enumerate() {
            if number > 0 {
                self.text(".");
            }
            match *step {
                Step::Name(symbol) => self.add(Item::Name(symbol)),
                Step::Dynamic(node) => self.put("\"${", node, "}\""),
            }
        }
    }

    fn lambda(&mut self, argument: Option<Symbol>, formals: Option<FormalsId>, body: NodeId) {
        self.text("(");
        if let Some(formals) = formals {
            self.formals(formals);
            if argument.is_some() {
                self.text(" @ ");
            }
        }
        if let Some(argument) = argument {
            self.add(Item::Bytes(self.symbols.text(argument)));
        }
        self.put(": ", body, ")");
    }

    fn formals(&mut self, formals: FormalsId) {
        let formals = self.tree.formals(formals);
        let mut sorted: Vec<_> =
            formals.formals.iter().map(|formal| (self.symbols.text(formal.name), formal)).collect();
        sorted.sort_by_key(|(name, _)| *name);
        self.text("{ ");
        for (number, (_, formal)) in sorted.iter().enumerate() {
            if number > 0 {
                self.text(", ");
            }
            self.add(Item::Name(formal.name));
            if let Some(default) = formal.default {
                self.put(" ? ", default, "");
            }
        }
        if formals.ellipsis {
            self.text(if sorted.is_empty() { "..." } else { ", ..." });
        }
        self.text(" }");
    }

    fn set(&mut self, set: SetId) {
        let set = self.tree.set(set);
        self.text(if set.recursive { "rec { " } else { "{ " });
        self.bindings(set);
        self.text("}");
    }

    fn bindings(&mut self, set: &Set) {
        let mut sorted: Vec<_> =
            set.bindings.iter().map(|binding| (self.symbols.text(binding.name), binding)).collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        let inherited: Vec<_> = sorted
            .iter()
            .filter(|(_, b)| matches!(b.value, Bound::Inherit(_)))
            .map(|(_, b)| b.name)
            .collect();
        self.names("inherit", &inherited);
        let mut by_source = vec![Vec::new(); set.sources.len()];
        for (_, binding) in &sorted {
            if let Bound::From { source } = binding.value {
                by_source[source as usize].push(binding.name);
            }
        }
        for (source, names) in set.sources.iter().zip(&by_source) {
            self.put("inherit (", *source, ")");
            self.names("", names);
        }
        for (_, binding) in &sorted {
            if let Bound::Value(node) = binding.value {
                self.add(Item::Name(binding.name));
                self.put(" = ", node, "; ");
            }
        }
        for DynamicBinding { name, value, .. } in &set.dynamic {
            self.put("\"${", *name, "}\" = ");
            self.put("", *value, "; ");
        }
    }

    fn names(&mut self, clause: &'static str, names: &[Symbol]) {
        if names.is_empty() {
            return;
        }
        self.text(clause);
        for name in names {
            self.text(" ");
            self.add(Item::Name(*name));
        }
        self.text("; ");
    }
}

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => " == ",
        Operator::NotEqual => " != ",
        Operator::And => " && ",
        Operator::Or => " || ",
        Operator::Implies => " -> ",
        Operator::Update => " // ",
        Operator::Concat => " ++ ",
    }
}

/// Appends a number with at most six digits, as `%g` of C prints it.
pub fn float(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        return out.extend_from_slice(if number.is_sign_negative() { b"-nan" } else { b"nan" });
    }
    if number.is_infinite() {
        return out.extend_from_slice(if number < 0.0 { b"-inf" } else { b"inf" });
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let text = format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
        return out.extend_from_slice(text.as_bytes());
    }
    let decimals = (5 - exponent).max(0) as usize;
    out.extend_from_slice(trim(&format!("{number:.decimals$}")).as_bytes());
}
