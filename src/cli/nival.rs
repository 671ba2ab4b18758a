//! `nival` under its own name: what belongs to no program of the original.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};

use ::nival::settings::Environment;
use ::nival::sys::atomic;

use super::error::Exit;
use super::flags::shells;
use super::{PROGRAMS, VERSION, man};

/// Its subcommands and what they do.
pub const SUBCOMMANDS: &[(&str, &str)] = &[
    ("completions", "Print a script that makes a shell complete the words of all programs"),
    (
        "install-links",
        "Make a symlink to this program for each program that it is, and install man pages and completions",
    ),
    ("man", "Write the man pages of all programs into a directory"),
    ("tour", "Show the main job on a store of its own in a temporary directory"),
];

fn about(name: &str) -> &'static str {
    SUBCOMMANDS.iter().find(|(known, _)| *known == name).map_or("", |(_, about)| about)
}

fn command() -> Command {
    Command::new("nival")
        .about("A drop-in replacement for nix-store, nix-env, nix copy and the commands around them")
        .long_about(
            "A drop-in replacement for nix-store, nix-env, nix copy and the commands around them.\n\n\
             Called by the name of one of them (through a symlink), or with that name as the first word, \
             it is that program.",
        )
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .action(clap::ArgAction::SetTrue)
                .help("Print the version"),
        )
        .subcommand(
            Command::new("completions").about(about("completions")).arg(
                Arg::new("shell").value_name("SHELL").required(true).value_parser(["bash", "fish", "zsh"]),
            ),
        )
        .subcommand(
            Command::new("man")
                .about(about("man"))
                .arg(Arg::new("dir").value_name("DIR").required(true).value_parser(value_parser!(PathBuf))),
        )
        .subcommand(
            Command::new("install-links")
                .about(about("install-links"))
                .arg(
                    Arg::new("force")
                        .long("force")
                        .action(clap::ArgAction::SetTrue)
                        .help("Replace symlinks that are there"),
                )
                .arg(
                    Arg::new("only-links")
                        .long("only-links")
                        .action(clap::ArgAction::SetTrue)
                        .help("Do not install man pages and completions"),
                )
                .arg(Arg::new("dir").value_name("DIR").required(true).value_parser(value_parser!(PathBuf))),
        )
        .subcommand(Command::new("tour").about(about("tour")).arg(
            Arg::new("keep").long("keep").action(clap::ArgAction::SetTrue).help("Leave the directory there"),
        ))
}

/// Runs it.
pub fn run(called: &str, words: Vec<OsString>, environment: &Environment) -> anyhow::Result<()> {
    let words = std::iter::once(OsString::from("nival")).chain(words);
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            let status = u8::try_from(error.exit_code()).unwrap_or(1).min(1);
            error.print()?;
            return if status == 0 { Ok(()) } else { Err(Exit(status).into()) };
        }
    };
    match matches.subcommand() {
        Some(("install-links", matches)) => install_links(matches, called, environment),
        Some(("completions", matches)) => {
            let shell =
                matches.get_one::<String>("shell").and_then(|shell| shells::script(shell, program_names()));
            let mut out = crate::cli::output::streams::Out::new();
            out.raw(shell.unwrap_or_default().as_bytes())?;
            out.finish()
        }
        Some(("man", matches)) => {
            let Some(dir) = matches.get_one::<PathBuf>("dir") else { return Ok(()) };
            write_man_pages(dir)
        }
        Some(("tour", matches)) => {
            super::tour::run(matches.get_flag("keep"), &this_program(called, environment)?)
        }
        _ if matches.get_flag("version") => {
            let mut out = crate::cli::output::streams::Out::new();
            out.line(format_args!("nival (Nival) {VERSION}"))?;
            out.finish()
        }
        _ => {
            command().print_help()?;
            Err(Exit(1).into())
        }
    }
}

/// Where this program lies. Without /proc, where the shell found it.
fn this_program(called: &str, environment: &Environment) -> anyhow::Result<PathBuf> {
    let unknown = match std::env::current_exe() {
        Ok(path) => return Ok(path),
        Err(error) => error,
    };
    let here = std::env::current_dir()?;
    let found = if called.contains('/') {
        Some(here.join(called))
    } else {
        let dirs = environment.get("PATH").map(std::env::split_paths).into_iter().flatten();
        dirs.map(|dir| here.join(dir).join(called)).find(|path| path.is_file())
    };
    let Some(found) = found.filter(|path| path.is_file()) else {
        anyhow::bail!("cannot find out where this program lies ({unknown}); call it by its full path")
    };
    Ok(std::fs::canonicalize(&found).unwrap_or(found))
}

/// The names of all programs.
fn program_names() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(name, _)| *name).chain(["nival"])
}

