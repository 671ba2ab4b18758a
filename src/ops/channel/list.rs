//! The user's list of channels.
//!
//! ```text
//! list = { line }
//! line = blanks URL [ blanks NAME ] …, or nothing, or anything after '#'
//! ```
//!
//! What is written is sorted by the names, with one blank, and without comments.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::interrupt::Interrupted;
use crate::sys::lock::{self, LockError, LockKind};
use crate::sys::{PathError, atomic, read_configured};

/// Largest list that is read, in bytes.
const MAX_LIST: u64 = 1 << 20;
/// How the URL of a channel begins.
const SCHEMES: [&str; 3] = ["http://", "https://", "file://"];

/// Why a list was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Not a URL that can be that of a channel.
    #[error("invalid channel URL '{0}'")]
    Url(String),
    /// Not a name that a channel can have.
    #[error("invalid channel identifier '{0}'")]
    Name(String),
    /// Not a text.
    #[error("'{}' is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// The file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The work was told to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Channels: URLs by names.
pub type Channels = BTreeMap<String, String>;

/// Reads the list in a file; without the file there are no channels.
///
/// # Errors
/// The file cannot be read.
pub fn read(file: &Path) -> Result<Channels, ListError> {
    let bytes = match read_configured(file, MAX_LIST) {
        Err(error) if error.is_not_found() => return Ok(Channels::new()),
        other => other?,
    };
    let text = String::from_utf8(bytes).map_err(|_| ListError::NotText(file.to_owned()))?;
    Ok(text.lines().filter_map(channel).collect())
}

/// The name and the URL in a line.
fn channel(line: &str) -> Option<(String, String)> {
    let mut words = line.split_ascii_whitespace();
    let url = words.next().filter(|word| !word.starts_with('#'))?.trim_end_matches('/');
    let name = words.next().unwrap_or_else(|| last_part(url));
    Some((name.to_owned(), url.to_owned()))
}

/// The name that a URL gives a channel, as it stands.
fn last_part(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// Reads a list, changes it and writes it; who does the same meanwhile waits. The lock is a file
/// beside it with `.lock` at the end of its name.
///
/// # Errors
/// The files cannot be read or written.
pub fn change(file: &Path, change: impl FnOnce(&mut Channels)) -> Result<(), ListError> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
    }
    let mut path = file.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let held = lock::open_lock_file(&path)?;
    lock::lock(&held, &path, LockKind::Exclusive, || ()).map_err(|error| match error {
        LockError::Path(error) => ListError::Path(error),
        LockError::Interrupted(interrupted) => interrupted.into(),
    })?;
    let mut channels = read(file)?;
    change(&mut channels);
    write(file, &channels)
}

/// Writes a list, whole or not at all. Where the file is a link, what it leads to is written.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, channels: &Channels) -> Result<(), ListError> {
    let target = match std::fs::canonicalize(file) {
        Ok(target) => target,
        // Not there yet, or a link that leads nowhere, which is replaced.
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(PathError::new("following", file, error).into()),
    };
    if let Some(dir) = target.parent() {
        std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
    }
    let text: String = channels.iter().map(|(name, url)| format!("{url} {name}\n")).collect();
    Ok(atomic::replace_file(&target, text.as_bytes(), 0o644)?)
}

/// Checks what is to be added: a URL, and a name, which otherwise follows from the URL.
///
/// # Errors
/// [`ListError::Url`] and [`ListError::Name`].
pub fn check(url: &str, name: Option<&str>) -> Result<(String, String), ListError> {
    let is_url = SCHEMES.iter().any(|scheme| url.starts_with(scheme));
    // A line break would be read as the end of the line, and what follows as another channel.
    if !is_url || url.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(ListError::Url(url.to_owned()));
    }
    let name = name.unwrap_or_else(|| {
        let last = last_part(url.trim_end_matches('/'));
        let last = last.strip_suffix("-unstable").unwrap_or(last);
        last.strip_suffix("-stable").unwrap_or(last)
    });
    let starts = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let goes_on = |c: char| starts(c) || matches!(c, '.' | '-');
    match name.starts_with(starts) && name.chars().all(goes_on) {
        true => Ok((name.to_owned(), url.to_owned())),
        false => Err(ListError::Name(name.to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_that_follow_from_urls() {
        for (url, name) in [
            ("http://x/y-stable", "y"),
            ("http://x/y-stable-unstable", "y"),
            ("http://x/a-unstable-stable", "a-unstable"),
            ("http://x/d-stable-", "d-stable-"),
            ("https://x/y.z/", "y.z"),
            ("http://h/", "h"),
            ("file:///x/_e", "_e"),
        ] {
            assert_eq!(check(url, None).unwrap(), (name.to_owned(), url.to_owned()));
        }
        for url in ["bogus", "ssh://x/y", "HTTP://x/y", "channel:x", "http:/x", "http://x/\nhttp://y/z", ""] {
            assert!(matches!(check(url, None), Err(ListError::Url(_))), "{url}");
        }
        for url in ["http://x/.f", "http://x/é", "http://x/a%20b", "http://", "http://x/-unstable"] {
            assert!(matches!(check(url, None), Err(ListError::Name(_))), "{url}");
        }
        assert!(matches!(check("http://x/y", Some("b@d")), Err(ListError::Name(_))));
    }

    #[test]
    fn several_change_a_list_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/list");
        let add = |number: usize| {
            change(&file, |channels| drop(channels.insert(number.to_string(), "http://h/x".to_owned())))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let add = &add;
                    scope.spawn(move || add(number))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        assert_eq!(read(&file).unwrap().len(), 8);
    }

    #[test]
    fn lists_are_read_leniently_and_written_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        assert!(read(&file).unwrap().is_empty());
        std::fs::write(&file, "# c\n\n  http://q/w//  \nhttp://e/r\ttwo three\nbogus x\n").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("list", &link).unwrap();
        write(&link, &read(&link).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "http://e/r two\nhttp://q/w w\nbogus x\n");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
