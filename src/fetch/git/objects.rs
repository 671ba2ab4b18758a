//! The objects of a repository, each checked against its name.
//!
//! ```text
//! request  NAME LF
//! answer   NAME SP KIND SP SIZE LF BYTES LF | NAME SP "missing" LF
//! tree     = { MODE SP name NUL 20 bytes }
//! commit   = "tree " NAME LF { "parent " NAME LF } "author " … LF "committer " … TIME ZONE LF …
//! ```
//!
//! `git` itself does not hash what it reads. It is done here, so that a commit
//! fixes its tree whatever a repository holds.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStdin, ChildStdout};

use super::command::{Running, of_pipe};
use super::repository::Repository;
use super::{GitError, Result};
use crate::model::input::git::Rev;
use crate::model::{Hash, HashAlgorithm, HashFormat, Hasher};
use crate::nar::{Contents, NarError};
use crate::sys::interrupt::Interruptible;

/// Bytes of the largest tree or commit that is read: a directory with about a million files.
const MOST_OF_OBJECT: u64 = 64 << 20;
/// Bytes of the first line of an answer.
const MOST_OF_LINE: u64 = 256;
/// Bytes that are read at a time.
const STEP: usize = 64 << 10;

/// The name of an object: 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Oid(Hash);

impl Oid {
    /// The name in 20 bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Oid> {
        Hash::from_bytes(HashAlgorithm::Sha1, bytes)
            .map(Oid)
            .ok_or_else(|| GitError::Bad("a name of an object is too short".to_owned()))
    }

    /// The name in 40 digits.
    fn parse(digits: &str) -> Result<Oid> {
        let hash = Hash::parse(digits, Some(HashAlgorithm::Sha1));
        hash.map(Oid).map_err(|_| GitError::Bad(format!("'{digits}' is no name of an object")))
    }

    /// In 40 digits.
    pub fn digits(&self) -> String {
        self.0.digits(HashFormat::Base16)
    }
}

/// What a commit says that is needed here.
pub struct Commit {
    /// The files.
    pub tree: Oid,
    /// When it was made, in seconds since 1970.
    pub time: u64,
}

/// What an entry of a tree is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Whether it is a program.
        executable: bool,
    },
    /// A symbolic link.
    Symlink,
    /// A commit of another repository.
    Module,
}

/// An entry of a tree.
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its name.
    pub name: Vec<u8>,
    /// Its object.
    pub oid: Oid,
}

/// Reads objects.
pub struct Objects {
    // The pipes go first: the program ends when they do.
    input: ChildStdin,
    output: BufReader<Interruptible<ChildStdout>>,
    _running: Running,
}

impl Objects {
    /// Reads the objects of a repository.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn open(repository: &Repository) -> Result<Objects> {
        let mut running = Running::start(repository.command().args(["cat-file", "--batch"]), true)?;
        let (input, output) = (running.child().stdin.take(), running.child().stdout.take());
        match (input, output) {
            (Some(input), Some(output)) => {
                Ok(Objects { input, output: BufReader::new(Interruptible(output)), _running: running })
            }
            _ => Err(GitError::Run(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Asks for an object of a kind, and gives its size.
    fn ask(&mut self, oid: &Oid, kind: &str) -> Result<u64> {
        let digits = oid.digits();
        writeln!(self.input, "{digits}").and_then(|()| self.input.flush()).map_err(of_pipe)?;
        let mut line = Vec::new();
        (&mut self.output).take(MOST_OF_LINE).read_until(b'\n', &mut line).map_err(of_pipe)?;
        let text = String::from_utf8_lossy(&line);
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [_, found, size] if found == kind => {
                size.parse().map_err(|_| GitError::Bad(format!("object '{digits}' has the size '{size}'")))
            }
            [_, found, _] => {
                Err(GitError::Bad(format!("object '{digits}' is a {found} instead of a {kind}")))
            }
            _ => Err(GitError::Bad(format!("object '{digits}' is missing"))),
        }
    }

    /// A whole object, if it is no larger than `limit`.
    fn whole(&mut self, oid: &Oid, kind: &str, limit: u64) -> Result<Vec<u8>> {
        let size = self.ask(oid, kind)?;
        if size > limit {
            return Err(GitError::Bad(format!("object '{}' is too large: {size} bytes", oid.digits())));
        }
        let mut bytes = Vec::new();
        let mut hasher = begun(kind, size);
        (&mut self.output).take(size).read_to_end(&mut bytes).map_err(of_pipe)?;
        hasher.update(&bytes);
        self.end(oid, hasher)?;
        Ok(bytes)
    }

    /// After the bytes of an object: they have to be those that its name stands for.
    fn end(&mut self, oid: &Oid, hasher: Hasher) -> Result<()> {
        let mut newline = [0];
        self.output.read_exact(&mut newline).map_err(of_pipe)?;
        match Oid(hasher.finish()) == *oid {
            true => Ok(()),
            false => {
                Err(GitError::Bad(format!("object '{}' has other contents than its name says", oid.digits())))
            }
        }
    }

    /// What a commit says.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn commit(&mut self, rev: &Rev) -> Result<Commit> {
        let bytes = self.whole(&Oid::parse(rev.as_str())?, "commit", MOST_OF_OBJECT)?;
        let text = String::from_utf8_lossy(&bytes);
        let field = |name: &str| {
            text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(name))
        };
        let bad = || GitError::Bad(format!("commit '{}' is not as Git makes them", rev.as_str()));
        let tree = Oid::parse(field("tree ").ok_or_else(bad)?)?;
        // NAME <ADDRESS> TIME ZONE
        let time =
            field("committer ").and_then(|line| line.rsplit(' ').nth(1)).and_then(|time| time.parse().ok());
        Ok(Commit { tree, time: time.ok_or_else(bad)? })
    }

