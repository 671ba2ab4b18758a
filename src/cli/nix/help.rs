//! `nix help`, and `--help` of every subcommand.

use std::ffi::OsString;

use super::{Arity, Command, table};
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags;
use crate::cli::flags::page::{self, Page};

/// `nix help`.
#[derive(Default)]
pub struct Help;

impl Command for Help {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn run(&self, _context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let name = words.join(" ");
        if !name.is_empty() && table::find(&name).is_none() && table::group(&name).is_none() {
            return usage(format!("Nix has no subcommand '{name}'"));
        }
        print(&name)
    }
}

/// Prints the help of a subcommand or a group.
pub fn print(name: &str) -> anyhow::Result<()> {
    page_of(name).print()
}

/// The pages of `nix`, of the groups of its subcommands, and of the subcommands that are built.
pub fn pages() -> Vec<Page> {
    let mut names = vec![""];
    for row in table::TABLE.iter().filter(|row| !row.is_missing()) {
        names.extend(row.name.split_once(' ').map(|(group, _)| group).filter(|group| !names.contains(group)));
        names.push(row.name);
    }
    names.into_iter().map(page_of).collect()
}

fn page_of(name: &str) -> Page {
    match table::find(name) {
        Some(row) => {
            let about = match row.is_missing() {
                true => format!("Not available in this version: {}", row.about),
                false => row.about.to_owned(),
            };
            page::of_subcommand(row.name, row.synopsis, &about, flags::nix::groups(row.name))
        }
        None => {
            let below = |row: &&table::Row| {
                name.is_empty() || row.name.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
            };
            let members = table::TABLE.iter().filter(below).filter(|row| !row.is_missing());
            let members = members.map(|row| (row.name.to_owned(), row.about.to_owned())).collect();
            let about = match name {
                "" => "Works on store paths, profiles, hashes, keys and settings".to_owned(),
                _ => format!("The subcommands of 'nix {name}'"),
            };
            page::of_subcommands(name, &about, members)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::find;

    /// What a synopsis shows is in the rows.
    #[test]
    fn flags_of_a_synopsis_are_there() {
        for row in table::TABLE {
            let words = row.synopsis.split([' ', '[', ']', '|', '.']);
            for flag in words.filter(|word| word.starts_with('-')) {
                assert!(find(flags::nix::groups(row.name), flag).is_some(), "{} {flag}", row.name);
            }
        }
    }

    /// Rows belong to subcommands that are there.
    #[test]
    fn no_group_is_left_over() {
        for name in flags::nix::names() {
            assert!(table::find(name).is_some(), "{name}");
        }
    }
}
