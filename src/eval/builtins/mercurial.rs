//! Fetching from Mercurial repositories.

use super::super::coerce::STRICT;
use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::value::{Position, View};
use super::{Builtin, trees};
use crate::model::hash::{Hash, HashAlgorithm};
use crate::model::input::git::Rev;
use crate::model::input::mercurial::{MercurialInput, is_reference};
use crate::model::input::url::Url;
use crate::model::input::{Attribute, Expected, Input, InputError};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[Builtin::new(
    "fetchMercurial",
    1,
    fetch_mercurial,
    "`url` or `{ url; rev?; name?; }`: a tree of a Mercurial repository.",
)];

/// What the world tells of such a tree and only this function passes on.
pub const BRANCH: &str = "branch";
/// Digits of a commit that are told for short.
const SHORT: usize = 12;

fn fetch_mercurial<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    const FRAME: &str = "while evaluating the first argument passed to builtins.fetchMercurial";
    let value = worker.force_at(arguments[0], position)?;
    let (mut url, mut version, mut name) = (None, None, None);
    match value.view() {
        View::Attrs(attrs) => {
            for attr in worker.in_order(attrs)?.iter() {
                let plain = |what: &str| {
                    let text =
                        format!("while evaluating the `{what}` attribute passed to builtins.fetchMercurial");
                    Ok::<_, Error>(String::from_utf8_lossy(worker.plain_attribute(attr, &text)?).into_owned())
                };
                match worker.text(attr.name) {
                    b"url" => url = Some(place(worker, attr.value, attr.position, FRAME)?),
                    b"rev" => version = Some(plain("rev")?),
                    b"name" => name = Some(plain("name")?),
                    other => {
                        let other = String::from_utf8_lossy(other);
                        let message = format!("unsupported argument '{other}' to 'fetchMercurial'");
                        return Err(Error::new(message).at(attr.position));
                    }
                }
            }
        }
        _ => url = Some(place(worker, value, Position::NONE, FRAME)?),
    }
    let url = url.ok_or_else(|| Error::new("'url' argument required"))?;
    let input = input(&url, version.as_deref(), name).map_err(|error| Error::new(error.to_string()))?;
    if worker.shared.settings.pure && input.rev.is_none() {
        let message = "in pure evaluation mode, 'fetchMercurial' requires a Mercurial revision";
        return Err(Error::new(message));
    }
    let mut tree = worker.world.fetch_tree(&Input::Mercurial(input))?;
    tree.attributes.remove("narHash");
    // What older expressions rely on.
    let none = || Attribute::Text("0".repeat(40));
    let rev = tree.attributes.entry("rev".to_owned()).or_insert_with(none).clone();
    if let Attribute::Text(rev) = rev {
        let short = rev.get(..SHORT).unwrap_or(&rev).to_owned();
        tree.attributes.insert("shortRev".to_owned(), Attribute::Text(short));
    }
    Ok(trees::told(worker, &tree))
}

/// Where a repository is.
fn place<'e>(worker: &Worker<'e>, value: Value<'e>, at: Position, frame: &str) -> Result<String, Error> {
    let value = worker.force_at(value, at)?;
    // What is to be fetched is where it is, and no copy of it.
    if let View::Path(path) = value.view() {
        return Ok(String::from_utf8_lossy(path).into_owned());
    }
    let (text, _) = worker.coerce(value, STRICT, at, frame)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn input(place: &str, version: Option<&str>, name: Option<String>) -> Result<MercurialInput, InputError> {
    let url = match place.contains("://") {
        true => Url::parse(place)?,
        false if place.starts_with('/') => Url::of_file(place),
        false => Url::parse(&format!("file://{place}"))?,
    };
    if let Some(authority) = url.authority.as_ref().filter(|text| url.scheme == "file" && !text.is_empty()) {
        return Err(InputError::Authority { url: url.to_string(), authority: authority.clone() });
    }
    let is_commit = |text: &str| text.len() == 40 && Hash::parse(text, Some(HashAlgorithm::Sha1)).is_ok();
    let (rev, reference) = match version {
        Some(text) if is_commit(text) => (Some(Rev::parse(text)?), None),
        Some(text) if !is_reference(text) => {
            return Err(InputError::MercurialReference(text.to_owned()));
        }
        other => (None, other.map(str::to_owned)),
    };
    Ok(MercurialInput { url, rev, reference, dir: None, name, expected: Expected::default() })
}
