//! Where `<name>` is looked up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::eval::text::path::canonical;
use crate::settings::{Environment, Settings};

/// An entry of the search path: a prefix, which may be empty, and a path as it was given.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Takes a text of the form `PREFIX=PATH` or `PATH` apart.
pub fn entry(text: &str) -> Entry {
    match text.split_once('=') {
        Some((prefix, path)) => (prefix.into(), path.into()),
        None => (Vec::new(), text.into()),
    }
}

/// The entries of `included`, then those of the setting `nix-path`; without any there, those usual
/// ones that exist.
pub fn entries(
    included: &[String],
    settings: &Settings,
    environment: &Environment,
    home: Option<&Path>,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = included.iter().map(|text| entry(text)).collect();
    let set = settings.nix_path();
    entries.extend(set.iter().map(|text| entry(text)));
    if set.is_empty() {
        entries.extend(usual(environment, home));
    }
    entries
}

fn usual(environment: &Environment, home: Option<&Path>) -> Vec<Entry> {
    let state = environment.directories().map(|directories| directories.state).ok();
    let channels = state.map(|state| state.join("profiles/per-user/root/channels"));
    let candidates = [
        ("", home.map(|home| home.join(".nix-defexpr/channels"))),
        ("nixpkgs", channels.as_ref().map(|channels| channels.join("nixpkgs"))),
        ("", channels),
    ];
    let existing = candidates.into_iter().filter_map(|(prefix, path)| Some((prefix, path?)));
    existing
        .filter(|(_, path)| path.exists())
        .map(|(prefix, path)| (prefix.into(), path.into_os_string().into_encoded_bytes()))
        .collect()
}

/// The absolute path of an entry that is one of a file.
pub fn absolute(current_dir: &Path, path: &[u8]) -> Vec<u8> {
    let path = current_dir.join(OsStr::from_bytes(path));
    canonical(path.as_os_str().as_bytes())
}

/// The same, where it leads to something.
pub fn exists(current_dir: &Path, path: &[u8]) -> Option<Vec<u8>> {
    let path = absolute(current_dir, path);
    Path::new(OsStr::from_bytes(&path)).exists().then_some(path)
}

/// The address of the archive that an entry, or the name of a file on the command line, stands for.
pub fn archive_url(text: &str) -> Option<String> {
    if let Some(channel) = text.strip_prefix("channel:") {
        return Some(format!("https://channels.nixos.org/{channel}/nixexprs.tar.xz"));
    }
    let is_url = ["http://", "https://", "file://"].iter().any(|scheme| text.starts_with(scheme));
    is_url.then(|| text.to_owned())
}
