//! JSON: read into values that a builder makes, written as compact text. The
//! texts of the errors are those of the original's library.

mod float;
mod lexer;
mod parser;
mod value;
mod write;

pub use float::push_float;
pub use parser::parse;
use thiserror::Error;
pub use value::{Json, JsonObject, push_object};
pub use write::{NotUtf8, push_string};

/// Makes values of what is read. A TOML document is read with it as well.
pub trait JsonBuilder {
    /// A value.
    type Value;

    /// Makes a null.
    fn null(&mut self) -> Self::Value;
    /// Makes a Boolean.
    fn boolean(&mut self, value: bool) -> Self::Value;
    /// Makes an integer.
    fn integer(&mut self, value: i64) -> Self::Value;
    /// Makes a float.
    fn float(&mut self, value: f64) -> Self::Value;
    /// Makes a string; it is UTF-8 and has no null byte.
    fn string(&mut self, value: Vec<u8>) -> Self::Value;
    /// Makes a list.
    fn list(&mut self, values: Vec<Self::Value>) -> Self::Value;
    /// Makes a set. The members are in the order of the text; of several with the
    /// same name the last one counts. No name has a null byte.
    fn object(&mut self, members: Vec<(Vec<u8>, Self::Value)>) -> Self::Value;
}

/// Why a text is no JSON that the language can hold.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// A text against the grammar, or a number over all floats. Of these the
    /// original also says that it was decoding a JSON string.
    #[error("{0}")]
    Syntax(String),
    /// An integer over those of the language.
    #[error("unsigned json number {0} outside of Nix integer range")]
    Unsigned(u64),
    /// A string with a null byte, which the message shows as `␀`.
    #[error("input string '{0}' cannot be represented as Nix string because it contains null bytes")]
    Null(String),
}

#[cfg(test)]
mod tests;
