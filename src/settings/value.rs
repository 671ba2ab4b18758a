//! Values of settings: parsing per kind, appending, and printing as text and as JSON.
//!
//! Syntax and error texts follow Nix 2.34.8. One difference: a number that overflows when its
//! suffix is applied is refused here, while the reference silently wraps around.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde_json::{Value as Json, json};

use super::table::{Kind, Row};

/// A path shown in the sandbox: where it comes from, and whether it may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path on the host.
    pub source: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// How builds are isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxMode {
    /// Every build is isolated.
    Enabled,
    /// No build is isolated.
    Disabled,
    /// Derivations may opt out.
    Relaxed,
}

/// The value of one setting; which variant is fixed by the kind of its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of kind `Bool`.
    Bool(bool),
    /// Of the unsigned kinds and of `MaxJobs`.
    Unsigned(u64),
    /// Of kind `Signed64`.
    Signed(i64),
    /// Texts, paths, one store URI, and choices.
    Text(String),
    /// Of kind `OptionalPath`.
    OptionalText(Option<String>),
    /// Words in the order given; store URIs in canonical form.
    List(Vec<String>),
    /// Of the kinds `Set` and `Features`.
    Set(BTreeSet<String>),
    /// Of kind `Map`.
    Map(BTreeMap<String, String>),
    /// Of kind `Mounts`, by the path inside of the sandbox.
    Mounts(BTreeMap<String, Mount>),
    /// Of kind `Sandbox`.
    Sandbox(SandboxMode),
    /// A JSON array, as text.
    Json(String),
}

/// A text that is no value of the setting. The messages are those of the reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Neither true nor false.
    #[error("Boolean setting '{name}' has invalid value '{value}'")]
    Bool {
        /// The setting.
        name: &'static str,
        /// The text.
        value: String,
    },
    /// No number, or one out of range.
    #[error("setting '{name}' has invalid value '{value}'")]
    Number {
        /// The setting.
        name: &'static str,
        /// The text.
        value: String,
    },
    /// Neither `auto` nor a number of jobs.
    #[error("configuration setting '{name}' should be 'auto' or an integer")]
    MaxJobs {
        /// The setting.
        name: &'static str,
    },
    /// None of the words allowed.
    #[error("option '{name}' has invalid value '{value}'")]
    Choice {
        /// The setting.
        name: &'static str,
        /// The text.
        value: String,
    },
    /// None of the words allowed, which are listed.
    #[error("option '{name}' has invalid value '{value}' (expected {expected})")]
    ListedChoice {
        /// The setting.
        name: &'static str,
        /// The text.
        value: String,
        /// The words allowed, quoted and joined.
        expected: String,
    },
    /// An empty path.
    #[error("setting '{name}' is a path and paths cannot be empty")]
    EmptyPath {
        /// The setting.
        name: &'static str,
    },
    /// A relative path.
    #[error("not an absolute path: \"{value}\"")]
    RelativePath {
        /// The path.
        value: String,
    },
    /// No store URI.
    #[error("Cannot parse Nix store '{value}'")]
    Store {
        /// The text.
        value: String,
    },
    /// No JSON array.
    #[error("parsing setting '{name}': a JSON array is expected")]
    Json {
        /// The setting.
        name: &'static str,
    },
}

impl ValueError {
    /// Whether the reference counts this as wrong usage: then it adds `Try '… --help'`, and
    /// `--option` turns it into a warning. The others end the program in both cases.
    pub fn is_usage(&self) -> bool {
        !matches!(self, ValueError::RelativePath { .. })
    }
}

/// Checks a store URI and gives its canonical text, or nothing when it is none.
///
/// The grammar belongs to the store floor above, which hands its parser in.
pub type StoreUriParser = fn(&str) -> Option<String>;

/// What parsing needs to know besides the row.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Checks store URIs.
    pub store_uri: StoreUriParser,
    /// Number of CPUs, the meaning of `max-jobs = auto`.
    pub cores: u32,
}

/// A rough store URI check for users without the store floor: refuses bare words, changes nothing.
pub fn accept_store_uri(text: &str) -> Option<String> {
    let head = text.split_once('?').map_or(text, |(head, _)| head);
    let special = matches!(head, "auto" | "daemon" | "local");
    (special || head.contains('/')).then(|| text.to_owned())
}

/// The words of a text; blanks are space, tab, newline and carriage return, nothing else.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty())
}

/// The path without `.`, `..`, repeated and trailing slashes, not looking at symlinks.
/// Nothing when it is not absolute.
pub fn lexically_normal(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            // At the root `pop` does nothing, and `..` of the root is the root.
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(normal)
}

