//! `--query`: what is installed, in columns, as JSON or as XML.

use nival::model::manifest_nix::Value;
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::ops::user_env::selector::select;
use nival::store::api::Store;
use serde_json::{Map, Value as Json};

use super::Call;
use super::packages::selectors;
use crate::cli::error::usage;
use crate::cli::output::messages::Out;

/// What is to be shown.
#[derive(Default)]
struct Columns {
    status: bool,
    no_name: bool,
    compare: bool,
    system: bool,
    drv_path: bool,
    out_path: bool,
    description: bool,
    meta: bool,
}

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
    Xml,
}

/// Lists packages.
pub fn query(call: Call) -> anyhow::Result<()> {
    let mut columns = Columns::default();
    let (mut available, mut attr_path) = (false, false);
    let mut form = Form::Table;
    for given in &call.flags {
        match given.name() {
            "--available" => available = true,
            "--installed" => available = false,
            "--status" => columns.status = true,
            "--attr-path" => attr_path = true,
            "--no-name" => columns.no_name = true,
            "--compare-versions" => columns.compare = true,
            "--system" => columns.system = true,
            "--drv-path" => columns.drv_path = true,
            "--out-path" => columns.out_path = true,
            "--description" => columns.description = true,
            "--meta" => columns.meta = true,
            "--json" => form = Form::Json,
            "--xml" => form = Form::Xml,
            // `--attr` says that an expression is meant.
            _ => {}
        }
    }
    if attr_path && !available {
        return usage("--attr-path(-P) only works with --available");
    }
    if available {
        return Err(super::needs_language("listing what an expression offers"));
    }
    if columns.compare && (call.expression || call.context.has_default_expression()?) {
        return Err(super::needs_language("comparing with what an expression offers"));
    }
    let store = &*call.open_store()?;
    let profile = call.profile()?;
    let installed = user_env::installed(store, profile.link())?;
    let mut selectors = selectors(store, &call.texts()?)?;
    let mut elements: Vec<(usize, &Element)> = select(&installed, &mut selectors)?
        .into_iter()
        .filter_map(|element| {
            Some((installed.iter().position(|other| std::ptr::eq(other, element))?, element))
        })
        .collect();
    if call.prebuilt {
        let mut valid = Vec::new();
        for (index, element) in elements {
            if store.is_valid(&element.out_path)? {
                valid.push((index, element));
            }
        }
        elements = valid;
    }
    elements.sort_by_key(|(_, element)| element.name.to_uppercase());
    let mut out = Out::new();
    match form {
        Form::Table => table(store, &columns, &elements, &mut out)?,
        Form::Json => json(store, &columns, &elements, &mut out)?,
        Form::Xml => xml(store, &columns, &elements, &mut out)?,
    }
    out.finish()
}

fn table(
    store: &dyn Store,
    columns: &Columns,
    elements: &[(usize, &Element)],
    out: &mut Out,
) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (_, element) in elements {
        let mut row = Vec::new();
        if columns.status {
            let present = store.is_valid(&element.out_path)?;
            row.push(format!("I{}-", if present { 'P' } else { '-' }));
        }
        if !columns.no_name {
            row.push(element.name.clone());
        }
        if columns.compare {
            // There is nothing to compare with.
            row.push("- ?".to_owned());
        }
        if columns.system {
            row.push(system(element).to_owned());
        }
        if columns.drv_path {
            row.push(element.drv_path.as_ref().map_or("-".to_owned(), |drv| store.dir().print(drv)));
        }
        if columns.out_path {
            let outputs = element.outputs.iter().map(|(name, path)| match name.as_str() {
                "out" => store.dir().print(path),
                _ => format!("{name}={}", store.dir().display(path)),
            });
            row.push(outputs.collect::<Vec<_>>().join(";"));
        }
        if columns.description {
            row.push(element.meta.get("description").and_then(Value::as_str).unwrap_or_default().to_owned());
        }
        rows.push(row);
    }
    let count = rows.first().map_or(0, Vec::len);
    // In bytes, as the original counts.
    let widths: Vec<usize> =
        (0..count).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            // What would break the line is shown as a blank.
            line.extend(cell.chars().map(|c| if c == '\n' { ' ' } else { c }));
            if at + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', widths[at] - cell.len() + 2));
            }
        }
        out.line(line)?;
    }
    Ok(())
}

fn system(element: &Element) -> &str {
    element.system.as_deref().unwrap_or(user_env::element::UNKNOWN_SYSTEM)
}

