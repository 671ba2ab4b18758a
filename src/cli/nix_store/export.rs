//! `--dump`, `--restore`, `--export`, `--import`.

use std::path::Path;

use nival::model::StorePath;
use nival::nar::input::Input;
use nival::nar::writer::{FileOutput, NarWriter};
use nival::nar::{dump as walk, restore as unpack};
use nival::ops::export;
use nival::progress::{Progress as _, Unit};

use crate::cli::error::usage;
use crate::cli::nix_store::Call;
use crate::cli::output::streams::{Out, stdin, stdout_file, terminal_columns};

/// Writes the archive of a file or tree.
pub fn dump(call: Call) -> anyhow::Result<()> {
    let [path] = &call.arguments[..] else { return usage("only one argument allowed") };
    let path = call.context.absolute(Path::new(path));
    let mut output = FileOutput::new(stdout_file());
    let mut writer = NarWriter::new(&mut output)?;
    walk::walk(&path, &mut writer)?;
    Ok(output.flush()?)
}

/// Makes a tree from an archive.
pub fn restore(call: Call) -> anyhow::Result<()> {
    let [path] = &call.arguments[..] else { return usage("only one argument allowed") };
    // Of `dir/` the tree is `dir`.
    let given = Path::new(path);
    Ok(unpack::restore_file(&mut Input::new(stdin()), &call.context.absolute(given), given)?)
}

/// Writes paths as a stream that `--import` takes.
pub fn export(call: Call) -> anyhow::Result<()> {
    let store = &*call.context.open_store()?;
    let paths = call.store_paths(store)?;
    let graph = store.queries().graph_among(&paths)?;
    let order: nival::store::error::Result<Vec<StorePath>> =
        graph.topological(graph.nodes()).into_iter().map(|node| graph.path(node)).collect();
    let order = order?;
    let ui = &call.context.ui;
    if terminal_columns().is_none() {
        ui.begin("exporting", Some(order.len() as u64), Unit::Items);
    }
    let mut output = FileOutput::new(stdout_file());
    let result = export::export(store, &order, &mut output);
    ui.end();
    result?;
    Ok(output.flush()?)
}

/// Adds the paths of such a stream and prints them.
pub fn import(call: Call) -> anyhow::Result<()> {
    call.no_arguments()?;
    let store = &*call.context.open_store_to_add()?;
    let ui = &call.context.ui;
    ui.begin("importing", None, Unit::Bytes);
    let imported = export::import(store, stdin());
    ui.end();
    let mut out = Out::new();
    for path in imported? {
        out.line(store.dir().display(&path))?;
    }
    out.finish()
}
