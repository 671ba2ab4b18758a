//! Stores that flags name.

use nival::store::Store;

use super::context::Context;
use super::error::usage;
use super::flags::parse::Given;

/// `--from` and `--to`: the stores that something is copied from and to.
#[derive(Default)]
pub struct Endpoints {
    from: Option<String>,
    to: Option<String>,
}

impl Endpoints {
    /// Takes one of the flags; false for any other.
    ///
    /// # Errors
    /// A missing value.
    pub fn flag(&mut self, given: &Given) -> anyhow::Result<bool> {
        match given.name() {
            "--from" => self.from = Some(given.text()?),
            "--to" => self.to = Some(given.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Makes sure that one of them was given.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self) -> anyhow::Result<()> {
        match (&self.from, &self.to) {
            (None, None) => usage("you must pass '--from' and/or '--to'"),
            _ => Ok(()),
        }
    }

    /// Opens the store that something is copied from.
    pub fn open_source(&self, context: &Context) -> anyhow::Result<Box<dyn Store>> {
        context.open_any(self.from.as_deref().unwrap_or(context.settings.store_uri()))
    }

    /// The URI of the store that something is copied to.
    pub fn destination<'b>(&'b self, context: &'b Context) -> &'b str {
        self.to.as_deref().unwrap_or(context.settings.store_uri())
    }

    /// Opens both; the one that was not named is that of the settings.
    pub fn open(&self, context: &Context) -> anyhow::Result<(Box<dyn Store>, Box<dyn Store>)> {
        Ok((self.open_source(context)?, context.open_to_write(self.destination(context))?))
    }
}
