//! From a store's URI to the store: the one place that knows all kinds.

pub mod remote;
pub mod uri;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::binary_cache::disk_cache::Lifetimes;
use super::binary_cache::s3::{self, Addressing, S3Options};
use super::binary_cache::{BinaryCache, CACHE_INFO, CacheError, CacheOptions};
use super::compression::Compression;
use super::empty::EmptyStore;
use super::error::{OpenError, Result};
use super::local::{LocalOptions, LocalStore};
use crate::http::proxy::Proxies;
use crate::http::settings::HttpSettings;
use crate::model::StoreDir;
use crate::model::nearest::nearest;
use crate::model::signature::SecretKey;
use crate::progress::Progress;
use crate::settings::{Environment, Machine, Settings};
use crate::store::api::Store;
use crate::store::open::uri::{Places, StoreKind, StoreUri, Surroundings};
use crate::sys::PathError;

/// Opens the store that `uri` names, with warnings for the user.
///
/// # Errors
/// [`StoreError::Open`](crate::store::StoreError::Open) for what cannot be opened, and those of the store.
pub fn open(
    uri: &StoreUri,
    around: &Surroundings<'_>,
    progress: Arc<dyn Progress>,
) -> Result<(Box<dyn Store>, Vec<String>)> {
    let uri = &uri::resolve(uri, around)?;
    match &uri.kind {
        StoreKind::Daemon(_) => {
            let (store, warnings) = remote::daemon(uri, around, progress)?;
            Ok((Box::new(store), warnings))
        }
        StoreKind::Other(scheme, rest) => open_other(uri, (scheme, rest), around, progress),
        StoreKind::Auto | StoreKind::Local(_) => {
            let (options, mut warnings) = uri::local_options(uri, around)?;
            warnings.extend(unmade_root(uri, &options).map(|root| making(&root)));
            Ok((Box::new(LocalStore::open(options, progress)?), warnings))
        }
    }
}

/// Opens the store that `uri` names for a program that has its settings only: no
/// variable of the environment counts, and nothing is told.
///
/// # Errors
/// See [`open`].
pub fn open_uri(uri: &str, settings: &Settings) -> Result<Box<dyn Store>> {
    let current_dir = std::path::absolute(".").map_err(PathError::at("finding directory", "."))?;
    let around = Surroundings {
        environment: &Environment::default(),
        machine: &Machine::detect(),
        settings,
        current_dir: &current_dir,
        patient: true,
    };
    let uri = StoreUri::parse(uri, &current_dir)?;
    Ok(open(&uri, &around, crate::progress::silent())?.0)
}

/// Whether the store that `uri` names is worked on by another program, or is no
/// more than files elsewhere.
///
/// # Errors
/// [`StoreError::Open`](crate::store::StoreError::Open).
pub fn is_remote(uri: &StoreUri, around: &Surroundings<'_>) -> Result<bool> {
    Ok(matches!(uri::resolve(uri, around)?.kind, StoreKind::Daemon(_) | StoreKind::Other(..)))
}

/// Refuses a store that is not there, where something is to be read from it:
/// opening it would make it.
///
/// # Errors
/// [`StoreError::Open`](crate::store::StoreError::Open).
pub fn require_cache(uri: &StoreUri) -> Result<()> {
    let StoreKind::Other(scheme, rest) = &uri.kind else { return Ok(()) };
    if scheme == "file" {
        let root = uri::cache_directory(rest)?;
        if !root.is_dir() {
            let reason = "there is no such directory".to_owned();
            return Err(CacheError::NoCache { uri: uri::of_cache(&root), reason }.into());
        }
    }
    Ok(())
}

