//! Fetching paths that a local store lacks from other stores.
//!
//! Substituters are asked in the order of their priority. Of what several have,
//! the first that may be trusted is taken; what cannot be had from it after all
//! is taken from the next. One that cannot be reached is left out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::model::{DrvOutput, Realisation, StoreDir, StorePath};
use crate::nar::{NarError, Sink};
use crate::progress::{Progress, Unit};
use crate::store::api::{Item, NarSource, Standing, Store};
use crate::store::error::{Result, StoreError};
use crate::store::local::LocalStore;

use crate::ops::copy::watch::{Watch, Way};
use crate::ops::copy::{self, Trust, unsigned_realisation};

/// Stores to fetch from.
#[derive(Default)]
pub struct Substituters {
    stores: Vec<Substituter>,
    /// The numbers of those that cannot be reached.
    dead: RefCell<BTreeSet<usize>>,
}

struct Substituter {
    store: Box<dyn Store>,
    /// Needs no signatures.
    trusted: bool,
    priority: i64,
}

/// What can be fetched, and from where.
#[derive(Default)]
pub struct Fetch {
    /// With the number of the substituter.
    items: BTreeMap<StorePath, (Item, usize)>,
    /// Paths that nobody has.
    pub missing: BTreeSet<StorePath>,
}

/// A path that a substituter turned out not to have.
type Excluded = HashSet<(StorePath, usize)>;

impl Substituters {
    /// Adds one.
    pub fn push(&mut self, store: Box<dyn Store>) {
        let Standing { trusted, priority, .. } = store.standing();
        self.stores.push(Substituter { store, trusted, priority });
        self.stores.sort_by_key(|substituter| substituter.priority);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty()
    }

