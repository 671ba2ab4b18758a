//! Archives: tar in any compression that is known by its first bytes, and zip.
//!
//! What comes out is made by a tree of its own, which lets nothing out of its directory; only
//! files, directories and links are made.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use super::tree::Limits;
use super::tree::Tree;
use super::{FetchError, Result};
use crate::store::compression::Compression;
use crate::sys::{PathError, clock, interrupt};

/// First bytes, and what they begin.
const MAGIC: &[(&[u8], Compression)] = &[
    (b"\x1f\x8b", Compression::Gzip),
    (b"\xfd7zXZ\0", Compression::Xz),
    (b"BZh", Compression::Bzip2),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    (b"\x04\x22\x4d\x18", Compression::Lz4),
    (b"LZIP", Compression::Lzip),
    (b"\x5d\x00\x00", Compression::Lzma),
];
/// First bytes of zip archives: with entries, and without.
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// Where a header of tar says that it is one; the oldest only have a checksum.
const USTAR: (usize, &[u8]) = (257, b"ustar");
/// Bytes of a header of tar, and where its checksum stands, in octal digits.
const HEADER: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Bytes of headers before one entry: long names and the like, which are held in memory.
const MAX_HEADERS: u64 = 4 << 20;
/// Longest target of a link in a zip archive, in bytes.
const MAX_TARGET: u64 = 4096;

/// What an archive stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Top {
    /// The only entry at its top, whatever it is; of several, the directory with them.
    Entry,
    /// What is in the only directory at its top; else the directory with all there is.
    Directory,
}

/// What a file decompresses to, however it is compressed, if it is.
///
/// # Errors
/// Errors of reading.
pub fn decompressed(file: &mut File) -> Result<Box<dyn Read + Send + '_>> {
    let mut head = Vec::new();
    read((&mut *file).take(16), &mut head)?;
    file.seek(SeekFrom::Start(0)).map_err(bad)?;
    match MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, compression)) => compression.decoder(1, file).map_err(bad),
        None => Ok(Box::new(file)),
    }
}

/// What came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// What the archive stands for.
    pub top: PathBuf,
    /// The time of its newest entry, in seconds since 1970.
    pub newest: u64,
}

/// Unpacks an archive into `dir`, which is empty.
///
/// # Errors
/// [`FetchError::Format`] and [`FetchError::Archive`] for bad archives, and
/// failures to write.
pub fn unpack(archive: &mut File, dir: &Path, top: Top) -> Result<Unpacked> {
    unpack_within(archive, dir, top, Limits::default())
}

/// As [`unpack`], and no more than there may be.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_within(archive: &mut File, dir: &Path, top: Top, limits: Limits) -> Result<Unpacked> {
    let mut tree = Tree::new(dir, limits)?;
    let mut head = Vec::new();
    read(archive.take(512), &mut head)?;
    archive.seek(SeekFrom::Start(0)).map_err(bad)?;
    if ZIP.iter().any(|magic| head.starts_with(magic)) {
        unzip(archive, &mut tree)?;
    } else if let Some((_, compression)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        untar(compression.decoder(1, archive).map_err(bad)?, &mut tree)?;
    } else {
        untar(archive, &mut tree)?;
    }
    Ok(Unpacked { top: find_top(dir, top)?, newest: tree.newest })
}

/// As [`unpack_within`], of tar that comes piece by piece.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_tar(archive: impl Read, dir: &Path, top: Top, limits: Limits) -> Result<Unpacked> {
    let mut tree = Tree::new(dir, limits)?;
    untar(archive, &mut tree)?;
    Ok(Unpacked { top: find_top(dir, top)?, newest: tree.newest })
}

pub(super) fn bad(error: impl std::fmt::Display) -> FetchError {
    match interrupt::check() {
        Err(signal) => signal.into(),
        Ok(()) => FetchError::Archive(error.to_string()),
    }
}

fn read(mut input: impl Read, output: &mut Vec<u8>) -> Result<()> {
    input.read_to_end(output).map_err(bad).map(drop)
}

/// Whether an archive begins with a header of tar.
fn is_header(head: &[u8]) -> bool {
    if head.len() < HEADER {
        return false;
    }
    let (at, magic) = USTAR;
    if head[at..].starts_with(magic) {
        return true;
    }
    // The sum of all bytes, its own taken as blanks.
    let blank = |(at, byte): (usize, &u8)| u64::from(if CHECKSUM.contains(&at) { b' ' } else { *byte });
    let sum: u64 = head[..HEADER].iter().enumerate().map(blank).sum();
    let digits = String::from_utf8_lossy(&head[CHECKSUM]);
    u64::from_str_radix(digits.trim_matches(['\0', ' ']), 8).is_ok_and(|told| told == sum)
}

/// Reading that a signal ends, and of which no more may be read at once than is allowed.
struct Guarded<R> {
    input: R,
    /// Bytes that may still be read, where there is a limit.
    allowed: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        interrupt::check().map_err(|_| interrupt::io_error())?;
        let count = self.input.read(buffer)?;
        if let Some(allowed) = self.allowed.get() {
            let left = allowed.checked_sub(count as u64);
            let left = left.ok_or_else(|| std::io::Error::other("the name of an entry is far too long"))?;
            self.allowed.set(Some(left));
        }
        Ok(count)
    }
}

