//! `nix-hash`: hashes of files and trees, and conversion between notations.

use std::ffi::OsString;
use std::path::Path;

use nival::model::{Hash, HashAlgorithm, HashFormat, base32};
use nival::nar::{NarError, dump};

use super::contents::hash_contents;
use super::context::Context;
use super::flags::parse::{Item, Parser, refuse_empty, text};
use super::flags::{NIX_HASH, page};
use crate::cli::output::streams::Out;

/// What the flags ask for.
struct Request {
    algorithm: Option<HashAlgorithm>,
    format: HashFormat,
    flat: bool,
    truncate: bool,
    convert: bool,
    arguments: Vec<OsString>,
}

/// Runs it.
///
/// # Errors
/// Usage errors, and those of reading.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let mut request = Request {
        algorithm: None,
        format: HashFormat::Base16,
        flat: false,
        truncate: false,
        convert: false,
        arguments: Vec::new(),
    };
    let mut parser = Parser::classic(&NIX_HASH, words);
    while let Some(item) = parser.next(&mut context, &[])? {
        let given = match item {
            Item::Flag(given) => given,
            Item::Argument(argument) => {
                request.arguments.push(argument);
                continue;
            }
            Item::Unknown(flag) => return Err(NIX_HASH.unrecognised(&flag)),
            Item::Taken if context.version_wanted => return context.print_version(),
            Item::Operation(_) | Item::Taken => continue,
        };
        match given.name() {
            "--flat" => request.flat = true,
            "--truncate" => request.truncate = true,
            "--type" => request.algorithm = Some(given.text()?.parse()?),
            "--base16" => request.format = HashFormat::Base16,
            "--base32" => request.format = HashFormat::Nix32,
            "--base64" => request.format = HashFormat::Base64,
            "--sri" => request.format = HashFormat::Sri,
            "--to-base16" => request.convert_to(HashFormat::Base16),
            "--to-base32" => request.convert_to(HashFormat::Nix32),
            "--to-base64" => request.convert_to(HashFormat::Base64),
            "--to-sri" => request.convert_to(HashFormat::Sri),
            other => return Err(page::not_taken(other)),
        }
    }
    context.end_of_args()?;
    if let Some(algorithm) = request.algorithm {
        context.allow_algorithm(algorithm)?;
    }
    if context.help_wanted {
        return page::of_program(&NIX_HASH).print();
    }
    refuse_empty(&request.arguments)?;
    let mut out = Out::new();
    for argument in &request.arguments {
        out.line(if request.convert {
            request.converted(&context, argument)?
        } else {
            request.hash(&context, argument)?
        })?;
    }
    out.finish()
}

impl Request {
    fn convert_to(&mut self, format: HashFormat) {
        self.convert = true;
        self.format = format;
    }

    fn converted(&self, context: &Context, argument: &OsString) -> anyhow::Result<String> {
        let hash = Hash::parse(&text(argument)?, self.algorithm)?;
        context.allow_algorithm(hash.algorithm())?;
        Ok(hash.digits(self.format))
    }

    fn hash(&self, context: &Context, argument: &OsString) -> anyhow::Result<String> {
        let path = context.absolute(Path::new(argument));
        let algorithm = self.algorithm.unwrap_or(HashAlgorithm::Md5);
        let hash = if self.flat { flat(&path, algorithm)? } else { dump::hash(&path, algorithm)?.0 };
        if !self.truncate || algorithm.digest_len() <= 20 {
            return Ok(hash.digits(self.format));
        }
        Ok(truncated(&hash, self.format))
    }
}

/// A digest folded onto 20 bytes, in a notation.
fn truncated(hash: &Hash, format: HashFormat) -> String {
    let folded = hash.fold(20);
    // Twenty bytes are those of a SHA-1, whose notations serve here too.
    match (Hash::from_bytes(HashAlgorithm::Sha1, &folded), format) {
        (Some(short), HashFormat::Sri) => {
            format!("{}-{}", hash.algorithm(), short.digits(HashFormat::Base64))
        }
        (Some(short), format) => short.digits(format),
        (None, _) => base32::encode(&folded),
    }
}

/// The hash of one file's contents, following symlinks.
fn flat(path: &Path, algorithm: HashAlgorithm) -> anyhow::Result<Hash> {
    // Opened by its name: the link of a pipe leads to no file.
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => NarError::Missing(path.to_owned()),
        _ => nival::sys::PathError::new("opening file", path, error).into(),
    })?;
    hash_contents(file, path, algorithm)
}
