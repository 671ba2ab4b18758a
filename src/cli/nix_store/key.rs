//! `--generate-binary-cache-key`.

use std::path::Path;

use nival::model::signature::SecretKey;
use nival::sys::atomic::replace_file;

use super::Call;
use crate::cli::args::text;
use crate::cli::error::usage;

/// Makes a pair of keys.
pub fn generate(call: Call) -> anyhow::Result<()> {
    call.no_flags()?;
    let [name, secret_file, public_file] = &call.arguments[..] else {
        return usage("three arguments expected");
    };
    let key = generate_key(&text(name)?)?;
    replace_file(&call.context.absolute(Path::new(public_file)), key.public().print().as_bytes(), 0o644)?;
    Ok(replace_file(&call.context.absolute(Path::new(secret_file)), key.print().as_bytes(), 0o600)?)
}

/// A new secret key.
///
/// # Errors
/// When the system has no randomness.
pub fn generate_key(name: &str) -> anyhow::Result<SecretKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(SecretKey::from_seed(name, &seed))
}
