//! One derivation becomes its outputs, on this machine.
//!
//! ```text
//! steps       one build, from its beginning to its outputs
//! environment what a builder is given: variables, arguments, files
//! workplace   where a builder works: its directories, its user, what it sees of the machine
//! process     the builder at work: its terminal, its limits, its end
//! hooks       programs of the user's, around builds
//! builtin     builders that are part of this program
//! outputs     what becomes of what it has made
//! log         what it prints: kept in a file, shown line by line
//! machines    others that can build it
//! ```
//!
//! Nothing here knows a substituter or the database, prints, or reads the environment.

pub mod builtin;
pub mod environment;
pub mod error;
pub mod hooks;
pub mod log;
pub mod machines;
pub mod outputs;
pub mod process;
pub mod settings;
pub mod steps;
pub mod workplace;

pub use error::BuildError;
