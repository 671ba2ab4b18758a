//! `nix-hash`: hashes of files and trees, and conversion between notations.

use std::ffi::OsString;
use std::path::Path;

use nival::model::{Hash, HashAlgorithm, HashFormat, base32};
use nival::nar::{NarError, dump};

use super::args::{Args, Word, text};
use super::context::Context;
use super::error::usage;
use super::nix::hash_contents;
use super::ui::Out;

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
pub fn run(mut context: Context, mut args: Args) -> anyhow::Result<()> {
    let mut request = Request {
        algorithm: None,
        format: HashFormat::Base16,
        flat: false,
        truncate: false,
        convert: false,
        arguments: Vec::new(),
    };
    while let Some(word) = args.next() {
        let flag = match word {
            Word::Argument(argument) => {
                request.arguments.push(argument);
                continue;
            }
            Word::Flag(flag) => flag,
        };
        match flag.as_str() {
            "--flat" => request.flat = true,
            "--truncate" => request.truncate = true,
            "--type" => request.algorithm = Some(args.text(&flag)?.parse()?),
            "--base16" => request.format = HashFormat::Base16,
            "--base32" => request.format = HashFormat::Nix32,
            "--base64" => request.format = HashFormat::Base64,
            "--sri" => request.format = HashFormat::Sri,
            "--to-base16" => request.convert_to(HashFormat::Base16),
            "--to-base32" => request.convert_to(HashFormat::Nix32),
            "--to-base64" => request.convert_to(HashFormat::Base64),
            "--to-sri" => request.convert_to(HashFormat::Sri),
            _ if context.common_flag(&flag, &mut args)? => {
                if context.version_wanted {
                    return context.print_version();
                }
            }
            _ => return usage(format!("unrecognised flag '{flag}'")),
        }
    }
    context.end_of_args()?;
    if let Some(algorithm) = request.algorithm {
        context.allow_algorithm(algorithm)?;
    }
    if context.help_wanted {
        return help();
    }
    super::args::refuse_empty(&request.arguments)?;
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

fn help() -> anyhow::Result<()> {
    let mut out = Out::new();
    out.line(
        "Usage: nix-hash [--flat] [--type ALGO] [--base16|--base32|--base64|--sri] [--truncate] PATH...",
    )?;
    out.line("       nix-hash --to-base16|--to-base32|--to-base64|--to-sri [--type ALGO] HASH...")?;
    out.line("")?;
    out.line("ALGO is md5 (the default), sha1, sha256, sha512 or blake3. Without --flat the archive")?;
    out.line("of a file or tree is hashed, with it the contents of one file.")?;
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
