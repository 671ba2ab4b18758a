//! The client's side of both protocols.

pub mod receive;
pub mod send;
pub mod session;
