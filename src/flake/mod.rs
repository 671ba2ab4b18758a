//! Flakes: where their references lead, and what their inputs are locked to. Nothing is evaluated here.
//!
//! ```text
//! registry  names of flakes → references
//! ```

pub mod registry;
