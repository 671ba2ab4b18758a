//! Packages in columns, as JSON or as XML.

use std::cmp::Ordering;

use nival::model::json::{push_float, push_string};
use nival::model::manifest_nix::Value;
use nival::model::{StoreDir, package_name};
use nival::ops::packages::describe::Row;
use nival::ops::packages::meta::Meta;

use crate::cli::output::json::indented_at;
use crate::cli::output::streams::Out;

/// What is to be shown.
#[derive(Clone, Copy, Default)]
pub struct Columns {
    /// Whether it is installed, there, and to be had.
    pub status: bool,
    /// The attribute path.
    pub attr_path: bool,
    /// Not the name.
    pub no_name: bool,
    /// What the other side has.
    pub compare: bool,
    /// The system.
    pub system: bool,
    /// The derivation.
    pub drv_path: bool,
    /// The outputs' paths.
    pub out_path: bool,
    /// The description.
    pub description: bool,
    /// All that is noted.
    pub meta: bool,
}

/// How it is with a package.
#[derive(Clone, Copy, Default)]
pub struct Status {
    /// Its path is installed.
    pub installed: bool,
    /// Its path is in the store.
    pub valid: bool,
    /// Its path can be fetched.
    pub substitutable: bool,
}

/// One package.
#[derive(Default)]
pub struct Line {
    /// What is known of it.
    pub row: Row,
    /// How it is with it.
    pub status: Status,
    /// Its version against the highest one of the other side.
    pub compared: Option<(Ordering, String)>,
}

fn sign(order: Ordering) -> &'static str {
    match order {
        Ordering::Less => "<",
        Ordering::Equal => "=",
        Ordering::Greater => ">",
    }
}

/// Prints lines of cells.
///
/// # Errors
/// Writing.
pub fn table(dir: &StoreDir, columns: &Columns, lines: &[Line], out: &mut Out) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> = lines.iter().map(|line| cells(dir, columns, line)).collect();
    let count = rows.first().map_or(0, Vec::len);
    // In bytes, as the original counts.
    let widths: Vec<usize> =
        (0..count).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    for row in rows {
        let mut text = String::new();
        for (at, cell) in row.iter().enumerate() {
            // What would break the line is shown as a blank.
            text.extend(cell.chars().map(|c| if c == '\n' { ' ' } else { c }));
            if at + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widths[at] - cell.len() + 2));
            }
        }
        out.line(text)?;
    }
    Ok(())
}

fn cells(dir: &StoreDir, columns: &Columns, line: &Line) -> Vec<String> {
    let row = &line.row;
    let mut cells = Vec::new();
    if columns.status {
        let Status { installed, valid, substitutable } = line.status;
        let letter = |holds: bool, letter: char| if holds { letter } else { '-' };
        cells.push([letter(installed, 'I'), letter(valid, 'P'), letter(substitutable, 'S')].iter().collect());
    }
    if columns.attr_path {
        cells.push(row.attr_path.clone());
    }
    if !columns.no_name {
        cells.push(row.name.clone());
    }
    if columns.compare {
        cells.push(match &line.compared {
            Some((order, version)) => format!("{} {version}", sign(*order)),
            None => "- ?".to_owned(),
        });
    }
    if columns.system {
        cells.push(row.system.clone().unwrap_or_default());
    }
    if columns.drv_path {
        cells.push(row.drv_path.as_ref().map_or("-".to_owned(), |drv| dir.print(drv)));
    }
    if columns.out_path {
        let outputs = row.outputs.iter().flatten().filter_map(|(name, path)| {
            let path = dir.print(path.as_ref()?);
            Some(if name == "out" { path } else { format!("{name}={path}") })
        });
        cells.push(outputs.collect::<Vec<_>>().join(";"));
    }
    if columns.description {
        cells.push(row.description.clone());
    }
    cells
}

