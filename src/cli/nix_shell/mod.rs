//! `nix-shell`: a shell in the environment of a derivation, whose inputs are made valid first.

mod script;
mod start;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::model::{Derivation, DerivedPath, Outputs, StoreDir, StorePath};
use nival::ops::evaluate::Asked;
use nival::ops::packages::Package;
use nival::ops::packages::walk::{self, Thrown};
use nival::ops::realise::output_paths;
use nival::store::api::Store;
use nival::store::api::realise::RealiseMode;
use regex_lite::Regex;

use self::script::Script;
use super::context::Context;
use super::evaluation::{self, Arguments, Stopped, Wanted};
use super::flags::parse;
use super::flags::{NIX_SHELL, page};
use super::installables::expression;
use super::installables::texts::{self, Text};
use super::{error, realiser};
use crate::cli::error::usage;

/// What the command line asks for.
struct Call {
    /// The script that is run.
    script: Option<Script>,
    /// The interpreter of the script.
    interpreter: Option<OsString>,
    /// What the shell does first, and whether it ends then.
    command: Option<(OsString, bool)>,
    pure: bool,
    /// Variables that a pure shell has from outside.
    kept: Vec<String>,
    /// Inputs that are not made valid.
    excluded: Vec<Regex>,
    /// Whether the arguments are packages.
    packages: bool,
    /// Whether the arguments are expressions.
    expressions: bool,
    dry_run: bool,
    again: Option<RealiseMode>,
    attributes: Vec<String>,
    wanted: Wanted,
    words: Vec<OsString>,
}

/// Runs it.
///
/// # Errors
/// Usage errors, and those of evaluating and building.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let (words, script) = script::unfold(words)?;
    let call = Call::read(&mut context, words, script)?;
    if context.is_answered_by(|| page::of_program(&NIX_SHELL).print())? {
        return Ok(());
    }
    let drv_path = call.derivation(&context)?;
    let shell = call.shell(&context)?;
    let opened = context.open_store()?;
    let store = &*opened;
    let drv = store.queries().read_derivation(&drv_path)?;
    let mut requests = call.inputs(store.dir(), &drv);
    if let Shell::Package(package) = &shell {
        requests.push(DerivedPath::built(package.clone(), Outputs::Named(["out".to_owned()].into())));
    }
    if call.dry_run {
        return realiser::tell_missing(&context, store, &requests);
    }
    let outcomes = match call.again {
        Some(mode) => realiser::realise_again(&context, store, &requests, mode)?,
        None => realiser::realise(&context, store, &requests)?,
    };
    realiser::require(&context, store, &requests, outcomes)?;
    let shell = shell.program(&context, store)?;
    start::start(&context, &call, opened, &drv, &shell)
}

impl Call {
    fn read(context: &mut Context, words: Vec<OsString>, script: Option<Script>) -> anyhow::Result<Self> {
        let mut call = Self {
            interpreter: None,
            command: None,
            pure: false,
            kept: Vec::new(),
            excluded: Vec::new(),
            packages: false,
            expressions: false,
            dry_run: false,
            again: None,
            attributes: Vec::new(),
            wanted: Wanted::default(),
            words: Vec::new(),
            script,
        };
        let words = parse::expressions(&NIX_SHELL, words, context, |context, given| {
            match given.name() {
                "--attr" => call.attributes.push(given.text()?),
                "--check" => call.again = Some(RealiseMode::Check),
                "--command" => call.command = Some((given.value(), false)),
                "--dry-run" => call.dry_run = true,
                "--exclude" => {
                    let regex = given.text()?;
                    let regex = Regex::new(&regex)
                        .map_err(|error| anyhow::anyhow!("invalid regex '{regex}': {error}"));
                    call.excluded.push(regex?);
                }
                "--expr" => call.expressions = true,
                "-i" if call.script.is_some() => call.interpreter = Some(given.value()),
                "-i" => return Err(NIX_SHELL.unrecognised("-i")),
                "--keep" => call.kept.push(given.text()?),
                // No links are made in any case.
                "--no-out-link" | "--out-link" | "--add-root" | "--indirect" => {}
                "--packages" => call.packages = true,
                "--pure" => call.pure = true,
                "--repair" => call.again = Some(RealiseMode::Repair),
                "--run" => call.command = Some((given.value(), true)),
                _ if call.wanted.flag(&given, context)? => {}
                other => return Err(page::not_taken(other)),
            }
            Ok(())
        })?;
        call.words = words;
        if call.packages && call.expressions {
            return usage("'-p' and '-E' are mutually exclusive");
        }
        Ok(call)
    }

