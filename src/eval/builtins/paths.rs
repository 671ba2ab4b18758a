//! Reading files: what builtins read goes through the world, after everything that
//! a path depends on was made valid.

use super::super::coerce::NO_COPY;
use super::super::context::{Context, Element, Gathered};
use super::super::error::{Error, Kind, Traced, unless_interrupted};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::io::FileKind;
use super::super::symbols::known;
use super::super::text::path;
use super::super::value::{Position, View};
use super::context::dependencies;
use super::{Builtin, internal};
use crate::model::derivation::{Derivation, DerivationOutput, placeholder};
use crate::model::hash::Hash;
use crate::model::references::{Candidates, Scanner};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new("import", 1, import, "`path`: the value of a file, or of the `default.nix` of a directory."),
    Builtin::new(
        "scopedImport",
        2,
        scoped_import,
        "`scope path`: as `import`, with names that hide the builtin ones.",
    ),
    Builtin::new("readFile", 1, read_file, "`path`: the contents of a file."),
    Builtin::new("readDir", 1, read_dir, "`path`: the names in a directory and what each is."),
    Builtin::new(
        "readFileType",
        1,
        read_file_type,
        "`path`: what it is: regular, directory, symlink or unknown.",
    ),
    Builtin::new("pathExists", 1, path_exists, "`path`: whether there is anything, be it a link to nothing."),
    Builtin::new("hashFile", 2, hash_file, "`algorithm path`: the base-16 hash of the contents of a file."),
    Builtin::new("findFile", 2, find_file, "`entries name`: the path that a name has in a search path."),
    Builtin::new("storePath", 1, store_path, "`path`: a path in the store as a string that depends on it."),
];

/// A path and what it depends on.
pub(super) type Located<'e> = (Vec<u8>, Option<&'e Context<'e>>);

impl<'e> Worker<'e> {
    /// The absolute path that a value tells, and what it depends on.
    ///
    /// # Errors
    /// The value is no text, or no absolute path; `frame` is a frame for both.
    pub(super) fn path_of(
        &self,
        value: Value<'e>,
        position: Position,
        frame: &str,
    ) -> Result<Located<'e>, Error> {
        let value = self.force_at(value, position).during_at(position, || frame.to_owned())?;
        if let View::Path(path) = value.view() {
            return Ok((path.to_vec(), None));
        }
        let (text, context) = self.coerce(value, NO_COPY, position, frame)?;
        if internal::is_internal(text) {
            return Ok((text.to_vec(), context));
        }
        if !text.starts_with(b"/") {
            let text = String::from_utf8_lossy(text);
            let error = Error::new(format!("string '{text}' doesn't represent an absolute path"));
            return Err(error.frame(position, frame));
        }
        Ok((path::canonical(text), context))
    }

    /// Makes everything valid that a path depends on.
    ///
    /// # Errors
    /// The world cannot.
    pub(super) fn realise_path(&self, located: &Located<'e>) -> Result<(), Error> {
        if located.1.is_none() {
            return Ok(());
        }
        let text = format!("while realising the context of path '{}'", String::from_utf8_lossy(&located.0));
        self.world.realise(&dependencies(located.1)).during(&text)
    }

    /// The path that a value tells, after everything that it depends on was made valid.
    ///
    /// # Errors
    /// As [`Worker::path_of`] and [`Worker::realise_path`].
    pub(super) fn readable_path(&self, value: Value<'e>) -> Result<Vec<u8>, Error> {
        let located = self.path_of(value, Position::NONE, "while realising the context of a path")?;
        self.realise_path(&located)?;
        Ok(located.0)
    }

    /// The contents of a file, be it one of the program.
    fn contents(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        if !internal::is_internal(path) {
            return self.world.read_file(path);
        }
        internal::file(path).map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| missing_internal(path))
    }

    /// The store path that `path` is or lies below, and the part below it.
    fn in_store<'p>(&self, path: &'p [u8]) -> Option<(&'p [u8], &'p [u8])> {
        let dir = self.world.store_dir();
        let inner = path.strip_prefix(dir)?.strip_prefix(b"/").filter(|inner| !inner.is_empty())?;
        let name = inner.iter().position(|byte| *byte == b'/').unwrap_or(inner.len());
        Some(path.split_at(dir.len() + 1 + name))
    }
}

