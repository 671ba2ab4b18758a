//! Channels: trees of expressions that a user follows by URLs.
//!
//! ```text
//! list      the user's list: a name and a URL each
//! update    a URL → the tarball behind it, in the store → the derivation of the channel's tree
//! tree      what that derivation stands for, made without a builder
//! ```
//!
//! The trees of all channels together are the user environment of a profile, `channels`. Each
//! path follows from the one before it, so that every implementation makes the same of the
//! same tarball.

pub mod list;
pub mod tree;
pub mod update;
