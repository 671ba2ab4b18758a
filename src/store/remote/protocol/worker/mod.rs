//! The daemon's protocol, as both sides see it.
//!
//! ```text
//! client  0x6e697863 version            ["features" ≥ 1.38: list]   (0) (0)
//! server  0x6478696f version            ["features" ≥ 1.38: list]   [name of its version ≥ 1.33] [trust ≥ 1.35]
//!         messages … LAST
//! client  operation, arguments
//! server  messages … LAST, answer       or  messages … ERROR
//! ```
//!
//! Both sides then speak the lower of the two versions. What the words of each
//! version are was found out by watching the original.

pub mod build_result;
pub mod message;

use std::fmt;

/// What a client begins with.
pub const CLIENT_HELLO: u64 = 0x6e69_7863;
/// What a server begins with.
pub const SERVER_HELLO: u64 = 0x6478_696f;

/// A version of a protocol: `major << 8 | minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

impl Version {
    /// The newest that we speak.
    pub const NEWEST: Self = Self::of(1, 38);
    /// The oldest that we speak.
    pub const OLDEST: Self = Self::of(1, 18);

    /// A version.
    pub const fn of(major: u64, minor: u64) -> Self {
        Self(major << 8 | minor)
    }

    /// The part that changes the words of the protocol altogether.
    pub fn major(self) -> u64 {
        self.0 >> 8
    }

    /// Whether the words of version `1.minor` are known.
    pub fn has(self, minor: u64) -> bool {
        self >= Self::of(1, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 8, self.0 & 0xff)
    }
}

/// The numbers of operations.
pub mod op {
    /// path → yes or no
    pub const IS_VALID_PATH: u64 = 1;
    /// path → yes or no; asked by old clients
    pub const HAS_SUBSTITUTES: u64 = 3;
    /// path → hash; asked by old clients
    pub const QUERY_PATH_HASH: u64 = 4;
    /// path → paths; asked by old clients
    pub const QUERY_REFERENCES: u64 = 5;
    /// path → paths
    pub const QUERY_REFERRERS: u64 = 6;
    /// name, method, references, repair, frames → path and info (≥ 1.25)
    pub const ADD_TO_STORE: u64 = 7;
    /// name, text, references → path (< 1.25)
    pub const ADD_TEXT_TO_STORE: u64 = 8;
    /// requests, mode → 1
    pub const BUILD_PATHS: u64 = 9;
    /// path → 1
    pub const ENSURE_PATH: u64 = 10;
    /// path → 1
    pub const ADD_TEMP_ROOT: u64 = 11;
    /// link → 1
    pub const ADD_INDIRECT_ROOT: u64 = 12;
    /// → 1; asked by old clients
    pub const SYNC_WITH_GC: u64 = 13;
    /// → pairs of link and path
    pub const FIND_ROOTS: u64 = 14;
    /// path → path or nothing; asked by old clients
    pub const QUERY_DERIVER: u64 = 18;
    /// settings → (nothing)
    pub const SET_OPTIONS: u64 = 19;
    /// action, paths, ignore liveness, most bytes, 0, 0, 0 → paths, bytes, 0
    pub const COLLECT_GARBAGE: u64 = 20;
    /// path → 0, or 1 and what a substituter knows of it
    pub const QUERY_SUBSTITUTABLE_PATH_INFO: u64 = 21;
    /// path → paths; asked by old clients
    pub const QUERY_DERIVATION_OUTPUTS: u64 = 22;
    /// → paths
    pub const QUERY_ALL_VALID_PATHS: u64 = 23;
    /// path → 0, or 1 and its info
    pub const QUERY_PATH_INFO: u64 = 26;
    /// path → names; asked by old clients
    pub const QUERY_DERIVATION_OUTPUT_NAMES: u64 = 28;
    /// hash part → path or nothing
    pub const QUERY_PATH_FROM_HASH_PART: u64 = 29;
    /// paths, with content addresses (≥ 1.22) → what substituters know of them
    pub const QUERY_SUBSTITUTABLE_PATH_INFOS: u64 = 30;
    /// paths, substitute (≥ 1.27) → paths
    pub const QUERY_VALID_PATHS: u64 = 31;
    /// paths → paths
    pub const QUERY_SUBSTITUTABLE_PATHS: u64 = 32;
    /// path → paths
    pub const QUERY_VALID_DERIVERS: u64 = 33;
    /// → 1
    pub const OPTIMISE_STORE: u64 = 34;
    /// contents, repair → whether errors are left
    pub const VERIFY_STORE: u64 = 35;
    /// path, derivation, mode → result
    pub const BUILD_DERIVATION: u64 = 36;
    /// path, signatures → 1
    pub const ADD_SIGNATURES: u64 = 37;
    /// path → archive
    pub const NAR_FROM_PATH: u64 = 38;
    /// path, info, repair, no check of signatures, archive → (nothing)
    pub const ADD_TO_STORE_NAR: u64 = 39;
    /// requests → paths to build, to substitute, unknown; bytes, bytes
    pub const QUERY_MISSING: u64 = 40;
    /// path → names and paths
    pub const QUERY_DERIVATION_OUTPUT_MAP: u64 = 41;
    /// realisation → (nothing)
    pub const REGISTER_DRV_OUTPUT: u64 = 42;
    /// output → realisations
    pub const QUERY_REALISATION: u64 = 43;
    /// repair, no check of signatures, frames: number, then infos and archives → (nothing)
    pub const ADD_MULTIPLE_TO_STORE: u64 = 44;
    /// path, frames → 1
    pub const ADD_BUILD_LOG: u64 = 45;
    /// requests, mode → requests and results
    pub const BUILD_PATHS_WITH_RESULTS: u64 = 46;
    /// path, link → link
    pub const ADD_PERM_ROOT: u64 = 47;
}

/// What a collection is to do.
pub mod gc_action {
    /// Tell what is alive.
    pub const RETURN_LIVE: u64 = 0;
    /// Tell what is dead.
    pub const RETURN_DEAD: u64 = 1;
    /// Delete what is dead.
    pub const DELETE_DEAD: u64 = 2;
    /// Delete the paths named.
    pub const DELETE_SPECIFIC: u64 = 3;
}

/// How to build.
pub mod build_mode {
    /// What is missing.
    pub const NORMAL: u64 = 0;
    /// Make good what is damaged.
    pub const REPAIR: u64 = 1;
    /// Build again and compare.
    pub const CHECK: u64 = 2;
}

/// How a server says whether it trusts the client.
pub mod trust {
    /// It does not say.
    pub const UNKNOWN: u64 = 0;
    /// It does.
    pub const TRUSTED: u64 = 1;
    /// It does not.
    pub const NOT_TRUSTED: u64 = 2;
}
