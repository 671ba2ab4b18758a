//! `nix key generate-secret` and `nix key convert-secret-to-public`.

use std::ffi::OsString;

use nival::model::signature::{KeyError, SecretKey};

use super::{Command, framed};
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::keys::{check_key_name, generate_key};
use crate::cli::output::streams::Out;
use crate::cli::output::streams::read_stdin;

/// `nix key generate-secret`.
#[derive(Default)]
pub struct GenerateSecret {
    name: Option<String>,
}

impl Command for GenerateSecret {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        if given.name() != "--key-name" {
            return Ok(false);
        }
        self.name = Some(given.text()?);
        Ok(true)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.name.is_none() { usage("required argument '--key-name' is missing") } else { Ok(()) }
    }

    fn run(&self, _context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let name = self.name.as_deref().unwrap_or_default();
        check_key_name(name)?;
        let key = generate_key(name)?;
        let mut out = Out::new();
        out.raw(key.print().as_bytes())?;
        out.finish()
    }
}

/// `nix key convert-secret-to-public`.
#[derive(Default)]
pub struct SecretToPublic;

impl Command for SecretToPublic {
    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let text = read_stdin()?;
        let key = parse_secret(context, &text)?;
        let mut out = Out::new();
        out.raw(key.public().print().as_bytes())?;
        out.finish()
    }
}

/// Reads a secret key.
pub fn parse_secret(context: &Context, text: &str) -> anyhow::Result<SecretKey> {
    SecretKey::parse(text).map_err(|error| match error {
        KeyError::Corrupt => framed(context, "while decoding key named ''", &error.to_string()),
        _ => error.into(),
    })
}