impl Value {
    /// Parses `text` as a value of `row`.
    ///
    /// Sets of features are not checked against the known ones here; `Settings` does that, since
    /// it is no error.
    pub fn parse(row: &Row, text: &str, context: &Context) -> Result<Value, ValueError> {
        let name = row.name;
        match row.kind {
            Kind::Bool => parse_bool(text)
                .map(Value::Bool)
                .ok_or_else(|| ValueError::Bool { name, value: text.to_owned() }),
            Kind::Unsigned32 => unsigned(text, u64::from(u32::MAX))
                .map(Value::Unsigned)
                .ok_or_else(|| number_error(name, text)),
            Kind::Unsigned64 => {
                unsigned(text, u64::MAX).map(Value::Unsigned).ok_or_else(|| number_error(name, text))
            }
            Kind::Signed64 => signed(text).map(Value::Signed).ok_or_else(|| number_error(name, text)),
            Kind::MaxJobs if text == "auto" => Ok(Value::Unsigned(u64::from(context.cores))),
            Kind::MaxJobs => text
                .parse::<u32>()
                .map(|number| Value::Unsigned(u64::from(number)))
                .map_err(|_| ValueError::MaxJobs { name }),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Path | Kind::RelativePath if text.is_empty() => Err(ValueError::EmptyPath { name }),
            Kind::Path => absolute(text).map(Value::Text),
            Kind::RelativePath => Ok(Value::Text(text.to_owned())),
            Kind::OptionalPath if text.is_empty() => Ok(Value::OptionalText(None)),
            Kind::OptionalPath => absolute(text).map(|path| Value::OptionalText(Some(path))),
            Kind::List | Kind::Plugins => Ok(Value::List(words(text).map(str::to_owned).collect())),
            Kind::Set | Kind::Features => Ok(Value::Set(words(text).map(str::to_owned).collect())),
            Kind::Map => Ok(Value::Map(parse_map(text))),
            Kind::Mounts => Ok(Value::Mounts(parse_mounts(text))),
            Kind::Store if text.is_empty() => Ok(Value::Text("auto".to_owned())),
            Kind::Store => store(text, context).map(Value::Text),
            Kind::StoreList => {
                words(text).map(|word| store(word, context)).collect::<Result<Vec<_>, _>>().map(Value::List)
            }
            Kind::Choice { values, .. } if values.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::Choice { values, listed } => Err(choice_error(name, text, values, listed)),
            Kind::Sandbox => {
                parse_sandbox(text).map(Value::Sandbox).ok_or_else(|| choice_error(name, text, &[], false))
            }
            Kind::Json => parse_array(text).map(Value::Json).ok_or(ValueError::Json { name }),
        }
    }

    /// Adds `more` as `extra-NAME` does: lists grow, sets unite, and maps keep the entries they
    /// already have. Values of other kinds, which have no `extra-` form, stay as they are.
    pub fn append(&mut self, more: Value) {
        match (self, more) {
            (Value::List(list), Value::List(more)) => list.extend(more),
            (Value::Set(set), Value::Set(more)) => set.extend(more),
            (Value::Map(map), Value::Map(more)) => {
                for (key, value) in more {
                    map.entry(key).or_insert(value);
                }
            }
            (Value::Mounts(mounts), Value::Mounts(more)) => {
                for (target, mount) in more {
                    mounts.entry(target).or_insert(mount);
                }
            }
            _ => {}
        }
    }

    /// The value as `config show` prints it.
    pub fn to_text(&self) -> String {
        match self {
            Value::Bool(value) => value.to_string(),
            Value::Unsigned(value) => value.to_string(),
            Value::Signed(value) => value.to_string(),
            Value::Text(text) | Value::Json(text) => text.clone(),
            Value::OptionalText(text) => text.clone().unwrap_or_default(),
            Value::List(list) => list.join(" "),
            Value::Set(set) => join(set.iter().cloned()),
            // The reference puts the blank before each entry, also the first.
            Value::Map(map) => map.iter().map(|(key, value)| format!(" {key}={value}")).collect(),
            Value::Mounts(mounts) => join(mounts.iter().map(|(target, mount)| {
                let mark = if mount.optional { "?" } else { "" };
                if *target == mount.source {
                    format!("{target}{mark}")
                } else {
                    format!("{target}={}{mark}", mount.source)
                }
            })),
            Value::Sandbox(mode) => mode.as_str().to_owned(),
        }
    }