#[cold]
fn missing_internal(path: &[u8]) -> Error {
    Error::new(format!("file '{}' does not exist", String::from_utf8_lossy(path)))
}

#[cold]
fn missing(path: &[u8]) -> Error {
    Error::new(format!("path '{}' does not exist", String::from_utf8_lossy(path)))
}

fn import<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let path = worker.readable_path(arguments[0])?;
    if let Some(derivation) = valid_derivation(worker, &path)? {
        return imported_derivation(worker, &path, &derivation, position);
    }
    if internal::is_internal(&path) {
        return worker.evaluate_internal(&path);
    }
    worker.import(&path)
}

fn scoped_import<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let path = worker.readable_path(arguments[1])?;
    let text = "while evaluating the first argument passed to builtins.scopedImport";
    let scope = worker.force_attrs(arguments[0], Position::NONE, text)?;
    if let Some(derivation) = valid_derivation(worker, &path)? {
        return imported_derivation(worker, &path, &derivation, position);
    }
    if internal::is_internal(&path) {
        return worker.evaluate_internal(&path);
    }
    let file = worker.source_file(&path)?;
    worker.evaluate_file(&file, Some(scope))
}

/// The derivation whose file `path` is, where that is valid in the store.
fn valid_derivation(worker: &Worker<'_>, path: &[u8]) -> Result<Option<Derivation>, Error> {
    if !path.ends_with(b".drv") || worker.store_path_of(path).is_none() {
        return Ok(None);
    }
    let world = worker.world;
    if unless_interrupted(world.references(path))?.is_none() {
        return Ok(None);
    }
    let text = world.read_derivation(path)?;
    let derivation = Derivation::parse(&worker.store_dir()?, &text).map_err(|error| {
        Error::new(format!("error parsing derivation '{}': {error}", String::from_utf8_lossy(path)))
    })?;
    Ok(Some(derivation))
}

/// The set that stands for a derivation that is known by its file only.
fn imported_derivation<'e>(
    worker: &Worker<'e>,
    path: &[u8],
    derivation: &Derivation,
    position: Position,
) -> Evaluated<'e> {
    let heap = &worker.heap;
    let dir = worker.store_dir()?;
    let path: &'e [u8] = heap.slice(path);
    let all = Context::new(heap, vec![Element::All(path)]);
    let (mut names, mut paths) = (Vec::new(), Vec::new());
    for (name, output) in &derivation.outputs {
        let symbol = worker.intern(name.as_bytes());
        let output = match output {
            DerivationOutput::InputAddressed(output) | DerivationOutput::Fixed { path: output, .. } => {
                dir.print(output).into_bytes()
            }
            _ => match worker.store_path_of(path) {
                Some(derivation) => placeholder::of_input(&derivation, name),
                None => return Err(missing(path)),
            },
        };
        let output = heap.slice(&output);
        let element = Element::Output { derivation: path, output: worker.text(symbol) };
        let context = Context::new(heap, vec![element]);
        names.push(Value::string(worker.text(symbol)));
        paths.push((symbol, Value::string_with(heap, output, context)));
    }
    let name = derivation.env.get(&b"name"[..]).map_or(&b""[..], Vec::as_slice);
    let told = worker.new_set(vec![
        (known::DRV_PATH, Value::string_with(heap, path, all)),
        (known::NAME, worker.new_string(name)),
        (worker.intern(b"outputNames"), Value::list(heap.slice(&names))),
        (worker.intern(b"outputPaths"), worker.new_set(paths)),
    ]);
    let function = worker.imported_derivation_function()?;
    worker.call(function, &[told], position)
}

