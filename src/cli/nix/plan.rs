//! What would have to be built or fetched: the original tells that before it
//! works on paths that are not valid.

use std::collections::BTreeSet;

use nival::model::{StoreDir, StorePath};
use nival::ops::copy::Trust;
use nival::ops::realise::Outputs;
use nival::ops::substitute::{Fetch, Substituters, fetch_lines};
use nival::progress::Progress as _;
use nival::store::ManagedStore;
use nival::store::managed::Kind;
use nival::store::remote::daemon_store::Missing;
use nival::sys::interrupt;

use crate::cli::context::Context;
use crate::cli::installables::store_path::outputs_of;

/// What can be had from elsewhere, and how.
pub enum Obtainable {
    /// Fetched by us.
    Fetch(Box<(Substituters, Option<Trust>, Fetch)>),
    /// Fetched by a daemon.
    By {
        /// There is something.
        some: bool,
        /// Everything that is wanted.
        requests: Vec<String>,
    },
}

impl Obtainable {
    /// Whether there is something.
    pub fn is_some(&self) -> bool {
        match self {
            Self::Fetch(parts) => !parts.2.is_empty(),
            Self::By { some, .. } => *some,
        }
    }

    /// Gets it; false if there is nothing.
    ///
    /// # Errors
    /// Those of the store.
    pub fn obtain(
        self,
        context: &Context,
        store: &dyn ManagedStore,
        paths: &[StorePath],
    ) -> anyhow::Result<bool> {
        if !self.is_some() {
            return Ok(false);
        }
        match (self, store.kind()) {
            (Self::Fetch(parts), Kind::Local(local)) => {
                let (substituters, trust, fetch) = *parts;
                substituters.fetch(local, paths, fetch, trust.as_ref(), &*context.ui)?;
            }
            (Self::By { requests, .. }, Kind::Daemon(daemon)) => daemon.build_paths(&requests)?,
            _ => {}
        }
        Ok(true)
    }
}

/// What is missing of the paths that are wanted.
#[derive(Default)]
pub struct Plan {
    /// Derivations to be built, those that others need first.
    build: Vec<StorePath>,
    seen: BTreeSet<StorePath>,
    unknown: BTreeSet<StorePath>,
    /// What is said about paths that can be fetched.
    fetch: Vec<String>,
}

impl Plan {
    /// Notes a path that is not valid and that nothing is known of.
    pub fn add_unknown(&mut self, path: &StorePath) {
        self.unknown.insert(path.clone());
    }

    /// The paths that nothing is known of.
    pub fn unknown(&self) -> impl Iterator<Item = &StorePath> {
        self.unknown.iter()
    }

    /// Notes what can be fetched; that is not unknown any more.
    pub fn set_fetch(&mut self, dir: &StoreDir, fetch: &Fetch) {
        self.unknown.retain(|path| !fetch.has(path));
        self.fetch = fetch.lines(dir);
    }

    /// Notes what a daemon says that it would do.
    pub fn set_missing(&mut self, dir: &StoreDir, missing: &Missing) {
        self.unknown.clone_from(&missing.unknown);
        self.build = missing.build.iter().cloned().collect();
        let paths = missing.fetch.iter().map(|path| dir.print(path));
        self.fetch = fetch_lines(paths, missing.download, missing.unpacked);
    }

    /// Finds out which of some paths can be had from elsewhere, and notes that.
    ///
    /// # Errors
    /// Those of the store, and keys that are none.
    pub fn ask(
        &mut self,
        context: &Context,
        store: &dyn ManagedStore,
        paths: &[StorePath],
    ) -> anyhow::Result<Obtainable> {
        match store.kind() {
            Kind::Local(local) => {
                let substituters = context.substituters();
                let trust = context.trust_for(local)?;
                let fetch = substituters.plan(local, paths, trust.as_ref(), &*context.ui)?;
                self.set_fetch(store.dir(), &fetch);
                Ok(Obtainable::Fetch(Box::new((substituters, trust, fetch))))
            }
            Kind::Daemon(daemon) => {
                let requests: Vec<String> = paths.iter().map(|path| store.dir().print(path)).collect();
                let missing = daemon.missing(&requests)?;
                self.set_missing(store.dir(), &missing);
                Ok(Obtainable::By { some: !missing.fetch.is_empty(), requests })
            }
            Kind::Elsewhere => Ok(Obtainable::By { some: false, requests: Vec::new() }),
        }
    }

    /// Notes a valid derivation, some outputs of which are wanted.
    ///
    /// # Errors
    /// Those of reading derivations and of the database.
    pub fn add_outputs(
        &mut self,
        store: &dyn ManagedStore,
        drv: &StorePath,
        outputs: &Outputs,
    ) -> anyhow::Result<()> {
        // Without recursion: each derivation before (false) and after what it
        // needs itself.
        let mut stack = vec![(drv.clone(), outputs.clone(), false)];
        while let Some((path, outputs, inputs_done)) = stack.pop() {
            interrupt::check()?;
            if inputs_done {
                self.build.push(path);
                continue;
            }
            if !store.is_valid(&path)? {
                self.add_unknown(&path);
                continue;
            }
            let derivation = store.read_derivation(&path)?;
            let mut complete = true;
            for (_, output) in outputs_of(store, &outputs, &path, &derivation)? {
                complete &= match output {
                    Some(output) => store.is_valid(&output)?,
                    None => false,
                };
            }
            if complete || !self.seen.insert(path.clone()) {
                continue;
            }
            stack.push((path, outputs, true));
            for (input, names) in derivation.input_drvs {
                stack.push((input, Outputs::Named(names), false));
            }
        }
        Ok(())
    }

    /// Tells the user, if there is something to tell (and `print-missing` is on).
    pub fn tell(&self, context: &Context, store: &dyn ManagedStore) {
        if !context.settings.print_missing() {
            return;
        }
        let dir = store.dir();
        match self.build.len() {
            0 => {}
            1 => context.ui.notice("this derivation will be built:"),
            count => context.ui.notice(&format!("these {count} derivations will be built:")),
        }
        for path in &self.build {
            context.ui.notice(&format!("  {}", dir.display(path)));
        }
        for line in &self.fetch {
            context.ui.notice(line);
        }
        if !self.unknown.is_empty() {
            context.ui.problem("don't know how to build these paths:");
        }
        for path in &self.unknown {
            context.ui.problem(&format!("  {}", dir.display(path)));
        }
    }
}
