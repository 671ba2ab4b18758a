//! Archives: tar in any compression that is known by its first bytes, and zip.
//!
//! Trees are made below one directory; nothing is followed or made outside it,
//! and only files, directories and links are made.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{FetchError, Result};
use crate::store::compression::Compression;
use crate::sys::{PathError, interrupt};

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

/// Unpacks an archive into `dir`, which is empty, and gives what it holds: the
/// only entry at its top, or the directory with all of them.
///
/// # Errors
/// [`FetchError::Format`] and [`FetchError::Archive`] for bad archives, and
/// failures to write.
pub fn unpack(archive: &mut File, dir: &Path) -> Result<PathBuf> {
    let mut head = Vec::new();
    read(archive.take(512), &mut head)?;
    archive.seek(SeekFrom::Start(0)).map_err(bad)?;
    if ZIP.iter().any(|magic| head.starts_with(magic)) {
        unzip(archive, dir)?;
    } else if let Some((_, compression)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        let tar = compression.decoder(1, archive).map_err(bad)?;
        untar(tar, dir)?;
    } else {
        untar(archive, dir)?;
    }
    top(dir)
}

fn bad(error: impl std::fmt::Display) -> FetchError {
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

/// Reading that a signal ends.
struct UntilSignal<R>(R);

impl<R: Read> Read for UntilSignal<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        interrupt::check().map_err(|_| interrupt::io_error())?;
        self.0.read(buffer)
    }
}

/// Unpacks tar, which is told by its first header.
fn untar(mut input: impl Read, dir: &Path) -> Result<()> {
    let mut head = Vec::new();
    read(input.by_ref().take(HEADER as u64), &mut head)?;
    if !is_header(&head) {
        return Err(FetchError::Format);
    }
    let mut archive = tar::Archive::new(UntilSignal(std::io::Cursor::new(head).chain(input)));
    archive.set_preserve_mtime(false);
    archive.set_overwrite(true);
    // Directories get their modes last: one may be closed to its owner.
    let mut directories = Vec::new();
    for entry in archive.entries().map_err(bad)? {
        interrupt::check()?;
        let mut entry = entry.map_err(bad)?;
        let path = entry.path().map_err(bad)?.into_owned();
        let kind = entry.header().entry_type();
        match kind {
            tar::EntryType::Directory => directories.push(path),
            tar::EntryType::Regular
            | tar::EntryType::Continuous
            | tar::EntryType::GNUSparse
            | tar::EntryType::Symlink
            | tar::EntryType::Link => {
                if !entry.unpack_in(dir).map_err(bad)? {
                    return Err(bad(format!("'{}' leads out of it", path.display())));
                }
            }
            tar::EntryType::XGlobalHeader | tar::EntryType::XHeader => {}
            _ => return Err(bad(format!("'{}' is no file, directory or link", path.display()))),
        }
    }
    directories.into_iter().try_for_each(|path| make_directory(dir, &path))
}

/// Makes a directory, which may be there, and those above it.
fn make_directory(dir: &Path, path: &Path) -> Result<()> {
    let mut here = dir.to_owned();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => here.push(name),
            std::path::Component::CurDir | std::path::Component::RootDir => continue,
            _ => return Err(bad(format!("'{}' leads out of it", path.display()))),
        }
        match std::fs::symlink_metadata(&here) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(bad(format!("'{}' is a directory and something else", path.display()))),
            Err(_) => std::fs::create_dir(&here).map_err(PathError::at("creating directory", &here))?,
        }
    }
    Ok(())
}

fn unzip(archive: &mut File, dir: &Path) -> Result<()> {
    const LINK: u32 = 0o120_000;
    const KIND: u32 = 0o170_000;
    let mut zip = zip::ZipArchive::new(archive).map_err(bad)?;
    // Links last, so that no file is written through one.
    let mut links = Vec::new();
    for index in 0..zip.len() {
        interrupt::check()?;
        let mut entry = zip.by_index(index).map_err(bad)?;
        let path =
            entry.enclosed_name().ok_or_else(|| bad(format!("entry {index} leads out of its directory")))?;
        if entry.is_dir() {
            make_directory(dir, &path)?;
            continue;
        }
        make_directory(dir, path.parent().unwrap_or(Path::new("")))?;
        let real = dir.join(&path);
        let mode = entry.unix_mode().unwrap_or(0o644);
        if mode & KIND == LINK {
            let mut target = Vec::new();
            read(entry.by_ref().take(4096), &mut target)?;
            links.push((real, target));
            continue;
        }
        let mut file = File::create_new(&real).map_err(PathError::at("creating file", &real))?;
        std::io::copy(&mut UntilSignal(&mut entry), &mut file).map_err(bad)?;
        let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode))
            .map_err(PathError::at("changing mode of", &real))?;
    }
    for (real, target) in links {
        let target = std::ffi::OsStr::from_bytes(&target);
        std::os::unix::fs::symlink(target, &real).map_err(PathError::at("creating symlink", &real))?;
    }
    Ok(())
}

use std::os::unix::ffi::OsStrExt as _;

/// The only entry of a directory, or the directory.
fn top(dir: &Path) -> Result<PathBuf> {
    let mut entries = std::fs::read_dir(dir).map_err(PathError::at("reading directory", dir))?;
    match (entries.next(), entries.next()) {
        (Some(Ok(only)), None) => Ok(only.path()),
        (None, _) => Err(bad("it is empty")),
        (Some(Err(error)), _) => Err(PathError::new("reading directory", dir, error).into()),
        _ => Ok(dir.to_owned()),
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
        use tar::EntryType::{Fifo, Link, Regular, Symlink};
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("secret"), "x").unwrap();
        let outside = victim.to_str().unwrap();
        let cases: &[&[(tar::EntryType, &str, &str)]] = &[
            &[(Regular, "../victim/new", "")],
            &[(Symlink, "l", outside), (Regular, "l/new", "")],
            &[(Symlink, "l", ".."), (Regular, "l/victim/new", "")],
            &[(Link, "h", "../victim/secret"), (Regular, "h", "")],
            &[(Fifo, "pipe", "x")],
        ];
        for (number, case) in cases.iter().enumerate() {
            let dir = place.path().join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            let mut file = archive(|builder| {
                case.iter().for_each(|(kind, path, target)| entry(builder, *kind, path, target));
            });
            assert!(unpack(&mut file, &dir).is_err(), "{number}");
            assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1, "{number}");
            assert_eq!(std::fs::read(victim.join("secret")).unwrap(), b"x");
        }
    }

    #[test]
    fn other_files_are_no_archives() {
        let dir = tempfile::tempdir().unwrap();
        for contents in ["", "some text", &"x".repeat(1000)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(contents.as_bytes()).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            assert!(matches!(unpack(&mut file, dir.path()), Err(FetchError::Format)), "{contents}");
        }
    }
}