/// Prints a JSON object of items with their keys.
///
/// # Errors
/// Writing.
pub fn json(mut items: Vec<(String, Vec<u8>)>, out: &mut Out) -> anyhow::Result<()> {
    // Of two with one key the later one counts.
    items.sort_by(|one, other| one.0.cmp(&other.0));
    items.reverse();
    items.dedup_by(|one, other| one.0 == other.0);
    if items.is_empty() {
        return out.line("{}");
    }
    let mut before = "{\n  ";
    for (key, item) in items.iter().rev() {
        let mut text = before.as_bytes().to_vec();
        push_text(&mut text, key);
        text.extend_from_slice(b": ");
        text.extend_from_slice(&indented_at(1, item));
        out.raw(&text)?;
        before = ",\n  ";
    }
    out.raw(b"\n}\n")
}

/// A package as a JSON text without blanks; `null` where nothing is known.
pub fn json_item(dir: &StoreDir, columns: &Columns, row: Option<&Row>) -> Vec<u8> {
    let Some(row) = row else { return b"null".to_vec() };
    let mut out = b"{".to_vec();
    if let (true, Some(drv)) = (columns.drv_path, &row.drv_path) {
        push_key(&mut out, "drvPath");
        push_text(&mut out, &dir.print(drv));
    }
    if let Some(metas) = &row.meta {
        push_key(&mut out, "meta");
        let members = metas.iter().map(|(name, meta)| (name.as_str(), meta.as_ref()));
        push_object(&mut out, members, |out, meta| match meta {
            Some(meta) => push_meta(out, meta),
            None => out.extend_from_slice(b"null"),
        });
    }
    let (package, version) = package_name::split(&row.name);
    push_key(&mut out, "name");
    push_text(&mut out, &row.name);
    push_key(&mut out, "outputName");
    push_text(&mut out, &row.output_name);
    if let Some(outputs) = &row.outputs {
        push_key(&mut out, "outputs");
        let members = outputs.iter().map(|(name, path)| (name.as_str(), path));
        push_object(&mut out, members, |out, path| match path {
            Some(path) => push_text(out, &dir.print(path)),
            None => out.extend_from_slice(b"null"),
        });
    }
    push_key(&mut out, "pname");
    push_text(&mut out, package);
    push_key(&mut out, "system");
    push_text(&mut out, row.system.as_deref().unwrap_or_default());
    push_key(&mut out, "version");
    push_text(&mut out, version);
    out.push(b'}');
    out
}

fn push_key(out: &mut Vec<u8>, key: &str) {
    if out.last().is_some_and(|byte| *byte != b'{') {
        out.push(b',');
    }
    push_text(out, key);
    out.push(b':');
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // It fails for what is not UTF-8 only, and this is.
    let _ = push_string(out, text.as_bytes());
}

fn push_object<'m, M>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'m str, M)>,
    push: impl Fn(&mut Vec<u8>, M),
) {
    out.push(b'{');
    for (name, member) in members {
        push_key(out, name);
        push(out, member);
    }
    out.push(b'}');
}

fn push_meta(out: &mut Vec<u8>, meta: &Meta) {
    match meta {
        Meta::Text(text) => push_text(out, text),
        Meta::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Meta::Float(number) => push_float(out, *number),
        Meta::Bool(truth) => out.extend_from_slice(truth.to_string().as_bytes()),
        Meta::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_meta(out, item);
            }
            out.push(b']');
        }
        Meta::Set(members) => {
            let mut members: Vec<(&str, &Meta)> =
                members.iter().map(|(name, meta)| (name.as_str(), meta)).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            push_object(out, members.into_iter(), push_meta);
        }
    }
}

