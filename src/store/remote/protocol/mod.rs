//! The protocols that stores are spoken to by, as both sides see them.

pub mod order;
pub mod serve;
pub mod wire;
pub mod worker;
