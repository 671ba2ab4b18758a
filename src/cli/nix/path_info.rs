//! `nix path-info`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;

use nival::model::StorePath;
use nival::progress::{Progress as _, size_text};
use nival::store::graph::{Graph, Node};
use nival::store::local::db::closure_sizes::closure_sizes;
use nival::store::local::db::read::RawPath;
use nival::store::{LocalStore, Store, StoreError};
use nival::sys::interrupt;

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::lookup::{Found, select};
use crate::cli::installables::selection::Selection;
use crate::cli::output::json::{Style, handed_through};
use crate::cli::output::messages::Out;
use crate::cli::output::path_info_json::{Format, InfoWriter};
use nival::ops::closure_sizes::ClosureSizes;

/// `nix path-info`.
#[derive(Default)]
pub struct PathInfo {
    selection: Selection,
    style: Style,
    size: bool,
    closure_size: bool,
    human: bool,
    signatures: bool,
    format: Option<u64>,
}

impl Command for PathInfo {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--size" => self.size = true,
            "--closure-size" => self.closure_size = true,
            "--human-readable" => self.human = true,
            "--sigs" => self.signatures = true,
            "--json-format" => self.format = Some(given.number()?),
            _ => return Ok(self.style.flag(given) || self.selection.flag(given)?),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let format = match self.format {
            Some(2) => Format::Two,
            None | Some(1) => Format::One,
            Some(other) => {
                anyhow::bail!(
                    "unsupported path info JSON format version {other}; supported versions are 1 and 2"
                )
            }
        };
        if self.style.json && self.format.is_none() {
            context.ui.warn(
                "'--json' without '--json-format' is deprecated; please specify '--json-format 1' or \
                 '--json-format 2'. This will become an error in a future release.",
            );
        }
        let opened = context.open_any(context.settings.store_uri())?;
        let Some(store) = opened.downcast::<LocalStore>() else {
            return self.print_elsewhere(context, &*opened, arguments, format);
        };
        match (self.style.json, self.selection.all) {
            (false, _) => self.print_text(context, store, arguments),
            (true, false) => self.print_json(context, store, arguments, format),
            (true, true) => {
                self.selection.expect_nothing_else(arguments)?;
                self.print_all_json(store, format)
            }
        }
    }
}

impl PathInfo {
    /// Paths of a binary cache.
    fn print_elsewhere(
        &self,
        context: &Context,
        store: &dyn Store,
        arguments: &[OsString],
        format: Format,
    ) -> anyhow::Result<()> {
        let Found { mut items, invalid } = select(context, store, &self.selection, arguments)?;
        let closures = if self.closure_size { Some(ClosureSizes::of(store, &items)?) } else { None };
        if self.style.json {
            items.sort_by(|a, b| a.info.path.cmp(&b.info.path));
            let mut writer = InfoWriter::new(self.style.writer(), store.dir(), format)?;
            let mut missing = invalid.iter().peekable();
            for item in &items {
                while let Some(path) = missing.next_if(|path| **path < item.info.path) {
                    writer.missing(path.base_name())?;
                }
                writer.entry_elsewhere(item, closures.as_ref().map(|sizes| sizes.get(&item.info.path)))?;
            }
            missing.try_for_each(|path| writer.missing(path.base_name()))?;
            return writer.finish();
        }
        let dir = store.dir().as_str();
        let lengths = items.iter().map(|item| item.info.path.base_name().len());
        let longest = lengths.max().unwrap_or(0);
        let mut out = Out::new();
        let mut line = String::new();
        for item in &items {
            line.clear();
            let name = item.info.path.base_name();
            match self.size || self.closure_size || self.signatures {
                true => write!(line, "{dir}/{name:<longest$}")?,
                false => write!(line, "{dir}/{name}")?,
            }
            if self.size {
                self.push_size(&mut line, item.info.nar_size)?;
            }
            if let Some(sizes) = &closures {
                self.push_size(&mut line, sizes.get(&item.info.path).unpacked)?;
            }
            if self.signatures {
                line.push('\t');
                line.push_str(&vouchers(&RawPath::of(store.dir(), &item.info)));
            }
            out.line(&line)?;
        }
        out.finish()?;
        match invalid.first() {
            Some(path) => Err(StoreError::Invalid(store.dir().print(path)).into()),
            None => Ok(()),
        }
    }

    fn print_text(
        &self,
        context: &Context,
        store: &LocalStore,
        arguments: &[OsString],
    ) -> anyhow::Result<()> {
        let (graph, order, invalid) = self.selection.graph(context, store, arguments, self.closure_size)?;
        let order = before_invalid(&graph, &order, invalid.first());
        let dir = store.dir().as_str();
        let longest = order.iter().map(|node| graph.base_name(*node).len());
        let longest = longest.chain(invalid.iter().map(|path| path.base_name().len())).max().unwrap_or(0);
        let closures = closures(&graph, self.closure_size)?;
        let mut out = Out::new();
        let mut line = String::new();
        for node in order {
            interrupt::check()?;
            line.clear();
            let name = graph.base_name(*node);
            if self.size || self.closure_size || self.signatures {
                write!(line, "{dir}/{name:<longest$}")?;
            } else {
                write!(line, "{dir}/{name}")?;
            }
            if self.size {
                self.push_size(&mut line, graph.nar_size(*node))?;
            }
            if let Some(sizes) = &closures {
                self.push_size(&mut line, sizes[*node as usize])?;
            }
            if self.signatures {
                let path = graph.path(*node)?;
                let raw = store.db().raw_path(&path)?.ok_or_else(|| store.invalid(&path))?;
                line.push('\t');
                line.push_str(&vouchers(&raw));
            }
            out.line(&line)?;
        }
        out.finish()?;
        match invalid.first() {
            Some(path) => Err(store.invalid(path).into()),
            None => Ok(()),
        }
    }

