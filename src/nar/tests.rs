#![allow(clippy::unwrap_used)]
//! The archive format in both directions.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::input::Input;
use super::writer::NarWriter;
use super::{Discard, NarError, dump, reader, restore};

#[derive(Debug, Clone, PartialEq)]
enum Tree {
    File { executable: bool, contents: Vec<u8> },
    Symlink(String),
    Directory(BTreeMap<String, Tree>),
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(executable, contents)| Tree::File { executable, contents }),
        "[^\0]{1,20}".prop_map(Tree::Symlink),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        proptest::collection::btree_map("[^/\0]{1,12}", inner, 0..6).prop_map(|entries| {
            Tree::Directory(entries.into_iter().filter(|(name, _)| name != "." && name != "..").collect())
        })
    })
}

fn make(tree: &Tree, path: &Path) {
    match tree {
        Tree::File { executable, contents } => {
            std::fs::write(path, contents).unwrap();
            if *executable {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        Tree::Symlink(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        Tree::Directory(entries) => {
            std::fs::create_dir(path).unwrap();
            for (name, tree) in entries {
                make(tree, &path.join(name));
            }
        }
    }
}

fn archive(path: &Path) -> Vec<u8> {
    let mut writer = NarWriter::new(Vec::new()).unwrap();
    dump::walk(path, &mut writer).unwrap();
    writer.into_output()
}

fn check(bytes: &[u8]) -> Result<(), NarError> {
    reader::read(&mut Input::new(bytes), &mut Discard)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn dump_and_restore(tree in any_tree()) {
        let dir = tempfile::tempdir().unwrap();
        make(&tree, &dir.path().join("a"));
        let bytes = archive(&dir.path().join("a"));
        restore::restore_file(&mut Input::new(&*bytes), &dir.path().join("b"), Path::new("x")).unwrap();
        prop_assert_eq!(&archive(&dir.path().join("b")), &bytes);
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn damage_is_noticed_or_harmless(tree in any_tree(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut: bool) {
        let dir = tempfile::tempdir().unwrap();
        make(&tree, &dir.path().join("a"));
        let mut bytes = archive(&dir.path().join("a"));
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        let restored = restore::restore_file(&mut Input::new(&*bytes), &dir.path().join("b"), Path::new("x"));
        if restored.is_ok() {
            // The change was to something that stands for itself.
            prop_assert_eq!(archive(&dir.path().join("b")), bytes);
        } else {
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(text);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

fn tokens(tokens: &[&[u8]]) -> Vec<u8> {
    tokens.iter().flat_map(|token| string(token)).collect()
}

fn message(bytes: &[u8]) -> String {
    check(bytes).unwrap_err().to_string()
}

#[test]
fn malformed_archives_are_refused() {
    let m: &[u8] = b"nix-archive-1";
    let directory = |names: &[&[u8]]| {
        let mut out = tokens(&[m, b"(", b"type", b"directory"]);
        for name in names {
            out.extend(tokens(&[b"entry", b"(", b"name", name, b"node"]));
            out.extend(tokens(&[b"(", b"type", b"symlink", b"target", b"t", b")", b")"]));
        }
        out.extend(tokens(&[b")"]));
        out
    };
    assert!(check(&directory(&[b"a", b"b"])).is_ok());
    let not_an_archive = "bad archive: input doesn't look like a Nix archive";
    assert_eq!(message(b"#!/bin/sh\nsome text, no archive"), not_an_archive);
    assert_eq!(message(&tokens(&[b"nix-archive-2"])), not_an_archive);
    assert_eq!(message(b""), "unexpected end-of-file");
    assert_eq!(message(&tokens(&[m, b"(", b"type", b"fifo"])), "bad archive: unknown file type 'fifo'");
    assert_eq!(
        message(&tokens(&[m, b"(", b"type", b"regular", b")"])),
        "bad archive: expected tag 'contents', got ')'"
    );
    assert_eq!(message(&tokens(&[m, b"type"])), "bad archive: expected tag '(', got 'type'");
    assert_eq!(
        message(&tokens(&[m, b"(", b"type", b"directory", b"bogus"])),
        "bad archive: expected tag 'entry' or ')', got 'bogus'"
    );
    for names in [[b"b", b"a"], [b"a", b"a"]] {
        assert_eq!(message(&directory(&[names[0], names[1]])), "bad archive: NAR directory is not sorted");
    }
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
        let shown = name.escape_ascii().to_string();
        assert_eq!(
            message(&directory(&[name])),
            format!("bad archive: NAR contains invalid file name '{shown}'")
        );
    }
    assert_eq!(message(&directory(&[&[b'n'; 256]])), "string is too long");
    assert!(check(&directory(&[&[b'n'; 255]])).is_ok());
    let symlink = |target: &[u8]| tokens(&[m, b"(", b"type", b"symlink", b"target", target, b")"]);
    assert!(check(&symlink(&[b't'; 4095])).is_ok());
    assert_eq!(message(&symlink(&[b't'; 4096])), "string is too long");
    assert_eq!(message(&symlink(b"")), "bad archive: NAR contains invalid symlink target");
    assert_eq!(
        message(&tokens(&[m, b"(", b"type", b"regular", b"executable", b"x", b"contents"])),
        "string is too long"
    );
    let mut padded = symlink(b"t");
    let end = padded.len();
    padded[end - 17] = 1;
    assert_eq!(message(&padded), "non-zero padding");
}

#[test]
fn huge_lengths_cost_nothing() {
    for len in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 40] {
        let mut bytes = tokens(&[b"nix-archive-1", b"(", b"type", b"regular", b"contents"]);
        bytes.extend(len.to_le_bytes());
        bytes.extend(b"only this");
        assert_eq!(message(&bytes), "unexpected end-of-file");
        let dir = tempfile::tempdir().unwrap();
        let result = restore::restore_file(&mut Input::new(&*bytes), &dir.path().join("x"), Path::new("x"));
        assert!(matches!(result, Err(NarError::Eof)));
        let mut name = tokens(&[b"nix-archive-1"]);
        name.extend(len.to_le_bytes());
        assert_eq!(message(&name), "string is too long");
    }
}

fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = tokens(&[b"nix-archive-1"]);
    for _ in 0..depth {
        bytes.extend(tokens(&[b"(", b"type", b"directory", b"entry", b"(", b"name", b"directory", b"node"]));
    }
    bytes.extend(tokens(&[b"(", b"type", b"regular", b"contents", b"", b")"]));
    for _ in 0..depth {
        bytes.extend(tokens(&[b")", b")"]));
    }
    bytes
}

#[test]
fn a_million_nested_directories_are_refused() {
    let bytes = nested(1_000_000);
    assert!(matches!(check(&bytes), Err(NarError::TooDeep)));
    let dir = tempfile::tempdir().unwrap();
    let result = restore::restore_file(&mut Input::new(&*bytes), &dir.path().join("x"), Path::new("x"));
    assert!(matches!(result, Err(NarError::TooDeep)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn trees_deeper_than_any_path() {
    let bytes = nested(3000);
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("x");
    restore::restore_file(&mut Input::new(&*bytes), &tree, &tree).unwrap();
    assert_eq!(archive(&tree), bytes);
    crate::sys::remove::remove(&tree).unwrap();
    assert!(!tree.exists());
}

#[test]
fn every_prefix_is_refused() {
    let bytes = nested(2);
    for end in 0..bytes.len() {
        assert!(check(&bytes[..end]).is_err(), "{end}");
    }
}

#[test]
fn files_are_found_by_path() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("t");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::create_dir_all(tree.join("c/a")).unwrap();
    for (path, text) in [("a/b/x", "1"), ("a/x", "2"), ("c/a/x", "3"), ("x", "4")] {
        std::fs::write(tree.join(path), text).unwrap();
    }
    let bytes = archive(&tree);
    let find = |path: &str| {
        let mut text = Vec::new();
        let found = reader::find(&mut Input::new(&*bytes), path.as_bytes(), |contents| {
            let mut buffer = [0; 10];
            let count = contents.read(&mut buffer)?;
            text.extend_from_slice(&buffer[..count]);
            Ok(())
        });
        found.unwrap().then(|| String::from_utf8(text).unwrap())
    };
    for (path, text) in [("/a/b/x", "1"), ("a/x", "2"), ("/c/a/x", "3"), ("x", "4")] {
        assert_eq!(find(path).as_deref(), Some(text), "{path}");
    }
    for path in ["", "/", "a", "b/x", "a/b", "a/b/x/y", "y"] {
        assert_eq!(find(path), None, "{path}");
    }
}
