//! `nix config show`.

use std::ffi::OsString;

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse;
use crate::cli::flags::parse::Given;
use crate::cli::output::json::Style;
use crate::cli::output::streams::Out;

/// `nix config show`.
#[derive(Default)]
pub struct Show(Style);

impl Command for Show {
    fn arity(&self) -> Arity {
        Arity::at_most(1)
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.0.flag(given))
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let settings = &context.settings;
        if let Some(name) = arguments.first() {
            if self.0.json {
                return usage("'--json' is not supported when specifying a setting name");
            }
            let mut out = Out::new();
            let name = parse::text(name)?;
            out.raw(settings.show_one(&name)?.as_bytes())?;
            let shown = settings.iter().find(|shown| shown.row.name == name);
            if let Some(why) = shown.and_then(|shown| shown.row.without_effect()) {
                context.ui.hint(&format!("note: '{name}' {why}"));
            }
            return out.finish();
        }
        if self.0.json {
            let mut json = self.0.writer();
            json.value(&serde_json::from_str(&settings.show_json())?)?;
            return json.finish();
        }
        let mut out = Out::new();
        // An empty line follows the last setting, as in the original.
        out.line(settings.show())?;
        out.finish()
    }
}
