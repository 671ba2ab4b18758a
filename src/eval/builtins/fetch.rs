//! Fetching: what is asked for is checked here, and fetched by the world.

use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::io::Fetch;
use super::super::text::path;
use super::super::value::{Position, View};
use super::Builtin;
use crate::model::hash::{Hash, HashFormat};
use crate::model::store_path;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new(
        "fetchurl",
        1,
        fetch_url,
        "`url` or `{ url; name?; sha256?; }`: the store path of a downloaded file.",
    ),
    Builtin::new(
        "fetchTarball",
        1,
        fetch_tarball,
        "`url` or `{ url; name?; sha256?; }`: the store path of an archive's contents.",
    ),
    Builtin::new("getFlake", 1, get_flake, "`reference`: the outputs of a flake. It cannot be fetched yet."),
];

/// The failure of a builtin for which this program has nothing yet.
#[cold]
fn not_yet(name: &str) -> Error {
    Error::new(format!("this program cannot do what 'builtins.{name}' asks for yet"))
}

fn fetch_url<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    fetch_one(worker, arguments[0], position, "fetchurl")
}

fn fetch_tarball<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    fetch_one(worker, arguments[0], position, "fetchTarball")
}

/// What `fetchurl` or `fetchTarball` is asked for.
#[derive(Default)]
struct Asked {
    url: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    hash: Option<Hash>,
}

impl Asked {
    fn read<'e>(
        worker: &Worker<'e>,
        value: Value<'e>,
        position: Position,
        who: &str,
    ) -> Result<Asked, Error> {
        const URL: &str = "while evaluating the url we should fetch";
        let value = worker.force_at(value, position)?;
        let View::Attrs(attrs) = value.view() else {
            let url = worker.force_plain(value, Position::NONE, URL)?;
            return Ok(Asked { url: Some(url.to_vec()), ..Asked::default() });
        };
        let mut asked = Asked::default();
        for attr in worker.in_order(attrs)?.iter() {
            let text = |text: &str| worker.plain_attribute(attr, text);
            match worker.text(attr.name) {
                b"url" => asked.url = Some(text(URL)?.to_vec()),
                b"name" => {
                    asked.name =
                        Some(text("while evaluating the name of the content we should fetch")?.to_vec());
                }
                b"sha256" => {
                    let hash = text("while evaluating the sha256 of the content we should fetch")?;
                    asked.hash = Some(worker.sha256(hash)?);
                }
                other => {
                    let name = String::from_utf8_lossy(other);
                    return Err(Error::new(format!("unsupported argument '{name}' to '{who}'")));
                }
            }
        }
        Ok(asked)
    }
}

fn fetch_one<'e>(worker: &Worker<'e>, value: Value<'e>, position: Position, who: &str) -> Evaluated<'e> {
    let asked = Asked::read(worker, value, position, who)?;
    let unpack = who == "fetchTarball";
    let Some(url) = asked.url else { return Err(Error::new("'url' argument required")) };
    if worker.shared.settings.pure && asked.hash.is_none() {
        let message = format!("in pure evaluation mode, '{who}' requires a 'sha256' argument");
        return Err(Error::new(message));
    }
    let is_given = asked.name.is_some();
    let default = || if unpack { b"source".to_vec() } else { path::base_name(&url).to_vec() };
    let name = asked.name.unwrap_or_else(default);
    check_name(&url, &name, is_given, who)?;
    if !has_scheme(&url) {
        let url = String::from_utf8_lossy(&url);
        let what = if unpack { "" } else { "URL " };
        return Err(Error::new(format!("{what}'{url}' doesn't have a scheme")));
    }
    let hash = asked.hash.map(|hash| hash.digits(HashFormat::Sri).into_bytes());
    let path = worker.world.fetch(&Fetch { url, name, hash, unpack })?;
    Ok(worker.store_path_string(&path))
}

/// Refuses names that make no store path.
fn check_name(url: &[u8], name: &[u8], is_given: bool, who: &str) -> Result<(), Error> {
    let Err(error) = store_path::check_name(&String::from_utf8_lossy(name)) else { return Ok(()) };
    let advice = if is_given {
        format!("Please change the value for the 'name' attribute passed to '{who}', so")
    } else {
        format!("Please pass an attribute set with 'url' and 'name' attributes to '{who}',  so")
    };
    let url = String::from_utf8_lossy(url);
    Err(Error::new(format!(
        "invalid store path name when fetching URL '{url}': {error}. {advice} that it can create a valid store path."
    )))
}

fn has_scheme(url: &[u8]) -> bool {
    let Some(colon) = url.iter().position(|byte| *byte == b':') else { return false };
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    url.first().is_some_and(u8::is_ascii_alphabetic) && url[..colon].iter().all(allowed)
}

fn get_flake<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the argument passed to builtins.getFlake";
    worker.force_plain(arguments[0], Position::NONE, text)?;
    worker.require_feature("flakes", "")?;
    Err(not_yet("getFlake"))
}
