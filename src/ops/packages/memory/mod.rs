//! What packages an expression offers, remembered between evaluations.
//!
//! A file holds the answer to one question about one expression, with everything that the evaluation saw (see
//! [`seen`](crate::ops::evaluate::seen)). Its name follows from all that is not noted by the evaluation: the
//! question, the options of the evaluation, the program. There are two kinds of answers: which packages there
//! are (`names`), and what is told of each of them (`answers`).
//!
//! ```text
//! file = "nival packages 1\n" key sum frame
//! key  = what the name of the file follows from, 32 bytes
//! sum  = BLAKE3 hash of everything else, 32 bytes
//! frame = a frame of Zstandard, in which: seen answer
//! ```
//!
//! Files are written aside, synced and renamed, so that processes never see a part of one, and the last to write
//! wins. A file that is not as it should be is none. The files used last are kept, up to a number and a size.
//! It is a memory only: whatever fails here is told to the curious, and everything is evaluated.

pub mod answers;
pub mod names;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::ops::evaluate::seen::coding::{Damaged, Decoder, Encoder};
use crate::ops::evaluate::seen::stamp::{Digest, digest};
use crate::ops::evaluate::seen::{Present, Said, Seen};
use crate::progress::Progress;
use crate::sys::atomic::replace_file;
use crate::sys::read_regular;

/// What every file begins with; another format has another number.
const MAGIC: &[u8] = b"nival packages 1\n";
/// The lengths of what is before the frame.
const KEY: usize = 32;
const HEAD: usize = MAGIC.len() + KEY + 32;
/// How the names of files end.
const SUFFIX: &str = ".rows";
/// Files that are kept.
const MOST_FILES: usize = 64;
/// Bytes of the files that are kept.
const MOST_BYTES: u64 = 256 << 20;
/// The greatest size of a file, and of what is in it.
const MOST_OF_A_FILE: u64 = 64 << 20;
const MOST_IN_A_FILE: u64 = 512 << 20;
/// How hard frames are compressed: hardly.
const LEVEL: i32 = 1;
/// A file that was used is marked so after this time, and what a killed process left is removed.
const HOUR: Duration = Duration::from_secs(3600);

/// The name of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(Digest);

impl Key {
    /// The name that follows from these parts, and from the program that asks.
    pub fn new<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Key {
        Key(digest([&program()[..], &digest(parts)[..]]))
    }
}

/// What tells one build of this program from others, which may evaluate differently.
fn program() -> Digest {
    let file = std::env::current_exe().and_then(fs::metadata);
    let file = file.map(|meta| (meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()));
    digest([env!("CARGO_PKG_VERSION").as_bytes(), format!("{:?}", file.ok()).as_bytes()])
}

/// An answer that was remembered.
pub struct Remembered {
    /// What the evaluation told the user.
    pub said: Vec<Said>,
    contents: Vec<u8>,
    /// Where the answer begins.
    at: usize,
}

impl Remembered {
    /// The answer, as bytes.
    pub fn answer(&self) -> Decoder<'_> {
        Decoder(self.contents.get(self.at..).unwrap_or_default())
    }
}

/// The files that answers are remembered in.
pub struct Memory {
    dir: PathBuf,
    progress: Arc<dyn Progress>,
}

impl Memory {
    /// The files in the directory `dir`, which is made when it is needed.
    pub fn new(dir: PathBuf, progress: Arc<dyn Progress>) -> Memory {
        Memory { dir, progress }
    }

