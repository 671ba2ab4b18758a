//! `nix-prefetch-url`: adds what is behind a URL to the store and prints its
//! hash.

use std::ffi::OsString;

use nival::model::{Hash, HashAlgorithm, HashFormat};
use nival::ops::prefetch::Prefetch;
use nival::progress::Progress as _;
use nival::store::open::http_settings;

use super::context::Context;
use super::error::usage;
use super::flags::parse::{Item, Parser, text};
use super::flags::{NIX_PREFETCH_URL, find, page};
use crate::cli::output::streams::Out;

/// Runs it.
///
/// # Errors
/// Usage errors, and those of fetching.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let mut wanted = Prefetch {
        url: String::new(),
        name: None,
        algorithm: HashAlgorithm::Sha256,
        expected: None,
        unpack: false,
        executable: false,
    };
    // Empty and `0` are no.
    let mut print_path = context.environment.get("PRINT_PATH").is_some_and(|v| v != "0" && !v.is_empty());
    let mut arguments = Vec::new();
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
            "--unpack" => wanted.unpack = true,
            "--executable" => wanted.executable = true,
            "--attr" => anyhow::bail!("'{}' is not available yet in this version of Nival", given.spelled()),
            name if find(NIX_PREFETCH_URL.groups, name).is_some() => {}
            other => return Err(page::not_taken(other)),
        }
    }
    if context.is_answered_by(|| page::of_program(&NIX_PREFETCH_URL).print())? {
        return Ok(());
    }
    context.allow_algorithm(wanted.algorithm)?;
    let expected = match &arguments[..] {
        [] => return usage("you must specify a URL"),
        [url] => {
            wanted.url.clone_from(url);
            None
        }
        [url, hash] => {
            wanted.url.clone_from(url);
            Some(hash)
        }
        _ => return usage("too many arguments"),
    };
    if wanted.url.starts_with("mirror://") {
        anyhow::bail!("'mirror://' is not available yet in this version of Nival: name the server itself");
    }
    wanted.expected = expected.map(|hash| Hash::parse(hash, Some(wanted.algorithm))).transpose()?;
    let store = &*context.open_store()?;
    let (hash, path) = wanted.run(store, http_settings(&context.surroundings()), context.progress())?;
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
