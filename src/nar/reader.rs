//! Archive → calls of a sink, checked against the grammar.

use std::ffi::{CStr, CString};
use std::io::Read;

use super::input::Input;
use super::{Contents, MAGIC, MAX_DEPTH, MAX_NAME_LEN, MAX_TARGET_LEN, NarError, Sink};
use crate::sys::interrupt;

/// Longest token that is not a name or target.
const MAX_TOKEN_LEN: usize = 64;

/// Reads one archive, to its last byte and not further, and tells `sink` of it.
///
/// Memory is bounded whatever the input says: lengths are checked before
/// anything is allocated, and only the names of the directories one stands in
/// are held.
///
/// # Errors
/// [`NarError`]; the sink has then been told a part.
pub fn read<R: Read>(input: &mut Input<R>, sink: &mut (impl Sink + ?Sized)) -> Result<(), NarError> {
    match input.string(MAX_TOKEN_LEN) {
        Ok(magic) if magic == MAGIC.as_bytes() => {}
        Ok(_) | Err(NarError::TooLong | NarError::Padding) => {
            return Err(NarError::bad("input doesn't look like a Nix archive"));
        }
        Err(error) => return Err(error),
    }
    // For each directory one stands in, the name of its entry read last.
    let mut directories: Vec<Option<CString>> = Vec::new();
    node(input, sink, &mut directories)?;
    while let Some(previous) = directories.last_mut() {
        interrupt::check()?;
        match input.string(MAX_TOKEN_LEN)? {
            b")" => {
                directories.pop();
                sink.leave_directory()?;
                if !directories.is_empty() {
                    expect(input, ")")?;
                }
            }
            b"entry" => {
                expect(input, "(")?;
                expect(input, "name")?;
                let name = checked_name(input.string(MAX_NAME_LEN)?)?;
                if previous.as_ref().is_some_and(|previous| *previous >= name) {
                    return Err(NarError::bad("NAR directory is not sorted"));
                }
                expect(input, "node")?;
                sink.entry(&name)?;
                *previous = Some(name);
                if directories.len() >= MAX_DEPTH {
                    return Err(NarError::TooDeep);
                }
                if node(input, sink, &mut directories)? == Kind::Leaf {
                    expect(input, ")")?;
                }
            }
            other => {
                return Err(NarError::bad(format!("expected tag 'entry' or ')', got '{}'", shown(other))));
            }
        }
    }
    Ok(())
}

#[derive(PartialEq)]
enum Kind {
    Leaf,
    Directory,
}

/// A node; a directory only up to its first entry.
fn node<R: Read>(
    input: &mut Input<R>,
    sink: &mut (impl Sink + ?Sized),
    directories: &mut Vec<Option<CString>>,
) -> Result<Kind, NarError> {
    expect(input, "(")?;
    expect(input, "type")?;
    match input.string(MAX_TOKEN_LEN)? {
        b"regular" => {
            let mut executable = false;
            match input.string(MAX_TOKEN_LEN)? {
                b"contents" => {}
                b"executable" => {
                    executable = true;
                    input.string(0)?;
                    expect(input, "contents")?;
                }
                other => {
                    return Err(NarError::bad(format!("expected tag 'contents', got '{}'", shown(other))));
                }
            }
            let len = input.number()?;
            let mut contents = Data { input, remaining: len };
            sink.regular(executable, &mut contents)?;
            let rest = contents.remaining;
            input.skip(rest)?;
            input.padding(len)?;
            expect(input, ")")?;
            Ok(Kind::Leaf)
        }
        b"symlink" => {
            expect(input, "target")?;
            sink.symlink(&checked_target(input.string(MAX_TARGET_LEN)?)?)?;
            expect(input, ")")?;
            Ok(Kind::Leaf)
        }
        b"directory" => {
            directories.push(None);
            sink.enter_directory()?;
            Ok(Kind::Directory)
        }
        other => Err(NarError::bad(format!("unknown file type '{}'", shown(other)))),
    }
}

fn expect<R: Read>(input: &mut Input<R>, token: &str) -> Result<(), NarError> {
    let found = input.string(MAX_TOKEN_LEN)?;
    if found == token.as_bytes() {
        return Ok(());
    }
    Err(NarError::bad(format!("expected tag '{token}', got '{}'", shown(found))))
}

/// A name that an entry may have.
///
/// # Errors
/// [`NarError::Bad`].
pub(crate) fn checked_name(name: &[u8]) -> Result<CString, NarError> {
    let invalid = || NarError::bad(format!("NAR contains invalid file name '{}'", shown(name)));
    if matches!(name, b"" | b"." | b"..") || name.len() > MAX_NAME_LEN || name.contains(&b'/') {
        return Err(invalid());
    }
    CString::new(name).map_err(|_| invalid())
}

/// A target that a symlink may have.
///
/// # Errors
/// [`NarError::Bad`].
pub(crate) fn checked_target(target: &[u8]) -> Result<CString, NarError> {
    let target = CString::new(target).ok();
    let fits = target.filter(|target| (1..=MAX_TARGET_LEN).contains(&target.count_bytes()));
    fits.ok_or_else(|| NarError::bad("NAR contains invalid symlink target"))
}

/// A token from outside, fit to be printed.
fn shown(token: &[u8]) -> String {
    token.escape_ascii().to_string()
}

struct Data<'i, R> {
    input: &'i mut Input<R>,
    remaining: u64,
}

impl<R: Read> Contents for Data<'_, R> {
    fn remaining(&self) -> u64 {
        self.remaining
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        let limit = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if limit == 0 {
            return Ok(0);
        }
        let count = self.input.bulk(&mut buffer[..limit])?;
        self.remaining -= count as u64;
        Ok(count)
    }
}

/// What to look for in an archive with [`find`].
struct Finder<'a, F> {
    wanted: Vec<&'a [u8]>,
    /// Components of `wanted` that lead to where one stands.
    matched: usize,
    /// Directories entered since they stopped matching, and in all.
    depth: usize,
    at: Option<Vec<u8>>,
    found: F,
    hit: bool,
}

impl<F: FnMut(&mut dyn Contents) -> Result<(), NarError>> Sink for Finder<'_, F> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        if let Some(name) = self.at.take()
            && self.matched == self.depth - 1
            && self.wanted.get(self.matched) == Some(&&*name)
        {
            self.matched += 1;
        }
        self.depth += 1;
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.at = Some(name.to_bytes().to_vec());
        Ok(())
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        self.depth -= 1;
        self.matched = self.matched.min(self.depth.saturating_sub(1));
        Ok(())
    }

    fn regular(&mut self, _executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let here = match self.at.take() {
            None => self.wanted.is_empty(),
            Some(name) => {
                self.matched + 1 == self.depth
                    && self.depth == self.wanted.len()
                    && self.wanted.last() == Some(&&*name)
            }
        };
        if here {
            self.hit = true;
            (self.found)(contents)?;
        }
        Ok(())
    }

    fn symlink(&mut self, _target: &CStr) -> Result<(), NarError> {
        self.at = None;
        Ok(())
    }
}

/// Hands the contents of the file at `path` (components joined by `/`, empty
/// for the root) to `found`; true if there is such a file.
///
/// # Errors
/// Errors of the archive and of `found`.
pub fn find<R: Read>(
    input: &mut Input<R>,
    path: &[u8],
    found: impl FnMut(&mut dyn Contents) -> Result<(), NarError>,
) -> Result<bool, NarError> {
    let wanted = path.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
    let mut finder = Finder { wanted, matched: 0, depth: 0, at: None, found, hit: false };
    read(input, &mut finder)?;
    Ok(finder.hit)
}
