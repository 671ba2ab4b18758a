//! Lock files: what the inputs of a flake, and theirs, were when somebody looked.
//!
//! ```text
//! { "nodes": { KEY: NODE, … }, "root": KEY, "version": 7 }
//! NODE = { "inputs": { NAME: KEY | [ NAME, … ], … },
//!          "locked": INPUT, "original": INPUT, "flake": false, "parent": [ NAME, … ] }
//! ```
//!
//! An input is a set of attributes (`model/flake_ref`). An input that is a list of names is what the
//! names lead to from the root. The root has inputs only. A `parent` is the way from the root to the
//! flake that a relative path starts from. Versions 5 and 6 are read, too, and written as 7. Members
//! of other names say nothing.
//!
//! Text is printed with two blanks for each level, sorted by names, and ends with a newline.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::model::flake_ref::FlakeRef;
use crate::model::input::{self, Input, InputError};

/// The version that is written.
const VERSION: u64 = 7;
/// The oldest version that is read.
const OLDEST: u64 = 5;
/// Names that may lead on to each other.
const MAX_STEPS: usize = 1000;

/// The way from the root to an input: the names of inputs.
pub type InputPath = Vec<String>;

/// What a flake's inputs, and theirs, are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// All flakes and other trees, by keys that only the file knows.
    pub nodes: BTreeMap<String, Node>,
    /// The key of the flake itself.
    pub root: String,
}

/// A flake or another tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its inputs by their names.
    pub inputs: BTreeMap<String, Edge>,
    /// What it is; the root has none.
    pub locked: Option<Locked>,
}

/// What a node was locked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// What it is.
    pub locked: FlakeRef,
    /// What was asked for.
    pub original: FlakeRef,
    /// Whether it is a flake, and not a mere tree.
    pub is_flake: bool,
    /// The way to the flake that a relative path starts from.
    pub parent: Option<InputPath>,
}

/// What an input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// The node with a key.
    Node(String),
    /// What is at the end of a way from the root.
    Follows(InputPath),
}

