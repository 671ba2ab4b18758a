//! Texts that name a store, and what they open.
//!
//! ```text
//! uri    = "" | "auto" | "local" | "daemon" | SCHEME ":" ["//"] place | path
//!          followed by ["?" NAME "=" VALUE { "&" NAME "=" VALUE }]
//! place  = an absolute path (local, unix, file), HOST, BUCKET, HOST "/" PATH
//! path   = anything else with a slash in it: a chroot store below that directory
//! ```
//!
//! `SCHEME:/x` is `SCHEME:///x`. Places and values are percent-encoded, a path
//! is taken as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::model::StoreDir;
use crate::settings::value::lexically_normal;
use crate::settings::{Environment, Machine, Settings};
use crate::store::error::{OpenError, Result, StoreError};
use crate::store::local::auto_gc::AutoGc;
use crate::store::local::db::DbOptions;
use crate::store::local::derivations::FEATURES;
use crate::store::local::gc::Keep;
use crate::store::local::{Layout, LocalOptions};

/// A parsed store URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUri {
    /// What kind of store.
    pub kind: StoreKind,
    /// Parameters.
    pub parameters: BTreeMap<String, String>,
}

/// The kinds of stores a URI can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// The local store or the daemon's, whichever the user can use.
    Auto,
    /// The local store, or the one below a directory (a chroot store), which
    /// must be absolute to be opened.
    Local(Option<PathBuf>),
    /// The daemon, at its socket (likewise) or the usual one.
    Daemon(Option<PathBuf>),
    /// Anything else: scheme, and what follows the slashes that all URIs have.
    Other(String, String),
}

impl StoreUri {
    /// Reads a store URI; relative paths are taken from `current_dir`.
    ///
    /// # Errors
    /// [`StoreError::Open`] for a word that names nothing.
    pub fn parse(text: &str, current_dir: &Path) -> Result<Self> {
        let without_fragment = text.split('#').next().unwrap_or(text);
        let (base, query) = without_fragment.split_once('?').unwrap_or((without_fragment, ""));
        let parameters = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (percent_decode(name), percent_decode(value)))
            .collect();
        let kind = match base {
            "" | "auto" => StoreKind::Auto,
            "local" => StoreKind::Local(None),
            "daemon" => StoreKind::Daemon(None),
            _ => match base.split_once(':') {
                Some((scheme, rest)) if is_scheme(scheme) => of_scheme(scheme, rest, text)?,
                _ if base.contains("://") => return Err(unparsable(text)),
                _ if base.contains('/') => StoreKind::Local(Some(path_in(base, current_dir))),
                _ => return Err(unparsable(text)),
            },
        };
        Ok(Self { kind, parameters })
    }
}

fn of_scheme(scheme: &str, rest: &str, text: &str) -> Result<StoreKind> {
    let place = rest.strip_prefix("//").unwrap_or(rest);
    let path = || Some(PathBuf::from(percent_decode(place))).filter(|path| !path.as_os_str().is_empty());
    Ok(match scheme {
        "local" => StoreKind::Local(path()),
        "unix" => StoreKind::Daemon(path()),
        // Two slashes where three are meant, and variables that are empty.
        "file" if rest.starts_with("//") && !place.starts_with('/') => return Err(unparsable(text)),
        "file" if place.is_empty() => return Err(unparsable(text)),
        _ => StoreKind::Other(scheme.to_owned(), place.to_owned()),
    })
}

fn unparsable(text: &str) -> StoreError {
    OpenError::Unparsable(crate::http::url::shown(text)).into()
}

