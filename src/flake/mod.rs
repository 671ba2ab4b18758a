//! Flakes: where their references lead, and what their inputs are locked to. Nothing is evaluated here.
//!
//! ```text
//! lock      the format of lock files
//! registry  names of flakes → references
//! ```

pub mod lock;
pub mod registry;