fn meta_json(value: &Value) -> Json {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Null => Json::Null,
        Value::List(items) => items.iter().map(meta_json).collect(),
        Value::Set(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.clone(), meta_json(value))).collect())
        }
    }
}

fn json(
    store: &dyn Store,
    columns: &Columns,
    elements: &[(usize, &Element)],
    out: &mut Out,
) -> anyhow::Result<()> {
    let mut all: Vec<(String, Json)> = Vec::new();
    for (index, element) in elements {
        let mut item = Map::new();
        if let (true, Some(drv)) = (columns.drv_path, &element.drv_path) {
            item.insert("drvPath".to_owned(), store.dir().print(drv).into());
        }
        if columns.meta {
            let meta = element.meta.iter().map(|(name, value)| (name.clone(), meta_json(value))).collect();
            item.insert("meta".to_owned(), Json::Object(meta));
        }
        item.insert("name".to_owned(), element.name.as_str().into());
        item.insert("outputName".to_owned(), "".into());
        let outputs = element.outputs.iter().map(|(name, path)| {
            let shown = if columns.out_path { store.dir().print(path).into() } else { Json::Null };
            (name.clone(), shown)
        });
        item.insert("outputs".to_owned(), Json::Object(outputs.collect()));
        item.insert("pname".to_owned(), element.package().into());
        item.insert("system".to_owned(), system(element).into());
        item.insert("version".to_owned(), element.version().into());
        all.push((index.to_string(), Json::Object(item)));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    out.line(serde_json::to_string_pretty(&Json::Object(all.into_iter().collect()))?)
}

fn xml(
    store: &dyn Store,
    columns: &Columns,
    elements: &[(usize, &Element)],
    out: &mut Out,
) -> anyhow::Result<()> {
    out.line("<?xml version='1.0' encoding='utf-8'?>")?;
    if elements.is_empty() {
        return out.line("<items>\n</items>");
    }
    out.line("<items>")?;
    for (index, element) in elements {
        let mut attributes: Vec<(&str, String)> = vec![("attrPath", index.to_string())];
        if let (true, Some(text)) =
            (columns.description, element.meta.get("description").and_then(Value::as_str))
        {
            attributes.push(("description", text.to_owned()));
        }
        if columns.drv_path
            && let Some(drv) = &element.drv_path
        {
            attributes.push(("drvPath", store.dir().print(drv)));
        }
        if columns.status {
            attributes.push(("installed", "1".to_owned()));
        }
        attributes.push(("name", element.name.clone()));
        attributes.push(("outputName", String::new()));
        attributes.push(("pname", element.package().to_owned()));
        if columns.status {
            attributes.push(("substitutable", "0".to_owned()));
        }
        attributes.push(("system", system(element).to_owned()));
        if columns.status {
            let valid = store.is_valid(&element.out_path)?;
            attributes.push(("valid", u8::from(valid).to_string()));
        }
        attributes.push(("version", element.version().to_owned()));
        out.line(format_args!("  <item{}>", print_attributes(&attributes)))?;
        for (name, path) in &element.outputs {
            let mut attributes = vec![("name", name.clone())];
            if columns.out_path {
                attributes.push(("path", store.dir().print(path)));
            }
            out.line(format_args!("    <output{} />", print_attributes(&attributes)))?;
        }
        if columns.meta {
            for (name, value) in &element.meta {
                meta_xml(name, value, out)?;
            }
        }
        out.line("  </item>")?;
    }
    out.line("</items>")
}

fn meta_xml(name: &str, value: &Value, out: &mut Out) -> anyhow::Result<()> {
    let (kind, text) = match value {
        Value::String(text) => ("string", Some(text.clone())),
        Value::Int(number) => ("int", Some(number.to_string())),
        Value::Float(_) => ("float", Some(value.print())),
        Value::Bool(truth) => ("bool", Some(truth.to_string())),
        Value::List(_) | Value::Set(_) | Value::Null => ("strings", None),
    };
    let mut attributes = vec![("name", name.to_owned()), ("type", kind.to_owned())];
    let Some(text) = text else {
        out.line(format_args!("    <meta{}>", print_attributes(&attributes)))?;
        if let Value::List(items) = value {
            for item in items.iter().filter_map(Value::as_str) {
                let item = print_attributes(&[("value", item.to_owned())]);
                out.line(format_args!("      <string{item} />"))?;
            }
        }
        return out.line("    </meta>");
    };
    attributes.push(("value", text));
    out.line(format_args!("    <meta{} />", print_attributes(&attributes)))
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