impl std::fmt::Display for StoreUri {
    /// The canonical form, as the configuration is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bare = self.parameters.is_empty();
        match &self.kind {
            StoreKind::Auto => f.write_str("auto")?,
            StoreKind::Local(None) => f.write_str(if bare { "local" } else { "local://" })?,
            StoreKind::Local(Some(root)) => write!(f, "local://{}", encode_path(root))?,
            StoreKind::Daemon(None) => f.write_str(if bare { "daemon" } else { "unix://" })?,
            StoreKind::Daemon(Some(path)) => write!(f, "unix://{}", encode_path(path))?,
            // Which is no path, and with two slashes would be no URI.
            StoreKind::Other(scheme, rest) if scheme == "file" && !rest.starts_with('/') => {
                write!(f, "{scheme}:{rest}")?;
            }
            StoreKind::Other(scheme, rest) if matches!(scheme.as_str(), "file" | "http" | "https") => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                write!(f, "{scheme}://{host}{}", encode_url_path(path))?;
            }
            StoreKind::Other(scheme, rest) => write!(f, "{scheme}://{rest}")?,
        }
        for (i, (name, value)) in self.parameters.iter().enumerate() {
            write!(
                f,
                "{}{}={}",
                if i == 0 { '?' } else { '&' },
                percent_encode(name),
                percent_encode(value)
            )?;
        }
        Ok(())
    }
}

/// Characters that stand for themselves in the name of a directory, as the
/// reference shows it.
const IN_PATH: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// Characters that stand for themselves in a parameter.
const IN_PARAMETER: AsciiSet = IN_PATH
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b'?');

/// What stands in a parameter.
fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, &IN_PARAMETER).to_string()
}

/// What stands for a directory: as the reference shows it.
fn encode_path(path: &Path) -> String {
    utf8_percent_encode(&path.to_string_lossy(), &IN_PATH).to_string()
}

/// The path of a URL on the web as the reference writes it, which is its name in
/// the memory of answers, too: what can be encoded is, once.
pub(super) fn encode_url_path(path: &str) -> String {
    /// A slash within a part is no slash between parts.
    const IN_PART: AsciiSet = IN_PATH.add(b'/');
    let part = |part: &str| utf8_percent_encode(&percent_decode(part), &IN_PART).to_string();
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn path_in(text: &str, current_dir: &Path) -> PathBuf {
    let path = current_dir.join(text);
    lexically_normal(&path).unwrap_or(path)
}

/// The directory that the rest of a `file:` URI names.
pub(super) fn cache_directory(rest: &str) -> Result<PathBuf> {
    absolute(&percent_decode(rest))
}

fn percent_decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The URI of a cache in a directory.
pub(super) fn of_cache(root: &Path) -> String {
    format!("file://{}", encode_path(root))
}

/// What opening a store needs to know of its surroundings.
pub struct Surroundings<'a> {
    /// Variables.
    pub environment: &'a Environment,
    /// User and home.
    pub machine: &'a Machine,
    /// Settings, the store's URI among them.
    pub settings: &'a Settings,
    /// Where relative paths begin.
    pub current_dir: &'a Path,
    /// A server that cannot be reached is tried again; others may have the
    /// same.
    pub patient: bool,
}

/// How to open the store that `uri` names, with warnings for the user.
///
/// # Errors
/// [`StoreError::Open`] for stores that cannot be opened, or not yet.
pub fn local_options(uri: &StoreUri, around: &Surroundings<'_>) -> Result<(LocalOptions, Vec<String>)> {
    let mut warnings = Vec::new();
    let root = match &uri.kind {
        StoreKind::Auto => choose(around, &mut warnings)?,
        StoreKind::Local(root) => root.as_deref().map(absolute_path).transpose()?,
        StoreKind::Daemon(_) => return Err(behind("daemon", "")),
        StoreKind::Other(scheme, rest) => return Err(not_local(scheme, rest)),
    };
    let mut places = Places::new(around, root)?;
    let mut read_only = false;
    let mut require_sigs = around.settings.require_sigs();
    for (name, value) in &uri.parameters {
        match name.as_str() {
            _ if places.parameter(name, value)? => {}
            "read-only" => {
                read_only = boolean(name, value)?;
                around.settings.require_feature(Some("read-only-local-store"))?;
            }
            "require-sigs" => require_sigs = boolean(name, value)?,
            _ if of_all_stores(name) => {}
            _ => warnings.push(format!("unknown setting '{name}'")),
        }
    }
    let layout = places.layout()?;
    let settings = around.settings;
    let options = LocalOptions {
        layout,
        read_only,
        db: DbOptions { fsync: settings.fsync_metadata(), wal: settings.use_sqlite_wal() },
        // The reference's two settings ask for no less than ours gives.
        sync: settings.sync_store_paths()
            || settings.fsync_store_paths()
            || settings.sync_before_registering(),
        reserved_space: u64::try_from(settings.gc_reserved_space()).unwrap_or(0),
        use_reserve: false,
        auto_optimise: settings.auto_optimise_store(),
        require_sigs,
        features: FEATURES.into_iter().filter(|feature| settings.feature_enabled(feature)).collect(),
        auto_gc: Some(AutoGc {
            min_free: settings.min_free(),
            max_free: settings.max_free(),
            interval: std::time::Duration::from_secs(settings.min_free_check_interval()),
            keep: Keep { derivations: settings.keep_derivations(), outputs: settings.keep_outputs() },
        }),
        ignored_xattrs: settings.ignored_acls().iter().cloned().collect(),
        allow_symlinks: settings.allow_symlinked_store(),
        own_mounts: true,
        gc_without_proc: settings.gc_without_proc(),
    };
    Ok((options, warnings))
}