    /// In the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Store> {
        self.stores.iter().map(|substituter| &*substituter.store)
    }

    /// What the first substituter that knows them has to say of some paths. What is
    /// wrong with a substituter is told, and it knows nothing.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`].
    pub fn known(&self, dir: &StoreDir, paths: &[StorePath], progress: &dyn Progress) -> Result<Vec<Item>> {
        self.known_to(dir, paths, progress, |_| true)
    }

    /// The same of those substituters only that want to be asked about many paths.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`].
    pub fn known_in_bulk(
        &self,
        dir: &StoreDir,
        paths: &[StorePath],
        progress: &dyn Progress,
    ) -> Result<Vec<Item>> {
        self.known_to(dir, paths, progress, |store| store.standing().mass_query)
    }

    fn known_to(
        &self,
        dir: &StoreDir,
        paths: &[StorePath],
        progress: &dyn Progress,
        asked: impl Fn(&dyn Store) -> bool,
    ) -> Result<Vec<Item>> {
        let mut known = BTreeMap::new();
        let asked = |(_, substituter): &(usize, &Substituter)| asked(&*substituter.store);
        for (number, substituter) in self.stores.iter().enumerate().filter(asked) {
            if self.dead.borrow().contains(&number) || substituter.store.dir() != dir {
                continue;
            }
            let left: Vec<StorePath> =
                paths.iter().filter(|path| !known.contains_key(*path)).cloned().collect();
            match substituter.store.items(&left) {
                Ok(found) => {
                    known.extend(found.into_iter().flatten().map(|item| (item.info.path.clone(), item)));
                }
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => self.tell_failure(number, &error, progress),
            }
        }
        Ok(known.into_values().collect())
    }

    /// The realisation of an output, from the first substituter that has one and
    /// may be believed. What is wrong with a substituter is told.
    pub fn realisation(
        &self,
        dir: &StoreDir,
        id: &DrvOutput,
        trust: Option<&Trust>,
        progress: &dyn Progress,
    ) -> Result<Option<Realisation>> {
        for (number, substituter) in self.stores.iter().enumerate() {
            if self.dead.borrow().contains(&number) || substituter.store.dir() != dir {
                continue;
            }
            match substituter.store.realisation(id) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    let accepts = |trust: &Trust| trust.accepts_realisation(&found);
                    if substituter.trusted || trust.is_none_or(accepts) {
                        return Ok(Some(found));
                    }
                    let (error, uri) = (unsigned_realisation(&found), substituter.store.uri());
                    progress.warn(&format!("{error}; '{uri}' says so, and is not believed"));
                }
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => self.tell_failure(number, &error, progress),
            }
        }
        Ok(None)
    }

    /// Tells what is wrong with a substituter, which is not asked any more if
    /// nothing can be had of it.
    fn tell_failure(&self, number: usize, error: &StoreError, progress: &dyn Progress) {
        match error {
            StoreError::Cache(error) if !error.is_dead() => progress.warn(&error.to_string()),
            error => {
                let uri = self.stores[number].store.uri();
                progress.warn(&format!("{error}; '{uri}' is not asked any more"));
                self.dead.borrow_mut().insert(number);
            }
        }
    }

    /// Finds out what has to be fetched so that `wanted` are valid.
    ///
    /// # Errors
    /// Errors of the local store; what is wrong with a substituter is told.
    pub fn plan(
        &self,
        local: &LocalStore,
        wanted: &[StorePath],
        trust: Option<&Trust>,
        progress: &dyn Progress,
    ) -> Result<Fetch> {
        self.plan_without(local, wanted, trust, &Excluded::new(), progress)
    }

    fn plan_without(
        &self,
        local: &LocalStore,
        wanted: &[StorePath],
        trust: Option<&Trust>,
        excluded: &Excluded,
        progress: &dyn Progress,
    ) -> Result<Fetch> {
        let mut fetch = Fetch::default();
        let mut seen: BTreeSet<StorePath> = wanted.iter().cloned().collect();
        let mut frontier: Vec<StorePath> = seen.iter().cloned().collect();
        while !frontier.is_empty() {
            let valid = local.valid(&frontier)?;
            let mut left: Vec<StorePath> =
                frontier.into_iter().filter(|path| !valid.contains(path)).collect();
            let mut next = BTreeSet::new();
            for (number, substituter) in self.stores.iter().enumerate() {
                let is_dead = self.dead.borrow().contains(&number);
                if left.is_empty() || is_dead || substituter.store.dir() != local.dir() {
                    continue;
                }
                let asked: Vec<StorePath> = left
                    .iter()
                    .filter(|path| !excluded.contains(&((*path).clone(), number)))
                    .cloned()
                    .collect();
                let answers = match substituter.store.items(&asked) {
                    Ok(answers) => answers,
                    Err(error) if error.is_interruption() => return Err(error),
                    Err(StoreError::Cache(error)) if !error.is_dead() => {
                        self.one_by_one(substituter, &asked, progress)?
                    }
                    Err(error) => {
                        self.tell_failure(number, &error, progress);
                        continue;
                    }
                };
                for item in answers.into_iter().flatten() {
                    if !self.may_come(number, local.dir(), &item, trust) {
                        progress.warn(&format!(
                            "ignoring substitute for '{}' from '{}', as it's not signed by any of the keys in \
                             'trusted-public-keys'",
                            local.dir().display(&item.info.path),
                            substituter.store.uri()
                        ));
                        continue;
                    }
                    for reference in &item.info.references {
                        if seen.insert(reference.clone()) {
                            next.insert(reference.clone());
                        }
                    }
                    fetch.items.insert(item.info.path.clone(), (item, number));
                }
                left.retain(|path| !fetch.items.contains_key(path));
            }
            fetch.missing.extend(left);
            frontier = next.into_iter().collect();
        }
        fetch.drop_incomplete();
        Ok(fetch)
    }

    /// Asks about each path alone, after something was wrong with one of them.
    fn one_by_one(
        &self,
        substituter: &Substituter,
        paths: &[StorePath],
        progress: &dyn Progress,
    ) -> Result<Vec<Option<Item>>> {
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            match substituter.store.items(std::slice::from_ref(path)) {
                Ok(mut answer) => answers.push(answer.pop().flatten()),
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => {
                    progress.warn(&error.to_string());
                    answers.push(None);
                }
            }
        }
        Ok(answers)
    }

    /// Whether everything that was planned may come from where it is to come from: it
    /// is signed as `trust` wants it, or needs no signature.
    pub fn may_give(&self, dir: &StoreDir, fetch: &Fetch, trust: Option<&Trust>) -> bool {
        fetch.items.values().all(|(item, number)| self.may_come(*number, dir, item, trust))
    }

    fn may_come(&self, number: usize, dir: &StoreDir, item: &Item, trust: Option<&Trust>) -> bool {
        self.stores[number].trusted || trust.is_none_or(|trust| trust.accepts(dir, &item.info))
    }

    /// Fetches what was planned.
    ///
    /// # Errors
    /// Errors of the local store. What cannot be fetched from anywhere is told,
    /// and is not valid afterwards.
    pub fn fetch(
        &self,
        local: &LocalStore,
        wanted: &[StorePath],
        mut fetch: Fetch,
        trust: Option<&Trust>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut excluded = Excluded::new();
        while !fetch.items.is_empty() {
            let items =
                copy::in_reference_order(fetch.items.values().map(|(item, _)| item.clone()).collect());
            let total = items.iter().map(|item| item.info.nar_size).fold(0, u64::saturating_add);
            let of = |number: usize| -> Vec<Item> {
                let is_from =
                    |item: &&Item| fetch.items.get(&item.info.path).is_some_and(|(_, from)| *from == number);
                items.iter().filter(is_from).cloned().collect()
            };
            let sources = self.stores.iter().enumerate();
            let sources = sources.map(|(number, substituter)| substituter.store.source(&of(number)));
            let sources = sources.collect::<Result<_>>()?;
            let several = Several { fetch: &fetch, sources };
            let parallel = self.stores.iter().map(|substituter| substituter.store.parallel()).max();
            progress.begin("fetching", Some(total), Unit::Bytes);
            let number = |item: &Item| fetch.items.get(&item.info.path).map_or(usize::MAX, |(_, from)| *from);
            let watch = Watch::new(progress, "", local.dir().clone(), &items, self.ways(local), number);
            let result = copy::engine::run(&several, parallel.unwrap_or(1), local, &items, true, &watch);
            drop(watch);
            progress.end();
            let failed = match result {
                Ok(()) => return Ok(()),
                Err(failed) if failed.error.is_interruption() => return Err(failed.error),
                Err(failed) => failed,
            };
            // What is wrong here would be no better with another.
            let Some(number) = failed.item.filter(|_| is_substituters(&failed.error)) else {
                return Err(failed.error);
            };
            let path = items[number].info.path.clone();
            let Some((_, from)) = fetch.items.get(&path) else { return Err(failed.error) };
            // Another may have it.
            progress.warn(&failed.error.to_string());
            excluded.insert((path, *from));
            drop(several);
            fetch = self.plan_without(local, wanted, trust, &excluded, progress)?;
        }
        Ok(())
    }

    /// The ways of the paths of each substituter.
    fn ways(&self, local: &LocalStore) -> Vec<Way> {
        let way = |substituter: &Substituter| {
            let (from, to) = (substituter.store.uri(), local.uri());
            let shown = match substituter.store.is_direct() {
                false => format!("from '{from}'"),
                true => format!("to '{to}'"),
            };
            Way { from, to, shown }
        };
        self.stores.iter().map(way).collect()
    }
}

