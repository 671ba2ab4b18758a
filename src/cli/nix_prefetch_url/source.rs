//! Where a source lies that an expression or a mirror's name stands for.

use nival::eval::error::Error;
use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::eval::value::{Attrs, Position};

use crate::cli::context::Context;
use crate::cli::evaluation::{self, Wanted};
use crate::cli::installables::expression;

/// The file that is evaluated unless another one is named.
const DEFAULT: &str = "./default.nix";
/// The list of mirrors.
const MIRRORS: &str = "nixpkgs/pkgs/build-support/fetchurl/mirrors.nix";
/// How the URL of a file on mirrors begins.
pub const MIRROR: &str = "mirror://";

/// What an attribute says of its source.
#[derive(Default)]
pub struct Source {
    /// The first of its URLs.
    pub url: String,
    /// Whether what an archive holds is hashed; nothing where it does not say how it is hashed.
    pub unpack: Option<bool>,
}

/// The source that an attribute of a file's expression is.
///
/// # Errors
/// It cannot be evaluated, or is no source.
pub fn of_attribute(
    context: &Context,
    wanted: &Wanted,
    attribute: &str,
    file: Option<&str>,
) -> anyhow::Result<Source> {
    let mut source = Source::default();
    evaluation::run(context, wanted, true, |worker, arguments, _| {
        let root = worker.import(&expression::file(worker, file.unwrap_or(DEFAULT))?)?;
        let value = expression::selected(worker, root, attribute, arguments)?;
        let during = "while evaluating the source attribute to prefetch";
        let attrs = worker.force_attrs(value, Position::NONE, during)?;
        let Some(urls) = member(worker, attrs, "urls") else {
            return Err(Error::new("attribute 'urls' missing").into());
        };
        let during = "while evaluating the urls to prefetch";
        let Some(first) = worker.force_list(urls, Position::NONE, during)?.first() else {
            return Err(Error::new("'urls' list is empty").into());
        };
        source.url = text(worker, *first, "while evaluating the first url from the urls list")?;
        if let Some(mode) = member(worker, attrs, "outputHashMode") {
            let during = "while evaluating the outputHashMode of the source to prefetch";
            source.unpack = Some(text(worker, mode, during)? == "recursive");
        }
        Ok(())
    })?;
    Ok(source)
}

/// The URL on the first of the mirrors that `mirror://NAME/FILE` names.
///
/// # Errors
/// There is no list of mirrors, or it does not have them.
pub fn of_mirror(context: &Context, wanted: &Wanted, url: &str) -> anyhow::Result<String> {
    let rest = url.strip_prefix(MIRROR).unwrap_or(url);
    let Some((name, file)) = rest.split_once('/') else { anyhow::bail!("invalid mirror URL '{url}'") };
    let mut found = String::new();
    evaluation::run(context, wanted, true, |worker, _, _| {
        let value = worker.import(&expression::lookup(worker, MIRRORS)?)?;
        let mirrors = worker.force_attrs(value, Position::NONE, "while evaluating the set of all mirrors")?;
        let Some(list) = member(worker, mirrors, name) else {
            return Err(Error::new(format!("unknown mirror name '{name}'")).into());
        };
        let during = "while evaluating one mirror configuration";
        let Some(first) = worker.force_list(list, Position::NONE, during)?.first() else {
            return Err(Error::new(format!("mirror URL '{url}' did not expand to anything")).into());
        };
        found = text(worker, *first, "while evaluating the first available mirror")?;
        Ok(())
    })?;
    let slash = if found.ends_with('/') { "" } else { "/" };
    Ok(format!("{found}{slash}{file}"))
}

fn member<'e>(worker: &Worker<'e>, attrs: Attrs<'e>, name: &str) -> Option<Value<'e>> {
    attrs.get(worker.shared.symbols.find(name.as_bytes())?).map(|attr| attr.value)
}

fn text<'e>(worker: &Worker<'e>, value: Value<'e>, during: &str) -> Result<String, Error> {
    let (bytes, _) = worker.force_text(value, Position::NONE, during)?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::new("a URL that is not UTF-8").frame(Position::NONE, during))
}
