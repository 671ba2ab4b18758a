//! TOML 1.0, read into the values of a builder for JSON.
//!
//! A table is implicit (named on the way in a header), has a header of its own, is
//! made by dotted keys, or is written inline. Only an implicit one may get a header,
//! only one of dotted keys may be extended by them, and an inline one is complete.

mod scalar;
mod text;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::model::json::JsonBuilder;
use text::Parser;

/// Levels of lists and tables in each other.
const DEEPEST: usize = 500;

/// Why a text is no TOML that the language can hold.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum TomlError {
    /// The text is against the grammar; the message shows the line.
    #[error("while parsing TOML: [error] {0}")]
    Syntax(String),
    /// Dates and times, which were not asked for.
    #[error("while parsing TOML: Dates and times are not supported")]
    Time,
    /// A string with a null byte, which the message shows as `␀`.
    #[error(
        "while parsing TOML: error: input string '{0}' cannot be represented as Nix string because it contains null bytes"
    )]
    Null(String),
}

#[derive(Debug)]
enum Item {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(Vec<u8>),
    Time(String),
    List(Vec<Item>),
    Tables(Vec<Table>),
    Table(Table),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Implicit,
    Header,
    Dotted,
    Inline,
}

#[derive(Debug)]
struct Table {
    items: BTreeMap<Vec<u8>, Item>,
    origin: Origin,
}

impl Table {
    fn new(origin: Origin) -> Table {
        Table { items: BTreeMap::new(), origin }
    }

    /// The table below for a name in a header that is not its last one.
    fn passed(&mut self, name: Vec<u8>) -> Result<&mut Table, &'static str> {
        match self.items.entry(name).or_insert_with(|| Item::Table(Table::new(Origin::Implicit))) {
            Item::Table(Table { origin: Origin::Inline, .. }) => Err("an inline table cannot be extended"),
            Item::Table(table) => Ok(table),
            Item::Tables(tables) => tables.last_mut().ok_or("a list of tables without tables"),
            _ => Err("a value that is no table cannot be extended"),
        }
    }

    /// The table that a header `[name]` is about.
    fn opened(&mut self, name: Vec<u8>) -> Result<&mut Table, &'static str> {
        match self.items.entry(name).or_insert_with(|| Item::Table(Table::new(Origin::Implicit))) {
            Item::Table(table) if table.origin == Origin::Implicit => {
                table.origin = Origin::Header;
                Ok(table)
            }
            _ => Err("the table is already defined"),
        }
    }

    /// The new table that a header `[[name]]` is about.
    fn appended(&mut self, name: Vec<u8>) -> Result<&mut Table, &'static str> {
        match self.items.entry(name).or_insert_with(|| Item::Tables(Vec::new())) {
            Item::Tables(tables) => {
                tables.push(Table::new(Origin::Header));
                tables.last_mut().ok_or("a list of tables without tables")
            }
            _ => Err("the value already exists and is no list of tables"),
        }
    }

    /// Puts a value under a dotted key.
    fn insert(&mut self, mut key: Vec<Vec<u8>>, item: Item) -> Result<(), &'static str> {
        let Some(last) = key.pop() else { return Err("a key is missing") };
        let mut table = self;
        for name in key {
            let below = table.items.entry(name).or_insert_with(|| Item::Table(Table::new(Origin::Dotted)));
            match below {
                Item::Table(below) if below.origin == Origin::Dotted => table = below,
                Item::Table(_) | Item::Tables(_) => return Err("dotted keys cannot extend this table"),
                _ => return Err("the value already exists"),
            }
        }
        if table.items.contains_key(&last) {
            return Err("the value already exists");
        }
        table.items.insert(last, item);
        Ok(())
    }
}

/// Reads a document. With `times`, dates and times become sets with `_type =
/// "timestamp"` and the text as `value`.
///
/// # Errors
/// [`TomlError`], whose texts begin as those of the original.
pub fn parse<B: JsonBuilder>(text: &[u8], times: bool, builder: &mut B) -> Result<B::Value, TomlError> {
    let root = Parser::new(text).document()?;
    build(Item::Table(root), times, builder)
}

fn build<B: JsonBuilder>(item: Item, times: bool, builder: &mut B) -> Result<B::Value, TomlError> {
    Ok(match item {
        Item::Boolean(value) => builder.boolean(value),
        Item::Integer(value) => builder.integer(value),
        Item::Float(value) => builder.float(value),
        Item::String(value) => builder.string(without_null(value)?),
        Item::Time(_) if !times => return Err(TomlError::Time),
        Item::Time(value) => {
            let kind = builder.string(b"timestamp".to_vec());
            let value = builder.string(value.into_bytes());
            builder.object(vec![(b"_type".to_vec(), kind), (b"value".to_vec(), value)])
        }
        Item::List(items) => {
            let values: Result<_, _> = items.into_iter().map(|item| build(item, times, builder)).collect();
            builder.list(values?)
        }
        Item::Tables(tables) => {
            let tables = tables.into_iter().map(|table| build(Item::Table(table), times, builder));
            let values: Result<_, _> = tables.collect();
            builder.list(values?)
        }
        Item::Table(table) => {
            let members = table.items.into_iter();
            let members: Result<_, _> =
                members.map(|(name, item)| Ok((without_null(name)?, build(item, times, builder)?))).collect();
            builder.object(members?)
        }
    })
}

fn without_null(string: Vec<u8>) -> Result<Vec<u8>, TomlError> {
    match string.contains(&0) {
        true => Err(TomlError::Null(String::from_utf8_lossy(&string).replace('\0', "␀"))),
        false => Ok(string),
    }
}

#[cfg(test)]
mod tests;
