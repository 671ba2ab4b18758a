//! What a cache says of itself (`nix-cache-info`).
//!
//! ```text
//! file = { KEY ":" [" "] VALUE "\n" }
//! ```
//!
//! | key | value |
//! |---|---|
//! | StoreDir | the directory its paths are named by |
//! | WantMassQuery | `1` if it is made for many questions |
//! | Priority | a number: the lower, the earlier it is asked |
//!
//! Anything else is passed over.

/// Longest file that is read, in bytes.
pub const MAX_LEN: u64 = 64 * 1024;

/// The contents of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheInfo {
    /// Where it is said.
    pub store_dir: Option<String>,
    /// It is made for many questions.
    pub want_mass_query: bool,
    /// The lower, the earlier it is asked.
    pub priority: i64,
}

impl CacheInfo {
    /// Reads the file.
    ///
    /// # Errors
    /// The key whose value cannot be, and the value.
    pub fn parse(text: &[u8]) -> Result<Self, (&'static str, String)> {
        let mut info = Self::default();
        for (key, value) in String::from_utf8_lossy(text).lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match key {
                "StoreDir" => info.store_dir = Some(value.to_owned()),
                "WantMassQuery" => info.want_mass_query = value == "1",
                "Priority" => info.priority = value.parse().map_err(|_| ("Priority", value.to_owned()))?,
                _ => {}
            }
        }
        Ok(info)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::CacheInfo;

    #[test]
    fn values_and_junk() {
        let info =
            CacheInfo::parse(b"StoreDir: /a\r\njunk\nWantMassQuery: 1\nPriority:40\nOther: x").unwrap();
        assert_eq!(info, CacheInfo { store_dir: Some("/a".to_owned()), want_mass_query: true, priority: 40 });
        assert_eq!(CacheInfo::parse(b"\xff\xfe").unwrap(), CacheInfo::default());
        assert_eq!(CacheInfo::parse(b"Priority: x"), Err(("Priority", "x".to_owned())));
    }
}
