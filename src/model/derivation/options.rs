//! What a derivation says of how it is to be built, beside what is executed.
//!
//! All of it stands in the environment: each option is a variable of the same name,
//! or, where the attributes are structured, a member of the JSON in `__json`.
//!
//! | option | as a variable | as a member |
//! |---|---|---|
//! | flag | true if it is `1` | Boolean |
//! | names | words | list of strings |
//! | `exportReferencesGraph` | words: file name, path, … | object: name → path or list of paths |
//! | checks of outputs | of all outputs alike | `outputChecks`: object, for each output |
//! | `unsafeDiscardReferences` | – | object: output → Boolean |

use std::collections::{BTreeMap, BTreeSet};

use super::{Bytes, Derivation, DerivationOutput};
use crate::model::json::{Json, JsonError, JsonObject};
use crate::model::store_path::{StoreDir, StorePath, StorePathError};

/// The variable that holds structured attributes.
pub const STRUCTURED: &[u8] = b"__json";

/// What must be true of the references and the size of an output. Paths are given in
/// full, or as names of outputs of the same derivation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputCheck {
    /// It must refer to nothing else.
    pub allowed_references: Option<BTreeSet<String>>,
    /// Its closure must have nothing else.
    pub allowed_requisites: Option<BTreeSet<String>>,
    /// It must not refer to any of these.
    pub disallowed_references: BTreeSet<String>,
    /// Its closure must have none of these.
    pub disallowed_requisites: BTreeSet<String>,
    /// Bytes of its archive at most.
    pub max_size: Option<u64>,
    /// Bytes of the archives of its closure at most.
    pub max_closure_size: Option<u64>,
    /// Whether lists of allowed paths need not have the output itself.
    pub ignore_self_references: bool,
}

/// Which checks the outputs have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputChecks {
    /// All the same.
    All(Box<OutputCheck>),
    /// Each its own, by name.
    Each(BTreeMap<String, OutputCheck>),
}

/// What a derivation says of how it is to be built.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BuildOptions {
    /// The attributes, where they are structured.
    pub structured: Option<JsonObject>,
    /// `passAsFile`: variables that the builder gets as files.
    pub pass_as_file: BTreeSet<Bytes>,
    /// `exportReferencesGraph`: what is described → the paths whose closure that is.
    pub export_references_graph: BTreeMap<String, BTreeSet<StorePath>>,
    /// `impureEnvVars`: variables that come from outside, where the output is fixed or impure.
    pub impure_env_vars: BTreeSet<Bytes>,
    /// `__impureHostDeps`: paths of this machine that the sandbox shows.
    pub impure_host_deps: BTreeSet<Bytes>,
    /// `requiredSystemFeatures`: what a machine must have.
    pub required_system_features: BTreeSet<String>,
    /// `preferLocalBuild`: copying would take longer than building.
    pub prefer_local_build: bool,
    /// `allowSubstitutes`: may be fetched.
    pub allow_substitutes: bool,
    /// `__noChroot`: not in a sandbox.
    pub no_chroot: bool,
    /// What must be true of the outputs.
    pub checks: OutputChecks,
    /// `unsafeDiscardReferences`: outputs that count as referring to nothing.
    pub unsafe_discard_references: BTreeSet<String>,
    /// What is to be told to whoever builds, as warnings.
    pub warnings: Vec<String>,
}

/// A member that is of the wrong type.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("Expected JSON value to be of type '{expected}' but it is of type '{found}': {shown}")]
pub struct WrongType {
    expected: &'static str,
    found: &'static str,
    shown: String,
}

