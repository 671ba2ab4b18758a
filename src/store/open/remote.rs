//! From a store's URI to a store behind a protocol.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::progress::Progress;
use crate::settings::Settings;
use crate::store::error::{OpenError, Result};
use crate::store::open::uri;
use crate::store::open::uri::{Places, StoreKind, StoreUri, Surroundings};
use crate::store::remote::channel::ssh_program;
use crate::store::remote::channel::ssh_program::Ssh;
use crate::store::remote::daemon_store::{ClientOptions, DaemonStore, Endpoint};
use crate::store::remote::ssh_store::ServingStore;
use crate::sys::users;

/// The daemon that a URI names.
///
/// # Errors
/// [`StoreError::Open`](crate::store::StoreError::Open).
pub fn daemon(
    uri: &StoreUri,
    around: &Surroundings<'_>,
    progress: Arc<dyn Progress>,
) -> Result<(DaemonStore, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut places = Places::new(around, None)?;
    for (name, value) in &uri.parameters {
        if !places.parameter(name, value)? && !of_connections(name, value)? {
            warnings.push(format!("unknown setting '{name}'"));
        }
    }
    let (shown, socket) = match &uri.kind {
        StoreKind::Daemon(Some(path)) => {
            let path = uri::absolute_path(path)?;
            (format!("unix://{}", path.display()), path)
        }
        _ => ("daemon".to_owned(), uri::daemon_socket(around)?),
    };
    let endpoint = Endpoint::Socket(socket);
    let options = client_options(around.settings, progress.verbosity());
    Ok((DaemonStore::new(shown, endpoint, places.layout()?, Some(options), progress), warnings))
}

/// The daemon on another machine that a URI names.
///
/// # Errors
/// [`StoreError::Open`](crate::store::StoreError::Open).
pub fn ssh_ng(
    uri: &StoreUri,
    authority: &str,
    around: &Surroundings<'_>,
    progress: Arc<dyn Progress>,
) -> Result<(DaemonStore, Vec<String>)> {
    let (ssh, places, warnings) = target(&uri.parameters, authority, around, &["nix-daemon", "--stdio"])?;
    let endpoint = Endpoint::Ssh(Box::new(ssh));
    let shown = format!("ssh-ng://{authority}");
    // Another machine has settings of its own.
    Ok((DaemonStore::new(shown, endpoint, places.layout()?, None, progress), warnings))
}

/// The store of `nix-store --serve` on another machine that a URI names.
///
/// # Errors
/// [`StoreError::Open`](crate::store::StoreError::Open).
pub fn ssh(
    uri: &StoreUri,
    authority: &str,
    around: &Surroundings<'_>,
    progress: Arc<dyn Progress>,
) -> Result<(ServingStore, Vec<String>)> {
    let (ssh, places, warnings) =
        target(&uri.parameters, authority, around, &["nix-store", "--serve", "--write"])?;
    let dir = places.layout()?.store_dir;
    Ok((ServingStore::new(format!("ssh://{authority}"), ssh, dir, progress), warnings))
}

/// Parameters of connections; false for others. Requests are sent without
/// waiting for answers, so that one connection does for all.
fn of_connections(name: &str, value: &str) -> Result<bool> {
    match name {
        "max-connections" | "max-connection-age" => {
            value.parse::<u64>().map_err(|_| OpenError::parameter("setting", name, value))?;
            Ok(true)
        }
        _ => Ok(uri::of_all_stores(name)),
    }
}