/// Unpacks tar, which is told by its first header.
fn untar(input: impl Read, tree: &mut Tree) -> Result<()> {
    let mut input = BufReader::with_capacity(128 * 1024, input);
    let mut head = Vec::new();
    read(input.by_ref().take(HEADER as u64), &mut head)?;
    if !is_header(&head) {
        return Err(FetchError::Format);
    }
    let allowed = Rc::new(Cell::new(None));
    let input = Guarded { input: std::io::Cursor::new(head).chain(input), allowed: Rc::clone(&allowed) };
    let mut archive = tar::Archive::new(input);
    let mut entries = archive.entries().map_err(bad)?;
    loop {
        // What the library reads here it keeps in memory, whatever length is told.
        allowed.set(Some(MAX_HEADERS));
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(bad)?;
        allowed.set(None);
        // What is no time, or lies before 1970, is not the newest.
        tree.newest = tree.newest.max(entry.header().mtime().unwrap_or(0));
        put(&mut entry, tree)?;
        // Nothing of it is left for the next turn.
        std::io::copy(&mut entry, &mut std::io::sink()).map_err(bad)?;
    }
}

/// Makes an entry of tar.
fn put(entry: &mut tar::Entry<'_, impl Read>, tree: &mut Tree) -> Result<()> {
    use tar::EntryType as Kind;
    let name = entry.path_bytes().into_owned();
    let refused = |why: &str| Err(bad(format!("'{}' {why}", String::from_utf8_lossy(&name))));
    let kind = entry.header().entry_type();
    match kind {
        Kind::Directory => tree.directory(&name),
        // In the oldest form, a directory is a file with a slash at its end.
        Kind::Regular if name.ends_with(b"/") => tree.directory(&name),
        Kind::Regular | Kind::Continuous | Kind::GNUSparse => {
            if is_sparse(entry)? {
                return refused("is stored with holes, in a form that is not known here");
            }
            let executable = entry.header().mode().map_err(bad)? & 0o100 != 0;
            tree.file(&name, executable, entry)
        }
        Kind::Symlink | Kind::Link => {
            let Some(target) = entry.link_name_bytes().map(std::borrow::Cow::into_owned) else {
                return refused("is a link that leads nowhere");
            };
            if kind == Kind::Link { tree.hard_link(&name, &target) } else { tree.symlink(&name, &target) }
        }
        // Notes about the archive.
        Kind::XGlobalHeader | Kind::XHeader => Ok(()),
        _ => refused("is no file, directory or link"),
    }
}