    fn file(&self, key: &Key) -> PathBuf {
        let name: String = key.0[..20].iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name + SUFFIX)
    }

    /// The remembered answer to a question, if the evaluation would see the same now.
    pub fn look_up(&self, key: &Key, present: &Present<'_>) -> Option<Remembered> {
        let file = self.file(key);
        let contents = match read(&file, key) {
            Ok(contents) => contents?,
            Err(why) => {
                self.progress.detail(&format!("'{}' is not used: {why}", file.display()));
                return None;
            }
        };
        let mut from = Decoder(&contents);
        let mut seen = match Seen::decode(&mut from) {
            Ok(seen) => seen,
            Err(why) => {
                self.progress.detail(&format!("'{}' is not used: {why}", file.display()));
                return None;
            }
        };
        let at = contents.len() - from.0.len();
        match seen.compare(present) {
            Ok(compared) => {
                self.progress.detail(&format!(
                    "packages are remembered: {} things are as they were seen, {} were read again",
                    seen.sights.len(),
                    compared.read_again
                ));
                if compared.settled > 0 {
                    // Next time less has to be read.
                    self.write(key, &seen, &contents[at..]);
                } else {
                    mark(&file);
                }
            }
            Err(changed) => {
                self.progress.detail(&format!("remembered packages are not used: {changed}"));
                return None;
            }
        }
        Some(Remembered { said: seen.said, contents, at })
    }

    /// Remembers an answer, unless what the evaluation saw has changed meanwhile or cannot be seen again.
    pub fn keep(&self, key: &Key, seen: Result<Seen, String>, answer: &[u8], present: &Present<'_>) {
        let fit = seen.and_then(|mut seen| match seen.compare(present) {
            Ok(_) => Ok(seen),
            Err(changed) => Err(changed.to_string()),
        });
        match fit {
            Ok(seen) => self.write(key, &seen, answer),
            Err(why) => self.progress.detail(&format!("packages are not remembered: {why}")),
        }
    }

    fn write(&self, key: &Key, seen: &Seen, answer: &[u8]) {
        let mut to = Encoder::default();
        seen.encode(&mut to);
        to.0.extend_from_slice(answer);
        let written = self.write_file(key, &to.0);
        if let Err(why) = written.and_then(|()| self.forget_oldest()) {
            self.progress.detail(&format!("packages are not remembered: {why}"));
        }
    }

    fn write_file(&self, key: &Key, contents: &[u8]) -> Result<(), String> {
        if contents.len() as u64 > MOST_IN_A_FILE {
            return Err("there is too much to remember".to_owned());
        }
        let frame = zstd::bulk::compress(contents, LEVEL).map_err(|error| error.to_string())?;
        if (HEAD + frame.len()) as u64 > MOST_OF_A_FILE {
            return Err("there is too much to remember".to_owned());
        }
        let text = [MAGIC, &key.0, &sum(&key.0, &frame), &frame].concat();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| format!("creating directory '{}': {error}", self.dir.display()))?;
        replace_file(&self.file(key), &text, 0o600).map_err(|error| error.to_string())
    }

    /// Removes the files that were used least lately, beyond those that are kept.
    fn forget_oldest(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("reading directory '{}': {error}", self.dir.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name();
            let (is_file, is_part) = (
                name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()),
                name.as_encoded_bytes().starts_with(b".tmp-"),
            );
            let Ok(meta) = entry.metadata() else { continue };
            let Ok(used) = meta.modified() else { continue };
            if is_file {
                files.push((used, meta.len(), entry.path()));
            } else if is_part && SystemTime::now().duration_since(used).is_ok_and(|age| age > HOUR) {
                remove(&entry.path());
            }
        }
        files.sort_by(|one, other| other.cmp(one));
        let mut bytes = 0;
        for (index, (_, size, path)) in files.iter().enumerate() {
            bytes += size;
            if index >= MOST_FILES || bytes > MOST_BYTES {
                remove(path);
            }
        }
        Ok(())
    }
}

/// Removes a file that another process may have removed, too.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Marks a file as used. Where that fails it is forgotten sooner.
fn mark(file: &Path) {
    let now = SystemTime::now();
    let used = fs::metadata(file).and_then(|meta| meta.modified());
    if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > HOUR)) {
        let _ = File::options().write(true).open(file).and_then(|file| file.set_modified(now));
    }
}

fn sum(key: &Digest, frame: &[u8]) -> Digest {
    digest([MAGIC, key, frame])
}

/// What is in a file; nothing if there is none.
fn read(file: &Path, key: &Key) -> Result<Option<Vec<u8>>, String> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(meta) if meta.uid() != rustix::process::geteuid().as_raw() => {
            return Err("it is another user's".to_owned());
        }
        Ok(_) => {}
    }
    let text = read_regular(file, MOST_OF_A_FILE).map_err(|error| error.to_string())?;
    let damaged = || Damaged.to_string();
    let rest = text.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (known, rest) = rest.split_at_checked(KEY).ok_or_else(damaged)?;
    let (told, frame) = rest.split_at_checked(HEAD - MAGIC.len() - KEY).ok_or_else(damaged)?;
    if known != key.0 || told != sum(&key.0, frame) {
        return Err(damaged());
    }
    let mut contents = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(frame).map_err(|_| damaged())?;
    decoder.take(MOST_IN_A_FILE + 1).read_to_end(&mut contents).map_err(|_| damaged())?;
    if contents.len() as u64 > MOST_IN_A_FILE { Err(damaged()) } else { Ok(Some(contents)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::StoreDir;
    use crate::progress::silent;
    use crate::settings::Environment;
    use crate::store::empty::EmptyStore;

    /// A file with any byte changed, or cut anywhere, is none.
    #[test]
    fn damaged_files_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path().join("memory"), silent());
        let store = EmptyStore::new("dummy://".to_owned(), StoreDir::new("/nix/store").unwrap());
        let present =
            Present { environment: &Environment::default(), current_dir: Path::new("/"), store: &store };
        let key = Key::new([&b"question"[..]]);
        let said = vec![Said::Warning("said".to_owned())];
        memory.keep(&key, Ok(Seen { sights: Vec::new(), said: said.clone() }), b"answer", &present);
        let remembered = memory.look_up(&key, &present).unwrap();
        assert_eq!((&remembered.said, remembered.answer().0), (&said, &b"answer"[..]));
        let file = memory.file(&key);
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&file, bytes).unwrap();
                assert!(memory.look_up(&key, &present).is_none(), "byte {at}");
            }
            fs::write(&file, &good[..at]).unwrap();
            assert!(memory.look_up(&key, &present).is_none(), "cut at {at}");
        }
        fs::write(&file, &good).unwrap();
        assert!(memory.look_up(&key, &present).is_some());
        // A whole file in the place of another.
        let other = Key::new([&b"other"[..]]);
        fs::copy(&file, memory.file(&other)).unwrap();
        assert!(memory.look_up(&other, &present).is_none());
    }
}