fn read_file<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let path = worker.readable_path(arguments[0])?;
    let text = worker.contents(&path)?;
    if text.contains(&0) {
        return Err(Error::new(format!(
            "the contents of the file '{}' cannot be represented as a Nix string",
            String::from_utf8_lossy(&path)
        )));
    }
    let context = found_references(worker, &path, &text)?;
    Ok(Value::string_with(&worker.heap, worker.heap.slice(&text), context))
}

/// The references of the store path that `path` lies in, as far as a text has them.
fn found_references<'e>(
    worker: &Worker<'e>,
    path: &[u8],
    text: &[u8],
) -> Result<Option<&'e Context<'e>>, Error> {
    let (Some((top, _)), Ok(dir)) = (worker.in_store(path), worker.store_dir()) else { return Ok(None) };
    let Some(references) = unless_interrupted(worker.world.references(top))? else { return Ok(None) };
    let parsed = references.iter().filter_map(|path| dir.parse(std::str::from_utf8(path).ok()?).ok());
    let candidates = Candidates::new(parsed);
    let mut scanner = Scanner::new(&candidates);
    scanner.update(text);
    let mut gathered = Gathered::new();
    for found in scanner.finish() {
        gathered.add_element(Element::Plain(worker.heap.slice(dir.print(&found).as_bytes())));
    }
    Ok(gathered.finish(&worker.heap))
}

fn read_dir<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let path = worker.readable_path(arguments[0])?;
    if internal::is_internal(&path) {
        return Err(missing_internal(&path));
    }
    let entries = worker.world.read_dir(&path)?;
    let attrs =
        entries.into_iter().map(|(name, kind)| (worker.intern(&name), Value::string(kind.name().as_bytes())));
    Ok(worker.new_set(attrs.collect()))
}

fn read_file_type<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let path = worker.readable_path(arguments[0])?;
    let kind = if internal::is_internal(&path) {
        internal::file(&path).map(|_| FileKind::Regular)
    } else {
        worker.world.kind(&path)?
    };
    let kind = kind.ok_or_else(|| missing(&path))?;
    Ok(Value::string(kind.name().as_bytes()))
}

fn path_exists<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let value = worker.force_at(arguments[0], position)?;
    let directory = match value.view() {
        View::String(text, _) => text.ends_with(b"/") || text.ends_with(b"/."),
        _ => false,
    };
    let path = worker.readable_path(value)?;
    if internal::is_internal(&path) {
        return Ok(Value::bool(internal::file(&path).is_some() && !directory));
    }
    let kind = if directory {
        worker.followed(&path).and_then(|path| worker.world.kind(&path))
    } else {
        worker.world.kind(&path)
    };
    let kind = unless_interrupted(kind)?.flatten();
    Ok(Value::bool(if directory { kind == Some(FileKind::Directory) } else { kind.is_some() }))
}

fn hash_file<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.hashFile";
    let algorithm = worker.hash_algorithm(worker.force_plain(arguments[0], Position::NONE, text)?)?;
    let path = worker.readable_path(arguments[1])?;
    let hash = Hash::of(algorithm, &worker.contents(&path)?);
    Ok(worker.new_string(hash.to_base16().as_bytes()))
}

fn find_file<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.findFile";
    let list = worker.force_list(arguments[0], Position::NONE, text)?;
    let mut entries = Vec::with_capacity(list.len());
    for entry in list {
        entries.push(search_entry(worker, *entry)?);
    }
    let text = "while evaluating the second argument passed to builtins.findFile";
    let name = worker.force_plain(arguments[1], Position::NONE, text)?;
    for (prefix, place) in &entries {
        let Some(rest) = below_prefix(prefix, name) else { continue };
        let Some(place) = worker.world.resolve_entry(place)? else { continue };
        let found = path::canonical(&[&place[..], b"/", rest].concat());
        if unless_interrupted(worker.world.kind(&found))?.flatten().is_some() {
            return Ok(Value::path(worker.heap.slice(&found)));
        }
    }
    if let Some(name) = name.strip_prefix(b"nix/") {
        return Ok(Value::path(worker.heap.slice(&internal::path_of(name))));
    }
    let shown = String::from_utf8_lossy(name);
    Err(Error::of(
        Kind::Lookup,
        if worker.shared.settings.pure {
            format!("cannot look up '<{shown}>' in pure evaluation mode (use '--impure' to override)")
        } else {
            format!("file '{shown}' was not found in the Nix search path (add it using $NIX_PATH or -I)")
        },
    ))
}

