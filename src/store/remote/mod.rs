//! Stores behind a protocol: the daemon's on this machine, and those of other
//! machines.
//!
//! ```text
//! wire        numbers, strings, lists and frames
//! worker/     the daemon's protocol: operations, messages, how both sides begin
//! serve       the protocol of `nix-store --serve`
//! connection  a socket, or a program whose input and output it is
//! open        from a store's URI to one of these stores
//! ssh         the programs that lead to other machines
//! built_in    ssh for machines without the program
//! nars        archives that come, and who may read them when
//! pipeline    requests and answers that do not wait for each other
//! daemon      a store behind the worker protocol (`daemon`, `unix://`, `ssh-ng://`)
//! serving     a store behind the serve protocol (`ssh://`)
//! ```
//!
//! Servers for both stand in `ops/serve`.

pub mod channel;
pub mod client;
pub mod daemon_store;
pub mod protocol;
pub mod ssh_store;

use std::io;

use crate::sys::errno_text;

/// What can go wrong between two stores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Nobody answers at a socket.
    #[error("cannot connect to socket at '{path}': {}", errno_text(reason))]
    Connect {
        /// The socket.
        path: String,
        /// The system's answer.
        reason: io::Error,
    },
    /// A program that leads to another machine.
    #[error("cannot connect to '{host}': {reason}")]
    Ssh {
        /// The other machine.
        host: String,
        /// What ssh said, or what is wrong.
        reason: String,
    },
    /// What the other side says went wrong there.
    #[error("{0}")]
    Peer(String),
    /// A connection that was made, and that the other side closed before anything was asked.
    #[error("cannot open connection to remote store '{uri}': {reason}")]
    Unusable {
        /// The store.
        uri: String,
        /// What is known of it.
        reason: String,
    },
    /// The connection broke.
    #[error("lost the connection to '{uri}': {reason}")]
    Lost {
        /// The store.
        uri: String,
        /// What is known of it.
        reason: String,
    },
    /// A message that breaks the protocol.
    #[error("'{peer}' does not keep to the protocol: {what}")]
    Protocol {
        /// Who.
        peer: String,
        /// In which way.
        what: String,
    },
    /// The other side is too old.
    #[error("'{uri}' speaks version {found} of the protocol, which is too old for {what}")]
    TooOld {
        /// The store.
        uri: String,
        /// Its version.
        found: String,
        /// What was to be done.
        what: &'static str,
    },
    /// The serve protocol has no word for it.
    #[error("{what} is not possible on '{uri}': its protocol has no such request")]
    Unsupported {
        /// The store.
        uri: String,
        /// What was to be done.
        what: &'static str,
    },
}

impl RemoteError {
    /// Whether there is nobody to talk to, or no longer.
    pub fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Ssh { .. } | Self::Unusable { .. } | Self::Lost { .. })
    }
}
