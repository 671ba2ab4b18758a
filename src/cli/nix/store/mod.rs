//! `nix store`: a file for each subcommand, or for a few that share their work.

pub mod add;
pub mod gc;
pub mod info;
pub mod ls;
pub mod make_content_addressed;
pub mod prefetch_file;
pub mod repair;
pub mod sign;
pub mod verify;
