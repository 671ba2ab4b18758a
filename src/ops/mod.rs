//! Verbs over stores: what takes more than one step.

pub mod channel;
pub mod closure_diff;
pub mod content_addressed;
pub mod copy;
pub mod derivations;
pub mod evaluate;
pub mod export;
pub mod graph_text;
pub mod nix_profile;
pub mod packages;
pub mod path_info;
pub mod prefetch;
pub mod profile;
pub mod query;
pub mod realise;
pub mod roots_report;
pub mod selected;
pub mod serve;
pub mod shell_env;
pub mod sign;
pub mod user_env;
pub mod verify;
pub mod why_depends;
