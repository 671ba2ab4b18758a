//! `nix store add` and its old names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use nival::model::store_path::check_name;
use nival::model::{ContentAddressMethod, HashAlgorithm};
use nival::store::StoreError;
use nival::store::local::add::compute_path;

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::nix::hash::{bad_mode, git, parse_algorithm, source};
use crate::cli::nix::nar::doubled_slash;
use crate::cli::nix::{Arity, Command};
use crate::cli::output::streams::Out;

/// `nix store add`.
struct Add {
    method: ContentAddressMethod,
    algorithm: HashAlgorithm,
    name: Option<String>,
    dry_run: bool,
}

/// `nix store add`, also as `add-path`.
pub fn add() -> Box<dyn Command> {
    make(ContentAddressMethod::NixArchive)
}

/// `nix store add-file`.
pub fn add_file() -> Box<dyn Command> {
    make(ContentAddressMethod::Flat)
}

fn make(method: ContentAddressMethod) -> Box<dyn Command> {
    Box::new(Add { method, algorithm: HashAlgorithm::Sha256, name: None, dry_run: false })
}

impl Command for Add {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--name" => self.name = Some(given.text()?),
            "--dry-run" => self.dry_run = true,
            "--hash-algo" => self.algorithm = parse_algorithm(context, &given.text()?)?,
            "--mode" => {
                let mode = given.text()?;
                self.method = match mode.as_str() {
                    "nar" => ContentAddressMethod::NixArchive,
                    "flat" => ContentAddressMethod::Flat,
                    "text" => ContentAddressMethod::Text,
                    "git" => git(context)?,
                    _ => return Err(bad_mode(&mode)),
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let [word] = arguments else { return Ok(()) };
        anyhow::ensure!(
            self.method != ContentAddressMethod::Text || self.algorithm == HashAlgorithm::Sha256,
            "a text can only be addressed by its sha256 hash"
        );
        let path = source(context, word)?;
        if !self.method.takes_trees()
            && let Ok(meta) = std::fs::symlink_metadata(&path)
        {
            anyhow::ensure!(!meta.is_dir(), "read of 4096 bytes: Is a directory");
            anyhow::ensure!(!meta.is_symlink(), "path '{}' is a symlink", path.display());
        }
        let name = match &self.name {
            Some(name) => name.clone(),
            // As it was typed: a slash at the end leaves no name.
            None => last_part(word.as_bytes()),
        };
        check_name(&name).map_err(|reason| StoreError::Name { path: name.clone(), reason })?;
        let store = &*context.open_store_to_add()?;
        let added = if self.dry_run {
            compute_path(store.dir(), &path, &name, self.method, self.algorithm)
        } else {
            store.add_source(&path, &name, (self.method, self.algorithm))
        };
        let added = added.map_err(|error| match error {
            StoreError::Nar(error) => StoreError::Nar(doubled_slash(error)),
            other => other,
        })?;
        let mut out = Out::new();
        out.line(store.dir().display(&added))?;
        out.finish()
    }
}

fn last_part(path: &[u8]) -> String {
    String::from_utf8_lossy(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)).into_owned()
}