    fn push_size(&self, line: &mut String, size: u64) -> anyhow::Result<()> {
        if self.human {
            write!(line, "\t{:>10}", human(size))?;
        } else {
            write!(line, "\t{size:>11}")?;
        }
        Ok(())
    }

    /// Selected paths, sorted by name; what is not valid is null.
    fn print_json(
        &self,
        context: &Context,
        store: &LocalStore,
        arguments: &[OsString],
        format: Format,
    ) -> anyhow::Result<()> {
        let closed = self.closure_size || self.selection.recursive;
        let (graph, mut nodes, invalid) = self.selection.graph(context, store, arguments, closed)?;
        nodes.sort_unstable();
        let closures = closures(&graph, self.closure_size)?;
        let mut writer = InfoWriter::new(self.style.writer(), store.dir(), format)?;
        let mut missing = invalid.iter().peekable();
        for node in nodes {
            interrupt::check()?;
            while let Some(path) = missing.next_if(|path| path.base_name() < graph.base_name(node)) {
                writer.missing(path.base_name())?;
            }
            let path = graph.path(node)?;
            let raw = store.db().raw_path(&path)?.ok_or_else(|| store.invalid(&path))?;
            let size = closures.as_ref().map(|sizes| sizes[node as usize]);
            if closed {
                let references = graph.references(node).iter().map(|node| graph.base_name(*node));
                writer.entry(path.base_name(), &raw, references, size)?;
            } else {
                let references = store.db().references(raw.id)?;
                writer.entry(path.base_name(), &raw, references.iter().map(StorePath::base_name), size)?;
            }
        }
        for path in missing {
            writer.missing(path.base_name())?;
        }
        writer.finish()
    }

    /// All paths, each written as soon as it is read.
    fn print_all_json(&self, store: &LocalStore, format: Format) -> anyhow::Result<()> {
        let mut writer = InfoWriter::new(self.style.writer(), store.dir(), format)?;
        let db = store.db();
        // Rows come in the order of the graph's nodes, as long as nobody
        // changes the database in between.
        db.snapshot(|| {
            let graph = Graph::load(&db)?;
            let closures = closures(&graph, self.closure_size)?;
            let mut nodes = graph.nodes();
            db.each_path(|raw| {
                interrupt::check()?;
                let Some(node) = nodes.next() else { return Ok(()) };
                let size = closures.as_ref().map(|sizes| sizes[node as usize]);
                let references = graph.references(node).iter().map(|node| graph.base_name(*node));
                let written = writer.entry(graph.base_name(node), &raw, references, size);
                Ok(written.map_err(handed_through)?)
            })
        })?;
        writer.finish()
    }
}

/// The nodes that come before the first path that is not valid: these are
/// printed before it fails. Nothing refers to such a path, so its place is
/// right after whatever sorts before it.
fn before_invalid<'o>(graph: &Graph, order: &'o [Node], invalid: Option<&StorePath>) -> &'o [Node] {
    let Some(invalid) = invalid else { return order };
    let last = order.iter().rposition(|node| graph.base_name(*node) < invalid.base_name());
    &order[..last.map_or(0, |last| last + 1)]
}

/// Why a path is to be trusted: built here, content-addressed, signed.
fn vouchers(raw: &RawPath) -> String {
    let mut parts = Vec::new();
    if raw.ultimate {
        parts.push("ultimate".to_owned());
    }
    parts.extend(raw.ca.iter().filter(|ca| !ca.is_empty()).map(|ca| format!("ca:{ca}")));
    let signatures: BTreeSet<&str> =
        raw.signatures.iter().flat_map(|signatures| signatures.split_ascii_whitespace()).collect();
    parts.extend(signatures.into_iter().map(str::to_owned));
    parts.join(" ")
}

/// A size with one digit after the point and a unit.
fn human(bytes: u64) -> String {
    format!("{:>10}", size_text(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

/// The sizes of all closures, if they are wanted.
fn closures(graph: &Graph, wanted: bool) -> Result<Option<Vec<u64>>, interrupt::Interrupted> {
    wanted.then(|| closure_sizes(graph)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_sizes() {
        for (bytes, text) in [
            (0, "   0.0 KiB"),
            (52, "   0.1 KiB"),
            (1023, "   1.0 KiB"),
            (1_048_576, "1024.0 KiB"),
            (10_737_418_240, "  10.0 GiB"),
            (1_099_511_627_776, "1024.0 GiB"),
            (109_951_162_777_600, " 100.0 TiB"),
            (9_007_199_254_740_993, "   8.0 PiB"),
            (1_180_591_620_717_411_303, "   1.0 EiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