/// Opens a store that is named by its scheme: a cache, or another machine's.
fn open_other(
    uri: &StoreUri,
    (scheme, rest): (&str, &str),
    around: &Surroundings<'_>,
    progress: Arc<dyn Progress>,
) -> Result<(Box<dyn Store>, Vec<String>)> {
    if matches!(scheme, "http" | "https" | "s3") && (rest.is_empty() || rest.starts_with('/')) {
        return Err(OpenError::NoAuthority(scheme.to_owned()).into());
    }
    match scheme {
        "file" => {
            let root = uri::cache_directory(rest)?;
            let shown = uri::of_cache(&root);
            let (dir, options, warnings) = cache_options(uri, around, &[])?;
            let cache = BinaryCache::open_directory(root, shown, dir, options, progress)?;
            Ok((Box::new(cache), warnings))
        }
        "http" | "https" => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let shown = format!("{scheme}://{host}{}", uri::encode_url_path(path).trim_end_matches('/'));
            let (dir, options, warnings) = cache_options(uri, around, HTTP_PARAMETERS)?;
            let cache = BinaryCache::open_http(&shown, http_settings(around), dir, options, progress)?;
            Ok((Box::new(cache), warnings))
        }
        "s3" => {
            let bucket = s3_options(uri, rest, around)?;
            let (dir, options, warnings) = cache_options(uri, around, S3_PARAMETERS)?;
            let variables = around.environment.iter();
            let variables = variables
                .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())));
            let around_aws = s3::credentials::Surroundings {
                home: around.machine.home(around.environment).0,
                variables: variables.collect(),
            };
            let settings = http_settings(around);
            let cache = BinaryCache::open_bucket(bucket, settings, around_aws, dir, options, progress)?;
            Ok((Box::new(cache), warnings))
        }
        "ssh" => {
            let (store, warnings) = remote::ssh(uri, rest, around, progress)?;
            Ok((Box::new(store), warnings))
        }
        "ssh-ng" => {
            let (store, warnings) = remote::ssh_ng(uri, rest, around, progress)?;
            Ok((Box::new(store), warnings))
        }
        "dummy" => open_dummy(uri, around),
        _ => Err(uri::unopenable(scheme)),
    }
}

/// The store that has nothing.
fn open_dummy(uri: &StoreUri, around: &Surroundings<'_>) -> Result<(Box<dyn Store>, Vec<String>)> {
    let mut places = Places::new(around, None)?;
    let mut warnings = Vec::new();
    for (name, value) in &uri.parameters {
        match name.as_str() {
            "store" => drop(places.parameter(name, value)?),
            "read-only" if uri::boolean(name, value)? => {}
            "read-only" => return Err(OpenError::WritableDummy.into()),
            _ if uri::of_all_stores(name) => {}
            _ => warnings.push(format!("unknown setting '{name}'")),
        }
    }
    let dir = places.layout()?.store_dir;
    Ok((Box::new(EmptyStore::new("dummy://".to_owned(), dir)), warnings))
}

/// A store that would have to be made.
pub struct Unmade {
    /// What stands for it until it is made: it is empty.
    pub stand_in: EmptyStore,
    /// What is put into it must be signed.
    pub require_sigs: bool,
}

/// Whether the store that `uri` names would have to be made first: a cache in a
/// directory, or a chroot store.
///
/// # Errors
/// [`StoreError::Open`](crate::store::StoreError::Open).
pub fn unmade(uri: &StoreUri, around: &Surroundings<'_>) -> Result<Option<Unmade>> {
    let uri = &uri::resolve(uri, around)?;
    match &uri.kind {
        StoreKind::Other(scheme, rest) if scheme == "file" => {
            let root = uri::cache_directory(rest)?;
            if root.join(CACHE_INFO).exists() {
                return Ok(None);
            }
            let (dir, ..) = cache_options(uri, around, &[])?;
            let stand_in = EmptyStore::new(uri::of_cache(&root), dir);
            Ok(Some(Unmade { stand_in, require_sigs: false }))
        }
        StoreKind::Auto | StoreKind::Local(_)
            if matches!(uri.kind, StoreKind::Local(Some(_))) || uri.parameters.contains_key("root") =>
        {
            let (options, _) = uri::local_options(uri, around)?;
            if options.read_only || options.layout.db_dir().join("db.sqlite").exists() {
                return Ok(None);
            }
            let stand_in = EmptyStore::new(options.layout.shown(), options.layout.store_dir);
            Ok(Some(Unmade { stand_in, require_sigs: options.require_sigs }))
        }
        _ => Ok(None),
    }
}

/// The directory of a chroot store, if there is none there and it is named
/// without saying that it is one: a slip of the pen may have been meant for
/// something else.
fn unmade_root(uri: &StoreUri, options: &LocalOptions) -> Option<PathBuf> {
    let StoreKind::Local(Some(root)) = &uri.kind else { return None };
    let root = uri::absolute_path(root).ok()?;
    (!options.read_only && !root.exists()).then_some(root)
}

