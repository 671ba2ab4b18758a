//! `--query`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use nival::model::StorePath;
use nival::ops::graph_text::{self, TreeWriter};
use nival::ops::query;
use nival::store::api::Store;
use nival::store::api::roots::RootSearch;
use nival::store::graph::{Graph, Node};

use super::Call;
use crate::cli::error::usage;
use crate::cli::flags::parse::text;
use crate::cli::output::streams::Out;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Outputs,
    Requisites,
    References,
    Referrers,
    ReferrersClosure,
    Deriver,
    ValidDerivers,
    Binding,
    Hash,
    Size,
    Tree,
    Graph,
    GraphMl,
    Resolve,
    Roots,
}

/// Every question, by its flag.
const QUESTIONS: &[(&str, Question)] = &[
    ("--outputs", Question::Outputs),
    ("--requisites", Question::Requisites),
    ("--references", Question::References),
    ("--referrers", Question::Referrers),
    ("--referrers-closure", Question::ReferrersClosure),
    ("--deriver", Question::Deriver),
    ("--valid-derivers", Question::ValidDerivers),
    ("--binding", Question::Binding),
    ("--hash", Question::Hash),
    ("--size", Question::Size),
    ("--tree", Question::Tree),
    ("--graph", Question::Graph),
    ("--graphml", Question::GraphMl),
    ("--resolve", Question::Resolve),
    ("--roots", Question::Roots),
];

struct Query {
    call: Call,
    store: Box<dyn Store>,
    use_output: bool,
    include_outputs: bool,
    out: Out,
}

/// Answers one question about paths.
pub fn run(mut call: Call) -> anyhow::Result<()> {
    let use_output = call.has("--use-output");
    let include_outputs = call.has("--include-outputs");
    let force_realise = call.has("--force-realise");
    let question = question(&call)?;
    if force_realise {
        anyhow::bail!("'--force-realise' is not available in this version of Nival");
    }
    let binding = match question {
        Question::Binding if call.arguments.is_empty() => return usage("expected binding name"),
        Question::Binding => text(&call.arguments.remove(0))?,
        _ => String::new(),
    };
    let store = call.context.open_store()?;
    let mut query = Query { call, store, use_output, include_outputs, out: Out::new() };
    query.answer(question, &binding)?;
    query.out.finish()
}

fn question(call: &Call) -> anyhow::Result<Question> {
    let mut asked = None;
    for given in &call.flags {
        let Some((name, question)) = QUESTIONS.iter().find(|(name, _)| *name == given.name()) else {
            continue;
        };
        if asked.is_some_and(|before| before != *question) {
            return usage(format!("query type '{name}' conflicts with earlier flag"));
        }
        asked = Some(*question);
    }
    Ok(asked.unwrap_or(Question::Outputs))
}

impl Query {
    fn answer(&mut self, question: Question, binding: &str) -> anyhow::Result<()> {
        let given = self.call.store_paths(&*self.store)?;
        match question {
            Question::Outputs => self.print_each(&given, |query, path| {
                query::outputs(&*query.store, path)?.iter().try_for_each(|path| query.print(path))
            }),
            Question::Requisites => {
                let graph = query::closure(&*self.store, &self.used(given)?, self.include_outputs)?;
                self.print_sorted(&graph)
            }
            Question::References => {
                let graph = self.store.queries().references_graph(&self.used(given)?)?;
                self.print_sorted(&graph)
            }
            Question::Referrers => {
                let graph = self.store.queries().referrers_graph(&self.used(given)?)?;
                self.print_sorted(&graph)
            }
            Question::ReferrersClosure => self.referrers_closure(given),
            Question::Deriver => {
                self.print_each(&given, |query, path| match query.store.path_info(path)?.deriver {
                    Some(deriver) => query.print(&deriver),
                    None => query.out.line("unknown-deriver"),
                })
            }
            Question::ValidDerivers => {
                let mut derivers = BTreeSet::new();
                for path in &given {
                    derivers.extend(self.store.queries().valid_derivers(path)?);
                }
                derivers.iter().try_for_each(|path| self.print(path))
            }
            Question::Binding => self.print_each(&given, |query, path| {
                query.out.raw(&query::binding(&*query.store, path, binding)?)?;
                query.out.raw(b"\n")
            }),
            Question::Hash => {
                let paths = self.used(given)?;
                self.print_each(&paths, |query, path| {
                    query.out.line(query.store.queries().raw_path(path)?.nar_hash()?)
                })
            }
            Question::Size => {
                let paths = self.used(given)?;
                self.print_each(&paths, |query, path| {
                    query.out.line(query.store.queries().raw_path(path)?.nar_size)
                })
            }
            Question::Tree | Question::Graph | Question::GraphMl => self.graph(question, given),
            Question::Resolve => self.print_each(&given, |query, path| query.print(path)),
            Question::Roots => self.roots(given),
        }
    }