/// Why what a derivation says of its build cannot be understood.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The structured attributes are no JSON.
    #[error("cannot process __json attribute: {0}")]
    Json(JsonError),
    /// The structured attributes are no object.
    #[error(
        "cannot process __json attribute: [json.exception.type_error.302] type must be object, but is {0}"
    )]
    NoObject(&'static str),
    /// A member, as a text shows it, is of the wrong type.
    #[error("while parsing attribute {attribute}")]
    Attribute {
        /// Its name in quotes.
        attribute: String,
        /// Which type it should have.
        #[source]
        reason: WrongType,
    },
    /// `outputChecks`, or a member of it, is no object.
    #[error(transparent)]
    WrongType(WrongType),
    /// A limit that is no number.
    #[error("[json.exception.type_error.302] type must be number, but is {0}")]
    NoNumber(&'static str),
    /// `exportReferencesGraph` has a name without a path.
    #[error("odd number of tokens in 'exportReferencesGraph': '{0}'")]
    OddGraph(String),
    /// What makes no name of a file.
    #[error("invalid file name '{0}' in 'exportReferencesGraph'")]
    GraphName(String),
    /// A member of `exportReferencesGraph` that names no paths.
    #[error("'exportReferencesGraph' value is not an array or a string")]
    GraphValue,
    /// A path of somewhere else.
    #[error("path '{0}' is not in the Nix store")]
    NotInStore(String),
    /// What should be a store path.
    #[error(transparent)]
    StorePath(StorePathError),
}

impl BuildOptions {
    /// Reads them.
    ///
    /// # Errors
    /// [`OptionsError`], with the texts of the reference.
    pub fn of(dir: &StoreDir, drv: &Derivation) -> Result<Self, OptionsError> {
        let structured = match drv.env.get(STRUCTURED) {
            None => None,
            Some(text) => match Json::parse(text).map_err(OptionsError::Json)? {
                Json::Object(members) => Some(members),
                other => return Err(OptionsError::NoObject(other.type_name())),
            },
        };
        let source = match &structured {
            Some(members) => Source::Members(members),
            None => Source::Variables(&drv.env),
        };
        let mut warnings = Vec::new();
        let text = |name: Bytes| String::from_utf8_lossy(&name).into_owned();
        Ok(Self {
            pass_as_file: source.variables("passAsFile").unwrap_or_default(),
            export_references_graph: source.graph(dir, &mut warnings)?,
            impure_env_vars: source.names("impureEnvVars")?.unwrap_or_default(),
            impure_host_deps: source.names("__impureHostDeps")?.unwrap_or_default(),
            required_system_features: source
                .names("requiredSystemFeatures")?
                .unwrap_or_default()
                .into_iter()
                .map(text)
                .collect(),
            prefer_local_build: source.flag("preferLocalBuild", false)?,
            allow_substitutes: source.flag("allowSubstitutes", true)?,
            no_chroot: source.flag("__noChroot", false)?,
            checks: source.checks(&mut warnings)?,
            unsafe_discard_references: source.discarded()?,
            warnings,
            structured,
        })
    }

    /// The checks of an output.
    pub fn check(&self, output: &str) -> Option<&OutputCheck> {
        match &self.checks {
            OutputChecks::All(check) => Some(check),
            OutputChecks::Each(checks) => checks.get(output),
        }
    }
}

/// Whether the content of the output is promised, so that the builder may ask the world for it.
pub fn is_fixed(drv: &Derivation) -> bool {
    drv.outputs.values().any(|output| matches!(output, DerivationOutput::Fixed { .. }))
}

/// Whether what is built is different each time.
pub fn is_impure(drv: &Derivation) -> bool {
    drv.outputs.values().any(|output| matches!(output, DerivationOutput::Impure(..)))
}

/// Where options stand.
enum Source<'d> {
    Variables(&'d BTreeMap<Bytes, Bytes>),
    Members(&'d JsonObject),
}

impl Source<'_> {
    fn flag(&self, name: &str, default: bool) -> Result<bool, OptionsError> {
        match self {
            Self::Variables(env) => Ok(env.get(name.as_bytes()).map_or(default, |value| value == b"1")),
            Self::Members(members) => match members.get(name) {
                None => Ok(default),
                Some(value) => boolean(value).map_err(within(format!("\"{name}\""))),
            },
        }
    }

    fn names(&self, name: &str) -> Result<Option<BTreeSet<Bytes>>, OptionsError> {
        match self {
            Self::Variables(_) => Ok(self.variables(name)),
            Self::Members(members) => {
                let Some(value) = members.get(name) else { return Ok(None) };
                let names = strings(value).map_err(within(format!("\"{name}\"")))?;
                Ok(Some(names.into_iter().map(String::into_bytes).collect()))
            }
        }
    }

    /// The words of a variable; structured attributes have none.
    fn variables(&self, name: &str) -> Option<BTreeSet<Bytes>> {
        let Self::Variables(env) = self else { return None };
        Some(words(env.get(name.as_bytes())?).map(<[u8]>::to_vec).collect())
    }

    fn graph(
        &self,
        dir: &StoreDir,
        warnings: &mut Vec<String>,
    ) -> Result<BTreeMap<String, BTreeSet<StorePath>>, OptionsError> {
        const NAME: &str = "exportReferencesGraph";
        let path = |text: &str| match dir.parse_below(text) {
            Ok((path, _)) => Ok(path),
            Err(StorePathError::NotInStore(path)) => Err(OptionsError::NotInStore(path)),
            Err(error) => Err(OptionsError::StorePath(error)),
        };
        let mut graph: BTreeMap<String, BTreeSet<StorePath>> = BTreeMap::new();
        match self {
            Self::Variables(env) => {
                let Some(value) = env.get(NAME.as_bytes()) else { return Ok(graph) };
                let text = String::from_utf8_lossy(value);
                let words: Vec<&str> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
                if !words.len().is_multiple_of(2) {
                    return Err(OptionsError::OddGraph(text.into_owned()));
                }
                for pair in words.chunks_exact(2) {
                    if !is_graph_name(pair[0]) {
                        return Err(OptionsError::GraphName(pair[0].to_owned()));
                    }
                    // Of several with the same name the last one counts.
                    graph.insert(pair[0].to_owned(), BTreeSet::from([path(pair[1])?]));
                }
            }
            Self::Members(members) => match members.get(NAME) {
                None => {}
                Some(Json::Object(members)) => {
                    for (name, value) in members {
                        let mut paths = BTreeSet::new();
                        let mut open = vec![value];
                        while let Some(value) = open.pop() {
                            match value {
                                Json::String(text) => _ = paths.insert(path(text)?),
                                Json::List(values) => open.extend(values.iter().rev()),
                                _ => return Err(OptionsError::GraphValue),
                            }
                        }
                        graph.insert(name.clone(), paths);
                    }
                }
                Some(_) => {
                    warnings.push(format!("'{NAME}' in structured attrs is not a JSON object, ignoring"))
                }
            },
        }
        Ok(graph)
    }

    fn checks(&self, warnings: &mut Vec<String>) -> Result<OutputChecks, OptionsError> {
        let members = match self {
            Self::Variables(_) => {
                let texts = |name: &str| {
                    let names = self.variables(name)?;
                    Some(names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
                };
                return Ok(OutputChecks::All(Box::new(OutputCheck {
                    allowed_references: texts("allowedReferences"),
                    allowed_requisites: texts("allowedRequisites"),
                    disallowed_references: texts("disallowedReferences").unwrap_or_default(),
                    disallowed_requisites: texts("disallowedRequisites").unwrap_or_default(),
                    ignore_self_references: true,
                    ..OutputCheck::default()
                })));
            }
            Self::Members(members) => members,
        };
        let listed =
            ["allowedReferences", "allowedRequisites", "disallowedReferences", "disallowedRequisites"];
        for name in listed.into_iter().filter(|name| members.contains_key(*name)) {
            warnings.push(format!(
                "'structuredAttrs' disables the effect of the top-level attribute '{name}'; use 'outputChecks' instead"
            ));
        }
        let mut checks = BTreeMap::new();
        if let Some(value) = members.get("outputChecks") {
            for (output, value) in object(value).map_err(OptionsError::WrongType)? {
                checks.insert(output.clone(), output_check(output, value)?);
            }
        }
        Ok(OutputChecks::Each(checks))
    }

    fn discarded(&self) -> Result<BTreeSet<String>, OptionsError> {
        const NAME: &str = "unsafeDiscardReferences";
        let Self::Members(members) = self else { return Ok(BTreeSet::new()) };
        let Some(value) = members.get(NAME) else { return Ok(BTreeSet::new()) };
        let within = within(format!("'{NAME}'"));
        let read = |value| {
            let mut discarded = BTreeSet::new();
            for (output, value) in object(value)? {
                if boolean(value)? {
                    discarded.insert(output.clone());
                }
            }
            Ok(discarded)
        };
        read(value).map_err(within)
    }
}

fn output_check(output: &str, value: &Json) -> Result<OutputCheck, OptionsError> {
    let members = object(value).map_err(OptionsError::WrongType)?;
    let list = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(value) => strings(value)
            .map(|names| Some(names.into_iter().collect::<BTreeSet<_>>()))
            .map_err(within(format!("'outputChecks.\"{output}\".{name}'"))),
    };
    Ok(OutputCheck {
        allowed_references: list("allowedReferences")?,
        allowed_requisites: list("allowedRequisites")?,
        disallowed_references: list("disallowedReferences")?.unwrap_or_default(),
        disallowed_requisites: list("disallowedRequisites")?.unwrap_or_default(),
        max_size: limit(members.get("maxSize"))?,
        max_closure_size: limit(members.get("maxClosureSize"))?,
        ignore_self_references: false,
    })
}

/// A number of bytes; a negative one is no limit.
fn limit(value: Option<&Json>) -> Result<Option<u64>, OptionsError> {
    match value {
        None => Ok(None),
        Some(Json::Integer(number)) => Ok(u64::try_from(*number).ok()),
        // What does not fit is cut off.
        Some(Json::Float(number)) => Ok((*number >= 0.0).then_some(*number as u64)),
        Some(other) => Err(OptionsError::NoNumber(other.type_name())),
    }
}

fn within(attribute: String) -> impl FnOnce(WrongType) -> OptionsError {
    move |reason| OptionsError::Attribute { attribute, reason }
}

fn wrong(expected: &'static str, value: &Json) -> WrongType {
    let mut shown = Vec::new();
    value.push(&mut shown);
    WrongType { expected, found: value.type_name(), shown: String::from_utf8_lossy(&shown).into_owned() }
}

fn boolean(value: &Json) -> Result<bool, WrongType> {
    match value {
        Json::Boolean(value) => Ok(*value),
        other => Err(wrong("boolean", other)),
    }
}

fn object(value: &Json) -> Result<&JsonObject, WrongType> {
    match value {
        Json::Object(members) => Ok(members),
        other => Err(wrong("object", other)),
    }
}

fn strings(value: &Json) -> Result<Vec<String>, WrongType> {
    let Json::List(values) = value else { return Err(wrong("array", value)) };
    let text = |value: &Json| match value {
        Json::String(text) => Ok(text.clone()),
        other => Err(wrong("string", other)),
    };
    values.iter().map(text).collect()
}

/// What separates words.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

/// The words of a text.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| is_blank(char::from(*byte))).filter(|word| !word.is_empty())
}

