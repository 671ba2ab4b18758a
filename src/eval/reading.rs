//! The world as a thread sees it that evaluates ahead: it may read, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ahead::left;
use super::error::Error;
use super::io::{Addition, ClosureFetch, Dependency, Fetch, FetchedTree, FileKind, Filter, World};
use crate::model::derivation::DerivationFile;
use crate::model::input::Input;

/// A world in which nothing can be changed.
pub(super) struct Reading<'e> {
    world: &'e dyn World,
    over: AtomicBool,
}

impl<'e> Reading<'e> {
    pub(super) fn new(world: &'e dyn World) -> Reading<'e> {
        Reading { world, over: AtomicBool::new(true) }
    }

    /// Whether nobody needs any more what is evaluated ahead.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Begins or ends the time of threads that evaluate ahead.
    pub(super) fn set_over(&self, over: bool) {
        self.over.store(over, Ordering::Relaxed);
    }
}

impl World for Reading<'_> {
    fn store_dir(&self) -> &[u8] {
        self.world.store_dir()
    }

    fn current_dir(&self) -> Vec<u8> {
        self.world.current_dir()
    }

    fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.world.read_file(path)
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, Error> {
        self.world.read_dir(path)
    }

    fn kind(&self, path: &[u8]) -> Result<Option<FileKind>, Error> {
        self.world.kind(path)
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.world.read_link(path)
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.world.variable(name)
    }

    fn now(&self) -> Option<i64> {
        self.world.now()
    }

    fn watches_time(&self) -> bool {
        self.world.watches_time()
    }

    fn system(&self) -> Option<Vec<u8>> {
        self.world.system()
    }

    fn search_path(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.world.search_path()
    }

    // An entry may be downloaded, and the user is warned of one that is not there.
    fn resolve_entry(&self, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Err(left())
    }

    fn add(&self, _: &Addition<'_>, _: Option<Filter<'_>>) -> Result<Vec<u8>, Error> {
        Err(left())
    }

    fn add_text(&self, _: &[u8], _: &[u8], _: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        Err(left())
    }

    fn add_derivation(&self, _: DerivationFile) -> Result<(), Error> {
        Err(left())
    }

    fn read_derivation(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(left())
    }

    fn references(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.world.references(path)
    }

    fn realise(&self, dependencies: &[Dependency]) -> Result<(), Error> {
        if dependencies.is_empty() { Ok(()) } else { Err(left()) }
    }

    fn ensure(&self, _: &[u8]) -> Result<(), Error> {
        Err(left())
    }

    fn fetch(&self, _: &Fetch) -> Result<Vec<u8>, Error> {
        Err(left())
    }

    fn fetch_tree(&self, _: &Input) -> Result<FetchedTree, Error> {
        Err(left())
    }

    fn fetch_closure(&self, _: &ClosureFetch) -> Result<Vec<u8>, Error> {
        Err(left())
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.is_over() { Err(left()) } else { Ok(()) }
    }

    // `Worker::tell` does not come here.
    fn tell(&self, _: &str) {}
}
