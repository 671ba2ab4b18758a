//! What a registry has for a name.

use std::path::Path;

use super::super::world::Asked;
use crate::eval::error::Error;
use crate::flake::registry::{self, Registry, RegistryError};
use crate::model::flake_ref::FlakeRef;
use crate::model::input::Input;
use crate::ops::prefetch::Prefetch;

impl Asked {
    /// What a name stands for. Expressions know the registry that all users have, and no other: they
    /// are to mean the same for everybody.
    pub(super) fn resolve_indirect(&self, input: &Input) -> Result<Input, Error> {
        if self.access.is_pure() {
            let url = input.url();
            return Err(Error::new(format!(
                "'{url}' is an indirect flake reference, but registry lookups are not allowed"
            )));
        }
        let reference = FlakeRef { input: input.clone(), dir: String::new() };
        let registries = [self.global_registry()?];
        let found = registry::resolve(&reference, &registries);
        found.map(|found| found.input).map_err(|error| Error::new(error.to_string()))
    }

    /// The registry that all users have. One that cannot be read is empty, and the user is told.
    fn global_registry(&self) -> Result<Registry, Error> {
        let place = &self.options.flake_registry;
        let read = match place.as_str() {
            "" => return Ok(Registry::default()),
            path if path.starts_with('/') => Registry::read(Path::new(path)),
            url => {
                let wanted = Prefetch {
                    name: Some("flake-registry.json".to_owned()),
                    ..Prefetch::file(url.to_owned())
                };
                let path = self.prefetched(wanted)?.map_err(super::super::world::of_fetch)?.path;
                let file = self.real(self.options.store_dir.print(&path).as_bytes())?;
                Registry::read(&file)
            }
        };
        match read {
            Err(error @ (RegistryError::Format { .. } | RegistryError::Version { .. })) => {
                self.progress.warn(&format!("{error}, so it is taken for an empty one"));
                Ok(Registry::default())
            }
            other => other.map_err(|error| Error::new(error.to_string())),
        }
    }
}