/// Whether a name is one of a file in the working directory that nothing else has.
fn is_graph_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins && name.chars().all(|other| other.is_ascii_alphanumeric() || matches!(other, '_' | '.' | '-'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::error::Error as _;

    fn drv(env: &[(&str, &str)]) -> Derivation {
        let env = env.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Derivation { env: env.collect(), ..Derivation::default() }
    }

    fn read(env: &[(&str, &str)]) -> Result<BuildOptions, OptionsError> {
        BuildOptions::of(&StoreDir::default(), &drv(env))
    }

    /// An error with its causes, as a program shows them.
    fn told(json: &str) -> String {
        let error = read(&[("__json", json)]).unwrap_err();
        match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    }

    const PATH: &str = "/nix/store/c5zzz79yar8myd3dqv4rq62fhpfc2l82-a.nix";

    #[test]
    fn variables() {
        let options = read(&[
            ("passAsFile", " a  b\na"),
            ("__noChroot", "1"),
            ("preferLocalBuild", "yes"),
            ("allowSubstitutes", ""),
            ("requiredSystemFeatures", "kvm big-parallel"),
            ("disallowedReferences", "out"),
            ("allowedReferences", ""),
            ("exportReferencesGraph", &format!("x {PATH} y {PATH}/z x {PATH}")),
            ("unsafeDiscardReferences", "1"),
        ])
        .unwrap();
        assert_eq!(options.pass_as_file, [b"a".to_vec(), b"b".to_vec()].into());
        assert!(options.no_chroot && !options.prefer_local_build && !options.allow_substitutes);
        assert_eq!(options.required_system_features, ["big-parallel".to_owned(), "kvm".to_owned()].into());
        let check = options.check("any").unwrap();
        assert_eq!(check.allowed_references, Some(BTreeSet::new()));
        assert_eq!(check.allowed_requisites, None);
        assert_eq!(check.disallowed_references, ["out".to_owned()].into());
        assert!(options.unsafe_discard_references.is_empty());
        let path = StoreDir::default().parse(PATH).unwrap();
        assert_eq!(options.export_references_graph.get("y"), Some(&[path].into()));
        let plain = read(&[]).unwrap();
        assert!(plain.allow_substitutes && plain.structured.is_none());
    }

    #[test]
    fn graphs_that_cannot_be() {
        let told = |text: &str| read(&[("exportReferencesGraph", text)]).unwrap_err().to_string();
        assert_eq!(told("x"), "odd number of tokens in 'exportReferencesGraph': 'x'");
        assert_eq!(told("x /etc"), "path '/etc' is not in the Nix store");
        for name in ["../x", ".", ".attr-x", "a/b", "1"] {
            assert_eq!(
                told(&format!("{name} {PATH}")),
                format!("invalid file name '{name}' in 'exportReferencesGraph'")
            );
        }
    }

    #[test]
    fn members() {
        let json = format!(
            r#"{{"outputChecks":{{"out":{{"maxSize":10000.5,"maxClosureSize":-1,"allowedReferences":["dev"]}}}},
            "unsafeDiscardReferences":{{"out":true,"dev":false}},"preferLocalBuild":true,"passAsFile":["a"],
            "exportReferencesGraph":{{"a":[["{PATH}"]]}},"allowedReferences":[]}}"#
        );
        let options = read(&[("__json", &json), ("__noChroot", "1")]).unwrap();
        let check = options.check("out").unwrap();
        assert_eq!((check.max_size, check.max_closure_size), (Some(10000), None));
        assert_eq!(check.allowed_references, Some(["dev".to_owned()].into()));
        assert_eq!(options.check("dev"), None);
        assert_eq!(options.unsafe_discard_references, ["out".to_owned()].into());
        assert!(options.prefer_local_build && !options.no_chroot && options.pass_as_file.is_empty());
        assert_eq!(options.export_references_graph.get("a").unwrap().len(), 1);
        assert_eq!(options.warnings.len(), 1);
    }

    /// Each as the reference tells of it.
    #[test]
    fn members_of_wrong_types() {
        let expected = |attribute: &str, expected: &str, found: &str, shown: &str| {
            format!(
                "while parsing attribute {attribute}: Expected JSON value to be of type '{expected}' but it is of type \
                 '{found}': {shown}"
            )
        };
        assert_eq!(
            told(r#"{"preferLocalBuild":"yes"}"#),
            expected("\"preferLocalBuild\"", "boolean", "string", "\"yes\"")
        );
        assert_eq!(
            told(r#"{"requiredSystemFeatures":[1]}"#),
            expected("\"requiredSystemFeatures\"", "string", "number", "1")
        );
        assert_eq!(
            told(r#"{"outputChecks":{"out":{"allowedReferences":"x"}}}"#),
            expected("'outputChecks.\"out\".allowedReferences'", "array", "string", "\"x\"")
        );
        assert_eq!(
            told(r#"{"unsafeDiscardReferences":null}"#),
            expected("'unsafeDiscardReferences'", "object", "null", "null")
        );
        assert_eq!(
            told(r#"{"outputChecks":[]}"#),
            "Expected JSON value to be of type 'object' but it is of type 'array': []"
        );
        assert_eq!(
            told(r#"{"outputChecks":{"out":{"maxSize":"x"}}}"#),
            "[json.exception.type_error.302] type must be number, but is string"
        );
        assert_eq!(
            told(r#"{"exportReferencesGraph":{"a":1}}"#),
            "'exportReferencesGraph' value is not an array or a string"
        );
    }
}