/// Whether the contents of an entry are a list of their parts, and then these.
fn is_sparse(entry: &mut tar::Entry<'_, impl Read>) -> Result<bool> {
    let Some(extensions) = entry.pax_extensions().map_err(bad)? else { return Ok(false) };
    for extension in extensions {
        if extension.map_err(bad)?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unzip(archive: &mut File, tree: &mut Tree) -> Result<()> {
    const LINK: u32 = 0o120_000;
    const REGULAR: u32 = 0o100_000;
    const KIND: u32 = 0o170_000;
    let mut zip = zip::ZipArchive::new(archive).map_err(bad)?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(bad)?;
        let name = entry.name().map_err(bad)?.as_bytes().to_vec();
        tree.newest = tree.newest.max(zip_time(&entry));
        if entry.is_dir() {
            tree.directory(&name)?;
            continue;
        }
        let mode = entry.unix_mode().unwrap_or(REGULAR | 0o644);
        match mode & KIND {
            LINK => {
                let mut target = Vec::new();
                read(entry.by_ref().take(MAX_TARGET), &mut target)?;
                tree.symlink(&name, &target)?;
            }
            0 | REGULAR => tree.file(&name, mode & 0o100 != 0, &mut entry)?,
            _ => {
                let name = String::from_utf8_lossy(&name);
                return Err(bad(format!("'{name}' is no file, directory or link")));
            }
        }
    }
    Ok(())
}

/// The time of an entry of zip: that in UTC, else that of the zone where it was made, for which the
/// user's is taken. 0 if there is none.
fn zip_time(entry: &zip::read::ZipFile<'_, impl Read>) -> u64 {
    let exact = entry.extra_data_fields().find_map(|field| match field {
        zip::ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    let local = || {
        let time = entry.last_modified()?;
        let date = [time.year(), time.month().into(), time.day().into()];
        let seconds = clock::of_local(date, [time.hour(), time.minute(), time.second()])?;
        u64::try_from(seconds).ok()
    };
    exact.map(u64::from).or_else(local).unwrap_or(0)
}

/// What an archive stands for that was unpacked into `dir`.
fn find_top(dir: &Path, top: Top) -> Result<PathBuf> {
    let failed = |error| FetchError::from(PathError::new("reading directory", dir, error));
    let mut entries = std::fs::read_dir(dir).map_err(failed)?;
    let only = match (entries.next(), entries.next()) {
        (None, _) if top == Top::Entry => return Err(FetchError::Empty),
        (Some(only), None) => only.map_err(failed)?,
        _ => return Ok(dir.to_owned()),
    };
    match top == Top::Entry || only.file_type().map_err(failed)?.is_dir() {
        true => Ok(only.path()),
        false => Ok(dir.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> File {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&builder.into_inner().unwrap()).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    fn header(kind: tar::EntryType, path: &str, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        // As an enemy writes it: the builder would refuse some names.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header
    }

    fn entry(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, target: &str) {
        let mut header = header(kind, path, if target.is_empty() { 2 } else { 0 });
        if !target.is_empty() {
            header.set_link_name_literal(target).unwrap();
        }
        header.set_cksum();
        builder.append(&header, if target.is_empty() { &b"hi"[..] } else { &b""[..] }).unwrap();
    }

    /// What leads out of the directory is neither followed nor made.
    #[test]
    fn nothing_is_written_outside() {
        use tar::EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("secret"), "x").unwrap();
        let outside = victim.to_str().unwrap();
        let absolute = format!("{outside}/new");
        let cases: &[&[(tar::EntryType, &str, &str)]] = &[
            &[(Regular, "../victim/new", "")],
            &[(Symlink, "l", outside), (Regular, "l/new", "")],
            &[(Symlink, "l", ".."), (Regular, "l/victim/new", "")],
            &[(Link, "h", "../victim/secret"), (Regular, "h", "")],
            &[(Fifo, "pipe", "x")],
            &[(Char, "device", "x")],
            &[(Block, "device", "x")],
            &[(Regular, &absolute, "")],
        ];
        for (number, case) in cases.iter().enumerate() {
            let dir = place.path().join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            let mut file = archive(|builder| {
                case.iter().for_each(|(kind, path, target)| entry(builder, *kind, path, target));
            });
            assert!(unpack(&mut file, &dir, Top::Entry).is_err(), "{number}");
            assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1, "{number}");
            assert_eq!(std::fs::read(victim.join("secret")).unwrap(), b"x");
        }
    }

    /// As of tar, where a link comes before what would be written through it.
    #[test]
    fn links_of_zip_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        for (number, name) in ["l/new", "../new", "/new"].into_iter().enumerate() {
            let mut writer = zip::ZipWriter::new(tempfile::tempfile().unwrap());
            let options = zip::write::SimpleFileOptions::default();
            writer.add_symlink("l", "..", options).unwrap();
            writer.start_file(name, options).unwrap();
            writer.write_all(b"hi").unwrap();
            let mut file = writer.finish().unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            let dir = place.path().join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            assert!(unpack(&mut file, &dir, Top::Entry).is_err(), "{name}");
            assert!(!place.path().join("new").exists());
        }
    }

    #[test]
    fn the_newest_entry_has_the_time() {
        let times = [5, 1_000_000_020, 7];
        let mut file = archive(|builder| {
            for (number, time) in times.into_iter().enumerate() {
                let mut header = header(tar::EntryType::Regular, &number.to_string(), 0);
                header.set_mtime(time);
                header.set_cksum();
                builder.append(&header, &b""[..]).unwrap();
            }
        });
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(unpack(&mut file, dir.path(), Top::Entry).unwrap().newest, 1_000_000_020);
    }

    #[test]
    fn no_more_comes_out_than_may() {
        use tar::EntryType::Regular;
        let files = |builder: &mut tar::Builder<Vec<u8>>| {
            ["a", "b", "c"].iter().for_each(|name| entry(builder, Regular, name, ""));
        };
        let unpacked = |entries, bytes| {
            let dir = tempfile::tempdir().unwrap();
            let limits = Limits { entries, bytes };
            unpack_within(&mut archive(files), dir.path(), Top::Entry, limits).is_ok()
        };
        assert!(unpacked(3, 6));
        assert!(!unpacked(2, 6));
        assert!(!unpacked(3, 5));
    }

    /// The length of a name is what the archive says it is.
    #[test]
    fn names_are_not_held_whatever_their_length() {
        let dir = tempfile::tempdir().unwrap();
        let long = vec![b'a'; 6 << 20];
        let mut file = archive(|builder| {
            let mut header = header(tar::EntryType::GNULongName, "././@LongLink", long.len() as u64);
            header.set_cksum();
            builder.append(&header, &long[..]).unwrap();
            entry(builder, tar::EntryType::Regular, "a", "");
        });
        let error = unpack(&mut file, dir.path(), Top::Entry).unwrap_err();
        assert!(error.to_string().contains("far too long"), "{error}");
    }

    #[test]
    fn other_files_are_no_archives() {
        let dir = tempfile::tempdir().unwrap();
        for contents in ["", "some text", &"x".repeat(1000)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(contents.as_bytes()).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            assert!(
                matches!(unpack(&mut file, dir.path(), Top::Entry), Err(FetchError::Format)),
                "{contents}"
            );
        }
    }
}
