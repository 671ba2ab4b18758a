//! What trees of commits turned out to be, so that a commit whose tree is in the
//! store costs nothing the next time.
//!
//! One small file for each commit and way to take it, below the user's directory
//! for caches: `git-trees-v1/REV[-export][-modules]`, of JSON.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::model::input::git::{GitInput, Rev};
use crate::model::{Hash, HashAlgorithm, HashFormat};
use crate::sys::{atomic, read_regular};

/// Bytes of a file.
const MOST: u64 = 64 << 10;

/// Which tree is meant.
pub struct Key {
    rev: Rev,
    export: bool,
    modules: bool,
}

impl Key {
    /// The tree of a commit, taken as `input` says.
    pub fn new(rev: &Rev, input: &GitInput) -> Key {
        let is = |choice: Option<bool>| choice == Some(true);
        Key {
            rev: rev.clone(),
            export: is(input.choices.export_ignore),
            modules: is(input.choices.submodules),
        }
    }

    fn file_name(&self) -> String {
        let mut name = self.rev.as_str().to_owned();
        for (is, part) in [(self.export, "-export"), (self.modules, "-modules")] {
            if is {
                name.push_str(part);
            }
        }
        name
    }
}

/// What is known of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The SHA-256 hash of its archive.
    pub nar_hash: Hash,
    /// When the commit was made, in seconds since 1970.
    pub last_modified: u64,
    /// How many commits led to it, if that was ever counted.
    pub rev_count: Option<u64>,
}

/// The files.
pub struct Memory {
    dir: PathBuf,
}

impl Memory {
    /// In the user's directory for caches.
    pub fn new(cache_dir: &Path) -> Memory {
        Memory { dir: cache_dir.join("git-trees-v1") }
    }

    /// What is known of a tree. A file that cannot be read says nothing.
    pub fn get(&self, key: &Key) -> Option<Remembered> {
        let text = read_regular(&self.dir.join(key.file_name()), MOST).ok()?;
        let value: Value = serde_json::from_slice(&text).ok()?;
        let hash = Hash::parse(value["narHash"].as_str()?, Some(HashAlgorithm::Sha256)).ok()?;
        Some(Remembered {
            nar_hash: hash,
            last_modified: value["lastModified"].as_u64()?,
            rev_count: value["revCount"].as_u64(),
        })
    }

    /// Remembers a tree. It is only a memory: where nothing can be written, nothing is.
    pub fn put(&self, key: &Key, known: &Remembered) {
        let hash = known.nar_hash.digits(HashFormat::Sri);
        let mut value = json!({ "lastModified": known.last_modified, "narHash": hash });
        if let Some(count) = known.rev_count {
            value["revCount"] = json!(count);
        }
        let _ = std::fs::create_dir_all(&self.dir).map_err(drop).and_then(|()| {
            atomic::replace_file(&self.dir.join(key.file_name()), value.to_string().as_bytes(), 0o600)
                .map_err(drop)
        });
    }
}
