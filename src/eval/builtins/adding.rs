//! Adding files and texts to the store.

use super::super::context::Element;
use super::super::error::{Error, Traced};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::io::{Addition, FileKind};
use super::super::symbols::known;
use super::super::text::path;
use super::super::value::{Attr, Position};
use super::Builtin;
use super::paths::Located;
use crate::model::hash::{Hash, HashAlgorithm, HashFormat};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("toFile", 2, to_file, "`name text`: the store path of a file with that text."),
    Builtin::new(
        "filterSource",
        2,
        filter_source,
        "`filter path`: the store path of a copy without what the filter refuses.",
    ),
    Builtin::new(
        "path",
        1,
        add_path,
        "`{ path; name?; filter?; recursive ? true; sha256?; }`: the store path of a copy.",
    ),
];

fn to_file<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let first = "while evaluating the first argument passed to builtins.toFile";
    let name = worker.force_plain(arguments[0], Position::NONE, first)?;
    let second = "while evaluating the second argument passed to builtins.toFile";
    let (text, context) = worker.force_text(arguments[1], Position::NONE, second)?;
    let mut references = Vec::new();
    for element in context.map_or(&[][..], |context| context.elements()) {
        let (mark, derivation) = match *element {
            Element::Plain(path) => {
                references.push(path.to_vec());
                continue;
            }
            Element::Output { derivation, output } => {
                (format!("!{}!", String::from_utf8_lossy(output)), derivation)
            }
            Element::All(derivation) => ("=".to_owned(), derivation),
        };
        let (name, base) = (String::from_utf8_lossy(name), path::base_name(derivation));
        let base = String::from_utf8_lossy(base);
        let what = "files created by builtins.toFile may not reference derivations, but";
        return Err(Error::new(format!("{what} {name} references {mark}{base}")));
    }
    let path = worker.world.add_text(name, text, &references)?;
    Ok(worker.store_path_string(&path))
}

/// What `path` and `filterSource` are asked for.
struct Request<'e> {
    located: Located<'e>,
    name: Vec<u8>,
    filter: Option<Value<'e>>,
    recursive: bool,
    hash: Option<Hash>,
}

impl<'e> Request<'e> {
    fn of(located: Located<'e>) -> Request<'e> {
        Request { located, name: Vec::new(), filter: None, recursive: true, hash: None }
    }

    /// Adds the files. A link is followed, but the store path has its name.
    fn add(&self, worker: &Worker<'e>) -> Evaluated<'e> {
        let given = &self.located.0;
        let text = format!("while adding path '{}'", String::from_utf8_lossy(given));
        let add = || {
            worker.world.realise(&super::context::dependencies(self.located.1))?;
            let file = worker.followed(given)?;
            let name = if self.name.is_empty() { path::store_name(given) } else { &self.name };
            let expected = self.hash.map(|hash| hash.digits(HashFormat::Sri).into_bytes());
            let addition =
                Addition { path: &file, name, recursive: self.recursive, expected: expected.as_deref() };
            let Some(filter) = self.filter else { return worker.world.add(&addition, None) };
            let mut accepts = |path: &[u8], kind: FileKind| {
                let arguments = [worker.new_string(path), Value::string(kind.name().as_bytes())];
                let text = "while evaluating the return value of the path filter function";
                let accepted = worker.call(filter, &arguments, Position::NONE)?;
                worker.force_bool(accepted, Position::NONE, text)
            };
            worker.world.add(&addition, Some(&mut accepts))
        };
        let path = add().during(&text)?;
        Ok(worker.store_path_string(&path))
    }
}

fn filter_source<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the second argument (the path to filter) passed to 'builtins.filterSource'";
    let located = worker.path_of(arguments[1], Position::NONE, text)?;
    let text = "while evaluating the first argument passed to builtins.filterSource";
    let filter = worker.force_function(arguments[0], Position::NONE, text)?;
    Request { filter: Some(filter), ..Request::of(located) }.add(worker)
}

fn add_path<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the argument passed to 'builtins.path'";
    let attrs = worker.force_attrs(arguments[0], Position::NONE, text)?;
    let mut request = Request::of((Vec::new(), None));
    for attr in worker.in_order(attrs)?.iter() {
        take(worker, attr, &mut request)?;
    }
    if attrs.get(known::PATH).is_none() {
        let message = "missing required 'path' attribute in the first argument to 'builtins.path'";
        return Err(Error::new(message));
    }
    request.add(worker)
}

/// Reads one attribute of the argument of `path`.
fn take<'e>(worker: &Worker<'e>, attr: &Attr<'e>, request: &mut Request<'e>) -> Result<(), Error> {
    let at = attr.position;
    let text = |name: &str| format!("while evaluating the `{name}` attribute passed to builtins.path");
    match worker.text(attr.name) {
        b"path" => {
            let text = "while evaluating the 'path' attribute passed to 'builtins.path'";
            request.located = worker.path_of(attr.value, at, text)?;
        }
        b"name" => request.name = worker.plain_attribute(attr, &text("name"))?.to_vec(),
        b"filter" => {
            let text = "while evaluating the `filter` parameter passed to builtins.path";
            let filter = worker.force_at(attr.value, at).during_at(at, || text.to_owned())?;
            request.filter = Some(worker.force_function(filter, at, text).located(at)?);
        }
        b"recursive" => request.recursive = worker.force_bool(attr.value, at, &text("recursive"))?,
        b"sha256" => {
            let hash = worker.plain_attribute(attr, &text("sha256"))?;
            request.hash = Some(worker.sha256(hash)?);
        }
        other => {
            let name = String::from_utf8_lossy(other);
            return Err(Error::new(format!("unsupported argument '{name}' to 'builtins.path'")).at(at));
        }
    }
    Ok(())
}

impl<'e> Worker<'e> {
    /// The text of an attribute that may not depend on the store.
    ///
    /// # Errors
    /// It is no such string, or cannot be evaluated; `text` is a frame for both.
    pub(super) fn plain_attribute(&self, attr: &Attr<'e>, text: &str) -> Result<&'e [u8], Error> {
        let at = attr.position;
        let value = self.force_at(attr.value, at).during_at(at, || text.to_owned())?;
        self.force_plain(value, at, text)
    }

    /// Reads a SHA-256 hash; an empty one stands for zeros, of which the user is told.
    ///
    /// # Errors
    /// The text is no such hash.
    pub(super) fn sha256(&self, text: &[u8]) -> Result<Hash, Error> {
        self.hash_or_zeros(text, HashAlgorithm::Sha256)
    }

    /// The same for any algorithm.
    ///
    /// # Errors
    /// The text is no such hash.
    pub(super) fn hash_or_zeros(&self, text: &[u8], algorithm: HashAlgorithm) -> Result<Hash, Error> {
        if text.is_empty()
            && let Some(hash) = Hash::from_bytes(algorithm, &vec![0; algorithm.digest_len()])
        {
            let hash_text = hash.digits(HashFormat::Sri);
            self.tell(&format!("warning: found empty hash, assuming '{hash_text}'"))?;
            return Ok(hash);
        }
        Hash::parse(&String::from_utf8_lossy(text), Some(algorithm))
            .map_err(|error| Error::new(error.to_string()))
    }
}
