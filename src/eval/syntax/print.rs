//! Trees as text: what `--parse` prints, and error messages about expressions.

use super::super::symbols::{Symbol, Symbols};
use super::tree::{Bound, DynamicBinding, FormalsId, Node, NodeId, Operator, Set, SetId, Step, Steps, Tree};

/// What is still to be printed.
#[derive(Clone, Copy)]
enum Item<'a> {
    Node(NodeId),
    Bytes(&'a [u8]),
    Name(Symbol),
}

/// Appends the text of a part of a tree. The depth of the tree does not matter.
pub fn print(tree: &Tree, symbols: &Symbols, root: NodeId, out: &mut Vec<u8>) {
    let mut printer = Printer { tree, symbols, items: vec![Item::Node(root)], new: Vec::new() };
    while let Some(item) = printer.items.pop() {
        match item {
            Item::Bytes(bytes) => out.extend_from_slice(bytes),
            Item::Name(symbol) => name(symbols.text(symbol), out),
            Item::Node(id) => {
                printer.node(id, out);
                while let Some(item) = printer.new.pop() {
                    printer.items.push(item);
                }
            }
        }
    }
}

/// Appends a computed name: `"${e}"`.
pub(super) fn dynamic(tree: &Tree, symbols: &Symbols, node: NodeId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"${");
    print(tree, symbols, node, out);
    out.extend_from_slice(b"}\"");
}

struct Printer<'a> {
    tree: &'a Tree,
    symbols: &'a Symbols,
    /// What is to be printed, the next last.
    items: Vec<Item<'a>>,
    /// What the node at hand adds, in order.
    new: Vec<Item<'a>>,
}

impl<'a> Printer<'a> {
    fn text(&mut self, text: &'static str) {
        self.new.push(Item::Bytes(text.as_bytes()));
    }

    fn put(&mut self, before: &'static str, node: NodeId, after: &'static str) {
        self.text(before);
        self.new.push(Item::Node(node));
        self.text(after);
    }

    fn node(&mut self, id: NodeId, out: &mut Vec<u8>) {
        let tree = self.tree;
        match tree.node(id) {
            Node::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Node::Float(number) => float(number, out),
            Node::String(text) => string(tree.text(text), out),
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
                Step::Name(symbol) => self.new.push(Item::Name(symbol)),
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
            self.new.push(Item::Bytes(self.symbols.text(argument)));
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
            self.new.push(Item::Name(formal.name));
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
                self.new.push(Item::Name(binding.name));
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
            self.new.push(Item::Name(*name));
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

/// Appends a name, in quotes unless it can stand alone.
pub fn name(name: &[u8], out: &mut Vec<u8>) {
    if is_plain(name) { out.extend_from_slice(name) } else { string(name, out) }
}

/// Whether a name needs no quotes.
pub fn is_plain(name: &[u8]) -> bool {
    let first = name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    first
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'-'))
        && !matches!(
            name,
            b"if" | b"then" | b"else" | b"assert" | b"with" | b"let" | b"in" | b"rec" | b"inherit"
        )
}

/// Appends a text in quotes, with escapes.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'$' if text.get(at + 1) == Some(&b'{') => out.extend_from_slice(b"\\$"),
            other => out.push(*other),
        }
    }
    out.push(b'"');
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
