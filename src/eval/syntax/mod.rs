//! Texts of the language and their trees.

mod characters;
mod engine;
mod error;
mod lexer;
mod literals;
mod merge;
mod paths;
pub mod print;
mod reduce;
mod strip;
mod tables;
#[cfg(test)]
mod tests;
pub mod tree;

pub use engine::parse;
pub use error::{Lint, ParseOptions, SyntaxError};