/// Parameters that every store has, and that mean nothing to most.
pub(super) fn of_all_stores(name: &str) -> bool {
    ["trusted", "priority", "want-mass-query", "path-info-cache-size", "system-features"].contains(&name)
}

/// Where a store on this machine lies.
pub(super) struct Places {
    root: Option<PathBuf>,
    store: String,
    real: Option<PathBuf>,
    state: Option<PathBuf>,
    log: Option<PathBuf>,
    usual: crate::settings::Directories,
}

impl Places {
    /// The usual places, or those below `root`.
    pub fn new(around: &Surroundings<'_>, root: Option<PathBuf>) -> Result<Self> {
        let usual = around.environment.directories().map_err(OpenError::from)?;
        let store = usual.store.to_string_lossy().into_owned();
        Ok(Self { root, store, real: None, state: None, log: None, usual })
    }

    /// Takes a parameter of a URI; false for those that are about something
    /// else.
    pub fn parameter(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "root" if value.is_empty() => {}
            "root" => self.root = Some(absolute(value)?),
            "store" => self.store = absolute(value)?.to_string_lossy().into_owned(),
            "real" => self.real = Some(absolute(value)?),
            "state" => self.state = Some(absolute(value)?),
            "log" => self.log = Some(absolute(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What follows from all parameters.
    pub fn layout(self) -> Result<Layout> {
        let store_dir = StoreDir::new(&self.store).map_err(OpenError::StoreDir)?;
        let (real, state, log) = match &self.root {
            Some(root) => (root.join("nix/store"), root.join("nix/var/nix"), root.join("nix/var/log/nix")),
            None => (PathBuf::from(&self.store), self.usual.state, self.usual.log),
        };
        Ok(Layout {
            store_dir,
            real_store_dir: self.real.unwrap_or(real),
            state_dir: self.state.unwrap_or(state),
            log_dir: self.log.unwrap_or(log),
        })
    }
}

/// The error for a store that has no local database, where one is needed.
fn not_local(scheme: &str, rest: &str) -> StoreError {
    let what = match scheme {
        "file" | "http" | "https" | "s3" => "is a binary cache",
        "ssh" => "is on another machine",
        "dummy" => "has nothing",
        "ssh-ng" => return behind(scheme, rest),
        _ => return unopenable(scheme),
    };
    let rest = if scheme == "dummy" { "" } else { rest };
    OpenError::NotLocal { store: crate::http::url::shown(&format!("{scheme}://{rest}")), what }.into()
}

/// The error for a store that others work on for us, where it is to be worked on
/// directly.
fn behind(scheme: &str, rest: &str) -> StoreError {
    OpenError::ThroughAnother(match rest {
        "" => scheme.to_owned(),
        _ => crate::http::url::shown(&format!("{scheme}://{rest}")),
    })
    .into()
}

/// The error for a kind of store that cannot be opened, or not yet.
pub(super) fn unopenable(scheme: &str) -> StoreError {
    let shown = scheme.to_owned();
    StoreError::Open(match scheme {
        "mounted-ssh-ng" => OpenError::SchemeToCome(shown),
        _ => OpenError::UnknownScheme(shown),
    })
}

/// The socket of the daemon.
pub fn daemon_socket(around: &Surroundings<'_>) -> Result<PathBuf> {
    if let Some(path) = around.environment.non_empty("NIX_DAEMON_SOCKET_PATH") {
        return Ok(path_in(&path.to_string_lossy(), around.current_dir));
    }
    let dirs = around.environment.directories().map_err(OpenError::from)?;
    Ok(dirs.state.join("daemon-socket/socket"))
}

/// The kind of store that a URI means, where that depends on the machine.
///
/// # Errors
/// [`StoreError::Open`].
pub fn resolve(uri: &StoreUri, around: &Surroundings<'_>) -> Result<StoreUri> {
    let mut resolved = uri.clone();
    if uri.kind == StoreKind::Auto && is_left_to_daemon(around)? {
        resolved.kind = StoreKind::Daemon(None);
    }
    Ok(resolved)
}

/// Whether the user may work on the usual store.
fn may_write(around: &Surroundings<'_>) -> Result<bool> {
    let dirs = around.environment.directories().map_err(OpenError::from)?;
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    Ok(around.machine.is_root() || rustix::fs::access(&dirs.state, access).is_ok())
}

/// Whether `auto` means the daemon's store.
fn is_left_to_daemon(around: &Surroundings<'_>) -> Result<bool> {
    Ok(!may_write(around)? && daemon_socket(around)?.exists())
}

/// Which local store `auto` means; a directory for a chroot store.
fn choose(around: &Surroundings<'_>, warnings: &mut Vec<String>) -> Result<Option<PathBuf>> {
    if may_write(around)? {
        return Ok(None);
    }
    let dirs = around.environment.directories().map_err(OpenError::from)?;
    let named =
        ["NIX_STATE_DIR", "NIX_STORE_DIR"].iter().any(|name| around.environment.non_empty(name).is_some());
    if dirs.state.exists() || named {
        return Ok(None);
    }
    let Some(data) = data_dir(around) else { return Ok(None) };
    let root = data.join("root");
    if !root.exists() {
        warnings.push(format!(
            "{} does not exist, so Nival will use \"{}\" as a chroot store",
            dirs.state.display(),
            root.display()
        ));
        if std::fs::create_dir_all(&root).is_err() {
            warnings.clear();
            return Ok(None);
        }
    }
    Ok(Some(root))
}

fn data_dir(around: &Surroundings<'_>) -> Option<PathBuf> {
    if let Some(dir) = around.environment.non_empty("NIX_DATA_HOME") {
        return Some(PathBuf::from(dir));
    }
    if let Some(dir) = around.environment.non_empty("XDG_DATA_HOME") {
        return Some(Path::new(dir).join("nix"));
    }
    Some(around.machine.home(around.environment).0?.join(".local/share/nix"))
}

pub(super) fn absolute(text: &str) -> Result<PathBuf> {
    absolute_path(Path::new(text))
}

pub(super) fn absolute_path(path: &Path) -> Result<PathBuf> {
    lexically_normal(path).ok_or_else(|| OpenError::NotAbsolute(path.to_owned()).into())
}

pub(super) fn boolean(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(OpenError::parameter("Boolean setting", name, value).into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> StoreUri {
        StoreUri::parse(text, Path::new("/here")).unwrap()
    }

    #[test]
    fn what_lets_people_in_is_left_out() {
        for (text, without) in [
            ("https://u:p@h/x?y=z@w", "https://***@h/x?y=z@w"),
            ("'https://token@h:1' and http://a:b@c#d", "'https://***@h:1' and http://***@c#d"),
            ("s3://b?endpoint=https://u:p@h&x=1", "s3://b?endpoint=https://***@h&x=1"),
            ("'http://u:a&b'c\"d@h/x'", "'http://***@h/x'"),
            ("ssh://me@h", "ssh://me@h"),
            ("ssh-ng://me:pw@h", "ssh-ng://me:***@h"),
            ("file:///a@b", "file:///a@b"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(crate::http::url::shown(text), without);
        }
    }

    #[test]
    fn paths_of_urls() {
        assert_eq!(encode_url_path("/sub+x/a%2Bb%2fc"), "/sub%2Bx/a%2Bb%2Fc");
        let odd = "/su:b@x!$'()*,;~-_%41%20%3d=%2f%3f&";
        assert_eq!(encode_url_path(odd), "/su:b@x%21%24%27%28%29%2A%2C%3B~-_A%20%3D%3D%2F%3F%26");
    }

    #[test]
    fn kinds() {
        let root = |path: &str| StoreKind::Local(Some(PathBuf::from(path)));
        let other = |scheme: &str, rest: &str| StoreKind::Other(scheme.into(), rest.into());
        let socket = |path: &str| StoreKind::Daemon(Some(PathBuf::from(path)));
        // Each with the form in which the configuration shows it.
        for (text, kind, shown) in [
            ("", StoreKind::Auto, "auto"),
            ("auto", StoreKind::Auto, "auto"),
            ("local", StoreKind::Local(None), "local"),
            ("local:", StoreKind::Local(None), "local"),
            ("local://", StoreKind::Local(None), "local"),
            ("local:///a", root("/a"), "local:///a"),
            ("local:/a", root("/a"), "local:///a"),
            ("local:/a%20b", root("/a b"), "local:///a%20b"),
            ("local:rel", root("rel"), "local://rel"),
            ("local://rel", root("rel"), "local://rel"),
            ("/a/b", root("/a/b"), "local:///a/b"),
            ("/a%20b", root("/a%20b"), "local:///a%2520b"),
            ("/a:b", root("/a:b"), "local:///a:b"),
            ("/a=b,c+d!", root("/a=b,c+d!"), "local:///a%3Db%2Cc%2Bd%21"),
            ("./a", root("/here/a"), "local:///here/a"),
            ("./a:b", root("/here/a:b"), "local:///here/a:b"),
            ("a/b:c", root("/here/a/b:c"), "local:///here/a/b:c"),
            ("1a:/b", root("/here/1a:/b"), "local:///here/1a:/b"),
            ("s3//x", root("/here/s3/x"), "local:///here/s3/x"),
            ("a/../b", root("/here/b"), "local:///here/b"),
            ("daemon", StoreKind::Daemon(None), "daemon"),
            ("unix:", StoreKind::Daemon(None), "daemon"),
            ("unix:///s", socket("/s"), "unix:///s"),
            ("unix:/s", socket("/s"), "unix:///s"),
            ("unix:rel", socket("rel"), "unix://rel"),
            ("file:/c", other("file", "/c"), "file:///c"),
            ("file:///c/", other("file", "/c/"), "file:///c/"),
            ("file:rel", other("file", "rel"), "file:rel"),
            ("http:/h/x", other("http", "/h/x"), "http:///h/x"),
            ("http:h", other("http", "h"), "http://h"),
            ("s3://bucket", other("s3", "bucket"), "s3://bucket"),
            ("s3:bucket", other("s3", "bucket"), "s3://bucket"),
            ("ssh:host", other("ssh", "host"), "ssh://host"),
            ("ssh-ng:host", other("ssh-ng", "host"), "ssh-ng://host"),
            ("daemon:", other("daemon", ""), "daemon://"),
            ("nosuch:/abs", other("nosuch", "/abs"), "nosuch:///abs"),
            ("a:b", other("a", "b"), "a://b"),
        ] {
            assert_eq!(parse(text).kind, kind, "{text}");
            assert_eq!(parse(text).to_string(), shown, "{text}");
            assert_eq!(parse(&parse(text).to_string()).kind, kind, "{text}");
        }
        for text in ["bogus", "./a://b", "file://some/dir", "file://localhost/c", "file:", "file://"] {
            assert_eq!(
                StoreUri::parse(text, Path::new("/")).unwrap_err().to_string(),
                format!("Cannot parse Nix store '{text}'")
            );
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let uri = parse("local?root=/a%20b&state=/s%2Ft&x=%zz");
        assert_eq!(uri.parameters["root"], "/a b");
        assert_eq!(uri.parameters["state"], "/s/t");
        assert_eq!(uri.parameters["x"], "%zz");
        for text in ["local:///a%3Fb", "local://?root=/a%23b&x%3Dy=1%2623"] {
            assert_eq!(parse(&parse(text).to_string()), parse(text), "{text}");
        }
    }
}
