//! Where the expression lies that a word on the command line stands for.

use nival::eval::error::{Error, Kind, unless_interrupted};
use nival::eval::interpret::Worker;
use nival::eval::text::path::canonical;
use nival::ops::evaluate::search_path::archive_url;
pub use nival::ops::evaluate::selection::{called, selected};

/// The file or directory that a word on the command line stands for: `<NAME>`, the address of an
/// archive, or a path.
///
/// # Errors
/// It is not found, or cannot be fetched.
pub fn file(worker: &Worker<'_>, word: &str) -> Result<Vec<u8>, Error> {
    if let Some(name) = word.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return lookup(worker, name);
    }
    let world = worker.shared.world;
    if archive_url(word).is_some() || word.starts_with("flake:") {
        let unpacked = world.resolve_entry(word.as_bytes())?;
        return unpacked.ok_or_else(|| Error::new(format!("path '{word}' does not exist")));
    }
    match word.starts_with('/') {
        true => Ok(canonical(word.as_bytes())),
        false => Ok(canonical(&[&world.current_dir()[..], b"/", word.as_bytes()].concat())),
    }
}

/// Where `<NAME>` is found in the search path.
///
/// # Errors
/// It is not there.
pub fn lookup(worker: &Worker<'_>, name: &str) -> Result<Vec<u8>, Error> {
    let world = worker.shared.world;
    for (prefix, entry) in world.search_path() {
        let rest = match prefix.is_empty() {
            true => Some(name.as_bytes()),
            false => match name.as_bytes().strip_prefix(&prefix[..]) {
                Some([]) => Some(&b""[..]),
                Some([b'/', rest @ ..]) => Some(rest),
                _ => None,
            },
        };
        let Some(rest) = rest else { continue };
        let Some(found) = world.resolve_entry(&entry)? else { continue };
        let path = if rest.is_empty() { found } else { canonical(&[&found[..], b"/", rest].concat()) };
        let kind = worker.followed(&path).and_then(|path| world.kind(&path));
        if unless_interrupted(kind)?.flatten().is_some() {
            return Ok(path);
        }
    }
    if name.starts_with("nix/") {
        return Err(Error::new(format!("'<{name}>' has no physical path")));
    }
    let hint = "(add it using $NIX_PATH or -I)";
    Err(Error::of(Kind::Lookup, format!("file '{name}' was not found in the Nix search path {hint}")))
}
