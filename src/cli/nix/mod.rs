//! `nix`: the subcommands of the newer interface.
//!
//! [`table`] names them; each is a [`Command`] in the file of its family, which
//! takes flags while the words are read and does its work afterwards.

mod config;
mod copy;
mod derivation;
mod derivation_add;
mod elsewhere;
mod gc;
mod hash;
mod help;
mod info_json;
pub mod installable;
mod key;
mod log;
mod make_content_addressed;
mod nar;
mod path_info;
mod place;
pub mod plan;
mod prefetch_file;
mod profile;
mod repair;
mod selection;
mod sign;
mod store;
mod store_add;
mod store_tree;
mod table;
mod tree;
mod verify;
mod why_depends;
mod words;

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use nival::progress::Progress as _;
use nival::settings::Origin;
use nival::sys::{PathError, interrupt};

use super::args::{Args, refuse_empty};
use super::context::Context;
use super::error::{BrokenPipe, Exit, usage};
use super::nix_daemon;
use super::ui::Out;

pub use hash::hash_contents;
pub use place::{Place, Takes};
use table::Row;
use words::{Word, Words};

/// Switches of every subcommand, and the settings they stand for: what was
/// fetched before does not count any more, or nothing else is to be fetched.
const NETWORK_SWITCHES: &[(&str, &[(&str, &str)])] = &[
    (
        "--refresh",
        &[
            ("tarball-ttl", "0"),
            ("narinfo-cache-meta-ttl", "0"),
            ("narinfo-cache-positive-ttl", "0"),
            ("narinfo-cache-negative-ttl", "0"),
        ],
    ),
    ("--offline", OFFLINE),
    ("--no-net", OFFLINE),
];
const OFFLINE: &[(&str, &str)] = &[
    ("substitute", "false"),
    ("tarball-ttl", "4294967295"),
    ("narinfo-cache-meta-ttl", "4294967295"),
    ("download-attempts", "0"),
    ("connect-timeout", "1"),
];

/// A subcommand.
pub trait Command {
    /// How many arguments it takes.
    fn arity(&self) -> Arity {
        Arity::exactly(0)
    }

    /// Takes a flag and its values; false if the subcommand has no such flag.
    ///
    /// # Errors
    /// A missing or bad value.
    fn flag(&mut self, flag: &str, words: &mut Words, context: &Context) -> anyhow::Result<bool> {
        let _ = (flag, words, context);
        Ok(false)
    }

    /// Looks at the flags once all of them are there.
    ///
    /// # Errors
    /// A flag that is missing.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Does the work.
    ///
    /// # Errors
    /// Those of the work.
    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()>;
}

/// How many arguments a subcommand takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arity {
    least: usize,
    most: usize,
}

impl Arity {
    /// Any number.
    pub const ANY: Self = Self { least: 0, most: usize::MAX };

    /// So many.
    pub const fn exactly(count: usize) -> Self {
        Self { least: count, most: count }
    }

    /// None or so many.
    pub const fn at_most(count: usize) -> Self {
        Self { least: 0, most: count }
    }
}

/// A subcommand that has a name, but nothing behind it yet.
struct NotBuilt(&'static Row);

impl Command for NotBuilt {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, _flag: &str, _words: &mut Words, _context: &Context) -> anyhow::Result<bool> {
        Ok(true)
    }

    fn run(&self, _context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let Row { name, about, .. } = self.0;
        anyhow::bail!("'nix {name}' is not available in this version of Nival: {about}")
    }
}

