//! `nix hash`: hashes of files and trees, and conversion between notations.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

use nival::model::hash::HashError;
use nival::model::{ContentAddressMethod, Hash, HashAlgorithm, HashFormat};
use nival::nar::git::GitHasher;
use nival::nar::{Discard, dump};
use nival::progress::Progress as _;
use nival::sys::PathError;

use super::nar::doubled_slash;
use super::{Arity, Command};
use crate::cli::contents::hash_contents;
use crate::cli::context::Context;
use crate::cli::error::Usage;
use crate::cli::flags::parse;
use crate::cli::flags::parse::Given;
use crate::cli::output::streams::Out;

/// Reads the name of an algorithm.
///
/// # Errors
/// A usage error, or that the algorithm is not available.
pub fn parse_algorithm(context: &Context, text: &str) -> anyhow::Result<HashAlgorithm> {
    let algorithm = text.parse::<HashAlgorithm>().map_err(|error: HashError| Usage(error.to_string()))?;
    context.allow_algorithm(algorithm)?;
    Ok(algorithm)
}

impl Context {
    /// Refuses an algorithm whose experimental feature is not enabled.
    ///
    /// # Errors
    /// That it is disabled.
    pub fn allow_algorithm(&self, algorithm: HashAlgorithm) -> anyhow::Result<()> {
        let feature = (algorithm == HashAlgorithm::Blake3).then_some("blake3-hashes");
        Ok(self.settings.require_feature(feature)?)
    }
}

/// The way git hashes, where its experimental feature is enabled.
///
/// # Errors
/// That it is disabled.
pub fn git(context: &Context) -> anyhow::Result<ContentAddressMethod> {
    context.settings.require_feature(Some("git-hashing"))?;
    Ok(ContentAddressMethod::Git)
}

/// Reads a hash; one of an algorithm whose feature is not enabled is refused.
fn parse_hash(context: &Context, text: &str, expected: Option<HashAlgorithm>) -> anyhow::Result<Hash> {
    let hash = Hash::parse(text, expected)?;
    context.allow_algorithm(hash.algorithm())?;
    Ok(hash)
}

/// Reads the name of a notation.
fn parse_format(context: &Context, text: &str) -> anyhow::Result<HashFormat> {
    if text == "base32" {
        context.ui.warn("\"base32\" is a deprecated alias for hash format \"nix32\".");
    }
    text.parse::<HashFormat>().map_err(|error| Usage(error.to_string()).into())
}

/// What the flags of `nix hash file` and `nix hash path` ask for.
#[derive(Default)]
struct Wanted {
    algorithm: Option<HashAlgorithm>,
    format: Option<HashFormat>,
}

impl Wanted {
    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--base16" => self.format = Some(HashFormat::Base16),
            "--base32" => self.format = Some(HashFormat::Nix32),
            "--base64" => self.format = Some(HashFormat::Base64),
            "--sri" => self.format = Some(HashFormat::Sri),
            "--type" => self.algorithm = Some(parse_algorithm(context, &given.text()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.algorithm.unwrap_or(HashAlgorithm::Sha256)
    }

    fn digits(&self, hash: &Hash) -> String {
        hash.digits(self.format.unwrap_or(HashFormat::Sri))
    }
}

/// A line for each argument; those before a failure are printed.
fn each_line(arguments: &[OsString], line: impl Fn(&OsStr) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let mut out = Out::new();
    let done = arguments.iter().try_for_each(|argument| out.line(line(argument)?));
    out.finish()?;
    done
}

/// `nix hash file`.
#[derive(Default)]
pub struct HashFile(Wanted);

impl Command for HashFile {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        self.0.flag(given, context)
    }

    fn run(&self, _context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        each_line(arguments, |path| {
            let file = File::open(path).map_err(PathError::at("opening file", path))?;
            Ok(self.0.digits(&hash_contents(file, Path::new(path), self.0.algorithm())?))
        })
    }
}

#[derive(Default, Clone, Copy)]
enum Mode {
    #[default]
    Nar,
    Flat,
    Git,
}

/// `nix hash path`.
#[derive(Default)]
pub struct HashPath {
    wanted: Wanted,
    mode: Mode,
}

