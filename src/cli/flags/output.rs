//! The flags that choose the form of an output.

use super::parse::Given;
use crate::cli::error::usage;
use crate::cli::output::json::Style;
use crate::cli::output::listing;

impl Style {
    /// Takes `--json` and the flags of [`Style::pretty_flag`]; false for any other.
    pub fn flag(&mut self, given: &Given) -> bool {
        if given.name() == "--json" {
            self.json = true;
            return true;
        }
        self.pretty_flag(given)
    }

    /// Takes `--pretty` and `--no-pretty`; false for any other.
    pub fn pretty_flag(&mut self, given: &Given) -> bool {
        self.pretty = match given.name() {
            "--pretty" => Some(true),
            "--no-pretty" => Some(false),
            _ => return false,
        };
        true
    }
}

impl listing::Options {
    /// Takes the flags of a listing; false for any other.
    pub fn flag(&mut self, given: &Given) -> bool {
        match given.name() {
            "--long" => self.long = true,
            "--recursive" => self.recursive = true,
            "--directory" => self.directory = true,
            _ => return self.style.flag(given),
        }
        true
    }

    /// Looks at the flags together.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.style.json && self.directory {
            return usage("'--directory' is useless with '--json'");
        }
        Ok(())
    }
}