fn making(root: &Path) -> String {
    let (shown, cache) = (root.display(), uri::of_cache(root));
    format!("making a new chroot store in '{shown}' (a binary cache there would be '{cache}')")
}

fn compression(name: &str, value: &str) -> Result<Compression> {
    Compression::parse(value).ok_or_else(|| {
        let near = nearest(value, Compression::names()).map(str::to_owned);
        OpenError::Parameter { kind: "option", name: name.to_owned(), value: value.to_owned(), near }.into()
    })
}

/// How small files are encoded; nothing means that they are stored as they are.
fn coding(name: &str, value: &str) -> Result<Compression> {
    if value.is_empty() { Ok(Compression::None) } else { compression(name, value) }
}

/// The parameters of caches on the web.
const HTTP_PARAMETERS: &[&str] = &["narinfo-compression", "ls-compression", "log-compression"];

/// The parameters that all caches have.
const CACHE_PARAMETERS: &[&str] = &[
    "compression",
    "compression-level",
    "parallel-compression",
    "write-nar-listing",
    "index-debug-info",
    "secret-key",
    "secret-keys",
    "store",
    "priority",
    "want-mass-query",
    "trusted",
    "local-nar-cache",
    "path-info-cache-size",
    "system-features",
];

/// The parameters that all caches have; `others` are those of one kind.
fn cache_options(
    uri: &StoreUri,
    around: &Surroundings<'_>,
    others: &[&str],
) -> Result<(StoreDir, CacheOptions, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut options = CacheOptions {
        sync: around.settings.sync_store_paths(),
        realisations: around.settings.feature_enabled("ca-derivations"),
        ..CacheOptions::default()
    };
    let settings = around.settings;
    let lifetimes = Lifetimes {
        meta: settings.narinfo_cache_meta_ttl(),
        positive: settings.narinfo_cache_positive_ttl(),
        negative: settings.narinfo_cache_negative_ttl(),
    };
    let home = around.machine.home(around.environment).0;
    options.memory = around.environment.cache_home(home.as_deref()).map(|dir| (dir, lifetimes));
    let dirs = around.environment.directories().map_err(OpenError::from)?;
    let mut store = dirs.store.to_string_lossy().into_owned();
    for (name, value) in &uri.parameters {
        let invalid = || OpenError::parameter("setting", name, value);
        match name.as_str() {
            "compression" => options.compression = compression(name, value)?,
            "narinfo-compression" if others.contains(&name.as_str()) => {
                options.narinfo_coding = coding(name, value)?;
            }
            "ls-compression" if others.contains(&name.as_str()) => {
                options.listing_coding = coding(name, value)?
            }
            "log-compression" if others.contains(&name.as_str()) => options.log_coding = coding(name, value)?,
            "compression-level" => {
                let level: i64 = value.parse().map_err(|_| invalid())?;
                // Negative: the default.
                options.level = (level >= 0).then(|| u32::try_from(level).unwrap_or(u32::MAX));
            }
            "parallel-compression" => options.parallel = uri::boolean(name, value)?,
            "write-nar-listing" => options.listing = uri::boolean(name, value)?,
            "index-debug-info" => options.debug_info = uri::boolean(name, value)?,
            "secret-key" if value.is_empty() => {}
            "secret-key" => options.secret_keys.push(secret_key(Path::new(value))?),
            "secret-keys" => {
                for file in value.split(',').filter(|file| !file.is_empty()) {
                    options.secret_keys.push(secret_key(Path::new(file))?);
                }
            }
            "store" => store = uri::absolute(value)?.to_string_lossy().into_owned(),
            "priority" => options.priority = Some(value.parse().map_err(|_| invalid())?),
            "want-mass-query" => options.want_mass_query = Some(uri::boolean(name, value)?),
            "trusted" => options.trusted = uri::boolean(name, value)?,
            "local-nar-cache" if value.is_empty() => {}
            "local-nar-cache" => options.nar_cache = Some(uri::absolute(value)?),
            "path-info-cache-size" | "system-features" => {}
            other if others.contains(&other) => {}
            _ => {
                let near = nearest(name, CACHE_PARAMETERS.iter().chain(others).copied());
                let hint = near.map_or(String::new(), |near| format!("; did you mean '{near}'?"));
                warnings.push(format!("unknown setting '{name}'{hint}"));
            }
        }
    }
    let dir = StoreDir::new(&store).map_err(OpenError::StoreDir)?;
    Ok((dir, options, warnings))
}