/// What the words ask for.
enum Request {
    /// Only a group of subcommands is named, or (empty) not even that.
    Group(&'static str),
    /// A subcommand and its arguments.
    Command(&'static Row, Box<dyn Command>, Vec<OsString>),
}

impl Request {
    /// The words of the subcommand, for its help.
    fn name(&self) -> &'static str {
        match self {
            Self::Group(name) => name,
            Self::Command(row, ..) => row.name,
        }
    }

    fn flag(&mut self, flag: &str, words: &mut Words, context: &mut Context) -> anyhow::Result<()> {
        if let Some((_, settings)) = NETWORK_SWITCHES.iter().find(|(name, _)| *name == flag) {
            for (name, value) in *settings {
                context.settings.set(name, value, Origin::CommandLine)?;
            }
            return Ok(());
        }
        let known = words.common(context, flag)?
            || match self {
                Self::Command(_, command, _) => command.flag(flag, words, context)?,
                Self::Group(_) => false,
            };
        if known { Ok(()) } else { usage(format!("unrecognised flag '{flag}'")) }
    }

    fn argument(&mut self, word: OsString, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Command(_, command, arguments) => {
                if arguments.len() >= command.arity().most {
                    return usage(format!("unexpected argument '{}'", word.to_string_lossy()));
                }
                arguments.push(word);
                Ok(())
            }
            Self::Group(group) => {
                let group = *group;
                *self = step(group, &word.to_string_lossy(), context)?;
                Ok(())
            }
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        let Self::Command(_, command, arguments) = self else { return Ok(()) };
        if arguments.len() < command.arity().least {
            return usage("more arguments are required");
        }
        command.check()
    }
}

/// Goes on from a group by one word.
fn step(group: &'static str, word: &str, context: &Context) -> anyhow::Result<Request> {
    let name = table::below(group, word);
    if let Some(target) = table::alias(&name) {
        let shown = target.strip_prefix(group).map_or(target, str::trim_start);
        // A second name that is not an old one.
        if name != "shell" {
            context.ui.warn(&format!("'{word}' is a deprecated alias for '{shown}'"));
        }
        return named(target).ok_or_else(|| anyhow::anyhow!("'{target}' is missing"));
    }
    match named(&name) {
        Some(request) => Ok(request),
        None => usage(table::not_recognised(group, word)),
    }
}

fn named(name: &str) -> Option<Request> {
    if let Some(row) = table::find(name) {
        let command = match row.make {
            Some(make) => make(),
            None => Box::new(NotBuilt(row)),
        };
        return Some(Request::Command(row, command, Vec::new()));
    }
    table::group(name).map(Request::Group)
}

/// Reads the words and does what they ask for.
///
/// # Errors
/// Those of the words and of the subcommand.
pub fn run(mut context: Context, args: Args) -> anyhow::Result<()> {
    // Whatever the configuration says: only a flag makes evaluation impure.
    context.settings.set("pure-eval", "true", Origin::CommandLine)?;
    let all = args.rest();
    let mut words = Words::new(args);
    let mut request = Request::Group("");
    while let Some(word) = words.next() {
        match word {
            Word::Flag(flag) => {
                request.flag(&flag, &mut words, &mut context)?;
                words.take_warnings().iter().for_each(|warning| context.ui.warn(warning));
            }
            Word::Argument(word) if word == "daemon" && matches!(request, Request::Group("")) => {
                context.settings.require_feature(Some("nix-command"))?;
                // A program of its own, to which the words before it are
                // passed on, too.
                let before = all[..all.len() - words.rest().len() - 1].to_vec();
                return nix_daemon::run_with(context, Args::new(words.rest()), before);
            }
            Word::Argument(word) => request.argument(word, &context)?,
        }
        if context.help_wanted {
            return help::print(request.name());
        }
    }
    context.end_of_args()?;
    if context.version_wanted {
        return context.print_version();
    }
    request.check()?;
    if matches!(request, Request::Group("")) {
        return usage("no subcommand specified");
    }
    context.settings.require_feature(Some("nix-command"))?;
    match request {
        Request::Group(group) => usage(table::needs_subcommand(group)),
        Request::Command(_, _, arguments) if arguments.iter().any(|argument| argument.is_empty()) => {
            refuse_empty(&arguments)
        }
        Request::Command(_, command, arguments) => match command.run(&context, &arguments) {
            // Nobody reads the rest, which is a failure of `nix`.
            Err(error) if error.is::<BrokenPipe>() => Err(BrokenPipe { status: 1 }.into()),
            result => result,
        },
    }
}

/// Everything that `reader` has, to standard output; `shown` is its name for
/// messages.
fn copy_out(reader: &mut dyn Read, shown: &Path) -> anyhow::Result<()> {
    let mut out = Out::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        interrupt::check()?;
        match reader.read(&mut buffer) {
            Ok(0) => return out.finish(),
            Ok(count) => out.raw(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                interrupt::check()?;
                return Err(PathError::new("reading", shown, error).into());
            }
        }
    }
}

/// An error within a trace, in the original's layout; it is told here, so what
/// comes back is the status alone.
fn framed(context: &Context, frame: &str, message: &str) -> anyhow::Error {
    context.ui.hint(&format!("error:\n       … {frame}\n\n       error: {message}"));
    Exit(1).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached_and_made() {
        for row in table::TABLE {
            assert!(matches!(named(row.name), Some(Request::Command(found, ..)) if found.name == row.name));
        }
        for (alias, target) in table::ALIASES {
            assert!(named(alias).is_none(), "{alias}");
            assert!(named(target).is_some(), "{target}");
        }
    }
}
