//! `nix store make-content-addressed`.

use std::collections::BTreeSet;
use std::ffi::OsString;

use nival::ops::content_addressed;
use nival::progress::Progress as _;

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::{Arity, Command};
use crate::cli::output::json::Style;
use crate::cli::stores::Endpoints;

/// `nix store make-content-addressed`.
#[derive(Default)]
pub struct MakeContentAddressed {
    selection: Selection,
    between: Endpoints,
    style: Style,
}

impl Command for MakeContentAddressed {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.style.flag(given) || self.between.flag(given)? || self.selection.flag(given)?)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let (source, destination) = self.between.open(context)?;
        let roots = self.selection.select_valid(context, &*source, arguments)?.paths()?;
        let renamed = content_addressed::make(&*source, &*destination, &roots, &*context.ui)?;
        let dir = destination.dir();
        if self.style.json {
            let mut json = self.style.writer();
            json.object()?;
            json.key("rewrites")?;
            json.object()?;
            for (old, new) in content_addressed::of_roots(&renamed, &BTreeSet::from_iter(roots)) {
                json.key(&dir.print(old))?;
                json.string(&dir.print(new))?;
            }
            json.end_object()?;
            json.end_object()?;
            return json.finish();
        }
        for old in &roots {
            if let Some(new) = renamed.get(old) {
                context.ui.notice(&format!("rewrote '{}' to '{}'", dir.display(old), dir.display(new)));
            }
        }
        Ok(())
    }
}
