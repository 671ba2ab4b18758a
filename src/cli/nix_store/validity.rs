//! `--dump-db`, `--load-db`, `--register-validity`, `--check-validity`.

use std::io::BufReader;

use nival::nar::NarError;
use nival::progress::{Progress as _, Unit};
use nival::store::StoreError;
use nival::store::local::db::write::Existing;
use nival::store::local::register::{RegisterOptions, dump_entry};

use super::Call;
use crate::cli::output::streams::BrokenPipe;
use crate::cli::output::streams::{Out, stdin, terminal_columns};

/// Paths that a daemon is asked about together.
const CHUNK: usize = 512;

/// Bytes of text read at a time.
const BUFFER: usize = 64 * 1024;

/// Writes what the database says of some or all paths.
pub fn dump_db(call: Call) -> anyhow::Result<()> {
    let store = &*call.context.open_store()?;
    let mut out = Out::new();
    let named = call.store_paths(store)?;
    let ui = &call.context.ui;
    match store.dumper() {
        Some(dumper) if call.arguments.is_empty() => {
            // A row among the lines on the same terminal would be mixed with them.
            if terminal_columns().is_none() {
                ui.begin("dumping the database", Some(dumper.count()?), Unit::Items);
            }
            let result = dumper.dump_all(&mut out);
            ui.end();
            lines(result)?;
        }
        _ => {
            let paths = if call.arguments.is_empty() { store.all()? } else { named };
            for chunk in paths.chunks(CHUNK) {
                for (path, item) in chunk.iter().zip(store.items(chunk)?) {
                    let item = item.ok_or_else(|| store.invalid(path))?;
                    lines(dump_entry(store.dir(), &item.info, &mut out))?;
                }
            }
        }
    }
    out.finish()
}

/// A reader of lines who has seen enough is no failure.
fn lines(result: nival::store::error::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(StoreError::Nar(NarError::Write(error))) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(BrokenPipe { status: 0 }.into())
        }
        other => Ok(other?),
    }
}

/// Registers what `--dump-db` wrote.
pub fn load_db(call: Call) -> anyhow::Result<()> {
    call.no_arguments()?;
    let store = call.context.open_local_store()?;
    let mut options = RegisterOptions::new(Existing::Keep);
    options.hash_given = true;
    Ok(store.register_validity(BufReader::with_capacity(BUFFER, stdin()), options)?)
}

/// Registers paths that are in the store directory.
pub fn register_validity(call: Call) -> anyhow::Result<()> {
    let existing = if call.has("--reregister") { Existing::Update } else { Existing::Keep };
    let hash_given = call.has("--hash-given");
    call.no_arguments()?;
    let store = call.context.open_local_store()?;
    let mut options = RegisterOptions::new(existing);
    options.hash_given = hash_given;
    options.canonicalise = true;
    Ok(store.register_validity(BufReader::with_capacity(BUFFER, stdin()), options)?)
}

/// Tells whether paths are valid.
pub fn check_validity(call: Call) -> anyhow::Result<()> {
    let print_invalid = call.has("--print-invalid");
    let store = &*call.context.open_store()?;
    let mut out = Out::new();
    for path in call.store_paths(store)? {
        if store.is_valid(&path)? {
            continue;
        }
        if !print_invalid {
            return Err(store.invalid(&path).into());
        }
        out.line(store.dir().display(&path))?;
    }
    out.finish()
}
