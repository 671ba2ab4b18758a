//! Narinfos that are wrong in every field and every way: read, and fetched by.

use std::path::Path;

use crate::common::World;
use crate::data;

/// What stands in a field, and whether that is an error.
#[derive(Clone, Copy)]
enum Fate {
    /// The narinfo is refused, and the field named.
    Refused,
    /// It is as good as before, or only not used.
    Fine,
}

use Fate::{Fine, Refused};

const FIELDS: [&str; 11] = [
    "StorePath",
    "URL",
    "Compression",
    "FileHash",
    "FileSize",
    "NarHash",
    "NarSize",
    "References",
    "Deriver",
    "Sig",
    "CA",
];

/// The ways in which a field can be wrong, and what then happens when the narinfo
/// is read: texts, of which `None` leaves the line out.
fn ways(field: &str, good: &str) -> Vec<(Option<String>, Fate)> {
    let line = |value: &str| Some(format!("{field}: {value}\n"));
    let hash = matches!(field, "FileHash" | "NarHash");
    let size = matches!(field, "FileSize" | "NarSize");
    let needed = matches!(field, "StorePath" | "URL" | "NarHash" | "NarSize");
    let lenient = matches!(field, "URL" | "Compression" | "Sig");
    let unless = |fine: bool| if fine { Fine } else { Refused };
    let mut ways = vec![
        (None, unless(!needed)),
        // Twice the same.
        (Some(format!("{field}: {good}\n{field}: {good}\n")), unless(field != "Deriver" || !good.is_empty())),
        // Empty.
        (line(""), unless(matches!(field, "Compression" | "References" | "Sig" | "CA"))),
        // Without a colon.
        (Some(format!("{field} {good}\n")), unless(good.contains(':') && !needed)),
        // What would reach a terminal.
        (line("\u{1b}]0;owned\u{7}"), unless(lenient)),
        (line("a\0b"), unless(lenient)),
        (line(&"x".repeat(100_000)), unless(field == "Sig")),
        (line("../../etc/passwd"), unless(lenient)),
        (line("/nix/store/11111111111111111111111111111111-other"), unless(lenient)),
        (
            line("11111111111111111111111111111111-other"),
            unless(lenient || matches!(field, "References" | "Deriver")),
        ),
    ];
    if size {
        for value in ["-1", "18446744073709551616", "1e3", "0x10", " 5", "5 ", "five"] {
            ways.push((line(value), Refused));
        }
        ways.push((line("0"), unless(field == "FileSize")));
    }
    if hash {
        for value in ["sha256:", "sha256:0", "md4:00", "sha256-AAAA", "sha256:~~~~", "sha512:AAAA"] {
            ways.push((line(value), Refused));
        }
    }
    if field == "Sig" {
        for value in ["test-1:", ":AAAA", "test-1:~~~~", "test-1:AAAA", "a b:AAAA"] {
            ways.push((line(value), Fine));
        }
    }
    if field == "CA" {
        for value in ["fixed:", "fixed:sha256:x", "text:md5:00", "other:r:sha256:x"] {
            ways.push((line(value), Refused));
        }
    }
    ways
}

/// A narinfo with one field replaced; fields that it lacks come at its end.
fn changed(good: &str, field: &str, line: Option<&str>) -> String {
    let key = format!("{field}: ");
    let mut lines: Vec<String> =
        good.lines().filter(|line| !line.starts_with(&key)).map(|line| format!("{line}\n")).collect();
    lines.extend(line.map(str::to_owned));
    lines.concat()
}

#[test]
fn every_field_in_every_way() {
    let world = World::new();
    let paths = data::sample(&world);
    data::trust_new_key(&world);
    let path = paths.iter().find(|path| path.ends_with("-tree")).unwrap();
    let cache = format!("file://{}", world.text("cache"));
    let to = format!("{cache}?compression=none&secret-key={}", world.text("secret"));
    world.nival("nix", &["copy", "--to", &to, path]).ok();
    let hash = &Path::new(path).file_name().unwrap().to_str().unwrap()[..32];
    let file = world.path("cache").join(format!("{hash}.narinfo"));
    let good = std::fs::read_to_string(&file).unwrap();
    let option = ["--option", "substituters", &cache];
    for field in FIELDS {
        let key = format!("{field}: ");
        let value = good.lines().find_map(|line| line.strip_prefix(&key)).unwrap_or_default();
        for (line, fate) in ways(field, value) {
            let text = changed(&good, field, line.as_deref());
            let shown: String = format!("{field} {line:?}").chars().take(120).collect();
            std::fs::write(&file, &text).unwrap();
            let read = world.nival("nix", &["path-info", "--store", &cache, path]);
            data::forget_if_there(&world);
            let fetched = world.nix_store(&[&["-r", path][..], &option].concat());
            for (outcome, command) in [(&read, "read"), (&fetched, "fetched")] {
                let said = &outcome.stderr;
                assert!(!said.contains("panicked") && outcome.status <= 1, "{command} {shown}: {outcome:?}");
                assert!(said.len() < 3000, "{command} {shown}: {} bytes", said.len());
                let raw = said.chars().any(|c| c.is_control() && c != '\n');
                assert!(!raw, "{command} {shown}: {said:?}");
            }
            match fate {
                Fine => assert_eq!(read.status, 0, "{shown}: {}", read.stderr),
                Refused => {
                    for outcome in [&read, &fetched] {
                        let named = outcome.status == 1
                            && outcome.stderr.contains(&format!("'{hash}.narinfo' is corrupt: "))
                            && (outcome.stderr.contains(field) || outcome.stderr.contains("expecting ':'"));
                        assert!(named, "{shown}: {}", outcome.stderr);
                    }
                }
            }
        }
    }
    // Not text at all, and cut off in the middle.
    for text in [&b"\xff\xfe\0"[..], &good.as_bytes()[..good.len() / 2], b"\n", b":\n", b"StorePath"] {
        std::fs::write(&file, text).unwrap();
        let read = world.nival("nix", &["path-info", "--store", &cache, path]);
        assert!(read.status == 1 && read.stderr.contains(&format!("'{hash}.narinfo'")), "{}", read.stderr);
    }
}
