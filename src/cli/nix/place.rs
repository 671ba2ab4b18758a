//! Where in the tree of subcommands some words lead, for help and completion:
//! without running anything.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use nival::settings::{Environment, Machine, Settings};

use super::table::{self, Row};
use super::words::Words;
use crate::cli::args::Args;
use crate::cli::context::Context;
use crate::cli::flag_table::{self, Flag};
use crate::cli::ui::{Ui, level};

/// What the arguments of a subcommand are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Files, directories or store paths.
    Files,
    /// Names of settings.
    Settings,
    /// Nothing, or nothing that can be guessed.
    Nothing,
}

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
    pub fn takes(&self) -> Takes {
        match self.row {
            Some(_) if self.help => Takes::Nothing,
            Some(row) if row.name == "config show" => Takes::Settings,
            Some(row) => match ["PATH", "FILE", "INSTALLABLE", "NAR", "BEFORE"]
                .iter()
                .any(|word| row.synopsis.split([' ', '|']).any(|part| part.starts_with(word)))
            {
                true => Takes::Files,
                false => Takes::Nothing,
            },
            None => Takes::Nothing,
        }
    }

    /// The flags of the subcommand.
    pub fn flags(&self) -> Vec<&'static Flag> {
        match self.row {
            Some(row) if row.name == "daemon" => flag_table::DAEMON.iter().collect(),
            Some(row) => flags(row),
            None => Vec::new(),
        }
    }
}

/// The flags that a subcommand has, by asking it.
pub fn flags(row: &Row) -> Vec<&'static Flag> {
    let Some(make) = row.make else { return Vec::new() };
    let context = silent_context();
    let known = |flag: &&Flag| {
        let values = (0..flag.values).map(|_| OsString::from("1"));
        let mut words = Words::new(Args::new(values));
        // A value that is refused belongs to a flag that is known.
        flag.names.first().is_some_and(|name| make().flag(name, &mut words, &context).unwrap_or(true))
    };
    flag_table::OF_NIX.iter().filter(known).collect()
}

/// One that knows nothing of its surroundings and tells nothing.
fn silent_context() -> Context {
    let ui = Ui::new(true, None);
    ui.change_verbosity(-2 * level::TALKATIVE);
    Context {
        program: "nix".to_owned(),
        environment: std::iter::empty::<(String, String)>().collect::<Environment>(),
        machine: Machine::default(),
        settings: Settings::built_in(),
        ui: Arc::new(ui),
        current_dir: PathBuf::from("/"),
        version_wanted: false,
        help_wanted: false,
        gated: Vec::new(),
    }
}
