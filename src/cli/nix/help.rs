//! `nix help`, and `--help` of every subcommand.

use std::ffi::OsString;

use super::{Arity, Command, table};
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::ui::Out;

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
///
/// # Errors
/// Those of the output.
pub fn print(name: &str) -> anyhow::Result<()> {
    let mut out = Out::new();
    match table::find(name) {
        Some(row) => {
            let state = if row.shown() == row.about { "" } else { "Not available in this version: " };
            out.line(format_args!("Usage: nix {} {}\n\n{state}{}.", row.name, row.synopsis, row.about))?;
            let flags = super::place::flags(row);
            if flags.iter().any(|flag| !flag.about.is_empty()) {
                out.line("\nFlags:")?;
            }
            for flag in flags.into_iter().filter(|flag| !flag.about.is_empty()) {
                out.line(flag.help())?;
            }
        }
        None => {
            let words = table::below("nix", name);
            out.line(format_args!("Usage: {} SUBCOMMAND...\n\nSubcommands:", words.trim_end()))?;
            for row in table::TABLE {
                let below =
                    name.is_empty() || row.name.strip_prefix(name).is_some_and(|r| r.starts_with(' '));
                if below && row.make.is_some() {
                    out.line(format_args!("  {:<28} {}", row.name, row.about))?;
                }
            }
        }
    }
    out.line(
        "\nEvery subcommand also takes --store URI, --option NAME VALUE, a flag for each setting\n\
         (see 'nix config show'), -v, --quiet, --debug, --log-format FORMAT, --version and --help.",
    )?;
    out.finish()
}