    /// The entries of a tree in the order of the bytes of their names.
    ///
    /// # Errors
    /// [`GitError`]; also for names that no directory can have.
    pub fn tree(&mut self, oid: &Oid) -> Result<Vec<Entry>> {
        let bytes = self.whole(oid, "tree", MOST_OF_OBJECT)?;
        let bad = || GitError::Bad(format!("tree '{}' is not as Git makes them", oid.digits()));
        let mut entries = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
            let (mode, after) = (&rest[..blank], &rest[blank + 1..]);
            let end = after.iter().position(|byte| *byte == 0).ok_or_else(bad)?;
            let (name, after) = (&after[..end], &after[end + 1..]);
            let (id, after) = after.split_at_checked(20).ok_or_else(bad)?;
            let kind = match mode {
                b"40000" | b"040000" => EntryKind::Directory,
                b"120000" => EntryKind::Symlink,
                b"160000" => EntryKind::Module,
                mode if mode.starts_with(b"100") => {
                    EntryKind::File { executable: mode.get(3) == Some(&b'7') }
                }
                _ => return Err(bad()),
            };
            check_name(name)?;
            entries.push(Entry { kind, name: name.to_vec(), oid: Oid::from_bytes(id)? });
            rest = after;
        }
        // In a tree, directories stand as if their names ended in a slash.
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        match entries.windows(2).any(|pair| pair[0].name == pair[1].name) {
            true => Err(bad()),
            false => Ok(entries),
        }
    }

    /// A file that is no larger than `limit`.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn small_file(&mut self, oid: &Oid, limit: u64) -> Result<Vec<u8>> {
        self.whole(oid, "blob", limit)
    }

    /// Has the contents of a file taken by `take`.
    ///
    /// # Errors
    /// Those of `take`, and [`GitError`] within [`NarError::Sink`].
    pub fn file(
        &mut self,
        oid: &Oid,
        take: impl FnOnce(&mut dyn Contents) -> std::result::Result<(), NarError>,
    ) -> std::result::Result<(), NarError> {
        let size = self.ask(oid, "blob").map_err(of_git)?;
        let mut blob = Blob { output: &mut self.output, remaining: size, hasher: begun("blob", size) };
        take(&mut blob)?;
        let mut rest = vec![0; STEP.min(usize::try_from(blob.remaining).unwrap_or(STEP))];
        while blob.remaining > 0 {
            blob.read(&mut rest)?;
        }
        let hasher = blob.hasher;
        self.end(oid, hasher).map_err(of_git)
    }
}

/// Refuses names that no directory can have, and those that would lead out of one.
///
/// # Errors
/// [`GitError::Bad`].
pub fn check_name(name: &[u8]) -> Result<()> {
    match name {
        b"" | b"." | b".." => {}
        name if name.contains(&b'/') || name.contains(&0) => {}
        _ => return Ok(()),
    }
    Err(GitError::Bad(format!("'{}' is no name of a file", String::from_utf8_lossy(name))))
}

/// The hash of an object before its bytes.
fn begun(kind: &str, size: u64) -> Hasher {
    let mut hasher = Hasher::new(HashAlgorithm::Sha1);
    hasher.update(format!("{kind} {size}\0").as_bytes());
    hasher
}

/// A failure of Git for who takes a tree.
pub fn of_git(error: GitError) -> NarError {
    match error {
        GitError::Interrupted(interrupted) => interrupted.into(),
        other => NarError::Sink(Box::new(other)),
    }
}

/// The contents of a file, hashed on their way.
struct Blob<'o> {
    output: &'o mut BufReader<Interruptible<ChildStdout>>,
    remaining: u64,
    hasher: Hasher,
}

impl Contents for Blob<'_> {
    fn remaining(&self) -> u64 {
        self.remaining
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::result::Result<usize, NarError> {
        let most = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        let count = self.output.read(&mut buffer[..most]).map_err(|error| of_git(of_pipe(error)))?;
        if count == 0 && most > 0 {
            return Err(of_git(GitError::Bad("'git' ended within an object".to_owned())));
        }
        self.hasher.update(&buffer[..count]);
        self.remaining -= count as u64;
        Ok(count)
    }
}