/// Whether an error is about what a substituter has, and not about this store.
fn is_substituters(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Cache(_)
            | StoreError::Mismatch { .. }
            | StoreError::ContentAddress { .. }
            | StoreError::ContentMismatch { .. }
            | StoreError::Missing(_)
            | StoreError::Nar(
                NarError::Bad(_)
                    | NarError::Padding
                    | NarError::TooLong
                    | NarError::Eof
                    | NarError::TooDeep
                    | NarError::Missing(_)
                    | NarError::Sink(_)
            )
    )
}

impl Fetch {
    /// Leaves out what refers to something that nobody has.
    fn drop_incomplete(&mut self) {
        let mut dropped: BTreeSet<StorePath> = self.missing.clone();
        loop {
            let broken: Vec<StorePath> = self
                .items
                .iter()
                .filter(|(path, (item, _))| {
                    item.info.references.iter().any(|other| other != *path && dropped.contains(other))
                })
                .map(|(path, _)| path.clone())
                .collect();
            if broken.is_empty() {
                return;
            }
            for path in broken {
                self.items.remove(&path);
                dropped.insert(path);
            }
        }
    }

    /// Bytes of the stored files, where they are known, and of the archives.
    pub fn sizes(&self) -> (u64, u64) {
        let sum = |size: &dyn Fn(&Item) -> u64| {
            self.items.values().map(|(item, _)| size(item)).fold(0, u64::saturating_add)
        };
        (
            sum(&|item| item.file.as_ref().and_then(|file| file.size).unwrap_or(0)),
            sum(&|item| item.info.nar_size),
        )
    }

    /// Whether there is nothing to fetch.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a path will be there.
    pub fn has(&self, path: &StorePath) -> bool {
        self.items.contains_key(path)
    }

    /// The paths that will be fetched, references first.
    pub fn in_reference_order(&self) -> Vec<StorePath> {
        let items = self.items.values().map(|(item, _)| item.clone()).collect();
        copy::in_reference_order(items).into_iter().map(|item| item.info.path).collect()
    }

    /// Takes over what can be fetched for other paths.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.items.extend(other.items.iter().map(|(path, item)| (path.clone(), item.clone())));
    }
}

/// Reads each archive from where it is to come from.
struct Several<'s> {
    fetch: &'s Fetch,
    sources: Vec<Box<dyn NarSource + 's>>,
}

impl NarSource for Several<'_> {
    fn read(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        let number = self.fetch.items.get(&item.info.path).map(|(_, number)| *number);
        match number.and_then(|number| self.sources.get(number)) {
            Some(source) => source.read(item, sink),
            None => Err(StoreError::Missing(item.info.path.base_name().to_owned())),
        }
    }

    fn explain(&self, item: &Item, error: StoreError) -> StoreError {
        let number = self.fetch.items.get(&item.info.path).map(|(_, number)| *number);
        match number.and_then(|number| self.sources.get(number)) {
            Some(source) => source.explain(item, error),
            None => error,
        }
    }

    fn done(&self, item: &Item, well: bool) -> Result<()> {
        let number = self.fetch.items.get(&item.info.path).map(|(_, number)| *number);
        number.and_then(|number| self.sources.get(number)).map_or(Ok(()), |source| source.done(item, well))
    }
}
