//! `nix-prefetch-url`: adds what is behind a URL to the store and prints its
//! hash.

use nival::model::{Hash, HashAlgorithm, HashFormat};
use nival::ops::prefetch::Prefetch;
use nival::progress::Progress as _;
use nival::store::open::http_settings;

use super::args::{Args, Word, text};
use super::context::Context;
use super::error::usage;
use super::flag_table;
use super::ui::Out;

/// Runs it.
///
/// # Errors
/// Usage errors, and those of fetching.
pub fn run(mut context: Context, mut args: Args) -> anyhow::Result<()> {
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
    while let Some(word) = args.next() {
        let flag = match word {
            Word::Argument(argument) => {
                arguments.push(text(&argument)?);
                continue;
            }
            Word::Flag(flag) => flag,
        };
        match flag.as_str() {
            "--type" => wanted.algorithm = args.text(&flag)?.parse()?,
            "--name" => wanted.name = Some(args.text(&flag)?),
            "--print-path" => print_path = true,
            "--unpack" => wanted.unpack = true,
            "--executable" => wanted.executable = true,
            "-A" | "--attr" => anyhow::bail!(
                "'{flag}' needs the Nix language, which is not available in this version of Nival"
            ),
            _ if context.common_flag(&flag, &mut args)? => {}
            _ => return usage(format!("unrecognised flag '{flag}'")),
        }
    }
    if context.is_answered_by(help)? {
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
        anyhow::bail!(
            "mirrors are listed in Nix expressions, and the language is not available in this version of Nival"
        );
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

fn help() -> anyhow::Result<()> {
    let mut out = Out::new();
    out.line("Usage: nix-prefetch-url [FLAGS] URL [HASH]")?;
    out.line("")?;
    for flag in flag_table::operations("nix-prefetch-url").flat_map(|operation| operation.flags) {
        out.line(flag.help())?;
    }
    out.finish()
}
