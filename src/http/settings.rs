//! How requests are made.

use std::path::PathBuf;
use std::time::Duration;

use crate::http::proxy::Proxies;

/// How requests are made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Longest wait for a connection.
    pub connect_timeout: Option<Duration>,
    /// Longest wait without a byte.
    pub stall: Duration,
    /// Tries for each request.
    pub attempts: u64,
    /// Tries for `nix-cache-info`, which is asked for first.
    pub first_attempts: u64,
    /// Requests at the same time.
    pub connections: usize,
    /// HTTP/2 where the server has it.
    pub http2: bool,
    /// Certificates of those who may vouch for servers, if not the system's.
    pub certificates: Option<PathBuf>,
    /// User names and passwords.
    pub netrc: PathBuf,
    /// Whether the user named that file.
    pub netrc_is_named: bool,
    /// What we call ourselves.
    pub user_agent: String,
    /// By which requests go.
    pub proxies: Proxies,
    /// Bytes a second that all downloads together may take; 0 for no limit.
    pub speed: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(15)),
            stall: Duration::from_secs(300),
            attempts: 5,
            first_attempts: 5,
            connections: 25,
            http2: true,
            certificates: None,
            netrc: PathBuf::new(),
            netrc_is_named: false,
            user_agent: concat!("Nival/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: Proxies::default(),
            speed: 0,
        }
    }
}
