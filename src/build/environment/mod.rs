//! What a builder is given beside a place to work in: its environment, its arguments,
//! and the files that lie in its working directory.
//!
//! | what | where |
//! |---|---|
//! | attributes that are variables | the environment |
//! | those of `passAsFile` | a file each, which the environment names |
//! | structured attributes | `.attrs.json` and `.attrs.sh` |
//! | what `exportReferencesGraph` describes | a file each, or members of `.attrs.json` |
//!
//! A derivation may be written before the paths of its outputs are known. Where it means
//! an output it has a placeholder; and where the builder writes an output to another
//! path than the one in the text, that one counts as a placeholder, too.

pub mod attributes;
pub mod attrs_sh;
mod graph;
mod placeholders;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

pub use graph::{DescribedPath, references_graph};
pub use placeholders::Placeholders;

use crate::model::derivation::options::{self, BuildOptions, STRUCTURED};
use crate::model::derivation::{Bytes, Derivation};
use crate::model::json::{Json, JsonError};
use crate::model::store_path::{StoreDir, StorePath};
use crate::model::{Hash, base32};
use crate::store::error::StoreError;

/// The variables of a process.
pub type Variables = BTreeMap<Bytes, Bytes>;

/// Gives what is told of the closure of some paths, which must be among the inputs; see
/// [`references_graph`].
pub type ReferencesGraph<'s> = &'s dyn Fn(&BTreeSet<StorePath>) -> Result<Vec<DescribedPath>, StoreError>;

/// What surrounds a builder.
pub struct Surroundings<'s> {
    /// The store, as the builder sees it.
    pub store_dir: &'s StoreDir,
    /// The working directory, as the builder sees it.
    pub inside: &'s Path,
    /// How many cores it may use; at least 1.
    pub cores: u64,
    /// For each output the path that the builder writes.
    pub scratch: &'s BTreeMap<String, StorePath>,
    /// Variables of this process, or of whoever asks for the build.
    pub variable: &'s dyn Fn(&str) -> Option<OsString>,
    /// What is to be told of closures.
    pub graph: ReferencesGraph<'s>,
}

/// A file that a builder finds in its working directory, with mode 0644.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFile {
    /// Its name.
    pub name: String,
    /// Its contents.
    pub contents: Bytes,
}

/// What a builder is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Its environment.
    pub variables: Variables,
    /// Its arguments, without its own name.
    pub arguments: Vec<Bytes>,
    /// What lies in its working directory.
    pub files: Vec<BuildFile>,
}

/// Why a builder cannot be given what it should have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// What it is told of paths cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The attributes hold what JSON does not.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// Makes what the builder of a derivation is given.
///
/// # Errors
/// [`EnvironmentError`].
pub fn environment(
    drv: &Derivation,
    options: &BuildOptions,
    around: &Surroundings<'_>,
) -> Result<Environment, EnvironmentError> {
    let placeholders = Placeholders::new(around.store_dir, drv, around.scratch);
    let inside = around.inside.as_os_str().as_bytes();
    let mut made = Environment {
        variables: defaults(around),
        arguments: drv.args.iter().map(|argument| placeholders.fill_in(argument)).collect(),
        files: Vec::new(),
    };
    match &options.structured {
        Some(members) => {
            let outputs = around.scratch.iter();
            let outputs = outputs.map(|(name, path)| (name.clone(), around.store_dir.print(path)));
            let members = attributes::structured(members, outputs, options, around.store_dir, around.graph)?;
            let json = attributes::json(&members);
            let json = placeholders.fill_in(&json);
            if let Json::Object(members) = Json::parse(&json)? {
                made.add_named_file("NIX_ATTRS_SH_FILE", inside, ".attrs.sh", attrs_sh::script(&members));
            }
            made.add_named_file("NIX_ATTRS_JSON_FILE", inside, ".attrs.json", json);
        }
        None => {
            made.add_attributes(drv, options, inside, &placeholders);
            for (name, paths) in &options.export_references_graph {
                let contents = graph::text(around.store_dir, &(around.graph)(paths)?);
                made.files.push(BuildFile { name: name.clone(), contents });
            }
        }
    }
    made.add_fixed(drv, options, around);
    Ok(made)
}

/// What a derivation may say otherwise.
fn defaults(around: &Surroundings<'_>) -> Variables {
    let texts = [
        ("PATH", "/path-not-set".to_owned()),
        ("HOME", "/homeless-shelter".to_owned()),
        ("NIX_STORE", around.store_dir.as_str().to_owned()),
        ("NIX_BUILD_CORES", around.cores.to_string()),
    ];
    texts.into_iter().map(|(name, text)| (name.into(), text.into_bytes())).collect()
}

impl Environment {
    fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.variables.insert(name.into(), value.into());
    }

    /// A file in the working directory that a variable names.
    fn add_named_file(&mut self, variable: &str, inside: &[u8], name: &str, contents: Bytes) {
        self.set(variable, [inside, b"/", name.as_bytes()].concat());
        self.files.push(BuildFile { name: name.to_owned(), contents });
    }

    /// The attributes of a derivation as variables, or as files where it asks for that.
    fn add_attributes(
        &mut self,
        drv: &Derivation,
        options: &BuildOptions,
        inside: &[u8],
        placeholders: &Placeholders,
    ) {
        for (name, value) in drv.env.iter().filter(|(name, _)| *name != STRUCTURED) {
            let value = placeholders.fill_in(value);
            if !options.pass_as_file.contains(name) {
                self.variables.insert(name.clone(), value);
                continue;
            }
            // A variable of that name, which would come later, has precedence.
            let file = format!(".attr-{}", base32::encode(Hash::sha256(name).as_bytes()));
            self.variables.insert([name, &b"Path"[..]].concat(), [inside, b"/", file.as_bytes()].concat());
            self.files.push(BuildFile { name: file, contents: value });
        }
    }

    /// What no derivation can say otherwise.
    fn add_fixed(&mut self, drv: &Derivation, options: &BuildOptions, around: &Surroundings<'_>) {
        for name in ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"] {
            self.set(name, around.inside.as_os_str().as_bytes());
        }
        let is_fixed = options::is_fixed(drv);
        if is_fixed {
            self.set("NIX_OUTPUT_CHECKED", "1");
        }
        if is_fixed || options::is_impure(drv) {
            for name in &options.impure_env_vars {
                let value = (around.variable)(&String::from_utf8_lossy(name)).unwrap_or_default();
                self.variables.insert(name.clone(), value.into_vec());
            }
        }
        self.set("NIX_LOG_FD", "2");
        self.set("TERM", "xterm-256color");
    }
}
