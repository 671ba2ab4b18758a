//! Fetched trees: arguments become an input, which the world fetches.

use super::super::coerce::STRICT;
use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::io::FetchedTree;
use super::super::symbols::{Symbol, known};
use super::super::value::{Attr, Attrs, Position, View};
use super::{Builtin, mercurial};
use crate::model::input::{Attribute, Attributes, Input, InputError, git};

/// The experimental feature of `fetchTree`.
pub const FEATURE: &str = "fetch-tree";

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new(
        "fetchGit",
        1,
        fetch_git,
        "`url` or `{ url; rev?; ref?; name?; submodules?; shallow?; allRefs?; exportIgnore?; narHash?; }`: \
         a tree of a Git repository.",
    ),
    Builtin::new(
        "fetchTree",
        1,
        fetch_tree,
        "`url` or a set with its `type` (`git`, `hg`, `github`, `gitlab`, `sourcehut`, `tarball`, `file`, `path` or `indirect`): a tree from elsewhere.",
    )
    .of(FEATURE),
];

fn fetch_git<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    const WHO: &str = "fetchGit";
    let value = worker.force_at(arguments[0], position)?;
    let mut attributes = match value.view() {
        View::Attrs(attrs) => {
            if attrs.get(known::TYPE).is_some() {
                return Err(Error::new("unexpected argument 'type'"));
            }
            read(worker, attrs, WHO)?
        }
        _ => Attributes::from([("url".to_owned(), Attribute::Text(text(worker, value, WHO)?))]),
    };
    attributes.insert("type".to_owned(), Attribute::Text(git::TYPE.to_owned()));
    if attributes.get("submodules") != Some(&Attribute::Bool(true)) {
        attributes.entry("exportIgnore".to_owned()).or_insert(Attribute::Bool(true));
    }
    let input = input_of(worker, &attributes)?;
    let mut tree = fetch(worker, &input, WHO)?;
    // What older expressions rely on.
    if !tree.attributes.contains_key("rev") {
        let none = "0".repeat(40);
        tree.attributes.insert("shortRev".to_owned(), Attribute::Text(none[..7].to_owned()));
        tree.attributes.insert("rev".to_owned(), Attribute::Text(none));
    }
    tree.attributes.entry("revCount".to_owned()).or_insert(Attribute::Number(0));
    Ok(told(worker, &tree))
}

fn fetch_tree<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    const WHO: &str = "fetchTree";
    let value = worker.force_at(arguments[0], position)?;
    let input = match value.view() {
        View::Attrs(attrs) => {
            if attrs.get(known::TYPE).is_none() {
                return Err(Error::new("argument 'type' is missing in call to 'fetchTree'"));
            }
            let mut attributes = read(worker, attrs, WHO)?;
            if attributes.contains_key("name") {
                return Err(Error::new("argument 'name' isn’t supported in call to 'fetchTree'"));
            }
            if attributes.get("type") == Some(&Attribute::Text(git::TYPE.to_owned())) {
                attributes.entry("shallow".to_owned()).or_insert(Attribute::Bool(true));
            }
            input_of(worker, &attributes)?
        }
        _ => {
            let url = text(worker, value, WHO)?;
            refuse_signed_url(worker, &url)?;
            Input::from_url(&url).map_err(refused)?
        }
    };
    let mut tree = fetch(worker, &input, WHO)?;
    tree.attributes.remove(mercurial::BRANCH);
    Ok(told(worker, &tree))
}

/// The text that stands for a set with a URL.
fn text<'e>(worker: &Worker<'e>, value: Value<'e>, who: &str) -> Result<String, Error> {
    // What is to be fetched is where it is, and no copy of it.
    if let View::Path(path) = value.view() {
        return Ok(String::from_utf8_lossy(path).into_owned());
    }
    let frame = format!("while evaluating the first argument passed to '{who}'");
    let (text, _) = worker.coerce(value, STRICT, Position::NONE, &frame)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Attributes that are strings, paths, Booleans or numbers.
fn read<'e>(worker: &Worker<'e>, attrs: Attrs<'e>, who: &str) -> Result<Attributes, Error> {
    let mut attributes = Attributes::new();
    for attr in worker.in_order(attrs)?.iter() {
        let name = String::from_utf8_lossy(worker.text(attr.name)).into_owned();
        let attribute = read_one(worker, attr, &name, who)?;
        attributes.insert(name, attribute);
    }
    Ok(attributes)
}