fn install_links(matches: &ArgMatches, called: &str, environment: &Environment) -> anyhow::Result<()> {
    let Some(dir) = matches.get_one::<PathBuf>("dir") else { return Ok(()) };
    let program = this_program(called, environment)?;
    let force = matches.get_flag("force");
    let share = share(&std::path::absolute(dir)?);
    let mut files = Vec::new();
    if !matches.get_flag("only-links") {
        files = man_pages(&share.join("man"));
        for shell in shells::names() {
            let script = shells::script(shell, program_names()).unwrap_or_default();
            for name in program_names() {
                files.push((share.join(completion_file(shell, name)), script.clone()));
            }
        }
        // Nothing is made if something is in the way.
        files.iter().try_for_each(|(path, _)| check_file(path, force))?;
    }
    std::fs::create_dir_all(dir).map_err(::nival::sys::PathError::at("creating directory", dir))?;
    let mut out = crate::cli::output::streams::Out::new();
    for (name, _) in PROGRAMS {
        let link = dir.join(name);
        make_link(&program, &link, force)?;
        out.line(format_args!("{} -> {}", link.display(), program.display()))?;
    }
    if !files.is_empty() {
        files.iter().try_for_each(|(path, text)| write_file(path, text))?;
        out.line(format_args!("man pages and completions are in {}", share.display()))?;
    }
    out.finish()
}

/// The files below a directory `share` in which a shell looks for the completion of a program.
fn completion_file(shell: &str, program: &str) -> String {
    match shell {
        "bash" => format!("bash-completion/completions/{program}"),
        "fish" => format!("fish/vendor_completions.d/{program}.fish"),
        // One file is for all programs that its first line names.
        _ => "zsh/site-functions/_nival".to_owned(),
    }
}

/// The directory of man pages and completions that goes with one of programs: beside a directory
/// `bin`, else within it.
fn share(dir: &Path) -> PathBuf {
    match dir.parent().filter(|_| dir.file_name().is_some_and(|name| name == "bin")) {
        Some(parent) => parent.join("share"),
        None => dir.join("share"),
    }
}

/// The files of all man pages below a directory of manuals, with their texts.
fn man_pages(dir: &Path) -> Vec<(PathBuf, String)> {
    let place = |name: String| dir.join(format!("man{}", name.rsplit('.').next().unwrap_or("1"))).join(name);
    man::pages().into_iter().map(|(name, text)| (place(name), text)).collect()
}

fn write_man_pages(dir: &Path) -> anyhow::Result<()> {
    let pages = man_pages(dir);
    pages.iter().try_for_each(|(path, _)| check_file(path, false))?;
    pages.iter().try_for_each(|(path, text)| write_file(path, text))
}

/// Refuses to replace what is not ours, such as the pages of the original.
fn check_file(path: &Path, force: bool) -> anyhow::Result<()> {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let is_ours = || meta.is_file() && std::fs::File::open(path).is_ok_and(has_our_mark);
    let replaced = !meta.is_dir() && (force || is_ours());
    anyhow::ensure!(
        replaced,
        "'{}' exists already and is not Nival's{}",
        path.display(),
        if meta.is_dir() { "" } else { "; --force replaces it, --only-links leaves such files out" }
    );
    Ok(())
}

/// Whether a file begins as our pages (`.TH … "Nival 1.0"`) and completion scripts do.
fn has_our_mark(file: std::fs::File) -> bool {
    let mut start = Vec::new();
    let read = std::io::Read::read_to_end(&mut std::io::Read::take(file, 4096), &mut start);
    let start = String::from_utf8_lossy(&start);
    read.is_ok()
        && start.lines().take(3).any(|line| line.contains("\"Nival ") || line.contains("nival completions "))
}

/// Writes a file in the place of another, if there is one; what a symlink leads to is
/// not touched.
fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(::nival::sys::PathError::at("creating directory", dir))?;
    Ok(atomic::replace_file(path, text.as_bytes(), 0o644)?)
}

fn make_link(program: &Path, link: &Path, force: bool) -> anyhow::Result<()> {
    if let Ok(meta) = std::fs::symlink_metadata(link) {
        let same = std::fs::read_link(link).is_ok_and(|target| target == program);
        if same {
            return Ok(());
        }
        anyhow::ensure!(
            force && meta.is_symlink(),
            "'{}' exists already{}",
            link.display(),
            if meta.is_symlink() { "; --force replaces it" } else { " and is no symlink" }
        );
        std::fs::remove_file(link).map_err(::nival::sys::PathError::at("removing", link))?;
    }
    std::os::unix::fs::symlink(program, link)
        .map_err(::nival::sys::PathError::at("creating symbolic link", link))?;
    Ok(())
}
