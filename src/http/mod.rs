//! Requests over HTTP, for caches, fetchers and anything else: the client, proxies,
//! passwords from netrc, broken bodies that go on. It knows no cache.

pub mod client;
pub mod failure;
pub mod message;
pub mod netrc;
pub mod proxy;
pub mod resume;
pub mod retry;
pub mod settings;
pub mod staged;
mod transfer;
pub mod url;
