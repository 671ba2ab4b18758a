//! Fetching what a binary cache has.

use super::super::coerce::NO_COPY;
use super::super::error::Error;
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::io::{ClosureFetch, Rewritten};
use super::super::value::{Attr, Position};
use super::Builtin;
use crate::model::input::url::Url;

/// The rows of this family.
pub const TABLE: &[Builtin] = &[Builtin::new(
    "fetchClosure",
    1,
    fetch_closure,
    "`{ fromStore; fromPath; toPath?; inputAddressed?; }`: a store path of a binary cache, with what it \
     refers to; with `toPath`, under a name that follows from its contents.",
)
.of("fetch-closure")];

/// What is asked for, as far as it is known.
#[derive(Default)]
struct Asked {
    from_store: Option<String>,
    from_path: Option<Vec<u8>>,
    rewritten: Rewritten,
    input_addressed: Option<bool>,
}

fn fetch_closure<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    const FRAME: &str = "while evaluating the argument passed to builtins.fetchClosure";
    let attrs = worker.force_attrs(arguments[0], Position::NONE, FRAME)?;
    let mut asked = Asked::default();
    for attr in worker.in_order(attrs)?.iter() {
        asked.read(worker, attr)?;
    }
    let missing = |name: &str| Error::new(format!("attribute '{name}' is missing in call to 'fetchClosure'"));
    let from_path = asked.from_path.ok_or_else(|| missing("fromPath"))?;
    let input_addressed = asked.input_addressed.unwrap_or(false);
    if input_addressed && asked.rewritten != Rewritten::No {
        let message =
            "attribute 'inputAddressed' is set to true, but 'toPath' is also set. Please remove one of them";
        return Err(Error::new(message));
    }
    let from_store = asked.from_store.ok_or_else(|| missing("fromStore"))?;
    let url = Url::parse(&from_store).map_err(|error| Error::new(error.to_string()))?;
    if !matches!(url.scheme.as_str(), "http" | "https") {
        return Err(Error::new("'fetchClosure' only supports http:// and https:// stores"));
    }
    if !url.query.is_empty() {
        let message = format!("'fetchClosure' does not support URL query parameters (in '{from_store}')");
        return Err(Error::new(message));
    }
    let fetch = ClosureFetch { from_store, from_path, rewritten: asked.rewritten, input_addressed };
    let path = worker.world.fetch_closure(&fetch)?;
    Ok(worker.store_path_string(&path))
}

impl Asked {
    fn read<'e>(&mut self, worker: &Worker<'e>, attr: &Attr<'e>) -> Result<(), Error> {
        let text =
            |name: &str| format!("while evaluating the attribute '{name}' passed to builtins.fetchClosure");
        match worker.text(attr.name) {
            b"fromStore" => {
                let store = worker.plain_attribute(attr, &text("fromStore"))?;
                self.from_store = Some(String::from_utf8_lossy(store).into_owned());
            }
            b"fromPath" => self.from_path = Some(store_path(worker, attr, &text("fromPath"))?),
            b"toPath" => {
                let (path, _) = worker.coerce(attr.value, NO_COPY, attr.position, &text("toPath"))?;
                self.rewritten = match path.is_empty() {
                    true => Rewritten::Unknown,
                    false => Rewritten::To(store_path(worker, attr, &text("toPath"))?),
                };
            }
            b"inputAddressed" => {
                self.input_addressed =
                    Some(worker.force_bool(attr.value, attr.position, &text("inputAddressed"))?);
            }
            other => {
                let name = String::from_utf8_lossy(other);
                let message = format!("attribute '{name}' isn't supported in call to 'fetchClosure'");
                return Err(Error::new(message).at(attr.position));
            }
        }
        Ok(())
    }
}

/// The store path that an attribute names. It need not be valid.
fn store_path<'e>(worker: &Worker<'e>, attr: &Attr<'e>, text: &str) -> Result<Vec<u8>, Error> {
    let (path, _) = worker.coerce(attr.value, NO_COPY, attr.position, text)?;
    match worker.store_path_of(path) {
        Some(_) => Ok(path.to_vec()),
        None => {
            let path = String::from_utf8_lossy(path);
            Err(Error::new(format!("path '{path}' is not in the Nix store")))
        }
    }
}
