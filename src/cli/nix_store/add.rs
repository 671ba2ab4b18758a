//! `--add`, `--add-fixed`, `--print-fixed-path`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nival::model::content_address::ContentReferences;
use nival::model::{ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath};
use nival::nar::NarError;
use nival::store::StoreError;
use nival::store::api::Store;

use super::Call;
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::text;
use crate::cli::output::streams::Out;
use nival::progress::{Progress as _, Unit, size_text};

/// Adds files and trees and prints their paths.
pub fn add(call: Call) -> anyhow::Result<()> {
    let store = &*call.context.open_store_to_add()?;
    add_all(&call, store, &call.arguments, ContentAddressMethod::NixArchive, HashAlgorithm::Sha256)
}

/// As `--add`, by a hash of one's choice.
pub fn add_fixed(mut call: Call) -> anyhow::Result<()> {
    let method = method(&mut call);
    let Some((algorithm, paths)) = call.arguments.split_first() else {
        return usage("first argument must be hash algorithm");
    };
    let algorithm: HashAlgorithm = text(algorithm)?.parse()?;
    call.context.allow_algorithm(algorithm)?;
    let store = &*call.context.open_store_to_add()?;
    add_all(&call, store, paths, method, algorithm)
}

fn method(call: &mut Call) -> ContentAddressMethod {
    match call.has("--recursive") {
        true => ContentAddressMethod::NixArchive,
        false => ContentAddressMethod::Flat,
    }
}

fn add_all(
    call: &Call,
    store: &dyn Store,
    sources: &[impl AsRef<OsStr>],
    method: ContentAddressMethod,
    algorithm: HashAlgorithm,
) -> anyhow::Result<()> {
    let progress = store.progress();
    progress.begin("adding", None, Unit::Bytes);
    // Several become valid together where the store can do that.
    let mut adder = store.adder();
    let mut paths = Vec::with_capacity(sources.len());
    let added = sources.iter().try_for_each(|source| {
        let (source, name) = named(&call.context, Path::new(source.as_ref()))?;
        let added = adder.add_source(&source, &name, (method, algorithm));
        paths.push(added.map_err(|error| match error {
            // What is wrong with the file does not say which.
            StoreError::Nar(NarError::Sink(why)) => {
                anyhow::anyhow!("cannot add '{}': {why}", source.display())
            }
            error => error.into(),
        })?);
        anyhow::Ok(())
    });
    // What comes before a failure is added, and is said to be; but who
    // interrupts does not want to wait for it.
    let finished = match nival::sys::interrupt::check() {
        Ok(()) => adder.finish(),
        Err(interrupted) => Err(interrupted.into()),
    };
    progress.end();
    finished?;
    let mut out = Out::new();
    for path in &paths {
        out.line(store.dir().display(path))?;
    }
    added?;
    out.finish()?;
    if method == ContentAddressMethod::NixArchive && algorithm == HashAlgorithm::Sha256 {
        warn_of_large(call, store, sources, &paths)?;
    }
    Ok(())
}

/// Tells of paths over `warn-large-path-threshold`.
fn warn_of_large(
    call: &Call,
    store: &dyn Store,
    sources: &[impl AsRef<OsStr>],
    paths: &[StorePath],
) -> anyhow::Result<()> {
    let most = call.context.settings.warn_large_path_threshold();
    if most == 0 {
        return Ok(());
    }
    for (source, path) in sources.iter().zip(paths) {
        let size = store.path_info(path)?.nar_size;
        if size > most {
            let source = call.context.absolute(Path::new(source.as_ref()));
            let size = size_text(i64::try_from(size).unwrap_or(i64::MAX));
            let source = source.display();
            call.context.ui.warn(&format!("copied large path '{source}' to the store ({size})"));
        }
    }
    Ok(())
}

/// Where a source lies, and the name that it gets.
fn named(context: &Context, source: &Path) -> anyhow::Result<(PathBuf, String)> {
    let written = source.as_os_str().to_string_lossy();
    let last = written.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let source = context.absolute(source);
    // `.` and `..` are no names, whatever they lead to.
    let name = match last {
        "." | ".." => last.to_owned(),
        _ => text(source.file_name().unwrap_or_default())?,
    };
    Ok((source, name))
}

/// Prints the path that content with a given hash has.
pub fn print_fixed_path(mut call: Call) -> anyhow::Result<()> {
    let method = method(&mut call);
    let [algorithm, hash, name] = &call.arguments[..] else {
        return usage("'--print-fixed-path' requires three arguments");
    };
    let algorithm: HashAlgorithm = text(algorithm)?.parse()?;
    call.context.allow_algorithm(algorithm)?;
    let hash = Hash::parse(&text(hash)?, Some(algorithm))?;
    let dirs = call.context.environment.directories()?;
    let dir = StoreDir::new(&dirs.store.to_string_lossy())
        .map_err(|dir| anyhow::anyhow!("'{dir}' cannot be a store directory"))?;
    let path =
        dir.content_path(&text(name)?, &ContentAddress { method, hash }, &ContentReferences::default())?;
    let mut out = Out::new();
    out.line(dir.display(&path))?;
    out.finish()
}
