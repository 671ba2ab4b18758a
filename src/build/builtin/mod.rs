//! Builders that are part of this program.

mod fetchurl;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::http::settings::HttpSettings;
use crate::progress::Progress;

/// What a builder of ours works with.
pub struct Means<'m> {
    /// Its variables.
    pub variables: &'m BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where its output `out` is to be, on this machine.
    pub out: &'m Path,
    /// Whether its output is promised, or each build has another.
    pub may_fetch: bool,
    /// How requests are made.
    pub http: HttpSettings,
    /// Hears of the work.
    pub progress: Arc<dyn Progress>,
}

impl Means<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.variables.get(name.as_bytes()).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// The name of a builder of ours, without `builtin:`.
pub fn name(builder: &[u8]) -> Option<String> {
    builder.strip_prefix(b"builtin:").map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Runs a builder of ours.
///
/// # Errors
/// What is wrong, as its log tells it.
pub fn run(name: &str, means: &Means<'_>) -> Result<(), String> {
    match name {
        "fetchurl" => fetchurl::run(means),
        other => Err(format!("unsupported builtin builder '{other}'")),
    }
}
