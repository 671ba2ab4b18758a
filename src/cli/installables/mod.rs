//! What the words of a command line stand for: store paths and outputs of
//! derivations.

pub mod expression;
pub mod selection;
pub mod store_path;
pub mod texts;
pub mod words;
