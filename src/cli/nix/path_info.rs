//! `nix path-info`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;

use nival::model::{StoreDir, StorePath};
use nival::ops::path_info::{Options, Report};
use nival::ops::selected::Selected;
use nival::progress::{Progress as _, size_text};
use nival::store::api::RawPath;
use nival::store::graph::{Graph, Node};
use nival::sys::interrupt;

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::output::json::{Style, handed_through};
use crate::cli::output::path_info_json::{Format, InfoWriter};
use crate::cli::output::streams::Out;

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
        let store = &*context.open_any(context.settings.store_uri())?;
        let (selected, invalid) = self.selection.select(context, store, arguments, self.closure_size)?;
        let mut options = Options::default();
        options.closure_sizes = self.closure_size;
        let report = Report::new(&selected, options)?;
        if self.style.json {
            return self.print_json(store.dir(), &report, &invalid, format);
        }
        self.print_text(&selected, &report, &invalid)?;
        match invalid.first() {
            Some(path) => Err(store.invalid(path).into()),
            None => Ok(()),
        }
    }
}

impl PathInfo {
    fn print_text(
        &self,
        selected: &Selected<'_>,
        report: &Report<'_, '_>,
        invalid: &[StorePath],
    ) -> anyhow::Result<()> {
        let graph = &selected.graph;
        let order = before_invalid(graph, &selected.order, invalid.first());
        let dir = selected.store().dir().as_str();
        let longest = order.iter().map(|node| graph.base_name(*node).len());
        let longest = longest.chain(invalid.iter().map(|path| path.base_name().len())).max().unwrap_or(0);
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
            if let Some(sizes) = report.closure(*node) {
                self.push_size(&mut line, sizes.unpacked)?;
            }
            if self.signatures {
                line.push('\t');
                line.push_str(&vouchers(&selected.raw(*node)?));
            }
            out.line(&line)?;
        }
        out.finish()
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
        dir: &StoreDir,
        report: &Report<'_, '_>,
        invalid: &[StorePath],
        format: Format,
    ) -> anyhow::Result<()> {
        let mut writer = InfoWriter::new(self.style.writer(), dir, format)?;
        let mut missing = invalid.iter().peekable();
        report.each_row(|row, references| {
            let mut write = || -> anyhow::Result<()> {
                while let Some(path) = missing.next_if(|path| path.base_name() < row.base_name) {
                    writer.missing(path.base_name())?;
                }
                writer.entry(&row, references)
            };
            Ok(write().map_err(handed_through)?)
        })?;
        missing.try_for_each(|path| writer.missing(path.base_name()))?;
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
