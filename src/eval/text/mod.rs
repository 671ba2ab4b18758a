//! What the language needs to do with bytes and knows no values for: quoting,
//! numbers, versions, regular expressions, XML and TOML.
//!
//! Texts of the language are byte strings, so everything here takes and gives bytes.

pub mod numbers;
pub mod path;
pub mod quote;
pub mod regex;
pub mod replace;
pub mod suggest;
pub mod toml;
pub mod versions;
pub mod xml;
