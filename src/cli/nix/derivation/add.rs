//! `nix derivation add`: the opposite of `nix derivation show`, for one
//! derivation.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use nival::model::content_address::ContentReferences;
use nival::model::derivation::DerivationOutput;
use nival::model::derivation::options::STRUCTURED;
use nival::model::store_path::output_path_name;
use nival::model::{ContentAddress, ContentAddressMethod, Derivation, Hash, StoreDir, StorePath};
use nival::ops::derivations;
use nival::store::StoreError;
use serde_json::{Map, Value};

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::nix::derivation::show::FORMAT;
use crate::cli::nix::hash::parse_algorithm;
use crate::cli::nix::{Command, framed};
use crate::cli::output::json::compact;
use crate::cli::output::streams::Out;
use crate::cli::output::streams::read_stdin;

/// `nix derivation add`.
#[derive(Default)]
pub struct Add {
    dry_run: bool,
}

impl Command for Add {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        self.dry_run |= given.name() == "--dry-run";
        Ok(given.name() == "--dry-run")
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let value = read()?;
        let store = &*context.open_store_to_add()?;
        let dir = store.dir();
        let (name, mut derivation) = Reader { context, dir }.derivation(&value)?;
        if derivation.outputs.values().any(|output| *output == DerivationOutput::Deferred) {
            derivations::work_out(store, &mut derivation, &name)?;
        }
        let name = format!("{name}.drv");
        let text = derivation.print(dir);
        let references = derivation.references();
        let path = if self.dry_run {
            let ca = ContentAddress { method: ContentAddressMethod::Text, hash: Hash::sha256(&text) };
            dir.content_path(&name, &ca, &ContentReferences { others: references, itself: false })?
        } else {
            for input in &references {
                if !store.is_valid(input)? {
                    return Err(StoreError::Missing(dir.print(input)).into());
                }
            }
            store.add_text(&name, &text, references).map_err(|error| match error {
                StoreError::DerivationOutput { reason, .. } => anyhow::Error::from(reason),
                other => anyhow::Error::from(other),
            })?
        };
        let mut out = Out::new();
        out.line(dir.display(&path))?;
        out.finish()
    }
}

/// The JSON text on standard input.
fn read() -> anyhow::Result<Value> {
    let input = read_stdin()?;
    let bad = |line: usize, column: usize, why: &str| {
        anyhow::anyhow!("[json.exception.parse_error.101] parse error at line {line}, column {column}: {why}")
    };
    if input.is_empty() {
        let why = "attempting to parse an empty input; \
                   check that your input string or stream contains the expected JSON";
        return Err(bad(1, 1, why));
    }
    serde_json::from_str(&input).map_err(|error| bad(error.line(), error.column(), &error.to_string()))
}

/// The error for a value of another type.
fn wrong_type(expected: &str, value: &Value) -> anyhow::Error {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let value = compact(value);
    anyhow::anyhow!("Expected JSON value to be {expected} but it is of type '{found}': {value}")
}

fn object(value: &Value) -> anyhow::Result<&Map<String, Value>> {
    value.as_object().ok_or_else(|| wrong_type("of type 'object'", value))
}

fn array(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().ok_or_else(|| wrong_type("of type 'array'", value))
}

fn string(value: &Value) -> anyhow::Result<&str> {
    value.as_str().ok_or_else(|| wrong_type("of type 'string'", value))
}

fn bytes(value: &Value) -> anyhow::Result<Vec<u8>> {
    Ok(string(value)?.as_bytes().to_vec())
}

fn member<'v>(value: &'v Value, key: &str) -> anyhow::Result<&'v Value> {
    object(value)?.get(key).ok_or_else(|| {
        let value = compact(value);
        anyhow::anyhow!("Expected JSON object to contain key '{key}' but it doesn't: {value}")
    })
}

fn base_name(text: &str) -> anyhow::Result<StorePath> {
    Ok(StorePath::from_base_name(text)?)
}

struct Reader<'c> {
    context: &'c Context,
    dir: &'c StoreDir,
}