/// Why a text is no lock file, or a way leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A text that is not JSON.
    #[error("Could not parse '{file}': {why}")]
    Json {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A version that is not known.
    #[error("lock file '{file}' has unsupported version {version}")]
    Version {
        /// The file.
        file: String,
        /// The version.
        version: String,
    },
    /// A member that is not what it should be.
    #[error("lock file '{file}' is damaged: {why}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A node without what it was locked to, or what was asked for.
    #[error("attribute '{0}' missing in lock file")]
    Missing(&'static str),
    /// A key that no node has.
    #[error("lock file references missing node '{0}'")]
    NoNode(String),
    /// A node that has the root as an input.
    #[error("lock file contains cycle to root node")]
    Root,
    /// A node that has itself as an input, or what has it as an input.
    #[error("the inputs of node '{0}' of the lock file lead back to it")]
    Circle(String),
    /// An input that may be another tree tomorrow.
    #[error("Lock file contains unlocked input '{0}'. Use '--allow-dirty-locks' to accept this lock file.")]
    Unlocked(String),
    /// A way that leads back to where it was.
    #[error("follow cycle detected: [{0}]")]
    Cycle(String),
    /// A bad input.
    #[error(transparent)]
    Input(#[from] InputError),
}

/// The result of reading lock files.
pub type Result<T> = std::result::Result<T, LockError>;

impl LockFile {
    /// That of a flake without inputs.
    pub fn empty() -> LockFile {
        let root = "root".to_owned();
        LockFile { nodes: BTreeMap::from([(root.clone(), Node::default())]), root }
    }

    /// Reads the text of a lock file; `file` is told in errors.
    ///
    /// # Errors
    /// [`LockError`]; every node of the result is there that another one names, and none leads back to
    /// itself.
    pub fn parse(text: &[u8], file: &str) -> Result<LockFile> {
        let whole: Value = serde_json::from_slice(text)
            .map_err(|error| LockError::Json { file: file.to_owned(), why: error.to_string() })?;
        let damaged = |why: &str| LockError::Damaged { file: file.to_owned(), why: why.to_owned() };
        let version = whole.get("version").ok_or_else(|| damaged("it has no version"))?;
        if !version.as_u64().is_some_and(|version| (OLDEST..=VERSION).contains(&version)) {
            return Err(LockError::Version { file: file.to_owned(), version: version.to_string() });
        }
        let root = whole.get("root").and_then(Value::as_str).ok_or_else(|| damaged("it has no root"))?;
        let nodes = whole.get("nodes").and_then(Value::as_object);
        let nodes = nodes.ok_or_else(|| damaged("it has no nodes"))?;
        let mut read = BTreeMap::new();
        for (key, value) in nodes {
            read.insert(key.clone(), Node::read(value, key == root, &damaged)?);
        }
        let lock = LockFile { nodes: read, root: root.to_owned() };
        lock.check().map(|()| lock)
    }

    /// Refuses keys without nodes, and nodes that lead back to themselves.
    fn check(&self) -> Result<()> {
        self.node(&self.root)?;
        // Nodes whose inputs are being looked at, and those that are done.
        let (mut open, mut done) = (Vec::new(), BTreeSet::new());
        open.push((self.root.as_str(), self.inputs_of(&self.root)?));
        let mut above = BTreeSet::from([self.root.as_str()]);
        while let Some((key, rest)) = open.last_mut() {
            let Some(next) = rest.pop() else {
                above.remove(key);
                done.insert(*key);
                open.pop();
                continue;
            };
            if next == self.root {
                return Err(LockError::Root);
            }
            if above.contains(next) {
                return Err(LockError::Circle(next.to_owned()));
            }
            if !done.contains(next) {
                above.insert(next);
                open.push((next, self.inputs_of(next)?));
            }
        }
        Ok(())
    }

    /// The keys of the nodes that are inputs of a node by themselves.
    fn inputs_of(&self, key: &str) -> Result<Vec<&str>> {
        let edges = self.node(key)?.inputs.values();
        Ok(edges
            .filter_map(|edge| match edge {
                Edge::Node(key) => Some(key.as_str()),
                Edge::Follows(_) => None,
            })
            .collect())
    }

    /// The node with a key.
    ///
    /// # Errors
    /// [`LockError::NoNode`].
    pub fn node(&self, key: &str) -> Result<&Node> {
        self.nodes.get(key).ok_or_else(|| LockError::NoNode(key.to_owned()))
    }

    /// The key of what is at the end of a way from the root; none if there is nothing.
    ///
    /// # Errors
    /// [`LockError::Cycle`], and [`LockError::NoNode`].
    pub fn find(&self, path: &[String]) -> Result<Option<&str>> {
        let mut here = self.root.as_str();
        // What is still to go, the next step last.
        let mut rest: Vec<&String> = path.iter().rev().collect();
        let mut steps = 0;
        while let Some(name) = rest.pop() {
            steps += 1;
            if steps > MAX_STEPS {
                return Err(LockError::Cycle(path.join("/")));
            }
            match self.node(here)?.inputs.get(name) {
                None => return Ok(None),
                Some(Edge::Node(key)) => here = key,
                Some(Edge::Follows(path)) => {
                    here = &self.root;
                    rest.extend(path.iter().rev());
                }
            }
        }
        Ok(Some(here))
    }

    /// Refuses inputs that may be another tree tomorrow.
    ///
    /// # Errors
    /// [`LockError::Unlocked`].
    pub fn require_locked(&self) -> Result<()> {
        for locked in self.nodes.values().filter_map(|node| node.locked.as_ref()) {
            // A relative path is a part of the flake that it starts from.
            let is_part = matches!(&locked.locked.input, Input::Path(path) if !path.path.starts_with('/'));
            if !locked.locked.input.is_locked() && !is_part {
                return Err(LockError::Unlocked(input::json(&locked.locked.attributes())));
            }
        }
        Ok(())
    }

    /// The text of the lock file.
    pub fn print(&self) -> String {
        let nodes = self.nodes.iter().map(|(key, node)| (key.clone(), node.json()));
        let whole = Map::from_iter([
            ("nodes".to_owned(), Value::Object(nodes.collect())),
            ("root".to_owned(), Value::from(self.root.as_str())),
            ("version".to_owned(), Value::from(VERSION)),
        ]);
        format!("{:#}\n", Value::Object(whole))
    }
}

impl Node {
    fn read(value: &Value, is_root: bool, damaged: &dyn Fn(&str) -> LockError) -> Result<Node> {
        let mut inputs = BTreeMap::new();
        if let Some(found) = value.get("inputs") {
            let found = found.as_object().ok_or_else(|| damaged("'inputs' of a node is no set"))?;
            for (name, edge) in found {
                let edge = match edge {
                    Value::String(key) => Edge::Node(key.clone()),
                    other => Edge::Follows(names(other).ok_or_else(|| damaged("an input leads nowhere"))?),
                };
                inputs.insert(name.clone(), edge);
            }
        }
        if is_root {
            return Ok(Node { inputs, locked: None });
        }
        let reference = |name: &'static str| {
            let value = value.get(name).ok_or(LockError::Missing(name))?;
            Ok::<_, LockError>(FlakeRef::from_attributes(&input::from_json(value)?)?)
        };
        let is_flake = match value.get("flake") {
            None => true,
            Some(Value::Bool(is)) => *is,
            Some(_) => return Err(damaged("'flake' of a node is no Boolean")),
        };
        let parent = match value.get("parent") {
            None => None,
            Some(parent) => Some(names(parent).ok_or_else(|| damaged("'parent' of a node is no way"))?),
        };
        let locked =
            Locked { locked: reference("locked")?, original: reference("original")?, is_flake, parent };
        Ok(Node { inputs, locked: Some(locked) })
    }

    fn json(&self) -> Value {
        let list = |path: &InputPath| Value::from(path.as_slice());
        let mut node = Map::new();
        let locked = self.locked.as_ref();
        if locked.is_some_and(|locked| !locked.is_flake) {
            node.insert("flake".to_owned(), Value::Bool(false));
        }
        if !self.inputs.is_empty() {
            let edge = |edge: &Edge| match edge {
                Edge::Node(key) => Value::from(key.as_str()),
                Edge::Follows(path) => list(path),
            };
            let inputs = self.inputs.iter().map(|(name, input)| (name.clone(), edge(input)));
            node.insert("inputs".to_owned(), Value::Object(inputs.collect()));
        }
        if let Some(locked) = locked {
            let json = |reference: &FlakeRef| input::to_json(&reference.attributes());
            node.insert("locked".to_owned(), json(&locked.locked));
            node.insert("original".to_owned(), json(&locked.original));
            if let Some(parent) = &locked.parent {
                node.insert("parent".to_owned(), list(parent));
            }
        }
        Value::Object(node)
    }
}

/// A list of names.
fn names(value: &Value) -> Option<InputPath> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Written by the reference.
    const FILE: &str = include_str!("fixture.lock");

    fn parse(text: &str) -> Result<LockFile> {
        LockFile::parse(text.as_bytes(), "f")
    }

    fn path(text: &str) -> InputPath {
        text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn what_the_reference_wrote_is_printed_the_same() {
        let lock = parse(FILE).unwrap();
        assert_eq!(lock.print(), FILE);
        lock.require_locked().unwrap();
        for version in ["5", "6"] {
            let old = FILE.replace("\"version\": 7", &format!("\"version\": {version}"));
            assert_eq!(parse(&old).unwrap().print(), FILE);
        }
        let empty = LockFile::empty();
        assert_eq!(parse(&empty.print()), Ok(empty));
    }

    #[test]
    fn ways_through_inputs() {
        let lock = parse(FILE).unwrap();
        for (way, key) in
            [("", Some("root")), ("c", Some("c_3")), ("d", Some("c_2")), ("b/a/c", Some("c")), ("b/x", None)]
        {
            assert_eq!(lock.find(&path(way)).unwrap(), key, "{way}");
        }
        assert!(!lock.node("c_3").unwrap().locked.as_ref().unwrap().is_flake);
        assert_eq!(lock.node("loc").unwrap().locked.as_ref().unwrap().parent, Some(Vec::new()));
        let round = parse(
            "{\"version\":7,\"root\":\"r\",\"nodes\":{\"r\":{\"inputs\":{\"a\":[\"b\"],\"b\":[\"a\"]}}}}",
        );
        assert_eq!(round.unwrap().find(&path("a")), Err(LockError::Cycle("a".to_owned())));
    }

    /// The text of a file with these nodes besides the root, which has the first one as its input.
    fn with(nodes: &str) -> Result<LockFile> {
        let root = "\"root\":{\"inputs\":{\"a\":\"a\"}}";
        parse(&format!("{{\"version\":7,\"root\":\"root\",\"nodes\":{{{root}{nodes}}}}}"))
    }

    #[test]
    fn damaged_files() {
        let place = "{\"type\":\"path\",\"path\":\"/x\"}";
        let locked = format!("\"locked\":{place},\"original\":{place}");
        assert!(matches!(parse("{"), Err(LockError::Json { .. })));
        assert!(matches!(parse("{\"version\":8}"), Err(LockError::Version { .. })));
        for text in ["[]", "{}", "{\"version\":7}", "{\"version\":7,\"root\":\"r\",\"nodes\":[]}"] {
            assert!(matches!(parse(text), Err(LockError::Damaged { .. })), "{text}");
        }
        assert_eq!(with(""), Err(LockError::NoNode("a".to_owned())));
        assert_eq!(with(",\"a\":{}"), Err(LockError::Missing("locked")));
        assert_eq!(with(&format!(",\"a\":{{\"locked\":{place}}}")), Err(LockError::Missing("original")));
        let to = |key: &str| with(&format!(",\"a\":{{{locked},\"inputs\":{{\"b\":{key}}}}}"));
        assert_eq!(to("\"root\""), Err(LockError::Root));
        assert_eq!(to("\"a\""), Err(LockError::Circle("a".to_owned())));
        for key in ["1", "[1]", "null"] {
            assert!(matches!(to(key), Err(LockError::Damaged { .. })), "{key}");
        }
        let flake = with(&format!(",\"a\":{{{locked},\"flake\":1}}"));
        assert!(matches!(flake, Err(LockError::Damaged { .. })));
        let bad = with(",\"a\":{\"locked\":{\"type\":\"nosuch\"},\"original\":{}}");
        assert!(matches!(bad, Err(LockError::Input(_))));
        let unlocked = with(&format!(",\"a\":{{{locked}}}")).unwrap();
        assert!(matches!(unlocked.require_locked(), Err(LockError::Unlocked(_))));
    }

    /// Depth costs memory only.
    #[test]
    fn long_chains() {
        let place = "{\"type\":\"path\",\"path\":\"/x\"}";
        let count = 50_000;
        let node = |number: usize| {
            let inputs = match number + 1 < count {
                true => format!("\"inputs\":{{\"b\":\"{}\"}},", number + 1),
                false => String::new(),
            };
            format!("\"{number}\":{{{inputs}\"locked\":{place},\"original\":{place}}}")
        };
        let nodes: Vec<String> = (0..count).map(node).collect();
        let text = format!(
            "{{\"version\":7,\"root\":\"root\",\"nodes\":{{\"root\":{{\"inputs\":{{\"a\":\"0\"}}}},{}}}}}",
            nodes.join(",")
        );
        assert_eq!(parse(&text).unwrap().nodes.len(), count + 1);
    }
}
