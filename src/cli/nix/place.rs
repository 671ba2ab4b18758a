//! Where in the tree of subcommands some words lead, for help and completion:
//! without running anything.

use super::table::{self, Row};
use crate::cli::flags::{self, Group, Value};

/// A group of subcommands, or one of them.
#[derive(Default)]
pub struct Place {
    group: &'static str,
    row: Option<&'static Row>,
    /// A word was no subcommand.
    lost: bool,
    /// `nix help`, whose arguments are subcommands again.
    help: bool,
}

impl Place {
    /// Goes on by one word; false if it was an argument.
    pub fn step(&mut self, word: &str) -> bool {
        if self.row.is_some() || self.lost {
            return false;
        }
        let name = table::below(self.group, word);
        let name = table::alias(&name).unwrap_or(&name);
        if name == "help" && !self.help {
            self.help = true;
            return true;
        }
        match (table::find(name), table::group(name)) {
            (Some(row), _) => self.row = Some(row),
            (None, Some(group)) => self.group = group,
            (None, None) => self.lost = true,
        }
        true
    }

    /// The words that may follow, and what they are for.
    pub fn members(&self) -> Vec<(&'static str, &'static str)> {
        if self.row.is_some() || self.lost {
            return Vec::new();
        }
        table::members(self.group)
            .into_iter()
            .map(|word| (word, table::find(&table::below(self.group, word)).map_or("", Row::shown)))
            .collect()
    }

    /// What the arguments are.
    pub fn takes(&self) -> Option<Value> {
        let row = self.row.filter(|_| !self.help)?;
        let words = || row.synopsis.split([' ', '|', '[', ']', '.']);
        match row.name {
            "config show" => Some(Value::Setting),
            "profile remove" | "profile upgrade" => Some(Value::Package),
            _ if words()
                .any(|word| matches!(word, "INSTALLABLE" | "INSTALLABLES" | "PACKAGE" | "BEFORE")) =>
            {
                Some(Value::StorePath)
            }
            _ if words().any(|word| matches!(word, "PATH" | "PATHS" | "FILE" | "FILES" | "NAR")) => {
                Some(Value::File)
            }
            _ => None,
        }
    }

    /// The flags of the subcommand.
    pub fn groups(&self) -> &'static [&'static Group] {
        self.row.map_or(&[], |row| flags::nix::groups(row.name))
    }
}