impl Reader<'_> {
    /// Says which keys were being read when something failed.
    fn within<T>(&self, keys: &[&str], result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.map_err(|error| {
            let frames: Vec<String> = keys.iter().map(|key| format!("while reading key '{key}'")).collect();
            framed(self.context, &frames.join("\n\n       … "), &error.to_string())
        })
    }

    /// The name and the derivation.
    fn derivation(&self, value: &Value) -> anyhow::Result<(String, Derivation)> {
        let name = string(member(value, "name")?)?.to_owned();
        let version = member(value, "version")?;
        let version = version.as_u64().ok_or_else(|| wrong_type("an unsigned integral number", version))?;
        anyhow::ensure!(
            version == FORMAT,
            "Unsupported derivation JSON format version {version}, \
             only format version {FORMAT} is currently supported."
        );
        let mut derivation = Derivation {
            outputs: self.within(&["outputs"], self.outputs(value, &name))?,
            ..Derivation::default()
        };
        let inputs = self.within(&["inputs"], member(value, "inputs"))?;
        derivation.input_srcs = self.within(&["inputs", "srcs"], sources(inputs))?;
        derivation.input_drvs = self.within(&["inputs", "drvs"], derivations(inputs))?;
        derivation.platform = bytes(member(value, "system")?)?;
        derivation.builder = bytes(member(value, "builder")?)?;
        derivation.args =
            array(member(value, "args")?)?.iter().map(bytes).collect::<anyhow::Result<Vec<_>>>()?;
        for (key, value) in self.within(&["env"], object(member(value, "env")?))? {
            derivation.env.insert(key.clone().into_bytes(), self.within(&["env"], bytes(value))?);
        }
        if let Some(structured) = object(value)?.get("structuredAttrs").filter(|value| !value.is_null()) {
            derivation.env.insert(STRUCTURED.to_vec(), compact(structured).into_bytes());
        }
        self.fill_in(&mut derivation);
        Ok((name, derivation))
    }

    /// A variable of an output that is missing or empty gets its path, where
    /// that follows from the promised content.
    fn fill_in(&self, derivation: &mut Derivation) {
        for (name, output) in &derivation.outputs {
            if let DerivationOutput::Fixed { path, .. } = output {
                let variable = derivation.env.entry(name.clone().into_bytes()).or_default();
                if variable.is_empty() {
                    *variable = self.dir.print(path).into_bytes();
                }
            }
        }
    }

    fn outputs(&self, value: &Value, name: &str) -> anyhow::Result<BTreeMap<String, DerivationOutput>> {
        object(member(value, "outputs")?)?
            .iter()
            .map(|(output, value)| Ok((output.clone(), self.output(value, &output_path_name(name, output))?)))
            .collect()
    }

    fn output(&self, value: &Value, name: &str) -> anyhow::Result<DerivationOutput> {
        let mut keys: Vec<&str> = object(value)?.keys().map(String::as_str).collect();
        keys.sort_unstable();
        Ok(match keys[..] {
            ["path"] => DerivationOutput::InputAddressed(base_name(string(member(value, "path")?)?)?),
            ["hash", "method"] => {
                let hash = Hash::parse(string(member(value, "hash")?)?, None)?;
                let ca = ContentAddress { method: method(value)?, hash };
                let path = self.dir.content_path(name, &ca, &ContentReferences::default())?;
                DerivationOutput::Fixed { path, ca }
            }
            ["hashAlgo", "method"] => {
                self.context.settings.require_feature(Some("ca-derivations"))?;
                let algorithm = parse_algorithm(self.context, string(member(value, "hashAlgo")?)?)?;
                DerivationOutput::Floating(method(value)?, algorithm)
            }
            ["hashAlgo", "impure", "method"] => {
                self.context.settings.require_feature(Some("impure-derivations"))?;
                let algorithm = parse_algorithm(self.context, string(member(value, "hashAlgo")?)?)?;
                DerivationOutput::Impure(method(value)?, algorithm)
            }
            // It follows from the inputs, which are asked for below.
            [] => DerivationOutput::Deferred,
            _ => anyhow::bail!("invalid JSON for derivation output"),
        })
    }
}

fn method(value: &Value) -> anyhow::Result<ContentAddressMethod> {
    match string(member(value, "method")?)? {
        "flat" => Ok(ContentAddressMethod::Flat),
        "nar" => Ok(ContentAddressMethod::NixArchive),
        "text" => Ok(ContentAddressMethod::Text),
        "git" => Ok(ContentAddressMethod::Git),
        _ => anyhow::bail!("invalid JSON for derivation output"),
    }
}

fn sources(inputs: &Value) -> anyhow::Result<BTreeSet<StorePath>> {
    array(member(inputs, "srcs")?)?.iter().map(|value| base_name(string(value)?)).collect()
}

fn derivations(inputs: &Value) -> anyhow::Result<BTreeMap<StorePath, BTreeSet<String>>> {
    let mut found = BTreeMap::new();
    for (path, value) in object(member(inputs, "drvs")?)? {
        let dynamic = object(value)?.get("dynamicOutputs").and_then(Value::as_object);
        anyhow::ensure!(dynamic.is_none_or(Map::is_empty), "outputs of outputs are not available in Nival");
        let outputs = array(member(value, "outputs")?)?;
        let outputs = outputs.iter().map(|output| anyhow::Ok(string(output)?.to_owned()));
        found.insert(base_name(path)?, outputs.collect::<anyhow::Result<BTreeSet<_>>>()?);
    }
    Ok(found)
}
