//! Starting the shell, in place of this process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nival::build::environment::references_graph;
use nival::model::Derivation;
use nival::model::derivation::options::BuildOptions;
use nival::ops::shell_env::rc::{self, Beginning};
use nival::ops::shell_env::{KEPT, ShellSurroundings, shell_environment};
use nival::store::api::Store;
use nival::sys::{PathError, errno_text};

use super::Call;
use crate::cli::context::Context;

/// Starts the shell; only a failure comes back.
///
/// # Errors
/// Whatever keeps it from being started.
pub fn start(
    context: &Context,
    call: &Call,
    store: Box<dyn Store>,
    drv: &Derivation,
    shell: &Path,
) -> anyhow::Result<()> {
    let options = BuildOptions::of(store.dir(), drv)?;
    let parent = context.environment.non_empty("TMPDIR").map_or(PathBuf::from("/tmp"), PathBuf::from);
    // It goes if anything fails.
    let directory = tempfile::Builder::new()
        .prefix(&format!("nix-shell-{}-", std::process::id()))
        .tempdir_in(&parent)
        .map_err(PathError::at("creating directory in", &parent))?;
    let store_dir = store.dir().clone();
    let around = ShellSurroundings {
        store_dir: &store_dir,
        directory: directory.path(),
        cores: match context.settings.cores() {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            cores => cores,
        },
        pure: call.pure,
        graph: &|paths| references_graph(&*store, paths),
    };
    let environment = shell_environment(drv, &options, &around)?;
    // This process becomes the shell, and leaves nothing behind in the store.
    drop(store);
    let command = call.command();
    let beginning = Beginning {
        directory: directory.path(),
        shell,
        pure: call.pure,
        structured: environment.structured,
        time_zone: context.environment.get("TZ").map(Into::into),
        command: &command,
        ends: call.ends(),
    };
    let rc_file = directory.path().join("rc");
    let write = |file: &Path, contents: &[u8]| {
        std::fs::write(file, contents).map_err(PathError::at("writing file", file))
    };
    write(&rc_file, &rc::text(&beginning))?;
    for file in environment.files {
        write(&directory.path().join(file.name), &file.contents)?;
    }
    let mut variables = outside(context, call);
    let texts = environment.variables.into_iter();
    variables.extend(texts.map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))));
    let mut program = Command::new(shell);
    program.arg0(shell.file_name().unwrap_or(shell.as_os_str())).env_clear().envs(variables);
    if !call.ends() && std::io::stdin().is_terminal() {
        program.arg("--rcfile");
    }
    let error = program.arg(&rc_file).exec();
    anyhow::bail!("executing shell '{}': {}", shell.display(), errno_text(&error))
}

/// The variables from outside that the shell has, too.
fn outside(context: &Context, call: &Call) -> BTreeMap<OsString, OsString> {
    let is_kept = |name: &str| KEPT.contains(&name) || call.kept.iter().any(|kept| kept == name);
    let all = context.environment.iter();
    let seen = all.filter(|(name, _)| !call.pure || name.to_str().is_some_and(is_kept));
    let mut seen: BTreeMap<OsString, OsString> =
        seen.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if call.pure {
        // Otherwise /etc/profile would set what is to be kept out.
        seen.insert("__ETC_PROFILE_SOURCED".into(), "1".into());
    }
    seen
}
