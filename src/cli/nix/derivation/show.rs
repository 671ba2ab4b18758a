//! `nix derivation show`.

use std::collections::BTreeSet;
use std::ffi::OsString;

use nival::model::derivation::DerivationOutput;
use nival::model::derivation::options::STRUCTURED;
use nival::model::{ContentAddressMethod, Derivation, HashAlgorithm, HashFormat, StorePath};
use nival::ops::query;
use nival::store::api::Store;
use nival::sys::interrupt;

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::{Selection, deriver};
use crate::cli::nix::{Arity, Command};
use crate::cli::output::json::{Json, Style};
use crate::cli::output::path_info_json::method_name;

/// The version of the format.
pub const FORMAT: u64 = 4;

/// `nix derivation show`.
#[derive(Default)]
pub struct Show {
    selection: Selection,
    style: Style,
}

impl Command for Show {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--recursive" => self.selection.recursive = true,
            "--stdin" => self.selection.stdin = true,
            _ => return Ok(self.style.pretty_flag(given) || self.selection.installable_flag(given)?),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = &*context.open_store()?;
        let mut paths = BTreeSet::new();
        for wanted in self.selection.wanted(context, store.dir(), arguments)? {
            let path = deriver(store, &wanted.path)?;
            if !store.is_valid(&path)? {
                anyhow::bail!("path '{}' is not a valid store path", store.dir().display(&path));
            }
            paths.insert(path);
        }
        if self.selection.recursive {
            paths = with_inputs(store, &paths)?;
        }
        let mut writer = Writer { json: self.style.writer(), context };
        writer.json.object()?;
        writer.json.key("derivations")?;
        writer.json.object()?;
        for path in &paths {
            interrupt::check()?;
            let derivation = store.queries().read_derivation(path)?;
            writer.json.key(path.base_name())?;
            writer.derivation(path, &derivation)?;
        }
        writer.json.end_object()?;
        writer.json.key("version")?;
        writer.json.bare(FORMAT)?;
        writer.json.end_object()?;
        writer.json.finish()
    }
}

/// Derivations and all that they need.
fn with_inputs(store: &dyn Store, paths: &BTreeSet<StorePath>) -> anyhow::Result<BTreeSet<StorePath>> {
    let valid: Vec<StorePath> =
        store.valid(&paths.iter().cloned().collect::<Vec<_>>())?.into_iter().collect();
    let graph = query::closure(store, &valid, false)?;
    let derivations = graph.nodes().filter(|node| graph.base_name(*node).ends_with(".drv"));
    Ok(derivations.map(|node| graph.path(node)).collect::<Result<_, _>>()?)
}

/// Bytes that JSON can hold.
fn text(bytes: &[u8]) -> anyhow::Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        anyhow::anyhow!("[json.exception.type_error.316] invalid UTF-8 byte at index {at}: 0x{byte:02X}")
    })
}

struct Writer<'c> {
    json: Json,
    context: &'c Context,
}

impl Writer<'_> {
    fn derivation(&mut self, path: &StorePath, derivation: &Derivation) -> anyhow::Result<()> {
        self.json.object()?;
        self.json.key("args")?;
        self.json.array()?;
        for argument in &derivation.args {
            self.json.string(text(argument)?)?;
        }
        self.json.end_array()?;
        self.json.key("builder")?;
        self.json.string(text(&derivation.builder)?)?;
        self.environment(derivation)?;
        self.inputs(derivation)?;
        self.json.key("name")?;
        self.json.string(path.name().strip_suffix(".drv").unwrap_or(path.name()))?;
        self.json.key("outputs")?;
        self.json.object()?;
        for (name, output) in &derivation.outputs {
            self.json.key(name)?;
            self.output(output)?;
        }
        self.json.end_object()?;
        if let Some(structured) = derivation.env.get(STRUCTURED) {
            self.json.key("structuredAttrs")?;
            self.json.value(&serde_json::from_slice(structured)?)?;
        }
        self.json.key("system")?;
        self.json.string(text(&derivation.platform)?)?;
        self.json.key("version")?;
        self.json.bare(FORMAT)?;
        self.json.end_object()
    }

    fn environment(&mut self, derivation: &Derivation) -> anyhow::Result<()> {
        self.json.key("env")?;
        self.json.object()?;
        for (name, value) in &derivation.env {
            if name != STRUCTURED {
                self.json.key(text(name)?)?;
                self.json.string(text(value)?)?;
            }
        }
        self.json.end_object()
    }

    fn inputs(&mut self, derivation: &Derivation) -> anyhow::Result<()> {
        self.json.key("inputs")?;
        self.json.object()?;
        self.json.key("drvs")?;
        self.json.object()?;
        for (path, outputs) in &derivation.input_drvs {
            self.json.key(path.base_name())?;
            self.json.object()?;
            self.json.key("dynamicOutputs")?;
            self.json.object()?;
            self.json.end_object()?;
            self.json.key("outputs")?;
            self.json.array()?;
            for output in outputs {
                self.json.string(output)?;
            }
            self.json.end_array()?;
            self.json.end_object()?;
        }
        self.json.end_object()?;
        self.json.key("srcs")?;
        self.json.array()?;
        for path in &derivation.input_srcs {
            self.json.string(path.base_name())?;
        }
        self.json.end_array()?;
        self.json.end_object()
    }

    fn output(&mut self, output: &DerivationOutput) -> anyhow::Result<()> {
        self.json.object()?;
        match output {
            DerivationOutput::InputAddressed(path) => {
                self.json.key("path")?;
                self.json.string(path.base_name())?;
            }
            DerivationOutput::Fixed { ca, .. } => {
                self.json.key("hash")?;
                self.json.string(&ca.hash.digits(HashFormat::Sri))?;
                self.json.key("method")?;
                self.json.string(method_name(ca.method))?;
            }
            DerivationOutput::Floating(method, algorithm) => {
                self.floating(*method, *algorithm, false)?;
            }
            DerivationOutput::Impure(method, algorithm) => self.floating(*method, *algorithm, true)?,
            DerivationOutput::Deferred => {}
        }
        self.json.end_object()
    }

    fn floating(
        &mut self,
        method: ContentAddressMethod,
        algorithm: HashAlgorithm,
        impure: bool,
    ) -> anyhow::Result<()> {
        let feature = if impure { "impure-derivations" } else { "ca-derivations" };
        self.context.settings.require_feature(Some(feature))?;
        self.json.key("hashAlgo")?;
        self.json.string(algorithm.name())?;
        if impure {
            self.json.key("impure")?;
            self.json.bare(true)?;
        }
        self.json.key("method")?;
        self.json.string(method_name(method))
    }
}
