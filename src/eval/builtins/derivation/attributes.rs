//! What the attributes of a derivation say.

use super::super::super::coerce::DERIVATION;
use super::super::super::context::Gathered;
use super::super::super::error::{Error, Traced};
use super::super::super::heap::Value;
use super::super::super::interpret::Worker;
use super::super::super::symbols::known;
use super::super::super::value::{Attr, Attrs, Position, View};
use super::super::json::JsonStyle;
use crate::model::content_address::ContentAddressMethod;
use crate::model::derivation::Derivation;
use crate::model::hash::HashAlgorithm;
use crate::model::json;

/// Attributes that say nothing where attributes are structured, since `outputChecks` does.
const REPLACED: &[&[u8]] = &[
    b"allowedReferences",
    b"allowedRequisites",
    b"disallowedReferences",
    b"disallowedRequisites",
    b"maxClosureSize",
    b"maxSize",
];

/// A derivation as its attributes ask for it, before inputs and outputs are worked out.
pub struct Asked<'e> {
    /// What is known of the derivation: platform, builder, arguments, environment.
    pub derivation: Derivation,
    /// What all the texts depend on.
    pub context: Gathered<'e>,
    /// The names of the outputs in the order in which they are listed.
    pub outputs: Vec<String>,
    /// `outputHash`
    pub hash: Option<Vec<u8>>,
    /// `outputHashAlgo`, if it is an algorithm.
    pub algorithm: Option<HashAlgorithm>,
    /// `outputHashMode`
    pub method: Option<ContentAddressMethod>,
    /// `__contentAddressed`
    pub content_addressed: bool,
    /// `__impure`
    pub impure: bool,
    /// The JSON of the attributes, where they are structured.
    json: Option<Vec<u8>>,
}

impl<'e> Asked<'e> {
    /// Reads all attributes.
    ///
    /// # Errors
    /// One of them is not what it must be.
    pub fn read(worker: &Worker<'e>, attrs: Attrs<'e>, name: &str) -> Result<Asked<'e>, Error> {
        let structured = flag(worker, attrs, known::STRUCTURED_ATTRS, "__structuredAttrs")?;
        let ignore_nulls = flag(worker, attrs, known::IGNORE_NULLS, "__ignoreNulls")?;
        let mut asked = Asked {
            derivation: Derivation::default(),
            context: Gathered::new(),
            outputs: vec!["out".to_owned()],
            hash: None,
            algorithm: None,
            method: None,
            content_addressed: false,
            impure: false,
            json: structured.then(|| b"{".to_vec()),
        };
        let mut sorted: Vec<Attr<'e>> = attrs.entries().into_owned();
        sorted.sort_by_cached_key(|attr| worker.text(attr.name));
        for attr in &sorted {
            if attr.name == known::IGNORE_NULLS {
                continue;
            }
            asked.take(worker, attr, ignore_nulls, name).during_at(attr.position, || {
                format!("while evaluating attribute '{}' of derivation '{name}'", worker.name(attr.name))
            })?;
        }
        if let Some(mut json) = asked.json.take() {
            json.push(b'}');
            asked.derivation.env.insert(b"__json".to_vec(), json);
        }
        Ok(asked)
    }

    /// Reads one attribute.
    fn take(
        &mut self,
        worker: &Worker<'e>,
        attr: &Attr<'e>,
        ignore_nulls: bool,
        name: &str,
    ) -> Result<(), Error> {
        if ignore_nulls && matches!(worker.force(attr.value)?.view(), View::Null) {
            return Ok(());
        }
        match attr.name {
            known::CONTENT_ADDRESSED => {
                self.content_addressed = required(worker, attr, "ca-derivations")?;
            }
            known::IMPURE => self.impure = required(worker, attr, "impure-derivations")?,
            known::ARGS => self.take_arguments(worker, attr)?,
            _ if self.json.is_some() => self.take_structured(worker, attr, name)?,
            _ => self.take_variable(worker, attr, name)?,
        }
        Ok(())
    }

    fn take_arguments(&mut self, worker: &Worker<'e>, attr: &Attr<'e>) -> Result<(), Error> {
        let value = worker.force(attr.value)?;
        let View::List(items) = value.view() else { return Err(worker.wrong_type("a list", value)) };
        for item in items {
            let item = worker.force(*item)?;
            let text = "while evaluating an element of the argument list";
            let (text, context) = worker.coerce(item, DERIVATION, Position::NONE, text)?;
            self.context.add(context);
            self.derivation.args.push(text.to_vec());
        }
        Ok(())
    }

    /// Reads an attribute that is a variable of the environment.
    fn take_variable(&mut self, worker: &Worker<'e>, attr: &Attr<'e>, name: &str) -> Result<(), Error> {
        let (text, context) = worker.coerce(attr.value, DERIVATION, Position::NONE, "")?;
        self.context.add(context);
        let key = worker.text(attr.name);
        if key == b"__json" {
            worker.tell(&format!(
                "warning: In derivation '{name}': setting structured attributes via '__json' is deprecated, and may be \
                 disallowed in future versions of Nix. Set '__structuredAttrs = true' instead."
            ))?;
        }
        self.derivation.env.insert(key.to_vec(), text.to_vec());
        if attr.name == known::OUTPUTS {
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
            let names = text.split(blank).filter(|part| !part.is_empty());
            return self.take_outputs(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect());
        }
        self.take_special(worker, attr, text, name)
    }

    /// Reads an attribute that is a member of the JSON.
    fn take_structured(&mut self, worker: &Worker<'e>, attr: &Attr<'e>, name: &str) -> Result<(), Error> {
        if attr.name == known::STRUCTURED_ATTRS {
            return Ok(());
        }
        let key = worker.text(attr.name);
        if let Some(json) = &mut self.json {
            if json.len() > 1 {
                json.push(b',');
            }
            json::push_string(json, key).map_err(|error| Error::new(error.to_string()))?;
            json.push(b':');
            self.context.add(worker.write_json(attr.value, JsonStyle::STRICT, Position::NONE, json)?);
        }
        if REPLACED.contains(&key) {
            let key = String::from_utf8_lossy(key);
            worker.tell(&format!(
                "warning: In a derivation named '{name}', 'structuredAttrs' disables the effect of the derivation \
                 attribute '{key}'; use 'outputChecks.<output>.{key}' instead"
            ))?;
        }
        match attr.name {
            known::OUTPUTS => {
                let value = worker.force(attr.value)?;
                let View::List(items) = value.view() else { return Err(worker.wrong_type("a list", value)) };
                let mut names = Vec::with_capacity(items.len());
                for item in items {
                    names.push(String::from_utf8_lossy(plain(worker, *item)?).into_owned());
                }
                self.take_outputs(names)
            }
            known::BUILDER
            | known::SYSTEM
            | known::OUTPUT_HASH
            | known::OUTPUT_HASH_ALGO
            | known::OUTPUT_HASH_MODE => {
                let value = worker.force(attr.value)?;
                let View::String(text, context) = value.view() else {
                    return Err(worker.wrong_type("a string", value));
                };
                self.context.add(context);
                self.take_special(worker, attr, text, name)
            }
            _ => Ok(()),
        }
    }

    /// Notes the text of an attribute that has a meaning of its own.
    fn take_special(
        &mut self,
        worker: &Worker<'e>,
        attr: &Attr<'e>,
        text: &[u8],
        name: &str,
    ) -> Result<(), Error> {
        match attr.name {
            known::BUILDER => self.derivation.builder = text.to_vec(),
            known::SYSTEM => self.derivation.platform = text.to_vec(),
            known::OUTPUT_HASH => self.hash = Some(text.to_vec()),
            known::OUTPUT_HASH_ALGO => self.algorithm = String::from_utf8_lossy(text).parse().ok(),
            known::OUTPUT_HASH_MODE => self.method = Some(method(worker, text, name)?),
            _ => {}
        }
        Ok(())
    }

    fn take_outputs(&mut self, names: Vec<String>) -> Result<(), Error> {
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|other| other == name) {
                return Err(Error::new(format!("duplicate derivation output '{name}'")));
            }
            if name == "drvPath" {
                return Err(Error::new(format!("invalid derivation output name '{name}'")));
            }
        }
        if names.is_empty() {
            return Err(Error::new("derivation cannot have an empty set of outputs"));
        }
        self.outputs = names;
        Ok(())
    }
}