fn read_one<'e>(worker: &Worker<'e>, attr: &Attr<'e>, name: &str, who: &str) -> Result<Attribute, Error> {
    let value = worker.force_at(attr.value, attr.position)?;
    Ok(match value.view() {
        View::String(text, _) | View::Path(text) => {
            Attribute::Text(String::from_utf8_lossy(text).into_owned())
        }
        View::Bool(is) => Attribute::Bool(is),
        View::Int(number) => Attribute::Number(u64::try_from(number).map_err(|_| {
            Error::new(format!("negative value given for '{who}' argument '{name}': {number}"))
        })?),
        _ => {
            let (name, what) = (worker.name(attr.name), worker.type_of(value));
            return Err(Error::new(format!(
                "argument '{name}' to '{who}' is {what} while a string, Boolean or integer is expected"
            )));
        }
    })
}

fn input_of(worker: &Worker<'_>, attributes: &Attributes) -> Result<Input, Error> {
    refuse_signed(worker, attributes)?;
    let mut attributes = attributes.clone();
    if is_git(&attributes)
        && let Some(Attribute::Text(url)) = attributes.get_mut("url")
    {
        // As messages show it.
        *url = git::repository_url(url).map_err(refused)?.to_string();
    }
    Input::from_attributes(&attributes).map_err(refused)
}

fn refused(error: InputError) -> Error {
    Error::new(error.to_string())
}

fn is_git(attributes: &Attributes) -> bool {
    attributes.get("type") == Some(&Attribute::Text(git::TYPE.to_owned()))
}

/// Refuses attributes of a commit whose signature is to be verified.
pub fn refuse_signed(worker: &Worker<'_>, attributes: &Attributes) -> Result<(), Error> {
    match is_git(attributes) && git::SIGNED.iter().any(|name| attributes.contains_key(*name)) {
        true => Err(signed(worker)),
        false => Ok(()),
    }
}

/// Refuses the URL of such a commit.
pub fn refuse_signed_url(worker: &Worker<'_>, url: &str) -> Result<(), Error> {
    let is_signed = |part: &str| git::SIGNED.iter().any(|name| part.starts_with(&format!("{name}=")));
    match url.starts_with("git") && url.split(['?', '&']).any(is_signed) {
        true => Err(signed(worker)),
        false => Ok(()),
    }
}

/// The failure for a commit whose signature is to be verified.
fn signed(worker: &Worker<'_>) -> Error {
    match worker.require_feature("verified-fetches", "") {
        Err(error) => error,
        Ok(()) => {
            Error::new("verifying the signatures of Git commits is not available in this version of Nival")
        }
    }
}

fn fetch(worker: &Worker<'_>, input: &Input, who: &str) -> Result<FetchedTree, Error> {
    if worker.shared.settings.pure && !input.is_locked() {
        let url = input.url().to_string();
        if input.expected().nar_hash.is_none() {
            return Err(Error::new(format!(
                "in pure evaluation mode, '{who}' doesn't fetch unlocked input '{url}'"
            )));
        }
        worker.tell(&format!(
            "warning: Input '{url}' is unlocked (e.g. lacks a Git revision) but is checked by NAR hash. This is not \
             reproducible and will break after garbage collection or when shared."
        ))?;
    }
    worker.world.fetch_tree(input)
}

/// A fetched tree as a set.
pub(super) fn told<'e>(worker: &Worker<'e>, tree: &FetchedTree) -> Value<'e> {
    let mut attrs = values(worker, &tree.attributes);
    attrs.push((worker.intern(b"outPath"), worker.store_path_string(&tree.path)));
    worker.new_set(attrs)
}

/// Attributes as the values of a set.
pub fn values<'e>(worker: &Worker<'e>, attributes: &Attributes) -> Vec<(Symbol, Value<'e>)> {
    let value = |attribute: &Attribute| match attribute {
        Attribute::Text(text) => worker.new_string(text.as_bytes()),
        Attribute::Number(number) => Value::int(i64::try_from(*number).unwrap_or(i64::MAX)),
        Attribute::Bool(is) => Value::bool(*is),
    };
    let attrs = attributes.iter();
    attrs.map(|(name, attribute)| (worker.intern(name.as_bytes()), value(attribute))).collect()
}