    /// The arguments, or the outputs of those that are derivations.
    fn used(&self, paths: Vec<StorePath>) -> anyhow::Result<Vec<StorePath>> {
        Ok(query::with_outputs(&*self.store, paths, self.use_output)?)
    }

    fn print(&mut self, path: &StorePath) -> anyhow::Result<()> {
        let text = self.store.dir().print(path);
        self.out.line(text)
    }

    fn print_each(
        &mut self,
        paths: &[StorePath],
        mut print: impl FnMut(&mut Self, &StorePath) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        paths.iter().try_for_each(|path| print(self, path))
    }

    fn print_sorted(&mut self, graph: &Graph) -> anyhow::Result<()> {
        let dir = self.store.dir().as_str();
        for node in graph.topological(graph.nodes()) {
            self.out.line(format_args!("{dir}/{}", graph.base_name(node)))?;
        }
        Ok(())
    }

    fn referrers_closure(&mut self, given: Vec<StorePath>) -> anyhow::Result<()> {
        let paths = self.used(given)?;
        let graph = self.store.queries().referrers_closure(&paths)?;
        let order = graph.topological(graph.nodes());
        // A path that is not valid has no referrers, but belongs to its own
        // closure. It comes after everything with a smaller name.
        let mut invalid: BTreeMap<usize, Vec<&StorePath>> = BTreeMap::new();
        let missing: BTreeSet<&StorePath> = paths.iter().filter(|path| graph.find(path).is_none()).collect();
        for path in missing {
            let smaller = order.iter().rposition(|node| graph.base_name(*node) < path.base_name());
            invalid.entry(smaller.map_or(0, |at| at + 1)).or_default().push(path);
        }
        for at in 0..=order.len() {
            for path in invalid.get(&at).into_iter().flatten() {
                self.print(path)?;
            }
            if let Some(node) = order.get(at) {
                self.out.line(query::print_node(self.store.dir(), &graph, *node))?;
            }
        }
        Ok(())
    }

    fn graph(&mut self, question: Question, given: Vec<StorePath>) -> anyhow::Result<()> {
        let paths = if question == Question::Tree { given } else { self.used(given)? };
        let graph = query::closure(&*self.store, &paths, false)?;
        let roots: Vec<Node> = paths.iter().filter_map(|path| graph.find(path)).collect();
        let written = match question {
            Question::Graph => graph_text::write_dot(&graph, &roots, &mut self.out),
            Question::GraphMl => graph_text::write_graphml(&graph, &roots, &mut self.out),
            _ => {
                let mut tree = TreeWriter::new(&graph, self.store.dir());
                roots.iter().try_for_each(|root| tree.write(*root, &mut self.out))
            }
        };
        written.and_then(|()| self.out.flush()).map_err(|error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                crate::cli::output::streams::BrokenPipe { status: 0 }.into()
            } else {
                error.into()
            }
        })
    }

    fn roots(&mut self, given: Vec<StorePath>) -> anyhow::Result<()> {
        let paths = self.used(given)?;
        if paths.is_empty() {
            return Ok(());
        }
        let keep = self.call.context.keep();
        let roots = self.store.require_roots()?.find_roots(RootSearch::default())?;
        for (holder, path) in query::roots_of(&*self.store, &paths, &roots, keep)? {
            let path = self.store.dir().print(&path);
            self.out.line(format_args!("{holder} -> {path}"))?;
        }
        Ok(())
    }
}
