//! `nix nar pack`, `nix nar ls` and `nix nar cat`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nival::nar::NarError;
use nival::nar::dump;
use nival::nar::input::Input;
use nival::nar::listing::Listing;
use nival::nar::reader;
use nival::nar::writer::{FileOutput, NarWriter, Output as _};
use nival::progress::Progress as _;
use nival::store::api::look::canonical;
use nival::sys::PathError;
use nival::sys::interrupt::Interruptible;

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::output::listing::Options;
use crate::cli::output::streams::stdout_file;

/// `nix nar pack`.
#[derive(Default)]
pub struct Pack {
    /// By its old name, `nix nar dump-path`.
    renamed: bool,
}

/// `nix nar dump-path`.
pub fn dump_path() -> Box<dyn Command> {
    Box::new(Pack { renamed: true })
}

impl Command for Pack {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        if self.renamed {
            context.ui.warn("'nix nar dump-path' is a deprecated alias for 'nix nar pack'");
        }
        let path = context.absolute(Path::new(arguments.first().map_or(OsStr::new(""), OsString::as_os_str)));
        pack(&path).map_err(|error| doubled_slash(error).into())
    }
}

/// Writes the archive of a tree to standard output; where that fails, what
/// there was of it.
pub fn pack(path: &Path) -> Result<(), NarError> {
    let mut output = FileOutput::new(stdout_file());
    let mut writer = NarWriter::new(&mut output)?;
    let walked = dump::walk(path, &mut writer);
    output.flush()?;
    walked
}

/// The original shows a path that is not there with one slash more.
pub fn doubled_slash(error: NarError) -> NarError {
    match error {
        NarError::Missing(path) => {
            let mut shown = OsString::from("/");
            shown.push(path);
            NarError::Missing(PathBuf::from(shown))
        }
        other => other,
    }
}

/// `nix nar cat`.
#[derive(Default)]
pub struct Cat;

impl Command for Cat {
    fn arity(&self) -> Arity {
        Arity::exactly(2)
    }

    fn run(&self, _context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let [archive, path] = arguments else { return Ok(()) };
        let mut input = open(archive)?;
        let mut output = FileOutput::new(stdout_file());
        let wanted = canonical(path.as_bytes()).join(&b'/');
        let found = reader::find(&mut input, &wanted, |contents| {
            output.contents(contents)?;
            output.flush()
        })?;
        anyhow::ensure!(found, "NAR does not contain regular file '{}'", path.to_string_lossy());
        Ok(())
    }
}

/// `nix nar ls`.
#[derive(Default)]
pub struct Ls(Options);

impl Command for Ls {
    fn arity(&self) -> Arity {
        Arity::exactly(2)
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.0.flag(given))
    }

    fn run(&self, _context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let [archive, path] = arguments else { return Ok(()) };
        self.0.check()?;
        let mut input = open(archive)?;
        let place = canonical(path.as_bytes());
        let shown = String::from_utf8_lossy(&place.join(&b'/')).into_owned();
        let name = place.last().cloned().unwrap_or_default();
        self.0.print(&name, |visitor| {
            let mut listing = Listing::of_archive(visitor, place, self.0.levels())?;
            reader::read(&mut input, &mut listing)?;
            anyhow::ensure!(listing.found(), "path '«unknown»/{shown}' does not exist");
            Ok(())
        })
    }
}

/// Opens an archive.
fn open(path: &OsStr) -> anyhow::Result<Input<Interruptible<File>>> {
    let file = File::open(path).map_err(PathError::at("opening NAR file", path))?;
    let is_dir = file.metadata().map_err(PathError::at("getting status of", path))?.is_dir();
    anyhow::ensure!(!is_dir, "read of 32768 bytes: Is a directory");
    Ok(Input::new(Interruptible(file)))
}
