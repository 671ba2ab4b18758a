//! The environment in which one can work on a derivation by hand, as its builder would, and what a
//! shell does when it begins there.

pub mod rc;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::build::environment::{
    BuildFile, EnvironmentError, ReferencesGraph, Variables, attributes, attrs_sh,
};
use crate::model::derivation::options::{BuildOptions, STRUCTURED};
use crate::model::derivation::{Derivation, placeholder};
use crate::model::store_path::StoreDir;

/// What surrounds the shell.
pub struct ShellSurroundings<'s> {
    /// The store.
    pub store_dir: &'s StoreDir,
    /// A directory of its own.
    pub directory: &'s Path,
    /// How many cores builders may use; at least 1.
    pub cores: u64,
    /// Whether nothing else of the environment outside is seen.
    pub pure: bool,
    /// What is to be told of closures.
    pub graph: ReferencesGraph<'s>,
}

/// An environment.
pub struct ShellEnvironment {
    /// Variables, beside those from outside.
    pub variables: Variables,
    /// What lies in the directory of the shell.
    pub files: Vec<BuildFile>,
    /// Whether attributes are declared by a file that is read.
    pub structured: bool,
}

/// Makes the environment of a derivation.
///
/// # Errors
/// [`EnvironmentError`].
pub fn shell_environment(
    drv: &Derivation,
    options: &BuildOptions,
    around: &ShellSurroundings<'_>,
) -> Result<ShellEnvironment, EnvironmentError> {
    let directory = around.directory.as_os_str().as_bytes();
    let below = |name: &str| [directory, b"/", name.as_bytes()].concat();
    let mut variables = Variables::new();
    for name in ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP"] {
        variables.insert(name.into(), directory.to_vec());
    }
    variables.insert(b"NIX_STORE".to_vec(), around.store_dir.as_str().into());
    variables.insert(b"NIX_BUILD_CORES".to_vec(), around.cores.to_string().into_bytes());
    variables
        .insert(b"IN_NIX_SHELL".to_vec(), if around.pure { b"pure".to_vec() } else { b"impure".to_vec() });
    let mut files = Vec::new();
    for (name, value) in drv.env.iter().filter(|(name, _)| *name != STRUCTURED) {
        if !options.pass_as_file.contains(name) {
            variables.insert(name.clone(), value.clone());
            continue;
        }
        let file = format!(".attr-{}", files.len());
        variables.insert([name, &b"Path"[..]].concat(), below(&file));
        files.push(BuildFile { name: file, contents: value.clone() });
    }
    if let Some(members) = &options.structured {
        // Nobody writes the outputs.
        let outputs = drv.outputs.keys().map(|name| {
            let placeholder = placeholder::of_output(name.as_bytes());
            (name.clone(), String::from_utf8_lossy(&placeholder).into_owned())
        });
        let members = attributes::structured(members, outputs, options, around.store_dir, around.graph)?;
        for (variable, name, contents) in [
            ("NIX_ATTRS_JSON_FILE", ".attrs.json", attributes::json(&members)),
            ("NIX_ATTRS_SH_FILE", ".attrs.sh", attrs_sh::script(&members)),
        ] {
            variables.insert(variable.into(), below(name));
            files.push(BuildFile { name: name.to_owned(), contents });
        }
    }
    Ok(ShellEnvironment { variables, files, structured: options.structured.is_some() })
}

/// Variables that also a pure shell has from outside.
pub const KEPT: [&str; 19] = [
    "DISPLAY",
    "HOME",
    "IN_NIX_SHELL",
    "LOGNAME",
    "NIX_BUILD_SHELL",
    "NIX_SHELL_PRESERVE_PROMPT",
    "PAGER",
    "SHLVL",
    "TERM",
    "TZ",
    "USER",
    "WAYLAND_DISPLAY",
    "WAYLAND_SOCKET",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
