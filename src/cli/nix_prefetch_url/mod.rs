//! `nix-prefetch-url`: adds what is behind a URL to the store and prints its
//! hash.

mod source;

use std::ffi::OsString;

use nival::fetch::unpack::Top;
use nival::fetch::url::file_name;
use nival::model::{Hash, HashAlgorithm, HashFormat};
use nival::ops::prefetch::{Prefetch, Prefetched};
use nival::progress::Progress as _;

use super::context::Context;
use super::error::usage;
use super::evaluation::Wanted;
use super::flags::parse::{Item, Parser, text};
use super::flags::{NIX_PREFETCH_URL, page};
use crate::cli::output::streams::Out;

/// Runs it.
///
/// # Errors
/// Usage errors, and those of fetching.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let mut wanted = Prefetch::file(String::new());
    // Empty and `0` are no.
    let mut print_path = context.environment.get("PRINT_PATH").is_some_and(|v| v != "0" && !v.is_empty());
    let mut arguments = Vec::new();
    let mut attribute = None;
    let mut evaluation = Wanted::default();
    let mut parser = Parser::classic(&NIX_PREFETCH_URL, words);
    while let Some(item) = parser.next(&mut context, NIX_PREFETCH_URL.groups)? {
        let given = match item {
            Item::Flag(given) => given,
            Item::Argument(argument) => {
                arguments.push(text(&argument)?);
                continue;
            }
            Item::Unknown(flag) => return Err(NIX_PREFETCH_URL.unrecognised(&flag)),
            Item::Operation(_) | Item::Taken => continue,
        };
        match given.name() {
            "--type" => wanted.algorithm = given.text()?.parse()?,
            "--name" => wanted.name = Some(given.text()?),
            "--print-path" => print_path = true,
            "--unpack" => wanted.unpack = Some(Top::Entry),
            "--executable" => wanted.executable = true,
            "--attr" => attribute = Some(given.text()?),
            _ if evaluation.flag(&given, &context)? => {}
            other => return Err(page::not_taken(other)),
        }
    }
    if context.is_answered_by(|| page::of_program(&NIX_PREFETCH_URL).print())? {
        return Ok(());
    }
    context.allow_algorithm(wanted.algorithm)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let expected = match (&attribute, &arguments[..]) {
        (None, []) => return usage("you must specify a URL"),
        (None, [url, rest @ ..]) => {
            wanted.url = (*url).to_owned();
            rest
        }
        (Some(attribute), words) => {
            let file = words.first().copied();
            let found = source::of_attribute(&context, &evaluation, attribute, file)?;
            if found.unpack.is_none() {
                context.ui.warn("this does not look like a fetchurl call");
            }
            wanted.url = found.url;
            if found.unpack == Some(true) {
                wanted.unpack = Some(Top::Entry);
            }
            words.get(1..).unwrap_or_default()
        }
    };
    let expected = match expected {
        [] => None,
        [hash] => Some(hash),
        _ => return usage("too many arguments"),
    };
    // The name is that of the file that was asked for, whatever the mirror calls it.
    if wanted.url.starts_with(source::MIRROR) {
        let url = source::of_mirror(&context, &evaluation, &wanted.url)?;
        let asked = std::mem::replace(&mut wanted.url, url);
        wanted.name = Some(match wanted.name {
            Some(name) => name,
            None => file_name(&asked)?,
        });
    }
    wanted.expected = expected.map(|hash| Hash::parse(hash, Some(wanted.algorithm))).transpose()?;
    let store = &*context.open_store()?;
    let Prefetched { hash, path, .. } = wanted.run(store, &context.means(None))?;
    let format = match wanted.algorithm {
        HashAlgorithm::Md5 => HashFormat::Base16,
        _ => HashFormat::Nix32,
    };
    let path = store.dir().print(&path);
    if !print_path {
        context.ui.notice(&format!("path is '{path}'"));
    }
    let mut out = Out::new();
    out.line(hash.digits(format))?;
    if print_path {
        out.line(path)?;
    }
    out.finish()
}
