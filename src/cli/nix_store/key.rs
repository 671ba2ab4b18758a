//! `--generate-binary-cache-key`.

use std::path::Path;

use nival::sys::PathError;
use nival::sys::atomic::replace_file;

use super::Call;
use crate::cli::error::usage;
use crate::cli::flags::parse::text;
use crate::cli::keys::{check_key_name, generate_key};

/// Makes a pair of keys.
pub fn generate(call: Call) -> anyhow::Result<()> {
    let [name, secret_file, public_file] = &call.arguments[..] else {
        return usage("three arguments expected");
    };
    let name = text(name)?;
    check_key_name(&name)?;
    let secret = call.context.absolute(Path::new(secret_file));
    anyhow::ensure!(
        std::fs::metadata(&secret).map_or(true, |meta| !meta.is_file() || meta.len() == 0),
        "\"{}\" is there already, and a secret key that is overwritten is lost; move it away first",
        secret.display()
    );
    let key = generate_key(&name)?;
    write_key(&call.context.absolute(Path::new(public_file)), &key.public().print(), 0o644)?;
    write_key(&secret, &key.print(), 0o600)
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