fn plain<'e>(worker: &Worker<'e>, value: Value<'e>) -> Result<&'e [u8], Error> {
    let value = worker.force(value)?;
    match value.view() {
        View::String(text, None) => Ok(text),
        View::String(text, Some(context)) => Err(worker.context_forbidden(text, context)),
        _ => Err(worker.wrong_type("a string", value)),
    }
}

/// A flag of the whole derivation.
fn flag<'e>(
    worker: &Worker<'e>,
    attrs: Attrs<'e>,
    name: super::super::super::symbols::Symbol,
    shown: &str,
) -> Result<bool, Error> {
    let Some(attr) = attrs.get(name) else { return Ok(false) };
    let text = format!("while evaluating the `{shown}` attribute passed to builtins.derivationStrict");
    worker.force_bool(attr.value, Position::NONE, &text)
}

/// A flag that may be true only where an experimental feature is on.
fn required<'e>(worker: &Worker<'e>, attr: &Attr<'e>, feature: &str) -> Result<bool, Error> {
    let value = worker.force(attr.value)?;
    match value.view() {
        View::Bool(false) => Ok(false),
        View::Bool(true) => worker.require_feature(feature, "").map(|()| true),
        _ => Err(worker.wrong_type("a Boolean", value)),
    }
}

/// Reads `outputHashMode`.
fn method(worker: &Worker<'_>, text: &[u8], name: &str) -> Result<ContentAddressMethod, Error> {
    match text {
        b"flat" => Ok(ContentAddressMethod::Flat),
        b"recursive" | b"nar" => Ok(ContentAddressMethod::NixArchive),
        b"text" => {
            let about = format!("text-hashed derivation '{name}', outputHashMode = \"text\"");
            worker.require_feature("dynamic-derivations", &about)?;
            Ok(ContentAddressMethod::Text)
        }
        b"git" => {
            worker.require_feature("git-hashing", "")?;
            Ok(ContentAddressMethod::Git)
        }
        other => {
            let other = String::from_utf8_lossy(other);
            Err(Error::new(format!("invalid value '{other}' for 'outputHashMode' attribute")))
        }
    }
}

impl Worker<'_> {
    /// Refuses what needs an experimental feature that is off; `about` tells what that was.
    ///
    /// # Errors
    /// The feature is off.
    pub(crate) fn require_feature(&self, feature: &str, about: &str) -> Result<(), Error> {
        if self.shared.settings.has(feature) {
            return Ok(());
        }
        let about = if about.is_empty() { String::new() } else { format!(" ({about})") };
        Err(Error::new(format!(
            "experimental Nix feature '{feature}' is disabled{about}; add '--extra-experimental-features {feature}' \
             to enable it"
        )))
    }
}
