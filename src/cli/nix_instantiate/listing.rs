//! Printing derivations as they are made, and making them roots.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nival::eval::error::Error;
use nival::eval::interpret::Worker;
use nival::model::StorePath;
use nival::ops::evaluate::Asked;
use nival::ops::packages::Package;
use nival::progress::Progress as _;

use crate::cli::context::Context;
use crate::cli::error;
use crate::cli::evaluation::Stopped;
use crate::cli::installables::texts;
use crate::cli::output::messages::Ui;
use crate::cli::output::streams::Out;

/// Derivations are in the store before they are printed. Writing many at once takes hardly longer than
/// writing one, so that what is known is printed no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Prints derivations, or the links to them.
pub struct Listing {
    ui: Arc<Ui>,
    /// The link to the first of them; the others have numbers.
    root: Option<PathBuf>,
    /// Whether nothing is written, so that no link is made either.
    reads_only: bool,
    warned: bool,
    /// Derivations that are not printed yet, with the names of their outputs.
    waiting: Vec<(StorePath, String)>,
    printed: usize,
    since: Instant,
}

impl Listing {
    /// Begins; `root` is the value of `--add-root`.
    pub fn new(context: &Context, root: Option<&Path>, reads_only: bool) -> Self {
        let root = root.filter(|root| !root.as_os_str().is_empty()).map(|root| context.absolute(root));
        Self {
            ui: Arc::clone(&context.ui),
            warned: root.is_some() || context.no_gc_warning,
            root,
            reads_only,
            waiting: Vec::new(),
            printed: 0,
            since: Instant::now(),
        }
    }

    /// Takes a derivation.
    ///
    /// # Errors
    /// It cannot be evaluated; those of [`Listing::flush`].
    pub fn add<'e>(
        &mut self,
        worker: &Worker<'e>,
        asked: &Asked,
        package: &Package<'e>,
    ) -> Result<(), Stopped> {
        let dir = &asked.options().store_dir;
        let meant = texts::output(worker, dir, package)?;
        if !std::mem::replace(&mut self.warned, true) {
            self.ui.warn(
                "you did not specify '--add-root'; the result might be removed by the garbage collector",
            );
        }
        self.waiting.push(meant);
        if self.since.elapsed() >= PAUSE { self.flush(asked) } else { Ok(()) }
    }

    /// Prints what waits for it, once all of it is in the store.
    ///
    /// # Errors
    /// It cannot be written, a link cannot be made, or nobody reads.
    pub fn flush(&mut self, asked: &Asked) -> Result<(), Stopped> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let dir = &asked.options().store_dir;
        asked.settle()?;
        let mut out = Out::new();
        for (file, output) in waiting {
            self.printed += 1;
            let mut line = dir.print(&file).into_bytes();
            if let Some(root) = &self.root {
                let mut link = root.clone().into_os_string();
                if self.printed > 1 {
                    link.push(format!("-{}", self.printed));
                }
                if self.reads_only || add_root(asked, link.clone().into(), file)? {
                    line = link.into_encoded_bytes();
                }
            }
            if output != "out" {
                line.push(b'!');
                line.extend_from_slice(output.as_bytes());
            }
            line.push(b'\n');
            out.raw(&line)?;
        }
        out.finish()?;
        self.since = Instant::now();
        Ok(())
    }
}

/// Makes a link to a path, which keeps it from being collected as garbage; false in a store without such
/// links.
fn add_root(asked: &Asked, link: PathBuf, path: StorePath) -> Result<bool, Error> {
    asked.with_store(move |store| {
        if store.files().is_none() {
            return Ok(false);
        }
        let added = store.require_root_links().and_then(|roots| roots.add_indirect_root(&link, &path));
        added.map(|()| true).map_err(|error| Error::new(error::store_text(&error)))
    })
}
