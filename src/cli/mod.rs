//! The programs: which one is meant, and what all of them have in common.

mod collect;
mod complete;
mod contents;
mod context;
mod error;
mod evaluation;
mod flags;
mod installables;
mod keys;
mod man;
mod nival;
mod nix;
mod nix_build;
mod nix_channel;
mod nix_collect_garbage;
mod nix_copy_closure;
mod nix_daemon;
mod nix_env;
mod nix_hash;
mod nix_instantiate;
mod nix_prefetch_url;
mod nix_shell;
mod nix_store;
mod output;
mod realiser;
mod repair;
mod served;
mod signals;
mod stores;
mod tour;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ::nival::settings::Environment;

use crate::cli::output::messages::Ui;
use context::Context;
pub use output::version::{NIX_VERSION, VERSION};

/// The names of all programs, and what runs them.
const PROGRAMS: &[(&str, Program)] = &[
    ("nix-store", nix_store::run),
    ("nix-hash", nix_hash::run),
    ("nix", nix::run),
    ("nix-env", nix_env::run),
    ("nix-copy-closure", nix_copy_closure::run),
    ("nix-collect-garbage", nix_collect_garbage::run),
    ("nix-daemon", nix_daemon::run),
    ("nix-instantiate", nix_instantiate::run),
    ("nix-build", nix_build::run),
    ("nix-shell", nix_shell::run),
    ("nix-channel", nix_channel::run),
    ("nix-prefetch-url", nix_prefetch_url::run),
];

type Program = fn(Context, Vec<OsString>) -> anyhow::Result<()>;

/// Runs the program that the first word names: by its own name, or, for
/// `nival`, by the word after it.
pub fn run(words: Vec<OsString>, environment: Environment) -> ExitCode {
    let mut words = words.into_iter();
    let called = words.next().unwrap_or_default();
    let mut called = called.to_string_lossy().into_owned();
    let mut name =
        Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut words: Vec<OsString> = words.collect();
    let ui = Arc::new(Ui::new(environment.get("NO_COLOR").is_some(), environment.get("TERM")));
    // Before anything else: a shell that completes a word must never run it.
    if let Some(number) = environment.get(complete::VARIABLE) {
        return match complete::run(&name, &words, number, &environment) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ExitCode::from(error::report(&error, &called, &ui)),
        };
    }
    if program(&name).is_none() {
        match words.first().and_then(|word| word.to_str()).filter(|word| program(word).is_some()) {
            Some(first) => {
                name = first.to_owned();
                called = name.clone();
                words.remove(0);
            }
            None => name = "nival".to_owned(),
        }
    }
    let result = prepare().and_then(|()| match program(&name) {
        Some(program) => {
            let context = Context::new(&name, environment, Arc::clone(&ui))?;
            signals::token().scope(|| program(context, words))
        }
        None => signals::token().scope(|| nival::run(&called, words, &environment)),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error::report(&error, &called, &ui)),
    }
}

fn program(name: &str) -> Option<Program> {
    PROGRAMS.iter().find(|(known, _)| *known == name).map(|(_, program)| *program)
}

/// The process's own state, before anything is done.
fn prepare() -> anyhow::Result<()> {
    // Files get the modes that they should have, whatever the caller's umask is.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Many paths at once take many lock files; what the system allows is had
    // for the asking, and where it is not, less is done at once.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let more = rustix::process::Rlimit { current: files.maximum, ..files };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, more);
    Ok(signals::install()?)
}
