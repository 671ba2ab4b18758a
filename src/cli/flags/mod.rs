//! Flags as data: one row for each flag of each program, operation and subcommand.
//!
//! The rows give the parser ([`parse`]), the help ([`page`]), the man pages
//! ([`crate::cli::man`]), the completions ([`crate::cli::complete`]) and the suggestions for
//! mistyped flags. What a flag does stands with
//! its program, which knows it by its first name.

pub mod common;
pub mod expressions;
pub mod nix;
mod nix_env;
mod nix_shell;
mod nix_store;
mod output;
pub mod page;
pub mod parse;
pub mod shells;
mod single;

use ::nival::model::nearest::nearest;
use ::nival::settings::table::TABLE;

use super::error::Usage;

/// What a value of a flag, or an argument, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A store path, or a file that leads to one.
    StorePath,
    /// A file or a directory.
    File,
    /// A profile: a link to its current generation.
    Profile,
    /// The number of a generation of the profile.
    Generation,
    /// The name of a package in the profile.
    Package,
    /// The URI of a store.
    Store,
    /// The name of a setting.
    Setting,
    /// The value of the setting that stands before it.
    OfSetting,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A number.
    Number,
    /// A number of bytes, which may end in K, M, G or T.
    Bytes,
    /// A number of days, as in `30d`.
    Days,
    /// A text of this name.
    Text(&'static str),
}

impl Value {
    /// The value's name in a help.
    pub fn placeholder(self) -> String {
        match self {
            Self::StorePath => "PATH",
            Self::File => "FILE",
            Self::Profile => "PROFILE",
            Self::Generation => "GENERATION",
            Self::Package => "NAME",
            Self::Store => "STORE",
            Self::Setting => "NAME",
            Self::OfSetting => "VALUE",
            Self::Word(words) => return words.join("|"),
            Self::Number => "N",
            Self::Bytes => "BYTES",
            Self::Days => "DAYS",
            Self::Text(name) => name,
        }
        .to_owned()
    }
}

/// A flag.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its spellings. The first one is the name by which the program knows the flag.
    pub names: &'static [&'static str],
    /// The words that belong to it.
    pub values: &'static [Value],
    /// What it does, in a sentence without its full stop.
    pub about: &'static str,
    /// What is said about a flag that should not be used any more.
    pub deprecated: Option<&'static str>,
}

impl Row {
    /// The name by which the program knows the flag.
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// The spellings in the order of a help (short ones first), and the values.
    pub fn shown(&self) -> String {
        let mut names = self.names.to_vec();
        names.sort_by_key(|name| name.starts_with("--"));
        let values = self.values.iter().map(|value| format!(" {}", value.placeholder()));
        names.join(", ") + &values.collect::<String>()
    }

    const fn deprecated(mut self, why: &'static str) -> Self {
        self.deprecated = Some(why);
        self
    }
}

const fn switch(names: &'static [&'static str], about: &'static str) -> Row {
    Row { names, values: &[], about, deprecated: None }
}

const fn takes(names: &'static [&'static str], values: &'static [Value], about: &'static str) -> Row {
    Row { names, values, about, deprecated: None }
}

/// Flags that stand below one title in a help.
#[derive(Debug)]
pub struct Group {
    /// The title.
    pub title: &'static str,
    /// Whether the flags are offered when a word is completed.
    pub offered: bool,
    /// The flags.
    pub rows: &'static [Row],
}

/// The title of what only one operation or subcommand has.
const OWN: &str = "Flags";

const fn own(rows: &'static [Row]) -> Group {
    Group { title: OWN, offered: true, rows }
}

/// Hash algorithms.
const ALGORITHMS: &[Value] = &[Value::Word(&["blake3", "md5", "sha1", "sha256", "sha512"])];
/// Notations of hashes.
const FORMATS: &[Value] = &[Value::Word(&["base16", "base32", "base64", "nix32", "sri"])];

/// An operation: what a program does when one of the names is among its words.
#[derive(Debug)]
pub struct Operation {
    /// Its spellings. The first one is the name by which the program knows the operation.
    pub names: &'static [&'static str],
    /// What follows it.
    pub synopsis: &'static str,
    /// What the arguments are.
    pub arguments: &'static [Value],
    /// What it does, in a sentence without its full stop.
    pub about: &'static str,
    /// Its flags.
    pub rows: &'static [Row],
}

impl Operation {
    /// The name by which the program knows the operation.
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Its flag with a spelling.
    pub fn row(&self, name: &str) -> Option<&'static Row> {
        self.rows.iter().find(|row| row.names.contains(&name))
    }
}

/// A program with flags of the classic kind: all but `nix` and `nival`.
#[derive(Debug)]
pub struct Program {
    /// The name.
    pub name: &'static str,
    /// What follows it.
    pub synopsis: &'static [&'static str],
    /// What the arguments are, where there are no operations.
    pub arguments: &'static [Value],
    /// What it does, in a sentence without its full stop.
    pub about: &'static str,
    /// More about it, for its man page and help.
    pub more: &'static [&'static str],
    /// Its operations; none for a program that does one thing.
    pub operations: &'static [Operation],
    /// The flags that belong to no operation, or to all of them.
    pub rows: &'static [Row],
    /// More flags of that kind, which several programs have.
    pub groups: &'static [&'static Group],
}

