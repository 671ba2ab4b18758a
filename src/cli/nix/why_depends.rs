//! `nix why-depends`: the chains of references from one path to another.

use std::ffi::OsString;

use nival::model::StorePath;
use nival::ops::query;
use nival::ops::realise::no_substituter;
use nival::ops::why_depends::{Distances, Occurrence, occurrences};
use nival::progress::Progress as _;
use nival::store::api::Store;
use nival::store::graph::{Graph, Node};

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::output::streams::Out;

const NORMAL: &str = "\x1b[0m";
const FAINT: &str = "\x1b[38;5;244m";
const TARGET: &str = "\x1b[32;1m";
const OTHER: &str = "\x1b[34;1m";

const BRANCH: &str = "├───";
const LAST: &str = "└───";
const LINE: &str = "│   ";
const NOTHING: &str = "    ";

/// `nix why-depends`.
#[derive(Default)]
pub struct WhyDepends {
    selection: Selection,
    all: bool,
    precise: bool,
}

impl Command for WhyDepends {
    fn arity(&self) -> Arity {
        Arity::exactly(2)
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--all" => self.all = true,
            "--precise" => self.precise = true,
            "--derivation" => self.selection.derivation = true,
            _ => return self.selection.installable_flag(given),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let [package, dependency] = arguments else { return Ok(()) };
        let store = &*context.open_store()?;
        let one = |word: &OsString, fetch: bool| -> anyhow::Result<(StorePath, bool)> {
            let words = std::slice::from_ref(word);
            let selected = match fetch {
                true => {
                    let wanted = self.selection.wanted(context, store.dir(), words)?;
                    self.selection.resolve_or_fetch(context, store, &wanted)?
                }
                false => self.selection.resolve(context, store, words)?,
            };
            match (&selected.valid[..], &selected.invalid[..]) {
                ([path], []) => Ok((path.clone(), true)),
                ([], [path]) => Ok((path.clone(), false)),
                _ => anyhow::bail!("argument '{}' should evaluate to one store path", word.to_string_lossy()),
            }
        };
        let (from, valid) = one(package, true)?;
        if !valid {
            return Err(no_substituter(store.dir(), &from).into());
        }
        let (to, _) = one(dependency, false)?;
        let graph = query::closure(store, std::slice::from_ref(&from), false)?;
        let (Some(start), Some(target)) = (graph.find(&from), graph.find(&to)) else {
            let wanted = self.selection.wanted(context, store.dir(), arguments)?;
            let named: Vec<String> =
                wanted.iter().map(|wanted| format!("'{}'", wanted.print_with_caret(store.dir()))).collect();
            context.ui.notice(&named.join(" does not depend on "));
            return Ok(());
        };
        let distances = Distances::to(&graph, target);
        let mut shown = vec![false; graph.len()];
        shown[start as usize] = true;
        let mut report = Report { store, graph: &graph, distances, command: self, shown, out: Out::new() };
        let done = report.tree(start);
        report.out.finish()?;
        done
    }
}

struct Report<'r> {
    store: &'r dyn Store,
    graph: &'r Graph,
    distances: Distances,
    command: &'r WhyDepends,
    /// Paths that were printed.
    shown: Vec<bool>,
    out: Out,
}

/// What is still to be printed below a path.
struct Level {
    references: std::vec::IntoIter<(Node, Vec<Occurrence>)>,
    /// Bytes of the indentation.
    indent: usize,
}

impl Report<'_> {
    fn tree(&mut self, start: Node) -> anyhow::Result<()> {
        let end = if self.command.precise { NORMAL } else { "" };
        self.out.line(format_args!("{}{end}", self.path(start)?))?;
        // Chains can be long: no recursion.
        let mut indent = String::new();
        let mut levels = vec![self.level(start, 0)?];
        while let Some(level) = levels.last_mut() {
            nival::sys::interrupt::check()?;
            indent.truncate(level.indent);
            let Some((node, places)) = level.references.next() else {
                levels.pop();
                continue;
            };
            let last = level.references.len() == 0;
            let was_shown = self.reference(node, &places, &indent, last)?;
            if node == self.distances.target() && !self.command.all {
                break;
            }
            if was_shown || node == self.distances.target() {
                continue;
            }
            indent.push_str(if last { NOTHING } else { LINE });
            levels.push(self.level(node, indent.len())?);
        }
        Ok(())
    }

    fn path(&self, node: Node) -> anyhow::Result<String> {
        Ok(self.store.dir().print(&self.graph.path(node)?))
    }

    /// The references below a path that lead on, and where they stand.
    fn level(&self, node: Node, indent: usize) -> anyhow::Result<Level> {
        let mut next = self.distances.next(self.graph, node);
        if !self.command.all {
            next.truncate(1);
        }
        let places = if self.command.precise && !next.is_empty() {
            let wanted = next.iter().map(|node| self.graph.path(*node)).collect::<Result<Vec<_>, _>>()?;
            occurrences(self.store, &self.graph.path(node)?, &wanted, self.command.all)?
        } else {
            vec![Vec::new(); next.len()]
        };
        let references = next.into_iter().zip(places).collect::<Vec<_>>().into_iter();
        Ok(Level { references, indent })
    }

    /// Prints a reference; true if it was printed before.
    fn reference(
        &mut self,
        node: Node,
        places: &[Occurrence],
        indent: &str,
        last: bool,
    ) -> anyhow::Result<bool> {
        let target = node == self.distances.target();
        let shown = std::mem::replace(&mut self.shown[node as usize], true);
        let path = self.path(node)?;
        let (connector, below) = if last { (LAST, NOTHING) } else { (BRANCH, LINE) };
        if !self.command.precise {
            let faint = if shown && !target { FAINT } else { "" };
            self.out.line(format_args!("{indent}{faint}{connector}{path}{NORMAL}"))?;
            return Ok(shown);
        }
        let colour = if target { TARGET } else { OTHER };
        let part = self.graph.path(node)?;
        let part = part.hash_part();
        for (i, place) in places.iter().enumerate() {
            let connector = if i == 0 { connector } else { below };
            let Occurrence { file, before, after, .. } = place;
            self.out.line(match place.in_link {
                true => format!("{indent}{connector}{file} -> {before}{colour}{part}{NORMAL}{after}"),
                false => format!("{indent}{connector}{file}: …{before}{colour}{part}{NORMAL}{after}…"),
            })?;
        }
        let faint = if shown { FAINT } else { "" };
        self.out.line(format_args!("{indent}{below}{faint}→ {path}{NORMAL}"))?;
        Ok(shown)
    }
}