/// Prints XML.
///
/// # Errors
/// Writing.
pub fn xml(dir: &StoreDir, columns: &Columns, lines: &[Line], out: &mut Out) -> anyhow::Result<()> {
    out.line("<?xml version='1.0' encoding='utf-8'?>")?;
    out.line("<items>")?;
    for line in lines {
        let row = &line.row;
        out.line(format_args!("  <item{}>", print_attributes(&attributes(dir, columns, line))))?;
        for (name, path) in row.outputs.iter().flatten() {
            let mut attributes = vec![("name", name.clone())];
            if let (true, Some(path)) = (columns.out_path, path) {
                attributes.push(("path", dir.print(path)));
            }
            out.line(format_args!("    <output{} />", print_attributes(&attributes)))?;
        }
        for (name, meta) in row.meta.iter().flatten() {
            if let Some(meta) = meta {
                meta_xml(name, meta, out)?;
            }
        }
        out.line("  </item>")?;
    }
    out.line("</items>")
}

/// The attributes of an item, in their order.
fn attributes(dir: &StoreDir, columns: &Columns, line: &Line) -> Vec<(&'static str, String)> {
    let row = &line.row;
    let (package, version) = package_name::split(&row.name);
    let truth = |holds: bool| u8::from(holds).to_string();
    let mut attributes: Vec<(&str, String)> = vec![("attrPath", row.attr_path.clone())];
    if columns.description && !row.description.is_empty() {
        attributes.push(("description", row.description.clone()));
    }
    if let (true, Some(drv)) = (columns.drv_path, &row.drv_path) {
        attributes.push(("drvPath", dir.print(drv)));
    }
    if columns.status {
        attributes.push(("installed", truth(line.status.installed)));
    }
    if let Some((_, version)) = &line.compared {
        attributes.push(("maxComparedVersion", version.clone()));
    }
    attributes.push(("name", row.name.clone()));
    attributes.push(("outputName", row.output_name.clone()));
    attributes.push(("pname", package.to_owned()));
    if columns.status {
        attributes.push(("substitutable", truth(line.status.substitutable)));
    }
    attributes.push(("system", row.system.clone().unwrap_or_default()));
    if columns.status {
        attributes.push(("valid", truth(line.status.valid)));
    }
    attributes.push(("version", version.to_owned()));
    if let Some((order, _)) = &line.compared {
        attributes.push(("versionDiff", sign(*order).to_owned()));
    }
    attributes
}

fn meta_xml(name: &str, meta: &Meta, out: &mut Out) -> anyhow::Result<()> {
    let mut attributes = vec![("name", name.to_owned())];
    let (kind, text) = match meta {
        Meta::Text(text) => ("string", text.clone()),
        Meta::Int(number) => ("int", number.to_string()),
        Meta::Float(_) => ("float", Value::from(meta).print()),
        Meta::Bool(truth) => ("bool", truth.to_string()),
        Meta::List(_) | Meta::Set(_) => {
            attributes.push(("type", "strings".to_owned()));
            out.line(format_args!("    <meta{}>", print_attributes(&attributes)))?;
            for line in strings(meta) {
                out.line(format_args!("      <string{} />", print_attributes(&line)))?;
            }
            return out.line("    </meta>");
        }
    };
    attributes.extend([("type", kind.to_owned()), ("value", text)]);
    out.line(format_args!("    <meta{} />", print_attributes(&attributes)))
}

/// The attributes of the strings in a list or a set; what is no string is left out.
fn strings(meta: &Meta) -> Vec<Vec<(&'static str, String)>> {
    match meta {
        Meta::List(items) => items
            .iter()
            .filter_map(|item| match item {
                Meta::Text(text) => Some(vec![("value", text.clone())]),
                _ => None,
            })
            .collect(),
        Meta::Set(members) => members
            .iter()
            .filter_map(|(name, member)| match member {
                Meta::Text(text) => Some(vec![("type", name.clone()), ("value", text.clone())]),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn print_attributes(attributes: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        text += &format!(" {name}=\"");
        for c in value.chars() {
            match c {
                '"' => text += "&quot;",
                '<' => text += "&lt;",
                '>' => text += "&gt;",
                '&' => text += "&amp;",
                '\n' => text += "&#xA;",
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text
}