/// What of a name follows the prefix of an entry, where the entry is meant.
fn below_prefix<'n>(prefix: &[u8], name: &'n [u8]) -> Option<&'n [u8]> {
    if prefix.is_empty() {
        return Some(name);
    }
    let rest = name.strip_prefix(prefix)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// The prefix and the path of an element of a search path.
fn search_entry<'e>(worker: &Worker<'e>, entry: Value<'e>) -> Result<(&'e [u8], &'e [u8]), Error> {
    let text = "while evaluating an element of the list passed to builtins.findFile";
    let entry = worker.force_attrs(entry, Position::NONE, text)?;
    let mut prefix: &[u8] = b"";
    if let Some(attr) = entry.get(known::PREFIX) {
        let text =
            "while evaluating the `prefix` attribute of an element of the list passed to builtins.findFile";
        prefix = worker.force_plain(attr.value, Position::NONE, text)?;
    }
    let Some(attr) = entry.get(known::PATH) else {
        let error = Error::new("attribute 'path' missing");
        return Err(error.frame(Position::NONE, "in an element of the __nixPath"));
    };
    let text = "while evaluating the `path` attribute of an element of the list passed to builtins.findFile";
    let (place, context) = worker.coerce(attr.value, NO_COPY, Position::NONE, text)?;
    if context.is_some() {
        worker.realise_path(&(place.to_vec(), context))?;
    }
    Ok((prefix, place))
}

fn store_path<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], _: Position) -> Evaluated<'e> {
    if worker.shared.settings.pure {
        return Err(Error::new("'builtins.storePath' is not allowed in pure evaluation mode"));
    }
    let text = "while evaluating the first argument passed to 'builtins.storePath'";
    let (mut path, context) = worker.path_of(arguments[0], Position::NONE, text)?;
    if worker.store_path_of(&path).is_none() {
        path = resolved(worker, &path)?;
    }
    let Some((top, _)) = worker.in_store(&path) else {
        let path = String::from_utf8_lossy(&path);
        return Err(Error::new(format!("path '{path}' is not in the Nix store")));
    };
    let dir = worker.store_dir()?;
    dir.parse(&String::from_utf8_lossy(top)).map_err(|error| Error::new(error.to_string()))?;
    worker.world.ensure(top)?;
    let mut gathered = Gathered::new();
    gathered.add(context);
    gathered.add_element(Element::Plain(worker.heap.slice(top)));
    Ok(Value::string_with(&worker.heap, worker.heap.slice(&path), gathered.finish(&worker.heap)))
}

/// A path without links in any of its components, as far as they exist.
fn resolved(worker: &Worker<'_>, path: &[u8]) -> Result<Vec<u8>, Error> {
    let mut links = 0;
    let mut rest: Vec<Vec<u8>> = components(path);
    let mut done: Vec<u8> = Vec::new();
    while let Some(component) = rest.pop() {
        let next = path::canonical(&[&done[..], b"/", &component].concat());
        if worker.world.kind(&next)? != Some(FileKind::Symlink) {
            done = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            let path = String::from_utf8_lossy(path);
            return Err(Error::new(format!("infinite symlink recursion in path '{path}'")));
        }
        let target = worker.world.read_link(&next)?;
        if target.starts_with(b"/") {
            done.clear();
        }
        rest.extend(components(&target));
    }
    Ok(if done.is_empty() { b"/".to_vec() } else { done })
}

/// How many links are followed on the way to one path.
const MOST_LINKS: usize = 1024;

/// The components of a path, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}