fn target(
    parameters: &BTreeMap<String, String>,
    authority: &str,
    around: &Surroundings<'_>,
    program: &[&str],
) -> Result<(Ssh, Places, Vec<String>)> {
    if authority.trim_end_matches('/').contains('/') {
        let (authority, reason) = (authority.to_owned(), "leftover".to_owned());
        return Err(OpenError::Authority { kind: "URL", authority, reason }.into());
    }
    let (user, host, port) = ssh_program::parse_authority(authority.trim_end_matches('/'))?;
    let mut places = Places::new(around, None)?;
    let mut warnings = Vec::new();
    let mut target = Ssh {
        user,
        host,
        port,
        options: around.environment.text("NIX_SSHOPTS").map(|text| words(&text)).unwrap_or_default(),
        program: program.iter().map(|&word| word.to_owned()).collect(),
        login: users::user(rustix::process::getuid().as_raw()).map(|user| user.name).unwrap_or_default(),
        home: around.machine.home(around.environment).0,
        ..Ssh::default()
    };
    let mut remote_store = None;
    for (name, value) in parameters {
        match name.as_str() {
            "ssh-key" if value.is_empty() => {}
            "ssh-key" => target.key = Some(PathBuf::from(value)),
            "base64-ssh-public-host-key" if value.is_empty() => {}
            "base64-ssh-public-host-key" => target.host_key = Some(decoded(name, value)?),
            "compress" => target.compress = uri::boolean(name, value)?,
            "remote-program" => {
                let mut program = words(value);
                if program.is_empty() {
                    return Err(OpenError::parameter("setting", name, value).into());
                }
                program.extend(target.program.drain(1..));
                target.program = program;
            }
            "remote-store" if value.is_empty() => {}
            "remote-store" => remote_store = Some(value.clone()),
            "store" => drop(places.parameter(name, value)?),
            // Of the original's own log, which we have no use for.
            "log-fd" => {}
            _ if of_connections(name, value)? => {}
            _ => warnings.push(format!("unknown setting '{name}'")),
        }
    }
    if let Some(store) = remote_store {
        target.program.extend(["--store".to_owned(), store]);
    }
    Ok((target, places, warnings))
}

/// The words of a text; those in quotes may have spaces in them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(end), _) if c == end => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn decoded(name: &str, value: &str) -> Result<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(value);
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let line = text.map(|text| text.trim().to_owned()).filter(|text| !text.contains(['\n', '\r']));
    line.ok_or_else(|| OpenError::parameter("setting", name, value).into())
}

/// Settings that concern a daemon, besides those of building and those that have a
/// place of their own in the protocol.
const OF_DAEMONS: &[&str] = &[
    "auto-optimise-store",
    "connect-timeout",
    "download-attempts",
    "extra-platforms",
    "http-connections",
    "keep-derivations",
    "keep-outputs",
    "max-free",
    "max-substitution-jobs",
    "min-free",
    "narinfo-cache-meta-ttl",
    "narinfo-cache-negative-ttl",
    "narinfo-cache-positive-ttl",
    "require-sigs",
    "stalled-download-timeout",
    "substituters",
    "system",
    "trusted-public-keys",
];

/// Settings that have a place of their own in the protocol.
const IN_PLACES: &[&str] =
    &["cores", "fallback", "keep-failed", "keep-going", "max-jobs", "max-silent-time", "substitute"];

/// What a daemon is to know of the user's settings: not those that the system's
/// file gives, which the daemon has read itself.
fn client_options(settings: &Settings, verbosity: u64) -> ClientOptions {
    let sent = settings.iter().filter(|shown| {
        let concerned = OF_DAEMONS.contains(&shown.row.name) || shown.row.is_of_building();
        concerned && shown.overridden && !IN_PLACES.contains(&shown.row.name)
    });
    ClientOptions {
        verbosity,
        build_output: true,
        keep_failed: settings.keep_failed(),
        keep_going: settings.keep_going(),
        fallback: settings.fallback(),
        max_jobs: settings.max_jobs(),
        max_silent_time: u64::try_from(settings.max_silent_time()).unwrap_or(0),
        cores: settings.cores(),
        substitute: settings.substitute(),
        overrides: sent.map(|shown| (shown.row.name.to_owned(), shown.value.to_text())).collect(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_of_a_text() {
        assert_eq!(
            crate::store::open::remote::words(" -p 22  -o 'a b'\"c\" '' "),
            ["-p", "22", "-o", "a bc", ""]
        );
    }
}
