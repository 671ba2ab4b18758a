//! What would have to be built or fetched, as it is told before it is done.

use nival::model::StoreDir;
use nival::ops::realise::Missing;
use nival::progress::{Progress as _, size_text};

use crate::cli::context::Context;

/// Tells the user what is missing, if anything is and `print-missing` is on.
pub fn tell(context: &Context, dir: &StoreDir, missing: &Missing) {
    if !context.settings.print_missing() {
        return;
    }
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
    for (heading, paths) in [(built, build), (fetched, fetch)] {
        if !paths.is_empty() {
            context.ui.notice(&heading);
        }
        for path in paths {
            context.ui.notice(&format!("  {}", dir.display(path)));
        }
    }
    if !unknown.is_empty() {
        context.ui.problem("don't know how to build these paths:");
    }
    for path in unknown {
        context.ui.problem(&format!("  {}", dir.display(path)));
    }
}
