//! Strings, versions, hashes, paths as texts.

use super::super::coerce::{MORE, NO_COPY, STRICT};
use super::super::context::{Context, Gathered};
use super::super::error::{Error, Kind, Traced};
use super::super::heap::Value;
use super::super::interpret::{Evaluated, Worker};
use super::super::symbols::known;
use super::super::text::replace::Patterns;
use super::super::text::{path, versions};
use super::super::value::{Attrs, Position, View};
use super::Builtin;
use crate::model::derivation::placeholder;
use crate::model::hash::{Hash, HashAlgorithm, HashError, HashFormat};

/// The rows of this family.
pub const TABLE: &[Builtin] = &[
    Builtin::new(
        "toString",
        1,
        to_string,
        "`value`: the value as a string; lists with blanks between elements.",
    ),
    Builtin::new("stringLength", 1, string_length, "`string`: the number of its bytes."),
    Builtin::new(
        "substring",
        3,
        substring,
        "`start length string`: a part of the string; a negative length reaches to its end.",
    ),
    Builtin::new(
        "concatStringsSep",
        2,
        concat_strings_sep,
        "`separator list`: the strings with the separator between them.",
    ),
    Builtin::new(
        "replaceStrings",
        3,
        replace_strings,
        "`from to string`: the string with each of `from` replaced by its partner in `to`.",
    ),
    Builtin::new(
        "parseDrvName",
        1,
        parse_drv_name,
        "`string`: the name and version in the full name of a package.",
    ),
    Builtin::new(
        "compareVersions",
        2,
        compare_versions,
        "`a b`: -1, 0 or 1 as version `a` is older than, the same as or newer than `b`.",
    ),
    Builtin::new("splitVersion", 1, split_version, "`version`: its components."),
    Builtin::new("baseNameOf", 1, base_name_of, "`path`: what stands after the last slash."),
    Builtin::new("dirOf", 1, dir_of, "`path`: what stands before the last slash."),
    Builtin::new(
        "toPath",
        1,
        to_path,
        "`path`: an absolute path as a string without `.`, `..` and empty components.",
    ),
    Builtin::new(
        "hashString",
        2,
        hash_string,
        "`algorithm string`: the hash of the string in hexadecimal digits.",
    ),
    Builtin::new(
        "convertHash",
        1,
        convert_hash,
        "`{ hash; toHashFormat; hashAlgo ? …; }`: the hash in another notation.",
    ),
    Builtin::new(
        "placeholder",
        1,
        placeholder,
        "`output`: a text that a build sees replaced by the path of that output.",
    ),
    Builtin::new("getEnv", 1, get_env, "`name`: a variable of the environment, or an empty string."),
];

fn to_string<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let value = worker.force(arguments[0])?;
    if let View::String(..) = value.view() {
        return Ok(value);
    }
    let text = "while evaluating the first argument passed to builtins.toString";
    let (text, context) = worker.coerce(value, MORE, position, text)?;
    Ok(Value::string_with(&worker.heap, text, context))
}

fn string_length<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the argument passed to builtins.stringLength";
    let (text, _) = worker.coerce(arguments[0], STRICT, position, text)?;
    Ok(Value::int(text.len() as i64))
}

fn substring<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument (the start offset) passed to builtins.substring";
    let start = worker.force_int(arguments[0], position, text)?;
    let Ok(start) = usize::try_from(start) else {
        return Err(Error::new("negative start position in 'substring'").at(position));
    };
    let text = "while evaluating the second argument (the substring length) passed to builtins.substring";
    let length = worker.force_int(arguments[1], position, text)?;
    let text = "while evaluating the third argument (the string) passed to builtins.substring";
    let (text, context) = worker.coerce(arguments[2], STRICT, position, text)?;
    let rest = text.get(start..).unwrap_or_default();
    let part = usize::try_from(length).ok().and_then(|length| rest.get(..length)).unwrap_or(rest);
    Ok(Value::string_with(&worker.heap, part, context))
}

