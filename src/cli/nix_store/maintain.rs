//! `--init`, `--verify`, `--verify-path`, `--repair-path`, `--read-log`, `--print-env`.

use std::io::Read as _;

use nival::model::derivation::options::STRUCTURED;
use nival::model::shell::quote;
use nival::ops::realise::substitute::Substituters;
use nival::ops::verify;
use nival::progress::{Progress as _, Unit};
use nival::store::Store;
use nival::store::local::verify::Damage;

use super::Call;
use crate::cli::error::{Exit, usage};
use crate::cli::output::streams::Out;
use crate::cli::repair::repair;

/// Creates the store where it is missing.
pub fn init(call: Call) -> anyhow::Result<()> {
    call.no_arguments()?;
    call.context.open_store().map(drop)
}

/// Checks the store.
pub fn verify(call: Call) -> anyhow::Result<()> {
    call.no_arguments()?;
    let contents = call.has("--check-contents");
    let repair = call.has("--repair");
    let store = &*call.context.open_store()?;
    let substituters = if repair { call.context.substituters() } else { Substituters::default() };
    let sources: Vec<&dyn Store> = substituters.iter().collect();
    if store.require_maintainer("verifyStore")?.verify(contents, repair.then_some(&sources[..]))? {
        return Ok(());
    }
    call.context.ui.warn("not all store errors were fixed");
    Err(Exit(1).into())
}

/// Makes a lost database anew.
pub fn rebuild_db(call: Call) -> anyhow::Result<()> {
    call.no_arguments()?;
    let options = call.context.local_options()?;
    nival::store::local::rebuild::rebuild(&options, &call.context.progress())?;
    Ok(())
}

/// Repairs paths whose contents are not what is registered.
pub fn repair_path(call: Call) -> anyhow::Result<()> {
    let store = &*call.context.open_store()?;
    let paths = call.store_paths(store)?;
    repair(&call.context, store, &paths, |_, _| ())
}

/// Checks the contents of some paths.
pub fn verify_path(call: Call) -> anyhow::Result<()> {
    let store = &*call.context.open_store()?;
    let paths = call.store_paths(store)?;
    let mut status = 0;
    call.context.ui.begin("checking", None, Unit::Bytes);
    let checked = verify::verify_paths(store, &paths, &call.context.progress(), |path, damage| {
        let shown = store.dir().display(path);
        let text = match damage {
            None | Some(Damage::Size { expected: 0, .. }) => return Ok(()),
            Some(Damage::Size { expected, found }) => {
                format!("path '{shown}' was registered with size {expected}, but has {found}")
            }
            Some(Damage::Modified { expected, found }) => {
                format!("path '{shown}' was modified! expected hash '{expected}', got '{found}'")
            }
            Some(Damage::Unreadable(error)) => return Err(error.into()),
        };
        call.context.ui.problem(&text);
        status = 1;
        Ok(())
    });
    call.context.ui.end();
    checked?;
    if status == 0 { Ok(()) } else { Err(Exit(status).into()) }
}

/// Prints build logs.
pub fn read_log(call: Call) -> anyhow::Result<()> {
    let store = &*call.context.open_store()?;
    let mut out = Out::new();
    for path in call.store_paths(store)? {
        let Some(mut log) = store.log(&path)? else {
            anyhow::bail!("build log of derivation '{}' is not available", store.dir().display(&path));
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            nival::sys::interrupt::check()?;
            match log.read(&mut buffer)? {
                0 => break,
                count => out.raw(&buffer[..count])?,
            }
        }
    }
    out.finish()
}

/// Prints the environment of a derivation as shell commands.
pub fn print_env(call: Call) -> anyhow::Result<()> {
    if call.arguments.len() != 1 {
        return usage("'--print-env' requires one derivation store path");
    }
    let store = &*call.context.open_store()?;
    let path = call.store_paths(store)?.remove(0);
    anyhow::ensure!(path.is_derivation(), "'{}' is not a valid derivation path", store.dir().display(&path));
    nival::ops::query::require_derivation(store, &path)?;
    let drv = store.queries().read_derivation(&path)?;
    let mut out = Out::new();
    // Structured attributes are in a file, not in the environment.
    for (name, value) in drv.env.iter().filter(|(name, _)| *name != STRUCTURED) {
        out.raw(b"export ")?;
        out.raw(name)?;
        out.raw(b"; ")?;
        out.raw(name)?;
        out.raw(b"=")?;
        out.raw(&quote(value))?;
        out.raw(b"\n\n")?;
    }
    out.raw(b"export _args; _args=")?;
    out.raw(&quote(&drv.args.join(&b' ')))?;
    out.raw(b"\n")?;
    out.finish()
}