impl Command for HashPath {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--algo" => self.wanted.algorithm = Some(parse_algorithm(context, &given.text()?)?),
            "--format" => self.wanted.format = Some(parse_format(context, &given.text()?)?),
            "--mode" => {
                let mode = given.text()?;
                self.mode = match mode.as_str() {
                    "nar" => Mode::Nar,
                    "flat" => Mode::Flat,
                    "git" => git(context).map(|_| Mode::Git)?,
                    _ => return Err(bad_mode(&mode)),
                };
            }
            _ => return self.wanted.flag(given, context),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let algorithm = self.wanted.algorithm();
        each_line(arguments, |word| {
            let path = source(context, word)?;
            let hash = if let Mode::Git = self.mode {
                let mut nowhere = Discard;
                let mut git = GitHasher::new(&mut nowhere, algorithm);
                dump::walk(&path, &mut git).map_err(doubled_slash)?;
                git.finish()?
            } else if let Mode::Flat = self.mode {
                let file = File::open(&path).map_err(PathError::at("opening file", &path))?;
                hash_contents(file, &path, algorithm)?
            } else {
                dump::hash(&path, algorithm).map_err(doubled_slash)?.0
            };
            Ok(self.wanted.digits(&hash))
        })
    }
}

/// A file or directory to be read, which exists or at least may.
///
/// # Errors
/// When the directory it should lie in does not exist.
pub fn source(context: &Context, word: &OsStr) -> anyhow::Result<PathBuf> {
    let path = context.absolute(Path::new(word));
    if let Some(parent) = path.parent() {
        std::fs::metadata(parent).map_err(PathError::at("canonicalising parent path of", &path))?;
    }
    Ok(path)
}

/// The error for a way to hash that is unknown.
pub fn bad_mode(mode: &str) -> anyhow::Error {
    Usage(format!("Unknown file ingestion method '{mode}', expect `flat`, `nar`, or `git`")).into()
}

/// `nix hash convert`.
#[derive(Default)]
pub struct Convert {
    from: Option<HashFormat>,
    to: Option<HashFormat>,
    algorithm: Option<HashAlgorithm>,
}

impl Command for Convert {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--from" => self.from = Some(parse_format(context, &given.text()?)?),
            "--to" => self.to = Some(parse_format(context, &given.text()?)?),
            "--hash-algo" => self.algorithm = Some(parse_algorithm(context, &given.text()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        each_line(arguments, |word| {
            let text = parse::text(word)?;
            let hash = parse_hash(context, &text, self.algorithm)?;
            let format = format_of(&text, hash.algorithm());
            if let Some(from) = self.from.filter(|from| *from != format) {
                anyhow::bail!(
                    "input hash '{text}' has format '{}', but '--from {}' was specified",
                    format.name(),
                    from.name()
                );
            }
            Ok(hash.digits(self.to.unwrap_or(HashFormat::Sri)))
        })
    }
}

/// The notation of a text that is a hash.
fn format_of(text: &str, algorithm: HashAlgorithm) -> HashFormat {
    let digits = match text.split_once(':') {
        Some((_, digits)) => digits,
        None if text.contains('-') => return HashFormat::Sri,
        None => text,
    };
    if digits.len() == algorithm.digest_len() * 2 {
        HashFormat::Base16
    } else if digits.len() == nival::model::base32::encoded_len(algorithm.digest_len()) {
        HashFormat::Nix32
    } else {
        HashFormat::Base64
    }
}

/// `nix hash to-base16` and the like.
struct To {
    format: HashFormat,
    algorithm: Option<HashAlgorithm>,
}

impl Command for To {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        if given.name() != "--type" {
            return Ok(false);
        }
        self.algorithm = Some(parse_algorithm(context, &given.text()?)?);
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        context.ui.warn(
            "The old format conversion subcommands of `nix hash` were deprecated in favor of `nix hash convert`.",
        );
        each_line(arguments, |word| {
            Ok(parse_hash(context, &parse::text(word)?, self.algorithm)?.digits(self.format))
        })
    }
}

fn to(format: HashFormat) -> Box<dyn Command> {
    Box::new(To { format, algorithm: None })
}

/// `nix hash to-base16`.
pub fn to_base16() -> Box<dyn Command> {
    to(HashFormat::Base16)
}

/// `nix hash to-base32`.
pub fn to_base32() -> Box<dyn Command> {
    to(HashFormat::Nix32)
}

/// `nix hash to-base64`.
pub fn to_base64() -> Box<dyn Command> {
    to(HashFormat::Base64)
}

/// `nix hash to-sri`.
pub fn to_sri() -> Box<dyn Command> {
    to(HashFormat::Sri)
}