    /// The value as JSON, in the types `config show --json` uses.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Bool(value) => json!(value),
            Value::Unsigned(value) => json!(value),
            Value::Signed(value) => json!(value),
            // What is no JSON was refused when the value was read.
            Value::Json(text) => serde_json::from_str(text).unwrap_or_default(),
            Value::Text(text) => json!(text),
            Value::OptionalText(text) => json!(text),
            Value::List(list) => json!(list),
            Value::Set(set) => json!(set),
            Value::Map(map) => json!(map),
            Value::Mounts(mounts) => {
                let mounts = mounts.iter().map(|(target, mount)| {
                    (target.clone(), json!({ "optional": mount.optional, "source": mount.source }))
                });
                Json::Object(mounts.collect())
            }
            Value::Sandbox(SandboxMode::Enabled) => json!(true),
            Value::Sandbox(SandboxMode::Disabled) => json!(false),
            Value::Sandbox(SandboxMode::Relaxed) => json!("relaxed"),
        }
    }
}

impl SandboxMode {
    fn as_str(self) -> &'static str {
        match self {
            SandboxMode::Enabled => "true",
            SandboxMode::Disabled => "false",
            SandboxMode::Relaxed => "relaxed",
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn parse_sandbox(text: &str) -> Option<SandboxMode> {
    match text {
        "true" => Some(SandboxMode::Enabled),
        "false" => Some(SandboxMode::Disabled),
        "relaxed" => Some(SandboxMode::Relaxed),
        _ => None,
    }
}

/// Splits a number into its digits and the factor its suffix stands for.
fn split_suffix(text: &str) -> (&str, u64) {
    let factor = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => 1 << 10,
        Some(b'M') => 1 << 20,
        Some(b'G') => 1 << 30,
        Some(b'T') => 1 << 40,
        _ => return (text, 1),
    };
    // The suffix is one ASCII byte, so the cut falls on a character boundary.
    (&text[..text.len() - 1], factor)
}

fn unsigned(text: &str, max: u64) -> Option<u64> {
    let (digits, factor) = split_suffix(text);
    let number = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (number <= max).then_some(number)
}

fn signed(text: &str) -> Option<i64> {
    let (digits, factor) = split_suffix(text);
    let factor = i64::try_from(factor).ok()?;
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

fn absolute(text: &str) -> Result<String, ValueError> {
    lexically_normal(Path::new(text))
        .map(|path| path.to_string_lossy().into_owned())
        .ok_or_else(|| ValueError::RelativePath { value: text.to_owned() })
}

fn store(text: &str, context: &Context) -> Result<String, ValueError> {
    (context.store_uri)(text).ok_or_else(|| ValueError::Store { value: text.to_owned() })
}

/// Of two entries with the same key in one value the first counts.
fn parse_map(text: &str) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (key, value) in words(text).filter_map(|word| word.split_once('=')) {
        map.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    map
}

/// Of two entries with the same target in one value the last counts.
fn parse_mounts(text: &str) -> BTreeMap<String, Mount> {
    words(text)
        .map(|word| {
            let (rest, optional) = match word.strip_suffix('?') {
                Some(rest) => (rest, true),
                None => (word, false),
            };
            let (target, source) = rest.split_once('=').unwrap_or((rest, rest));
            let source = source.to_owned();
            (target.to_owned(), Mount { source, optional })
        })
        .collect()
}

/// Only the outer shape is looked at: Nival hands the text on without reading it.
fn parse_array(text: &str) -> Option<String> {
    let text = text.trim();
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    Some(if inner.trim().is_empty() { "[]".to_owned() } else { text.to_owned() })
}

fn number_error(name: &'static str, text: &str) -> ValueError {
    ValueError::Number { name, value: text.to_owned() }
}

fn choice_error(name: &'static str, text: &str, values: &[&str], listed: bool) -> ValueError {
    let value = text.to_owned();
    match values {
        [first @ .., last] if listed => {
            let mut expected: String = first.iter().map(|choice| format!("'{choice}', ")).collect();
            expected.push_str(&format!("or '{last}'"));
            ValueError::ListedChoice { name, value, expected }
        }
        _ => ValueError::Choice { name, value },
    }
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::table::{TABLE, position};

    const CONTEXT: Context = Context { store_uri: accept_store_uri, cores: 2 };

    fn parse(name: &str, text: &str) -> Result<Value, ValueError> {
        let row = &TABLE[position(name).expect("a known setting")];
        Value::parse(row, text, &CONTEXT)
    }

    /// What `config show` would print, or the error.
    fn shown(name: &str, text: &str) -> String {
        match parse(name, text) {
            Ok(value) => value.to_text(),
            Err(error) => format!("error: {error}"),
        }
    }

    fn json(name: &str, text: &str) -> String {
        parse(name, text).expect("a valid value").to_json().to_string()
    }

    #[test]
    fn numbers() {
        assert_eq!(shown("min-free", "1G"), "1073741824");
        assert_eq!(shown("log-lines", "1k"), "1024");
        assert_eq!(shown("log-lines", "+1"), "1");
        assert_eq!(shown("timeout", "-1K"), "-1024");
        assert_eq!(shown("cores", "4294967295"), "4294967295");
        let bad = ["", "x", "-1", "1KB", "1 K", "0x10", "1.5", "K", "1P", "٣", "é", "4294967296", "1T"];
        for text in bad {
            let expected = format!("error: setting 'cores' has invalid value '{text}'");
            assert_eq!(shown("cores", text), expected);
        }
        assert_eq!(shown("max-jobs", "auto"), "2");
        assert_eq!(
            shown("max-jobs", "1K"),
            "error: configuration setting 'max-jobs' should be 'auto' or an integer"
        );
    }

    #[test]
    fn booleans_and_choices() {
        assert_eq!(shown("fallback", "yes"), "true");
        assert_eq!(shown("fallback", "0"), "false");
        assert_eq!(
            shown("keep-outputs", "maybe"),
            "error: Boolean setting 'keep-outputs' has invalid value 'maybe'"
        );
        assert_eq!(shown("sandbox", "1"), "error: option 'sandbox' has invalid value '1'");
        assert_eq!(json("sandbox", "true"), "true");
        assert_eq!(json("sandbox", "relaxed"), "\"relaxed\"");
        assert_eq!(
            shown("lint-url-literals", "x"),
            "error: option 'lint-url-literals' has invalid value 'x' \
             (expected 'ignore', 'warn', or 'fatal')"
        );
        assert_eq!(shown("eval-profiler", "x"), "error: option 'eval-profiler' has invalid value 'x'");
    }

    #[test]
    fn paths() {
        assert_eq!(shown("netrc-file", "/a/../b//./c/"), "/b/c");
        assert_eq!(shown("netrc-file", "/.."), "/");
        assert_eq!(
            shown("netrc-file", ""),
            "error: setting 'netrc-file' is a path and paths cannot be empty"
        );
        assert_eq!(shown("build-dir", "x"), "error: not an absolute path: \"x\"");
        assert_eq!(json("build-dir", ""), "null");
        assert_eq!(shown("eval-profile-file", "a/../b"), "a/../b");
    }

    #[test]
    fn lists_sets_and_maps() {
        assert_eq!(shown("trusted-users", " b\ta  b\r\n"), "b a b");
        assert_eq!(shown("system-features", "b a b"), "a b");
        assert_eq!(shown("access-tokens", "z=1 a=2 z=3 bare x=1=2"), " a=2 x=1=2 z=1");
        assert_eq!(json("access-tokens", "a=b"), "{\"a\":\"b\"}");
        assert_eq!(shown("sandbox-paths", "b a a=/c?  d?"), "a=/c? b d?");
        assert_eq!(json("sandbox-paths", "/a"), "{\"/a\":{\"optional\":false,\"source\":\"/a\"}}");
    }

    #[test]
    fn stores() {
        assert_eq!(shown("store", ""), "auto");
        assert_eq!(shown("store", "zz"), "error: Cannot parse Nix store 'zz'");
        assert_eq!(shown("substituters", "https://a b c"), "error: Cannot parse Nix store 'b'");
        assert_eq!(json("substituters", ""), "[]");
    }

    #[test]
    fn appending_keeps_what_is_there() {
        let mut value = parse("access-tokens", "a=1").expect("valid");
        value.append(parse("access-tokens", "a=2 b=3").expect("valid"));
        assert_eq!(value.to_text(), " a=1 b=3");
        let mut value = parse("trusted-users", "a").expect("valid");
        value.append(parse("trusted-users", "a b").expect("valid"));
        assert_eq!(value.to_text(), "a a b");
    }

    #[test]
    fn odd_texts_never_panic() {
        let odd = ["", "\0", "é", "=", "?", "=?", "[", "]", "[]", "\u{feff}", "K", "-", "a\u{301}K"];
        for row in TABLE {
            for text in odd {
                if let Ok(value) = Value::parse(row, text, &CONTEXT) {
                    value.to_text();
                    value.to_json();
                }
            }
        }
    }
}