    /// What the shell does first.
    fn command(&self) -> Vec<u8> {
        match (&self.script, &self.interpreter, &self.command) {
            (Some(script), Some(interpreter), _) => script.command(interpreter),
            (_, _, Some((command, _))) => command.as_bytes().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Whether the shell ends then.
    fn ends(&self) -> bool {
        let runs_script = self.script.is_some() && self.interpreter.is_some();
        runs_script || self.command.as_ref().is_some_and(|(_, ends)| *ends)
    }

    /// The expressions of which one is a derivation.
    fn texts(&self) -> anyhow::Result<Vec<Text>> {
        if self.packages {
            let packages = evaluation::texts(&self.words)?;
            let packages: Vec<String> = packages.iter().map(|package| format!("({package}) ")).collect();
            return Ok(vec![Text::Expression(format!(
                "{{...}}@args: with import <nixpkgs> args; (pkgs.runCommandCC or pkgs.runCommand) \"shell\" \
                 {{ buildInputs = [ {}]; }} \"\"",
                packages.concat()
            ))]);
        }
        let directory = self.script.as_ref().map_or(Path::new("."), Script::directory);
        if self.words.is_empty() && !self.expressions {
            let Some(file) = default_file(Path::new(".")) else {
                anyhow::bail!(
                    "no argument specified and no 'shell.nix' or 'default.nix' file found in the working directory"
                );
            };
            return texts::read(&[file.into_os_string()], false, "");
        }
        let words = self.words.iter().map(|word| match self.expressions {
            true => word.clone(),
            false => located(directory, word, self.script.is_some()),
        });
        texts::read(&words.collect::<Vec<_>>(), self.expressions, "")
    }

    /// The one derivation that the arguments stand for, in the store.
    fn derivation(&self, context: &Context) -> anyhow::Result<StorePath> {
        if let [word] = &self.words[..]
            && !self.packages
            && !self.expressions
            && let Some(path) = named_derivation(&context.store_dir()?, word)
        {
            return Ok(path);
        }
        let texts = self.texts()?;
        let mut found = None;
        evaluation::run(context, &self.wanted, context.readonly_mode, |worker, arguments, asked| {
            let mut arguments = arguments.clone();
            if !self.packages {
                let name = worker.shared.symbols.intern(b"inNixShell");
                arguments.retain(|(known, _)| *known != name);
                arguments.push((name, Value::bool(true)));
            }
            let mut packages = Vec::new();
            for text in &texts {
                let value = text.value(worker)?;
                let whole = self.attributes.is_empty().then_some("");
                for path in whole.into_iter().chain(self.attributes.iter().map(String::as_str)) {
                    let value = expression::selected(worker, value, path, &arguments)?;
                    packages.extend(walk::packages(worker, value, path, &arguments, Thrown::Ends)?);
                }
            }
            found = only(worker, asked, &packages)?;
            Ok(asked.settle()?)
        })?;
        found.map_or_else(|| usage("nix-shell requires a single derivation"), Ok)
    }

    /// What has to be valid before the derivation can be worked on.
    fn inputs(&self, dir: &StoreDir, drv: &Derivation) -> Vec<DerivedPath> {
        let is_excluded =
            |path: &StorePath| self.excluded.iter().any(|regex| regex.is_match(&dir.print(path)));
        let built = drv.input_drvs.iter().filter(|(path, _)| !is_excluded(path));
        let built =
            built.map(|(path, names)| DerivedPath::built(path.clone(), Outputs::Named(names.clone())));
        built.chain(drv.input_srcs.iter().cloned().map(DerivedPath::opaque)).collect()
    }

    /// The shell that is to be started.
    fn shell(&self, context: &Context) -> anyhow::Result<Shell> {
        if let Some(program) = context.environment.get("NIX_BUILD_SHELL") {
            return Ok(Shell::Program(program.into()));
        }
        let text = Text::Expression("(import <nixpkgs> {}).bashInteractive".to_owned());
        let mut found = None;
        let result = evaluation::run(context, &self.wanted, context.readonly_mode, |worker, _, asked| {
            let (value, arguments) = (text.value(worker)?, Arguments::new());
            let packages = walk::packages(worker, value, "", &arguments, Thrown::Ends)?;
            found = only(worker, asked, &packages)?;
            Ok(asked.settle()?)
        });
        nival::sys::interrupt::check()?;
        match (result, found) {
            (Ok(()), Some(package)) => Ok(Shell::Package(package)),
            (result, _) => {
                if let Err(failure) = result {
                    error::report(&failure, &context.program, &context.ui);
                }
                context.ui.hint("uses bash from your environment");
                Ok(Shell::OfEnvironment)
            }
        }
    }
}

/// A shell.
enum Shell {
    /// The program that the user named.
    Program(PathBuf),
    /// `bin/bash` of a package that is to be built.
    Package(StorePath),
    /// `bash`, wherever it is found.
    OfEnvironment,
}

impl Shell {
    /// Its program.
    fn program(self, context: &Context, store: &dyn Store) -> anyhow::Result<PathBuf> {
        match self {
            Self::Program(program) => Ok(program),
            Self::OfEnvironment => {
                let path = context.environment.get("PATH").unwrap_or(OsStr::new("/bin:/usr/bin"));
                let found =
                    std::env::split_paths(path).map(|dir| dir.join("bash")).find(|file| file.is_file());
                Ok(found.unwrap_or_else(|| "bash".into()))
            }
            Self::Package(path) => {
                let drv = store.queries().read_derivation(&path)?;
                let named = Outputs::Named(["out".to_owned()].into());
                let outputs = output_paths(store, &path, &drv, &named)?;
                let out = outputs.into_iter().find_map(|(_, path)| path);
                let out =
                    out.ok_or_else(|| anyhow::anyhow!("the package of the shell has no output 'out'"))?;
                Ok(PathBuf::from(store.dir().print(&out)).join("bin/bash"))
            }
        }
    }
}

/// The derivation of the only package; of several none is written.
fn only<'e>(
    worker: &Worker<'e>,
    asked: &Asked,
    packages: &[Package<'e>],
) -> Result<Option<StorePath>, Stopped> {
    let [package] = packages else { return Ok(None) };
    Ok(Some(texts::derivation(worker, &asked.options().store_dir, package)?))
}

/// The derivation of the store that a word names, with the name of an output or without.
fn named_derivation(dir: &StoreDir, word: &OsStr) -> Option<StorePath> {
    let word = word.to_str()?;
    let path = word.split_once('!').map_or(word, |(path, _)| path);
    dir.parse(path).ok().filter(StorePath::is_derivation)
}

/// The file of a directory that stands for it.
fn default_file(directory: &Path) -> Option<PathBuf> {
    ["shell.nix", "default.nix"].iter().map(|name| directory.join(name)).find(|file| file.exists())
}

/// A word that names a file or directory: in a script one beside it, and for a directory what stands
/// for it.
fn located(directory: &Path, word: &OsString, of_script: bool) -> OsString {
    let bytes = word.as_bytes();
    let is_path = bytes != b"-" && !bytes.starts_with(b"<") && !bytes.windows(3).any(|part| part == b"://");
    if !is_path || bytes.starts_with(b"channel:") || bytes.starts_with(b"flake:") {
        return word.clone();
    }
    let path = if of_script { directory.join(word) } else { PathBuf::from(word) };
    let file = if path.is_dir() { default_file(&path) } else { None };
    OsString::from_vec(file.unwrap_or(path).into_os_string().into_vec())
}
