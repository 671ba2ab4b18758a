//! Archives: read or refused, alike however they are read; what is read is
//! written back byte for byte, also by way of the file system.
#![no_main]

use std::io::{self, Read};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nival::nar::input::Input;
use nival::nar::writer::NarWriter;
use nival::nar::{Discard, dump, reader, restore};

/// Larger inputs are not restored.
const RESTORED: usize = 4096;

/// Hands out a few bytes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(11);
        self.0.read(&mut buffer[..count])
    }
}

fuzz_target!(|data: &[u8]| {
    let mut printed = NarWriter::new(Vec::new()).expect("memory takes any write");
    let mut input = Input::new(data);
    let read = reader::read(&mut input, &mut printed);
    let checked = reader::read(&mut Input::new(Trickle(data)), &mut Discard);
    let found = reader::find(&mut Input::new(data), b"a/b", |_| Ok(()));
    assert_eq!(message(&read), message(&checked));
    assert_eq!(read.is_ok(), found.is_ok());
    let archive = read.is_ok().then(|| printed.into_output());
    if let Some(archive) = &archive {
        assert!(data.starts_with(archive), "written back differently");
        assert_eq!(input.at_end().expect("memory can be read"), archive.len() == data.len());
    }
    if data.len() <= RESTORED {
        let dir = tempfile::tempdir().expect("a temporary directory");
        through_file_system(data, archive.as_deref(), dir.path());
    }
});

fn message<T, E: std::fmt::Display>(result: &Result<T, E>) -> Option<String> {
    result.as_ref().err().map(ToString::to_string)
}

/// Restores `data` in `dir`, which must leave nothing unless it is an `archive`.
fn through_file_system(data: &[u8], archive: Option<&[u8]>, dir: &Path) {
    let path = dir.join("x");
    let restored = restore::restore_file(&mut Input::new(data), &path, &path);
    let Some(archive) = archive else {
        assert!(restored.is_err());
        assert_eq!(std::fs::read_dir(dir).expect("a directory").count(), 0, "a bad archive left something");
        return;
    };
    restored.expect("an archive is restored");
    let mut dumped = NarWriter::new(Vec::new()).expect("memory takes any write");
    dump::walk(&path, &mut dumped).expect("a restored tree is dumped");
    assert!(dumped.into_output() == archive, "dumped differently");
}
