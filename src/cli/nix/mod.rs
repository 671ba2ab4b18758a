//! `nix`: the subcommands of the newer interface.
//!
//! [`table`] names them; each is a [`Command`] in the file of its family, which
//! takes flags while the words are read and does its work afterwards.

mod command;
mod config;
mod copy;
mod derivation;
mod eval;
mod hash;
mod help;
mod key;
mod log;
mod nar;
mod path_info;
mod place;
mod profile;
mod realisation;
mod repl;
mod store;
mod table;
mod why_depends;

use std::ffi::OsString;

use nival::progress::Progress as _;
use nival::settings::Origin;

use super::context::Context;
use super::error::usage;
use super::flags::parse::{Given, Item, Parser, refuse_empty};
use super::flags::{self, Group, page};
use super::nix_daemon;
use crate::cli::output::streams::BrokenPipe;

pub use command::{Arity, Command, copy_out, framed};
pub use help::pages;
pub use place::Place;
use table::Row;

/// A subcommand that has a name, but nothing behind it yet.
struct NotBuilt {
    /// As it was typed, if it has a second name.
    name: &'static str,
    about: &'static str,
}

impl Command for NotBuilt {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn run(&self, _context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let Self { name, about } = self;
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

    /// The flags of the subcommand.
    fn groups(&self) -> &'static [&'static Group] {
        match self {
            Self::Command(row, ..) => flags::nix::groups(row.name),
            Self::Group(_) => &[],
        }
    }

    /// Whether the subcommand is not there yet, so that nothing is known of its flags.
    fn is_not_built(&self) -> bool {
        matches!(self, Self::Command(row, ..) if row.make.is_none())
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<()> {
        let taken = match self {
            Self::Command(_, command, _) => command.flag(given, context)?,
            Self::Group(_) => false,
        };
        if taken { Ok(()) } else { Err(page::not_taken(given.name())) }
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
        let typed = if name == SHELL { SHELL } else { target };
        if typed == target {
            context.ui.warn(&format!("'{word}' is a deprecated alias for '{shown}'"));
        }
        return named_as(target, typed).ok_or_else(|| anyhow::anyhow!("'{target}' is missing"));
    }
    match named(&name) {
        Some(request) => Ok(request),
        None => usage(table::not_recognised(group, word)),
    }
}

/// The second name of `nix env shell`, which is not an old one.
const SHELL: &str = "shell";

fn named(name: &str) -> Option<Request> {
    let row = table::find(name);
    named_as(name, row.map_or("", |row| row.name))
}

/// The subcommand or group `name`, which messages call `typed`.
fn named_as(name: &str, typed: &'static str) -> Option<Request> {
    if let Some(row) = table::find(name) {
        let command = match row.make {
            Some(make) => make(),
            None => Box::new(NotBuilt { name: typed, about: row.about }),
        };
        return Some(Request::Command(row, command, Vec::new()));
    }
    table::group(name).map(Request::Group)
}

/// Reads the words and does what they ask for.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    // Whatever the configuration says: only a flag makes evaluation impure.
    context.settings.set("pure-eval", "true", Origin::CommandLine)?;
    let mut parser = Parser::nix(words);
    let mut request = Request::Group("");
    while let Some(item) = parser.next(&mut context, request.groups())? {
        match item {
            Item::Flag(given) => request.flag(&given, &context)?,
            Item::Unknown(_) if request.is_not_built() => {}
            Item::Unknown(flag) => return Err(flags::nix::unrecognised(request.groups(), &flag)),
            Item::Argument(word)
                if word == nix_daemon::SUBCOMMAND && matches!(request, Request::Group("")) =>
            {
                context.settings.require_feature(Some("nix-command"))?;
                return nix_daemon::run_as_subcommand(context, parser.rest(), || {
                    help::print(nix_daemon::SUBCOMMAND)
                });
            }
            Item::Argument(word) => request.argument(word, &context)?,
            Item::Operation(_) | Item::Taken => {}
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
