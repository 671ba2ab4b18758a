//! One installed package, as the manifest tells of it.

use std::collections::BTreeMap;

use crate::model::manifest_nix::Value;
use crate::model::{StoreDir, StorePath, package_name};
pub use crate::ops::packages::describe::UNKNOWN_SYSTEM;

/// The priority of a package that says nothing of it.
pub const DEFAULT_PRIORITY: i64 = 5;

/// One installed package.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Name and version.
    pub name: String,
    /// The system it is for, where that was recorded.
    pub system: Option<String>,
    /// Its default output, installed or not.
    pub out_path: StorePath,
    /// What is installed, by output name.
    pub outputs: BTreeMap<String, StorePath>,
    /// The output names in the order of the manifest.
    pub output_names: Vec<String>,
    /// Description, priority and the like.
    pub meta: BTreeMap<String, Value>,
    /// Its derivation, where that is recorded.
    pub drv_path: Option<StorePath>,
}

impl Element {
    /// A path without anything known of it.
    pub fn of_path(name: &str, path: StorePath) -> Self {
        Self {
            name: name.to_owned(),
            system: None,
            out_path: path.clone(),
            outputs: BTreeMap::from([("out".to_owned(), path)]),
            output_names: vec!["out".to_owned()],
            meta: BTreeMap::new(),
            drv_path: None,
        }
    }

    /// The name without the version.
    pub fn package(&self) -> &str {
        package_name::split(&self.name).0
    }

    /// The version.
    pub fn version(&self) -> &str {
        package_name::split(&self.name).1
    }

    /// A member of `meta` as a truth value; flags are stored as strings.
    fn flag(&self, name: &str, default: bool) -> bool {
        match self.meta.get(name) {
            Some(Value::Bool(truth)) => *truth,
            Some(Value::String(text)) => match text.as_str() {
                "true" => true,
                "false" => false,
                _ => default,
            },
            _ => default,
        }
    }

    /// Whether its files are in the environment.
    pub fn is_active(&self) -> bool {
        self.flag("active", true)
    }

    /// The same as the builder is told of it: any word but `false` means yes.
    pub(super) fn active_word(&self) -> String {
        match self.meta.get("active") {
            Some(Value::String(text)) => text.clone(),
            _ => self.is_active().to_string(),
        }
    }

    /// Whether it is not to be replaced.
    pub fn is_kept(&self) -> bool {
        self.flag("keep", false)
    }

    /// Of two packages with the same file the lower number wins.
    pub fn priority(&self) -> i64 {
        match self.meta.get("priority") {
            Some(Value::Int(number)) => *number,
            Some(Value::String(text)) => text.parse().unwrap_or(DEFAULT_PRIORITY),
            _ => DEFAULT_PRIORITY,
        }
    }

    /// The priority where one of several packages is chosen: there one that says nothing of it has 0.
    pub fn choice_priority(&self) -> i64 {
        match self.meta.get("priority") {
            Some(Value::Int(number)) => *number,
            Some(Value::String(text)) => text.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// The priority as the builder is told of it.
    pub(super) fn priority_word(&self) -> String {
        match self.meta.get("priority") {
            Some(Value::String(text)) => text.clone(),
            _ => self.priority().to_string(),
        }
    }
}

/// Reads the list in a manifest.
///
/// # Errors
/// What is missing or odd.
pub fn read_all(dir: &StoreDir, manifest: &Value) -> Result<Vec<Element>, String> {
    let Value::List(items) = manifest else { return Err("it is not a list".to_owned()) };
    items.iter().map(|item| read(dir, item)).collect()
}

/// Members of a package that are no outputs.
const RESERVED: [&str; 7] = ["drvPath", "meta", "name", "outPath", "outputs", "system", "type"];

fn read(dir: &StoreDir, item: &Value) -> Result<Element, String> {
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or(format!("'{key}' is missing in a package"))
    };
    let path = |value: &Value| {
        let path = text(value, "outPath")?;
        dir.parse(&path).map_err(|error| error.to_string())
    };
    let mut output_names = Vec::new();
    match item.get("outputs") {
        Some(Value::List(names)) => {
            for name in names {
                output_names
                    .push(name.as_str().ok_or("'outputs' holds something else than names")?.to_owned());
            }
        }
        _ => output_names.push("out".to_owned()),
    }
    let mut outputs = BTreeMap::new();
    for name in &output_names {
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("an output of a package is called '{name}'"));
        }
        if let Some(output) = item.get(name) {
            outputs.insert(name.clone(), path(output)?);
        }
    }
    let out_path = path(item)?;
    if outputs.is_empty() {
        outputs.insert("out".to_owned(), out_path.clone());
    }
    let drv_path = item.get("drvPath").and_then(Value::as_str).map(|text| dir.parse(text)).transpose();
    Ok(Element {
        name: text(item, "name")?,
        system: Some(text(item, "system").unwrap_or_else(|_| UNKNOWN_SYSTEM.to_owned())),
        out_path,
        outputs,
        output_names,
        meta: match item.get("meta") {
            Some(Value::Set(meta)) => meta.clone(),
            _ => BTreeMap::new(),
        },
        drv_path: drv_path.map_err(|error| error.to_string())?,
    })
}

/// Writes the manifest of packages.
pub fn print_all(dir: &StoreDir, elements: &[Element]) -> String {
    let path = |path: &StorePath| Value::String(dir.print(path));
    let item = |element: &Element| {
        let mut item = BTreeMap::new();
        for (name, output) in &element.outputs {
            let output = BTreeMap::from([("outPath".to_owned(), path(output))]);
            item.insert(name.clone(), Value::Set(output));
        }
        let names = element.output_names.iter().cloned().map(Value::String);
        item.insert("type".to_owned(), Value::String("derivation".to_owned()));
        item.insert("name".to_owned(), Value::String(element.name.clone()));
        item.insert("outPath".to_owned(), path(&element.out_path));
        item.insert("outputs".to_owned(), Value::List(names.collect()));
        item.insert("meta".to_owned(), Value::Set(element.meta.clone()));
        if let Some(system) = &element.system {
            item.insert("system".to_owned(), Value::String(system.clone()));
        }
        if let Some(drv) = &element.drv_path {
            item.insert("drvPath".to_owned(), path(drv));
        }
        Value::Set(item)
    };
    Value::List(elements.iter().map(item).collect()).print()
}
