//! `--generate-binary-cache-key`.

use std::path::Path;

use nival::model::signature::SecretKey;
use nival::sys::PathError;
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
    write_key(&call.context.absolute(Path::new(public_file)), &key.public().print(), 0o644)?;
    write_key(&call.context.absolute(Path::new(secret_file)), &key.print(), 0o600)
}

/// Replaces a regular file; anything else that is there (a device, a pipe) is
/// written to.
fn write_key(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            Ok(std::fs::write(path, text).map_err(PathError::at("writing to", path))?)
        }
        _ => Ok(replace_file(path, text.as_bytes(), mode)?),
    }
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