impl Program {
    /// The operation with a spelling.
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        self.operations.iter().find(|operation| operation.names.contains(&name))
    }

    /// The flag with a spelling that belongs to all operations.
    pub fn row(&self, name: &str) -> Option<&'static Row> {
        self.rows.iter().find(|row| row.names.contains(&name))
    }

    /// The flag with a spelling, of all operations or of any.
    pub fn any_row(&self, name: &str) -> Option<&'static Row> {
        let of_some = || self.operations.iter().flat_map(|operation| operation.rows);
        self.row(name).or_else(|| of_some().find(|row| row.names.contains(&name)))
    }

    /// The spellings of what the program knows wherever it stands.
    fn known(&self) -> impl Iterator<Item = &str> {
        let groups = self.groups.iter().copied().chain([&common::OF_CLASSIC, &common::ALL]);
        names_of_rows(self.rows).chain(names(groups))
    }

    /// The error for a flag that the program does not know.
    pub fn unrecognised(&self, flag: &str) -> anyhow::Error {
        unknown(format!("unrecognised flag '{flag}'"), flag, self.known())
    }

    /// The error for a flag that an operation does not know, in the words of `message`.
    pub fn unknown(&self, operation: &Operation, flag: &str, message: String) -> anyhow::Error {
        unknown(message, flag, names_of_rows(operation.rows).chain(self.known()))
    }

    /// The error for a command line without an operation; `flag` is one that is not known, if any.
    pub fn no_operation(&self, flag: Option<&str>) -> anyhow::Error {
        let operations = self.operations.iter();
        let names = operations.clone().flat_map(|operation| operation.names.iter().copied());
        let rows = names_of_rows(operations.flat_map(|operation| operation.rows));
        let known = names.chain(rows).chain(self.known());
        unknown("no operation specified".to_owned(), flag.unwrap_or_default(), known)
    }

    /// Whether a flag with a spelling belongs to all operations.
    pub fn is_of_all(&self, name: &str) -> bool {
        self.row(name).is_some() || find(self.groups, name).is_some()
    }

    /// Whether a word is an operation or a flag of the program's own.
    pub fn knows(&self, word: &str) -> bool {
        self.operation(word).is_some() || self.any_row(word).is_some()
    }
}

pub use expressions::{NIX_BUILD, NIX_INSTANTIATE};
pub use nix_env::PROGRAM as NIX_ENV;
pub use nix_shell::NIX_SHELL;
pub use nix_store::PROGRAM as NIX_STORE;
pub use single::{
    NIX_CHANNEL, NIX_COLLECT_GARBAGE, NIX_COPY_CLOSURE, NIX_DAEMON, NIX_HASH, NIX_PREFETCH_URL,
};

/// The classic programs.
pub const PROGRAMS: &[&Program] = &[
    &nix_store::PROGRAM,
    &nix_env::PROGRAM,
    &expressions::NIX_INSTANTIATE,
    &expressions::NIX_BUILD,
    &nix_shell::NIX_SHELL,
    &single::NIX_HASH,
    &single::NIX_PREFETCH_URL,
    &single::NIX_CHANNEL,
    &single::NIX_COPY_CLOSURE,
    &single::NIX_COLLECT_GARBAGE,
    &single::NIX_DAEMON,
];

/// The classic program with a name.
pub fn program(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().copied().find(|program| program.name == name)
}

/// The flag with a spelling among some groups.
pub fn find(groups: &[&'static Group], name: &str) -> Option<&'static Row> {
    groups.iter().flat_map(|group| group.rows).find(|row| row.names.contains(&name))
}

/// The error for a flag that is not known, with the one that was probably meant: one of `known`, or
/// a setting.
fn unknown<'n>(message: String, flag: &str, known: impl IntoIterator<Item = &'n str>) -> anyhow::Error {
    let near = nearest(flag, known.into_iter().filter(|name| name.starts_with("--"))).map(str::to_owned);
    let of_settings = || {
        let near = nearest(flag.strip_prefix("--")?, TABLE.iter().map(|row| row.name));
        near.map(|name| format!("--{name}"))
    };
    let near = near.or_else(of_settings);
    let hint = near.map_or(String::new(), |near| format!("\n       Did you mean '{near}'?"));
    Usage(format!("{message}{hint}")).into()
}

/// The spellings of the flags of some groups.
fn names<'g>(groups: impl IntoIterator<Item = &'g Group>) -> impl Iterator<Item = &'g str> {
    names_of_rows(groups.into_iter().flat_map(|group| group.rows))
}

fn names_of_rows<'r>(rows: impl IntoIterator<Item = &'r Row>) -> impl Iterator<Item = &'r str> {
    rows.into_iter().flat_map(|row| row.names.iter().copied())
}
