//! Roots, collecting and checking, as every store that has them offers them.

use std::collections::HashSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::LocalStore;
use crate::model::StorePath;
use crate::store::api::Store;
use crate::store::api::collect::{CollectStore, Dead, GcOptions, GcReport, Keep};
use crate::store::api::maintain::{DumpStore, MaintainStore, RepairStore};
use crate::store::api::roots::{RootSearch, RootStore, Roots};
use crate::store::error::Result;

impl RootStore for LocalStore {
    fn add_temp_roots(&self, paths: &[&StorePath]) -> Result<()> {
        LocalStore::add_temp_roots(self, paths)
    }

    fn register_indirect_root(&self, link: &Path) -> Result<()> {
        LocalStore::register_indirect_root(self, link)
    }

    fn find_roots(&self, search: RootSearch) -> Result<Roots> {
        LocalStore::find_roots(self, search)
    }

    fn add_indirect_root(&self, link: &Path, path: &StorePath) -> Result<()> {
        LocalStore::add_indirect_root(self, link, path)
    }
}

impl CollectStore for LocalStore {
    fn survey(&self, alive: bool, keep: Keep, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<()> {
        let survey = LocalStore::survey(self, keep, &HashSet::new())?;
        let dir = self.dir().as_str();
        // An early end is no error.
        let _ = survey.each_name(alive, |name| match visit(&format!("{dir}/{name}")) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(()),
        });
        Ok(())
    }

    fn dead_without(
        &self,
        without: &HashSet<PathBuf>,
        keep: Keep,
        visit: &mut dyn FnMut(&str),
    ) -> Result<Dead> {
        let survey = LocalStore::survey(self, keep, without)?;
        let dir = self.dir().as_str();
        let Ok(()) = survey.each_name(false, |name| -> std::result::Result<(), std::convert::Infallible> {
            visit(&format!("{dir}/{name}"));
            Ok(())
        });
        Ok(Dead { count: survey.dead_count(), bytes: Some(self.reclaimable(&survey)?), is_complete: true })
    }

    fn collect_garbage(&self, options: &GcOptions, report: &mut GcReport) -> Result<()> {
        LocalStore::collect_garbage(self, options, report)
    }

    fn delete_paths(
        &self,
        paths: &[StorePath],
        ignore_liveness: bool,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<()> {
        LocalStore::delete_paths(self, paths, ignore_liveness, options, report)
    }
}

impl MaintainStore for LocalStore {
    fn link_equal_files(&self) -> Result<u64> {
        Ok(self.optimise()?.failed)
    }

    fn verify(&self, contents: bool, repair: Option<&[&dyn Store]>) -> Result<bool> {
        LocalStore::verify(self, contents, repair)
    }
}

impl RepairStore for LocalStore {
    fn repair(&self, path: &StorePath, sources: &[&dyn Store]) -> Result<()> {
        self.require_repair(path, sources)
    }
}

impl DumpStore for LocalStore {
    fn count(&self) -> Result<u64> {
        self.db().count()
    }

    fn dump_all(&self, output: &mut dyn Write) -> Result<()> {
        LocalStore::dump_all(self, output)
    }
}