/// How requests are made, by the settings.
pub fn http_settings(around: &Surroundings<'_>) -> HttpSettings {
    let settings = around.settings;
    let seconds = |count: u64| (count > 0).then(|| Duration::from_secs(count));
    let suffix = match settings.user_agent_suffix() {
        "" => String::new(),
        suffix => format!(" {suffix}"),
    };
    let certificates = settings.ssl_cert_file().map(Path::to_owned);
    HttpSettings {
        connect_timeout: seconds(settings.connect_timeout()),
        stall: seconds(settings.stalled_download_timeout()).unwrap_or(Duration::from_secs(300)),
        attempts: settings.download_attempts(),
        first_attempts: if around.patient { settings.download_attempts() } else { 1 },
        connections: usize::try_from(settings.http_connections()).unwrap_or(0),
        http2: settings.http2(),
        certificates,
        netrc: PathBuf::from(settings.netrc_file()),
        netrc_is_named: settings.overridden().any(|(name, _)| name == "netrc-file"),
        proxies: Proxies::from_variables(|name| around.environment.text(name)),
        speed: settings.download_speed().saturating_mul(1024),
        user_agent: format!("Nival/{}{suffix}", env!("CARGO_PKG_VERSION")),
    }
}

/// The parameters of buckets.
const S3_PARAMETERS: &[&str] = &[
    "profile",
    "region",
    "scheme",
    "endpoint",
    "addressing-style",
    "multipart-upload",
    "multipart-chunk-size",
    "buffer-size",
    "multipart-threshold",
    "storage-class",
    "narinfo-compression",
    "ls-compression",
    "log-compression",
];

fn s3_options(uri: &StoreUri, bucket: &str, around: &Surroundings<'_>) -> Result<S3Options> {
    let variable = |name: &str| around.environment.text(name).filter(|text| !text.is_empty());
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let mut options = S3Options::new(bucket.trim_end_matches('/'));
    options.region = region.unwrap_or(options.region);
    for (name, value) in &uri.parameters {
        let invalid = || OpenError::parameter("setting", name, value);
        let text = || Some(value.clone()).filter(|value| !value.is_empty());
        match name.as_str() {
            "profile" => options.profile = text(),
            "region" => options.region = text().unwrap_or(options.region),
            "scheme" => options.scheme = text().unwrap_or(options.scheme),
            "endpoint" => options.endpoint = text(),
            "addressing-style" => {
                options.addressing = match value.as_str() {
                    "auto" => Addressing::Auto,
                    "path" => Addressing::Path,
                    "virtual" => Addressing::Virtual,
                    _ => return Err(invalid().into()),
                };
            }
            "multipart-upload" => options.multipart = uri::boolean(name, value)?,
            "multipart-chunk-size" | "buffer-size" => options.part = value.parse().map_err(|_| invalid())?,
            "multipart-threshold" => options.threshold = value.parse().map_err(|_| invalid())?,
            "storage-class" => options.storage_class = text(),
            _ => {}
        }
    }
    Ok(options)
}

/// Reads a file with a key for signing.
///
/// # Errors
/// [`OpenError::LongKey`], [`OpenError::Key`], and errors of the file.
pub fn secret_key(file: &Path) -> Result<SecretKey> {
    /// Keys are a line.
    const MAX_KEY: u64 = 64 * 1024;
    let mut text = Vec::new();
    let read = std::fs::File::open(file).and_then(|key| key.take(MAX_KEY + 1).read_to_end(&mut text));
    if read.map_err(PathError::at("reading file", file))? as u64 > MAX_KEY {
        return Err(OpenError::LongKey(file.display().to_string()).into());
    }
    SecretKey::parse(&String::from_utf8_lossy(&text))
        .map_err(|reason| OpenError::Key { file: file.display().to_string(), reason }.into())
}
