//! Ways to another process: sockets, programs, and machines behind ssh.

pub mod connection;
#[cfg(feature = "built-in-ssh")]
mod ssh_library;
pub mod ssh_program;
