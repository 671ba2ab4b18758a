//! What packages are chosen from: a file, or a directory of files.
//!
//! ```text
//! FILE                    its value
//! DIR with default.nix    the value of that
//! DIR                     a set with a member for each of:
//!   NAME.nix                the value of the file, called NAME
//!   NAME/default.nix        the value of that, called NAME
//!   other directories       what lies in them, under no name of their own
//! ```
//!
//! Links are followed. What begins with a dot, `manifest.nix`, links that lead nowhere and everything
//! else is no part of it. Members are read when they are needed.

use super::walk::COMBINED;
use crate::eval::error::{Error, unless_interrupted};
use crate::eval::heap::Value;
use crate::eval::interpret::{Evaluated, Worker};
use crate::eval::io::FileKind;
use crate::eval::sources::Origin;
use crate::eval::symbols::Symbol;

/// Deepest nesting of directories that is looked into.
const MAX_DEPTH: usize = 64;
/// Greatest number of expressions in a directory and those below it.
const MAX_MEMBERS: usize = 1 << 16;

/// The value that packages are chosen from. `warn` hears of files that are left out because their names
/// are taken.
///
/// # Errors
/// Nothing is there, or it cannot be read or evaluated.
pub fn source<'e>(worker: &Worker<'e>, path: &[u8], warn: &dyn Fn(&str)) -> Evaluated<'e> {
    let world = worker.world;
    let followed = worker.followed(path)?;
    match world.kind(&followed)? {
        Some(FileKind::Directory) => {}
        Some(_) => return worker.import(path),
        None => {
            let shown = String::from_utf8_lossy(path);
            return Err(Error::new(format!("path '{shown}' does not exist")));
        }
    }
    if kind(worker, &below(path, b"default.nix"))?.is_some() {
        return worker.import(path);
    }
    let combined = worker.intern(COMBINED);
    let import = worker.evaluate_text(Origin::Internal("import"), b"import", b"/")?;
    let mut members = Members { worker, import, warn, found: vec![(combined, Value::list(&[]))] };
    members.add(path, 0)?;
    Ok(worker.new_set(members.found))
}

struct Members<'w, 'e> {
    worker: &'w Worker<'e>,
    import: Value<'e>,
    warn: &'w dyn Fn(&str),
    found: Vec<(Symbol, Value<'e>)>,
}

impl Members<'_, '_> {
    fn add(&mut self, directory: &[u8], depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            let shown = String::from_utf8_lossy(directory);
            return Err(Error::new(format!("directories are nested too deeply in '{shown}'")));
        }
        let worker = self.worker;
        for (name, _) in worker.world.read_dir(&worker.followed(directory)?)? {
            if name.starts_with(b".") || name == b"manifest.nix" {
                continue;
            }
            let path = below(directory, &name);
            let member = match kind(worker, &path)? {
                Some(FileKind::Directory) => match kind(worker, &below(&path, b"default.nix"))? {
                    Some(_) => &name[..],
                    None => {
                        self.add(&path, depth + 1)?;
                        continue;
                    }
                },
                Some(FileKind::Regular) => match name.strip_suffix(b".nix") {
                    Some(stem) => stem,
                    None => continue,
                },
                _ => continue,
            };
            let symbol = worker.intern(member);
            if self.found.iter().any(|(taken, _)| *taken == symbol) {
                let shown = String::from_utf8_lossy(&path);
                (self.warn)(&format!("name collision in input Nix expressions, skipping '{shown}'"));
                continue;
            }
            if self.found.len() >= MAX_MEMBERS {
                return Err(Error::new("there are too many expressions to choose packages from"));
            }
            let path = Value::path(worker.heap.slice(&path));
            self.found.push((symbol, worker.heap.suspend_call(self.import, &[path])));
        }
        Ok(())
    }
}

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

/// What a path leads to; nothing where that is not there or not to be seen.
fn kind(worker: &Worker<'_>, path: &[u8]) -> Result<Option<FileKind>, Error> {
    let kind = worker.followed(path).and_then(|path| worker.world.kind(&path));
    Ok(unless_interrupted(kind)?.flatten())
}
