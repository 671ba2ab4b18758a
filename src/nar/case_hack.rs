//! Names that differ only in case, on file systems that cannot tell them apart
//! (`use-case-hack`).
//!
//! Unpacked, the second such name of a directory gets a suffix with a number;
//! archives made of the tree do not have it. For the whole process, because
//! what a tree's archive is must not depend on who asks.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

use super::NarError;

/// What stands between a name and the number.
const SUFFIX: &[u8] = b"~nix~case~hack~";

static ENABLED: AtomicBool = AtomicBool::new(false);

/// Has names changed from now on, or not.
pub fn enable(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

/// Whether names are changed.
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// The name that an archive has for a name on disk.
pub fn plain(name: &[u8]) -> &[u8] {
    let at = name.windows(SUFFIX.len()).position(|window| window == SUFFIX);
    at.map_or(name, |at| &name[..at])
}

/// The names of one directory that is being made.
#[derive(Default)]
pub struct Names {
    /// Each in small letters, with how many were like it before.
    known: HashMap<Vec<u8>, u32>,
}

impl Names {
    /// The name on disk for the next name of the archive.
    ///
    /// # Errors
    /// For one that is what another has become.
    pub fn next(&mut self, name: &CStr) -> Result<CString, NarError> {
        let folded = name.to_bytes().to_ascii_lowercase();
        let Some(count) = self.known.get_mut(&folded) else {
            self.known.insert(folded, 0);
            return Ok(name.to_owned());
        };
        *count += 1;
        let mut changed = name.to_bytes().to_vec();
        changed.extend_from_slice(SUFFIX);
        changed.extend_from_slice(count.to_string().as_bytes());
        if self.known.insert(changed.to_ascii_lowercase(), 0).is_some() {
            return Err(collision(&changed));
        }
        CString::new(changed).map_err(|_| NarError::bad("a name has a zero byte in it"))
    }
}

/// The error for two names that would be the same.
pub(super) fn collision(name: &[u8]) -> NarError {
    NarError::bad(format!("two files of a directory get the name '{}'", name.escape_ascii()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_get_numbers_and_lose_them() {
        let mut names = Names::default();
        for (name, on_disk) in [
            (c"Foo", c"Foo"),
            (c"bar", c"bar"),
            (c"foo", c"foo~nix~case~hack~1"),
            (c"fOO", c"fOO~nix~case~hack~2"),
        ] {
            assert_eq!(names.next(name).unwrap().as_c_str(), on_disk);
            assert_eq!(plain(on_disk.to_bytes()), name.to_bytes());
        }
        let mut names = Names::default();
        names.next(c"X~nix~case~hack~1").unwrap();
        names.next(c"X").unwrap();
        assert!(names.next(c"x").is_err());
    }
}