fn concat_strings_sep<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text =
        "while evaluating the first argument (the separator string) passed to builtins.concatStringsSep";
    let (separator, separator_context) = worker.force_text(arguments[0], position, text)?;
    let text = "while evaluating the second argument (the list of strings to concat) passed to builtins.concatStringsSep";
    let list = worker.force_list(arguments[1], position, text)?;
    let mut context = Gathered::new();
    context.add(separator_context);
    let mut joined = Vec::with_capacity(list.len() * (separator.len() + 16));
    let text =
        "while evaluating one element of the list of strings to concat passed to builtins.concatStringsSep";
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            joined.extend_from_slice(separator);
        }
        let (part, part_context) = worker.coerce(*item, STRICT, position, text)?;
        joined.extend_from_slice(part);
        context.add(part_context);
    }
    Ok(Value::string_with(&worker.heap, worker.heap.slice(&joined), context.finish(&worker.heap)))
}

fn replace_strings<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let from = worker.force_list(arguments[0], position, first!("replaceStrings"))?;
    let to = worker.force_list(arguments[1], position, second!("replaceStrings"))?;
    if from.len() != to.len() {
        let text = "'from' and 'to' arguments passed to builtins.replaceStrings have different lengths";
        return Err(Error::new(text).at(position));
    }
    let frame = "while evaluating one of the strings to replace passed to builtins.replaceStrings";
    let patterns: Result<Vec<&'e [u8]>, Error> =
        from.iter().map(|item| Ok(worker.force_text(*item, position, frame)?.0)).collect();
    let patterns = patterns?;
    let frame = "while evaluating the third argument passed to builtins.replaceStrings";
    let (text, context) = worker.force_text(arguments[2], position, frame)?;
    let frame = "while evaluating one of the replacement strings passed to builtins.replaceStrings";
    let mut used: Vec<Option<&'e [u8]>> = vec![None; to.len()];
    let mut gathered = Gathered::new();
    gathered.add(context);
    let replaced = Patterns::new(&patterns).replace(text, |number, out| {
        let replacement = match used[number] {
            Some(replacement) => replacement,
            None => {
                let (replacement, context) = worker.force_text(to[number], position, frame)?;
                gathered.add(context);
                *used[number].insert(replacement)
            }
        };
        out.extend_from_slice(replacement);
        Ok(())
    })?;
    Ok(Value::string_with(&worker.heap, worker.heap.slice(&replaced), gathered.finish(&worker.heap)))
}

fn parse_drv_name<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let full = worker.force_plain(arguments[0], position, first!("parseDrvName"))?;
    let (name, version) = versions::parse_drv_name(full);
    let key = worker.intern(b"version");
    Ok(worker.new_set(vec![(known::NAME, Value::string(name)), (key, Value::string(version))]))
}

fn compare_versions<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let a = worker.force_plain(arguments[0], position, first!("compareVersions"))?;
    let b = worker.force_plain(arguments[1], position, second!("compareVersions"))?;
    Ok(Value::int(versions::compare_versions(a, b)))
}

fn split_version<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let version = worker.force_plain(arguments[0], position, first!("splitVersion"))?;
    let components: Vec<Value<'e>> = versions::split_version(version).map(Value::string).collect();
    Ok(Value::list(worker.heap.slice(&components)))
}

fn base_name_of<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let text = "while evaluating the first argument passed to builtins.baseNameOf";
    let (text, context) = worker.coerce(arguments[0], NO_COPY, position, text)?;
    Ok(Value::string_with(&worker.heap, path::base_name(text), context))
}

fn dir_of<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let value = worker.force(arguments[0])?;
    if let View::Path(path) = value.view() {
        return Ok(Value::path(path::dir_of(path)));
    }
    let text = "while evaluating the first argument passed to 'builtins.dirOf'";
    let (text, context) = worker.coerce(value, NO_COPY, position, text)?;
    Ok(Value::string_with(&worker.heap, path::dir_of(text), context))
}

fn to_path<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let (path, context) = worker.coerce_to_path(arguments[0], position, first!("toPath"))?;
    Ok(Value::string_with(&worker.heap, path, context))
}

