//! What every subcommand is, and what several of them need.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use nival::sys::{PathError, interrupt};

use crate::cli::context::Context;
use crate::cli::error::Exit;
use crate::cli::flags::parse::Given;
use crate::cli::output::streams::Out;

/// A subcommand.
pub trait Command {
    /// How many arguments it takes.
    fn arity(&self) -> Arity {
        Arity::exactly(0)
    }

    /// Takes one of the flags that [`crate::cli::flags::nix`] gives the subcommand; false if it does not know it.
    ///
    /// # Errors
    /// A bad value.
    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        let _ = (given, context);
        Ok(false)
    }

    /// Looks at the flags once all of them are there.
    ///
    /// # Errors
    /// A flag that is missing.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Does the work.
    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()>;
}

/// How many arguments a subcommand takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arity {
    /// The fewest.
    pub least: usize,
    /// The most.
    pub most: usize,
}

impl Arity {
    /// Any number.
    pub const ANY: Self = Self { least: 0, most: usize::MAX };

    /// Exactly `count` arguments.
    pub const fn exactly(count: usize) -> Self {
        Self { least: count, most: count }
    }

    /// None or so many.
    pub const fn at_most(count: usize) -> Self {
        Self { least: 0, most: count }
    }
}

/// Everything that `reader` has, to standard output; `shown` is its name for
/// messages.
pub fn copy_out(reader: &mut dyn Read, shown: &Path) -> anyhow::Result<()> {
    let mut out = Out::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        interrupt::check()?;
        match reader.read(&mut buffer) {
            Ok(0) => return out.finish(),
            Ok(count) => out.raw(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                interrupt::check()?;
                return Err(PathError::new("reading", shown, error).into());
            }
        }
    }
}

/// An error within a trace, in the original's layout; it is told here, so what
/// comes back is the status alone.
pub fn framed(context: &Context, frame: &str, message: &str) -> anyhow::Error {
    context.ui.hint(&format!("error:\n       … {frame}\n\n       error: {message}"));
    Exit(1).into()
}
