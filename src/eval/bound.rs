//! Whether all variables of a text are bound: what compiling it would find out, without code.

use super::stack::Stack;
use super::symbols::Symbol;
use super::syntax::tree::{Bound, DynamicBinding, List, Node, NodeId, Set, Step, Steps, Tree};

/// A walk through a tree.
struct Walk<'t> {
    tree: &'t Tree,
    /// For each name, by its number, how many of the scopes around bind it.
    scopes: Vec<u32>,
    /// How many `with` are around: under one of them no name is known to be free.
    withs: u32,
    stack: Stack,
}

/// Whether every variable of a tree is bound, by the tree or by `globals`. Of a tree that is nested too deeply
/// for the native stack it is not known, which counts as no.
pub(super) fn all_bound(tree: &Tree, globals: impl Iterator<Item = Symbol>, stack: Stack) -> bool {
    let mut walk = Walk { tree, scopes: Vec::new(), withs: 0, stack };
    globals.for_each(|name| walk.enter(name));
    walk.node(tree.root)
}

impl Walk<'_> {
    fn enter(&mut self, name: Symbol) {
        let number = name.0 as usize;
        if number >= self.scopes.len() {
            self.scopes.resize(number + 1, 0);
        }
        self.scopes[number] += 1;
    }

    fn leave(&mut self, name: Symbol) {
        self.scopes[name.0 as usize] -= 1;
    }

    fn is_bound(&self, name: Symbol) -> bool {
        self.withs > 0 || self.scopes.get(name.0 as usize).is_some_and(|count| *count > 0)
    }

    fn node(&mut self, id: NodeId) -> bool {
        if self.stack.is_exhausted() {
            return false;
        }
        match self.tree.node(id) {
            Node::Int(_) | Node::Float(_) | Node::String(_) | Node::Path(_) | Node::Position => true,
            Node::Variable(name) => self.is_bound(name),
            Node::Join { parts: list, .. } | Node::List(list) => self.all(list),
            Node::Select { base, path, default } => {
                self.node(base) && self.path(path) && default.is_none_or(|default| self.node(default))
            }
            Node::Has { base, path } => self.node(base) && self.path(path),
            Node::Apply { function, arguments } => self.node(function) && self.all(arguments),
            Node::Set(set) => self.set(self.tree.set(set), None),
            Node::Let { set, body } => self.set(self.tree.set(set), Some(body)),
            Node::Lambda { argument, formals, body } => {
                let tree = self.tree;
                let formals = formals.map_or(&[][..], |id| &tree.formals(id).formals);
                let names = || argument.into_iter().chain(formals.iter().map(|formal| formal.name));
                names().for_each(|name| self.enter(name));
                let defaults = formals.iter().filter_map(|formal| formal.default);
                let bound = defaults.chain([body]).all(|node| self.node(node));
                names().for_each(|name| self.leave(name));
                bound
            }
            Node::With { set, body } => {
                let bound = self.node(set);
                self.withs += 1;
                let bound = bound && self.node(body);
                self.withs -= 1;
                bound
            }
            Node::If { condition, then, otherwise } => {
                self.node(condition) && self.node(then) && self.node(otherwise)
            }
            Node::Assert { condition: left, body: right } | Node::Binary { left, right, .. } => {
                self.node(left) && self.node(right)
            }
            Node::Not(operand) => self.node(operand),
        }
    }

    fn all(&mut self, list: List) -> bool {
        let tree = self.tree;
        tree.list(list).iter().all(|node| self.node(*node))
    }

    fn path(&mut self, path: Steps) -> bool {
        let tree = self.tree;
        tree.path(path).iter().all(|step| match step {
            Step::Name(_) => true,
            Step::Dynamic(node) => self.node(*node),
        })
    }

    /// The bindings of a set or `let`, and the body of a `let`.
    fn set(&mut self, set: &Set, body: Option<NodeId>) -> bool {
        let names = || set.bindings.iter().filter(|_| set.recursive).map(|binding| binding.name);
        let outside = set.bindings.iter().all(|binding| match binding.value {
            Bound::Inherit(node) => self.node(node),
            _ => true,
        });
        names().for_each(|name| self.enter(name));
        let bound = outside
            && set.sources.iter().all(|source| self.node(*source))
            && set.bindings.iter().all(|binding| match binding.value {
                Bound::Value(node) => self.node(node),
                _ => true,
            })
            && set
                .dynamic
                .iter()
                .all(|DynamicBinding { name, value, .. }| self.node(*name) && self.node(*value))
            && body.is_none_or(|body| self.node(body));
        names().for_each(|name| self.leave(name));
        bound
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::shared::Settings;
    use super::super::sources::Origin;
    use super::super::tests::Memory;
    use super::*;

    #[test]
    fn a_text_that_can_be_compiled_is_bound() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/eval")).unwrap();
        let lists: Vec<String> =
            files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let more = "x\nx: y: x y\n{ a, b ? a, ... }@c: c b\n{ a ? b }: b\nrec { a = b; b = a; }\n{ a = b; b = 1; }\n\
                    let a = 1; in a\n(let a = 1; in a) a\nwith x; 1\nwith { }; x\n(with { }; 1) x\n{ inherit x; }\n\
                    rec { inherit x; }\nrec { inherit (a) x; a = { }; b = x; }\n{ inherit (a) x; a = { }; }\n\
                    { ${x} = 1; }\nrec { a = \"a\"; ${a} = 1; }\n1 . ${x}\n{ } ? ${x}\n1 . a or x\n[ x ]\n\"${x}\"\n\
                    if x then 1 else 2\nif true then x else 1\nif true then 1 else x\nassert x; 1\nassert true; x\n\
                    !x\n1 == x\n-x\n./a/${x}\nlet { body = a; a = b; }\n(x: x) x\n({ x }: x) x\nrec { x = 1; }.x + x\n";
        let (mut bound, mut free) = (0, 0);
        super::super::evaluate(Settings::new(), &Memory::default(), |worker| {
            for text in lists.iter().flat_map(|list| list.lines()).chain(more.lines()) {
                let Ok(parsed) = worker.parse(Origin::Text, text.as_bytes(), b"/work") else { continue };
                let compiles = worker.suspended(&parsed).is_ok();
                let walked = all_bound(&parsed.tree, worker.global_names(), worker.stack());
                assert_eq!(walked, compiles, "{text}");
                *(if compiles { &mut bound } else { &mut free }) += 1;
                assert_eq!(worker.check(&parsed).is_ok(), compiles);
            }
        })
        .unwrap();
        assert!(bound > 3000 && free > 20, "{bound} and {free}");
    }
}