impl<'e> Worker<'e> {
    /// An absolute path without `.`, `..` and empty components, from a path, a string, or a set that is one.
    ///
    /// # Errors
    /// The value is none, or cannot be evaluated; `text` is a frame for that.
    pub fn coerce_to_path(
        &self,
        value: Value<'e>,
        position: Position,
        text: &str,
    ) -> Result<(&'e [u8], Option<&'e Context<'e>>), Error> {
        let value = self.force_at(value, position).during_at(position, || text.to_owned())?;
        let (path, context) = match value.view() {
            View::Path(path) => return Ok((path, None)),
            View::Attrs(attrs) if attrs.get(known::TO_STRING).is_some() => {
                let function = attrs.get(known::TO_STRING).map_or(value, |attr| attr.value);
                let _deeper = self.deeper_at(position)?;
                let result = self.call(function, &[value], position)?;
                return self.coerce_to_path(result, position, text);
            }
            _ => self.coerce(value, NO_COPY, position, text)?,
        };
        if path.starts_with(b"/") {
            return Ok((self.heap.slice(&path::canonical(path)), context));
        }
        let message =
            format!("string '{}' doesn't represent an absolute path", String::from_utf8_lossy(path));
        Err(Error::new(message).at(position).frame(position, text))
    }

    /// A hash algorithm by its name.
    ///
    /// # Errors
    /// There is none of that name, or it needs an experimental feature.
    pub fn hash_algorithm(&self, name: &[u8]) -> Result<HashAlgorithm, Error> {
        let name = String::from_utf8_lossy(name);
        let algorithm: HashAlgorithm = name.parse().map_err(hash_error)?;
        if algorithm == HashAlgorithm::Blake3 {
            self.require_feature("blake3-hashes", "")?;
        }
        Ok(algorithm)
    }
}

/// A fault of a hash as a failure of the evaluation.
fn hash_error(error: HashError) -> Error {
    let kind = match error {
        HashError::UnknownAlgorithm(_) | HashError::UnknownFormat(_) => Kind::Usage,
        _ => Kind::Other,
    };
    Error::of(kind, error.to_string())
}

fn hash_string<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let name = worker.force_plain(arguments[0], position, first!("hashString"))?;
    let algorithm = worker.hash_algorithm(name)?;
    let (text, _) = worker.force_text(arguments[1], position, second!("hashString"))?;
    Ok(worker.new_string(Hash::of(algorithm, text).to_base16().as_bytes()))
}

/// A string among the attributes of the argument of `convertHash`.
fn hash_part<'e>(
    worker: &Worker<'e>,
    attrs: Attrs<'e>,
    name: &[u8],
    position: Position,
) -> Result<Option<&'e [u8]>, Error> {
    let symbol = worker.intern(name);
    let Some(attr) = attrs.get(symbol) else { return Ok(None) };
    let text = format!("while evaluating the attribute '{}'", worker.name(symbol));
    worker.force_plain(attr.value, position, &text).map(Some)
}

fn convert_hash<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let attrs = worker.force_attrs(arguments[0], position, first!("convertHash"))?;
    let missing = |name: &str| {
        let text = format!("while locating the attribute '{name}'");
        Error::new(format!("attribute '{name}' missing")).at(position).frame(position, text)
    };
    let hash = hash_part(worker, attrs, b"hash", position)?.ok_or_else(|| missing("hash"))?;
    let algorithm = hash_part(worker, attrs, b"hashAlgo", position)?;
    let algorithm = algorithm.map(|name| worker.hash_algorithm(name)).transpose()?;
    let format =
        hash_part(worker, attrs, b"toHashFormat", position)?.ok_or_else(|| missing("toHashFormat"))?;
    if format == b"base32" {
        let warning = "warning: \"base32\" is a deprecated alias for hash format \"nix32\".";
        worker.tell(warning)?;
    }
    let format: HashFormat = String::from_utf8_lossy(format).parse().map_err(hash_error)?;
    let hash = Hash::parse(&String::from_utf8_lossy(hash), algorithm).map_err(hash_error)?;
    if hash.algorithm() == HashAlgorithm::Blake3 {
        worker.require_feature("blake3-hashes", "")?;
    }
    Ok(worker.new_string(hash.digits(format).as_bytes()))
}

fn placeholder<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let output = worker.force_plain(arguments[0], position, first!("placeholder"))?;
    Ok(worker.new_string(&placeholder::of_output(output)))
}

fn get_env<'e>(worker: &Worker<'e>, arguments: &[Value<'e>], position: Position) -> Evaluated<'e> {
    let name = worker.force_plain(arguments[0], position, first!("getEnv"))?;
    Ok(worker.new_string(&worker.world.variable(name).unwrap_or_default()))
}
