//! The values in the database, none of which is taken for what it should be
//! without a look: bits flip on disks, and other programs write here too.

use std::fmt;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::model::{StoreDir, StorePath};
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;

/// Bytes of a value that a message shows at most.
const MAX_SHOWN: usize = 200;

/// Which row a message is about.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// The table.
    pub table: &'static str,
    /// The number of the row.
    pub row: i64,
    /// The path that the row is of, as it stands there.
    pub path: Option<&'a [u8]>,
}

impl<'a> Label<'a> {
    /// A row of ValidPaths whose path is not at hand.
    pub fn valid_path(id: PathId) -> Self {
        Self { table: "ValidPaths", row: id, path: None }
    }

    /// With the path that the row is of.
    pub fn named(self, path: &'a str) -> Self {
        Self { path: Some(path.as_bytes()), ..self }
    }

    /// The error for this row.
    pub fn damaged(self, message: impl Into<String>) -> StoreError {
        StoreError::Damaged { row: self.to_string(), message: message.into() }
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of {}", self.row, self.table)?;
        match self.path {
            Some(path) => write!(f, " ('{}')", escaped(path)),
            None => Ok(()),
        }
    }
}

/// A text for messages: of bounded length, and without control characters.
fn escaped(text: &[u8]) -> String {
    let cut = &text[..text.len().min(MAX_SHOWN)];
    let dots = if cut.len() < text.len() { "…" } else { "" };
    match std::str::from_utf8(cut) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text}{dots}"),
        _ => format!("{}{dots}", cut.escape_ascii()),
    }
}

/// A value for messages.
pub fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "nothing (NULL)".to_owned(),
        ValueRef::Integer(number) => format!("the number {number}"),
        ValueRef::Real(number) => format!("the number {number:?}"),
        ValueRef::Text(text) => format!("the text '{}'", escaped(text)),
        ValueRef::Blob(bytes) => format!("{} bytes of binary data", bytes.len()),
    }
}

/// A column of a row, and why it cannot be what stands there.
pub type Problem = (&'static str, String);

fn problem<T>(column: &'static str, value: ValueRef<'_>, why: &str) -> std::result::Result<T, Problem> {
    Err((column, format!("its {column} is {}{why}", shown(value))))
}

/// The value at a position, of whatever type.
pub fn value<'r>(row: &'r Row<'_>, at: usize) -> ValueRef<'r> {
    row.get_ref(at).unwrap_or(ValueRef::Null)
}

/// A text.
pub fn text<'v>(column: &'static str, value: ValueRef<'v>) -> std::result::Result<&'v str, Problem> {
    match optional_text(column, value)? {
        Some(text) => Ok(text),
        None => problem(column, value, ""),
    }
}

/// A text, or nothing.
pub fn optional_text<'v>(
    column: &'static str,
    value: ValueRef<'v>,
) -> std::result::Result<Option<&'v str>, Problem> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => problem(column, value, ", which is not UTF-8"),
        },
        _ => problem(column, value, ", not a text"),
    }
}

/// A whole number that is not negative.
pub fn number(column: &'static str, value: ValueRef<'_>) -> std::result::Result<u64, Problem> {
    match value {
        ValueRef::Integer(number) if number >= 0 => Ok(number.cast_unsigned()),
        ValueRef::Integer(_) => problem(column, value, ", which is negative"),
        _ => problem(column, value, ", not a whole number"),
    }
}

/// The size of an archive; 0 where nobody recorded it.
pub fn size(value: ValueRef<'_>) -> std::result::Result<u64, Problem> {
    match value {
        ValueRef::Null => Ok(0),
        value => number("narSize", value),
    }
}

/// Whether a path was built here.
pub fn ultimate(value: ValueRef<'_>) -> std::result::Result<bool, Problem> {
    match value {
        ValueRef::Null | ValueRef::Integer(0) => Ok(false),
        ValueRef::Integer(1) => Ok(true),
        _ => problem("ultimate", value, ", not 1 or nothing"),
    }
}

/// The number of a row of ValidPaths, as another table names it.
pub fn id(column: &'static str, value: ValueRef<'_>) -> std::result::Result<PathId, Problem> {
    match value {
        ValueRef::Integer(id) => Ok(id),
        _ => problem(column, value, ", not a whole number"),
    }
}

/// The base name of a path of this store.
pub fn base_name<'v>(
    dir: &StoreDir,
    column: &'static str,
    value: ValueRef<'v>,
) -> std::result::Result<&'v str, Problem> {
    full_path(dir, column, value).map(|full| &full[dir.as_str().len() + 1..])
}

/// The text of a path of this store, as it stands there.
pub fn full_path<'v>(
    dir: &StoreDir,
    column: &'static str,
    value: ValueRef<'v>,
) -> std::result::Result<&'v str, Problem> {
    let full = text(column, value)?;
    let Some(name) = full.strip_prefix(dir.as_str()).and_then(|rest| rest.strip_prefix('/')) else {
        return problem(column, value, &format!(", which is not in '{}'", dir.as_str()));
    };
    match StorePath::check_base_name(name) {
        Ok(()) => Ok(full),
        Err(error) => problem(column, value, &format!(", which is no store path: {error}")),
    }
}

/// A path of this store.
pub fn path(
    dir: &StoreDir,
    column: &'static str,
    value: ValueRef<'_>,
) -> std::result::Result<StorePath, Problem> {
    let full = text(column, value)?;
    let name = full.strip_prefix(dir.as_str()).and_then(|rest| rest.strip_prefix('/'));
    match name.map(StorePath::from_base_name) {
        Some(Ok(path)) => Ok(path),
        // The same again, with what is to be told.
        _ => base_name(dir, column, value).and_then(|_| problem(column, value, "")),
    }
}

/// The text of a path of this store, or nothing; older versions wrote an empty text.
pub fn optional_path_text<'v>(
    dir: &StoreDir,
    column: &'static str,
    value: ValueRef<'v>,
) -> std::result::Result<Option<&'v str>, Problem> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Text(b"") => Ok(Some("")),
        // What is no text of a path is a problem either way; only that tells which.
        ValueRef::Text(_) => full_path(dir, column, value).map(Some),
        _ => optional_text(column, value),
    }
}

/// What `read` makes of a text.
pub fn parsed<T, E: fmt::Display>(
    column: &'static str,
    value: ValueRef<'_>,
    read: impl FnOnce(&str) -> std::result::Result<T, E>,
) -> std::result::Result<T, Problem> {
    match read(text(column, value)?) {
        Ok(parsed) => Ok(parsed),
        Err(error) => problem(column, value, &format!(": {error}")),
    }
}

/// The error for a row with a problem.
pub fn at<T>(label: Label<'_>, read: std::result::Result<T, Problem>) -> Result<T> {
    read.map_err(|(_, why)| label.damaged(why))
}
