//! What would have to be built or fetched, as it is told before it is done.

use nival::model::StoreDir;
use nival::ops::realise::Missing;
use nival::progress::{Progress as _, size_text};

use crate::cli::output::messages::Ui;

/// Tells the user what is missing, if anything is.
pub fn tell(ui: &Ui, dir: &StoreDir, missing: &Missing) {
    let Missing { build, fetch, unknown, download, unpacked } = missing;
    let shown = |size: u64| size_text(i64::try_from(size).unwrap_or(i64::MAX));
    let sizes = format!("({} download, {} unpacked):", shown(*download), shown(*unpacked));
    let built = match build.len() {
        1 => "this derivation will be built:".to_owned(),
        count => format!("these {count} derivations will be built:"),
    };
    let fetched = match fetch.len() {
        1 => format!("this path will be fetched {sizes}"),
        count => format!("these {count} paths will be fetched {sizes}"),
    };
    // What is built comes in the order in which that is done, what is fetched by the names of the packages.
    let build: Vec<_> = build.iter().collect();
    let mut fetch: Vec<_> = fetch.iter().collect();
    fetch.sort_by_key(|path| (path.name(), path.hash_part()));
    for (heading, paths) in [(built, build), (fetched, fetch)] {
        if !paths.is_empty() {
            ui.notice(&heading);
        }
        for path in paths {
            ui.notice(&format!("  {}", dir.display(path)));
        }
    }
    if !unknown.is_empty() {
        ui.problem("don't know how to build these paths:");
    }
    for path in unknown {
        ui.problem(&format!("  {}", dir.display(path)));
    }
}
