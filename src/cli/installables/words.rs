//! What an argument of the classic programs stands for.

use std::path::Path;

use nival::model::{StoreDir, StorePath};
use nival::store::api::Store;

use crate::cli::context::{Context, not_in_store};

/// The store path that an argument means: at or below one, or a symlink to one.
///
/// # Errors
/// When it is none.
pub fn store_path(
    context: &Context,
    store: &dyn Store,
    argument: impl AsRef<Path>,
) -> anyhow::Result<StorePath> {
    store_path_in(context, store.dir(), argument)
}

/// As [`store_path`], of the store with a directory.
///
/// # Errors
/// When it is none.
pub fn store_path_in(
    context: &Context,
    dir: &StoreDir,
    argument: impl AsRef<Path>,
) -> anyhow::Result<StorePath> {
    /// Symlinks followed at most, as the system does.
    const MAX_LINKS: usize = 40;
    let mut path = context.absolute(argument.as_ref());
    for links in 1..=MAX_LINKS {
        let inside = path
            .to_str()
            .filter(|text| text.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/')));
        if let Some(text) = inside {
            return Ok(dir.parse_below(text)?.0);
        }
        // Only the argument itself may be a symlink, not what leads to it.
        let Ok(target) = std::fs::read_link(&path) else { break };
        let base = path.parent().unwrap_or(Path::new("/")).to_owned();
        path = context.absolute(&base.join(target));
        if links == MAX_LINKS {
            let argument = context.absolute(argument.as_ref());
            anyhow::bail!("too many levels of symbolic links at \"{}\"", argument.display());
        }
    }
    Err(not_in_store(&path).into())
}
